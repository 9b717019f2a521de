"""Which CPUs of a phone are alike, and which of them a measurement runs on.

Detected, never looked up: the highest numbers are not always the fastest cores (Moto G5), and the
number of fast ones is not always four (Pixel 3a has two). Names of cores: implementer and part
number of the identification register, from pytorch/cpuinfo `src/arm/uarch.c` and Linux `cputype.h`.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from mnasnet_deploy.bench.android_state import Core, PhoneState
from mnasnet_deploy.errors import InputError

__all__ = [
    "CLUSTER_NAMES",
    "Cluster",
    "check_cpus",
    "choose",
    "choose_from",
    "clusters",
    "core_name",
    "describe",
    "mask",
    "ranges",
]

CLUSTER_NAMES: Final = ("fast", "middle", "little")

_ARM: Final = 0x41
_QUALCOMM: Final = 0x51
_NAMES: Final = {
    (_ARM, 0xD03): "Cortex-A53",
    (_ARM, 0xD04): "Cortex-A35",
    (_ARM, 0xD05): "Cortex-A55",
    (_ARM, 0xD07): "Cortex-A57",
    (_ARM, 0xD08): "Cortex-A72",
    (_ARM, 0xD09): "Cortex-A73",
    (_ARM, 0xD0A): "Cortex-A75",
    (_ARM, 0xD0B): "Cortex-A76",
    (_ARM, 0xD0D): "Cortex-A77",
    (_ARM, 0xD41): "Cortex-A78",
    (_ARM, 0xD44): "Cortex-X1",
    (_ARM, 0xD46): "Cortex-A510",
    (_ARM, 0xD47): "Cortex-A710",
    (_ARM, 0xD48): "Cortex-X2",
    (_ARM, 0xD4D): "Cortex-A715",
    (_ARM, 0xD4E): "Cortex-X3",
    (_ARM, 0xD80): "Cortex-A520",
    (_ARM, 0xD81): "Cortex-A720",
    (_ARM, 0xD82): "Cortex-X4",
    (_ARM, 0xD85): "Cortex-X925",
    (_ARM, 0xD87): "Cortex-A725",
    (_QUALCOMM, 0x201): "Kryo silver",
    (_QUALCOMM, 0x205): "Kryo gold",
    (_QUALCOMM, 0x211): "Kryo silver",
    (_QUALCOMM, 0x800): "Kryo 280 gold",
    (_QUALCOMM, 0x801): "Kryo 280 silver",
    (_QUALCOMM, 0x802): "Kryo 385 gold",
    (_QUALCOMM, 0x803): "Kryo 385 silver",
    (_QUALCOMM, 0x804): "Kryo 485 gold",
    (_QUALCOMM, 0x805): "Kryo 485 silver",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """CPUs that are alike.

    Attributes:
        cpus: their numbers, ascending.
        core: name of the design, `Cortex-A715`; `unknown core` where the phone does not say.
        max_mhz: of the fastest of them; None where unknown.
        capacity: of the fastest of them, 1024 for the fastest of the phone; None where unknown.
    """

    cpus: tuple[int, ...]
    core: str
    max_mhz: float | None
    capacity: int | None


def clusters(state: PhoneState) -> tuple[Cluster, ...]:
    """The clusters, slowest first: one design each, even where its cores have two clocks.

    A phone whose cores are all of one design is split by clock, which is all that sets them apart.
    """
    designs = _designs(state)
    if len(designs) == 1:
        designs = _by_clock(designs[0])
    return tuple(_cluster(design) for design in designs)


def choose(state: PhoneState, threads: int) -> tuple[int, ...]:
    """The CPUs for a measurement with so many threads, all of one design.

    For one thread the fastest core; for more, cores of the fastest design that has enough, of one
    clock where there are enough with the same. The highest numbers first: CPU 0 serves interrupts.

    Raises:
        InputError: no design has so many cores; the message lists what there is.
    """
    for design in reversed(_designs(state)):
        if len(design) >= threads > 0:
            return _fastest(design, threads)
    raise InputError(
        f"no kind of core is there {threads} times on this phone ({describe(state)}); "
        "choose another --threads, or name the cores with --cpus"
    )


def choose_from(state: PhoneState, name: str, threads: int) -> tuple[int, ...]:
    """The CPUs of one cluster for so many threads.

    Args:
        state: of the phone.
        name: `fast` for the fastest cluster, `little` for the slowest, `middle` for the one between
            where there are three or more (the faster one of several).
        threads: how many CPUs.

    Raises:
        InputError: there is no such cluster, or it has fewer cores.
    """
    found = clusters(state)
    places = {"little": 0, "fast": len(found) - 1}
    if len(found) > 2:
        places["middle"] = len(found) - 2
    if name not in places or not found:
        raise InputError(
            f"there is no cluster '{name}' on this phone ({describe(state)}); "
            f"choose {' or '.join(place for place in CLUSTER_NAMES if place in places)}"
        )
    cluster = found[places[name]]
    if not 0 < threads <= len(cluster.cpus):
        raise InputError(
            f"the {name} cluster has {len(cluster.cpus)} cores, not {threads} "
            f"({describe(state)}); choose another --threads or --cluster"
        )
    return _fastest([core for core in state.cores if core.cpu in cluster.cpus], threads)


def check_cpus(state: PhoneState, cpus: Collection[int]) -> str:
    """Look at CPUs that somebody named.

    Returns:
        A sentence where they are of several designs, so that the slowest decides; else empty.

    Raises:
        InputError: the phone has no such CPU.
    """
    by_cpu = {core.cpu: core for core in state.cores}
    if missing := set(cpus) - set(by_cpu):
        raise InputError(
            f"CPU {ranges(missing)} is not on this phone ({describe(state)}); choose other --cpus"
        )
    designs = sorted({core_name(by_cpu[cpu].midr) for cpu in cpus})
    if len(designs) < 2:
        return ""
    return f"CPU {ranges(cpus)} are of several designs ({', '.join(designs)}): the slowest decides"


def mask(cpus: Collection[int]) -> str:
    """A mask for Android's `taskset`: hexadecimal without 0x."""
    return f"{sum(1 << cpu for cpu in set(cpus)):x}"


def ranges(cpus: Collection[int]) -> str:
    """CPUs as people write them: `0-3,7`."""
    parts: list[list[int]] = []
    for cpu in sorted(set(cpus)):
        if parts and cpu == parts[-1][-1] + 1:
            parts[-1].append(cpu)
        else:
            parts.append([cpu])
    return ",".join(str(p[0]) if len(p) == 1 else f"{p[0]}-{p[-1]}" for p in parts)


def describe(state: PhoneState) -> str:
    """The cores in one line: `4 Cortex-A510 (CPU 0-3, 1704 MHz), 1 Cortex-X3 (CPU 8, 2914 MHz)`."""
    parts = []
    for cluster in clusters(state):
        clock = "" if cluster.max_mhz is None else f", {cluster.max_mhz:.0f} MHz"
        parts.append(f"{len(cluster.cpus)} {cluster.core} (CPU {ranges(cluster.cpus)}{clock})")
    return ", ".join(parts) or "it names no cores"


def core_name(midr: int | None) -> str:
    """The design behind an identification register."""
    if midr is None:
        return "unknown core"
    implementer, part = _design_number(midr)
    return _NAMES.get((implementer, part), f"core {implementer:#x}/{part:#x}")


def _design_number(midr: int) -> tuple[int, int]:
    return midr >> 24 & 0xFF, midr >> 4 & 0xFFF


def _speed(core: Core) -> tuple[int, float]:
    return core.capacity or 0, core.max_mhz or 0.0


def _designs(state: PhoneState) -> list[list[Core]]:
    """Cores of one design each, slowest first; where it is not told, cores of one speed."""
    # A capacity that only some cores tell compares nothing.
    told = all(core.capacity is not None for core in state.cores)
    groups: dict[object, list[Core]] = {}
    for core in state.cores:
        key = _speed(core) if core.midr is None else _design_number(core.midr)
        groups.setdefault(key, []).append(core)

    def rank(group: Sequence[Core]) -> tuple[float, float]:
        capacity = max(core.capacity or 0 for core in group) if told else 0
        return capacity, max(core.max_mhz or 0.0 for core in group)

    # Of equal ones the lower numbers first, for an order that never changes.
    return sorted(groups.values(), key=lambda group: (*rank(group), group[0].cpu))


def _by_clock(cores: Sequence[Core]) -> list[list[Core]]:
    """Cores of one clock each, slowest first."""
    groups: dict[float, list[Core]] = {}
    for core in cores:
        groups.setdefault(core.max_mhz or 0.0, []).append(core)
    return [groups[clock] for clock in sorted(groups)]


def _fastest(cores: Sequence[Core], count: int) -> tuple[int, ...]:
    for group in reversed(_by_clock(cores)):
        if len(group) >= count:
            return tuple(sorted(core.cpu for core in group)[-count:])
    by_speed = sorted(cores, key=lambda core: (core.max_mhz or 0.0, core.cpu))
    return tuple(sorted(core.cpu for core in by_speed[-count:]))


def _cluster(cores: Sequence[Core]) -> Cluster:
    capacities = [core.capacity for core in cores if core.capacity is not None]
    clocks = [core.max_mhz for core in cores if core.max_mhz is not None]
    return Cluster(
        cpus=tuple(sorted(core.cpu for core in cores)),
        core=core_name(cores[0].midr),
        max_mhz=max(clocks, default=None),
        capacity=max(capacities, default=None),
    )
