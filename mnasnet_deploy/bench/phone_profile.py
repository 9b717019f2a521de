"""What is known of a model of phone before one is seen: profiles/*.yaml.

A profile never decides anything: the cores are those the phone names. It says what to expect, so
that a phone which differs, or a number that cannot be, is noticed.
"""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from mnasnet_deploy import strict_yaml
from mnasnet_deploy.bench.android_state import Core, PhoneState
from mnasnet_deploy.bench.clusters import core_name, ranges
from mnasnet_deploy.errors import InputError
from mnasnet_deploy.typed_mapping import from_mapping

__all__ = [
    "Anchor",
    "ExpectedCluster",
    "Governors",
    "PhoneProfile",
    "all_profiles",
    "differences",
    "implausible",
    "load",
    "match",
]

SAME_CLOCK: Final = 0.02
"""Data sheets round clocks by this much."""
FAR_OFF: Final = 0.25
_ENDINGS: Final = (".yaml", ".yml")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedCluster:
    """CPUs that share a clock.

    Attributes:
        cpus: their numbers.
        core: name of the design, as `clusters.core_name` has it.
        max_mhz: highest clock.
        certain: no dump of a phone, or source of its kernel, was seen where this is False.
    """

    cpus: tuple[int, ...]
    core: str
    max_mhz: float
    certain: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Governors:
    """What chooses the clocks where nobody changed it.

    Attributes:
        names: any of these.
        certain: they come from the phone's own start-up files.
    """

    names: tuple[str, ...]
    certain: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor:
    """A latency that others measured, to hold ours against.

    Attributes:
        network: name of the variant.
        multiplier, resolution, scheme: of the file, as in its name.
        threads: of the interpreter.
        ms: latency with XNNPACK.
        source: who measured it.
    """

    network: str
    multiplier: str
    resolution: int
    scheme: str
    threads: int
    ms: float
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PhoneProfile:
    """A model of phone.

    Attributes:
        name: of its file.
        phones: what people call it and its sisters.
        devices: `ro.product.device` of each.
        soc: `ro.soc.model`; empty where the phone does not say.
        platform: `ro.board.platform`.
        clusters: slowest first.
        governors: of its clocks.
        source: where all this comes from.
        fixed_performance: Android's mode of that name does something; None where unknown.
        skin_limits_c: skin temperatures at which Android calls it light, moderate and severe.
        capped_from_c: skin temperature from which the CPUs are held back, earlier than Android
            says; None where unknown.
        anchors: known latencies.
        notes: what else one should know.
    """

    name: str
    phones: tuple[str, ...]
    devices: tuple[str, ...]
    soc: str
    platform: str
    clusters: tuple[ExpectedCluster, ...]
    governors: Governors
    source: str
    fixed_performance: bool | None = None
    skin_limits_c: tuple[float, ...] = ()
    capped_from_c: float | None = None
    anchors: tuple[Anchor, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def stock_governors(self) -> tuple[str, ...]:
        """For the gate CLOCKS-ALIEN; empty where they are not certain."""
        return self.governors.names if self.governors.certain else ()


def load(name_or_path: str) -> PhoneProfile:
    """A profile by its name (`pixel_8`), or any file of the same form.

    Raises:
        InputError: there is no such profile, or the file says it wrong.
    """
    if name_or_path.endswith(_ENDINGS) or "/" in name_or_path or "\\" in name_or_path:
        return _read(Path(name_or_path))
    found = {profile.name: profile for profile in all_profiles()}
    if name_or_path not in found:
        raise InputError(
            f"there is no profile {name_or_path!r}; choose one of {', '.join(found)}, or name a "
            "YAML file"
        )
    return found[name_or_path]


@cache
def all_profiles() -> tuple[PhoneProfile, ...]:
    """The profiles that come with the tool, oldest phone first."""

    def age(path: Path) -> tuple[int, str]:
        number = path.stem.partition("_")[2]
        return int("".join(filter(str.isdecimal, number)) or 0), number

    return tuple(_read(path) for path in sorted(_folder().glob("*.yaml"), key=age))


def match(state: PhoneState) -> PhoneProfile | None:
    """The profile of a phone, by the name its maker gave the device; None where there is none."""
    device = state.props.get("ro.product.device", "")
    return next((one for one in all_profiles() if device in one.devices), None)


def differences(profile: PhoneProfile, state: PhoneState) -> tuple[str, ...]:
    """Where a phone is not what its profile says, a sentence each; the phone is right.

    What the profile is not certain of makes no difference, and neither does what the phone does not
    say.
    """
    found = []
    soc = state.props.get("ro.soc.model", "")
    if soc and profile.soc and soc != profile.soc:
        found.append(f"its SoC is {soc}, the profile {profile.name} says {profile.soc}")
    expected = {cpu for cluster in profile.clusters for cpu in cluster.cpus}
    if len(expected) != len(state.cores):
        found.append(
            f"it has {len(state.cores)} cores, the profile {profile.name} says {len(expected)}"
        )
    by_cpu = {core.cpu: core for core in state.cores}
    for cluster in profile.clusters:
        if cluster.certain:
            cores = [by_cpu[cpu] for cpu in cluster.cpus if cpu in by_cpu]
            found += _cluster_differences(profile.name, cluster, cores)
    return tuple(found)


def implausible(
    profile: PhoneProfile,
    *,
    network: str,
    multiplier: str,
    resolution: int,
    scheme: str,
    threads: int,
    ms: float,
) -> str:
    """How far a latency with XNNPACK is from what others measured; empty if near or not known."""
    for anchor in profile.anchors:
        key = (anchor.network, anchor.multiplier, anchor.resolution, anchor.scheme, anchor.threads)
        if key != (network, multiplier, resolution, scheme, threads):
            continue
        if abs(ms / anchor.ms - 1.0) > FAR_OFF:
            return (
                f"{ms:.1f} ms is {ms / anchor.ms - 1.0:+.0%} from the {anchor.ms:g} ms that "
                f"{anchor.source} gives for {profile.phones[0]}"
            )
    return ""


def _cluster_differences(name: str, cluster: ExpectedCluster, cores: list[Core]) -> list[str]:
    found = []
    designs = {core_name(core.midr) for core in cores if core.midr is not None}
    if wrong := sorted(designs - {cluster.core}):
        found.append(
            f"CPU {ranges(cluster.cpus)} are {' and '.join(wrong)}, the profile {name} says "
            f"{cluster.core}"
        )
    clocks = {core.max_mhz for core in cores if core.max_mhz is not None}
    far = [mhz for mhz in clocks if abs(mhz / cluster.max_mhz - 1.0) > SAME_CLOCK]
    if far:
        found.append(
            f"CPU {ranges(cluster.cpus)} run at up to {max(far):.0f} MHz, the profile {name} says "
            f"{cluster.max_mhz:.0f}"
        )
    return found


def _folder() -> Path:
    # Not importlib.resources: it loads zipfile and tempfile.
    return Path(importlib.import_module("mnasnet_deploy.profiles").__path__[0])


def _read(path: Path) -> PhoneProfile:
    mapping: Mapping[str, Any] = strict_yaml.read(path)
    if "name" in mapping:
        raise InputError(f"{path} has an unknown key 'name': its name is that of the file")
    profile = from_mapping(PhoneProfile, {"name": path.stem, **mapping}, str(path))
    _check(profile, str(path))
    return profile


def _check(profile: PhoneProfile, source: str) -> None:
    """Raise where the values are of the right kind but say nothing."""
    if not (profile.phones and profile.devices and profile.clusters):
        raise InputError(f"{source}: phones, devices and clusters may not be empty")
    cpus = [cpu for cluster in profile.clusters for cpu in cluster.cpus]
    if sorted(cpus) != list(range(len(cpus))):
        raise InputError(f"{source}: the clusters do not hold every CPU from 0 up once")
    clocks = [cluster.max_mhz for cluster in profile.clusters]
    if min(clocks) <= 0.0 or any(not cluster.cpus for cluster in profile.clusters):
        raise InputError(f"{source}: every cluster needs CPUs and a clock above 0")
    if len(profile.skin_limits_c) not in (0, 3):
        raise InputError(f"{source}: skin_limits_c are three: light, moderate, severe")
    if any(anchor.ms <= 0.0 for anchor in profile.anchors):
        raise InputError(f"{source}: the ms of an anchor must be above 0")
