"""The state that can void a launch, read right before and after it in the same shell call.

`around` wraps a command so; `take_states` cuts the two readings out of what it printed. A launch is
only ever voided by state, never by its latency.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from mnasnet_deploy.bench.android_state import uptime_s
from mnasnet_deploy.bench.clock_policies import (
    READ_CLOCKS,
    Policy,
    read_cpus,
    read_policies,
    read_values,
)
from mnasnet_deploy.bench.clusters import ranges
from mnasnet_deploy.bench.dumpsys import (
    Battery,
    Thermal,
    read_awake,
    read_battery,
    read_thermal,
    whole_number,
)
from mnasnet_deploy.bench.gates import MIN_BATTERY_PERCENT, throttled_sensor
from mnasnet_deploy.errors import PhoneError

__all__ = [
    "QUICK",
    "VOIDS",
    "Load",
    "Quick",
    "Ticks",
    "around",
    "clock_facts",
    "load",
    "read_quick",
    "take_states",
    "voids",
]

_START: Final = "@@STATE"
_END: Final = "@@STATE-END"
_OPENING: Final = "opening/"
MIN_SHARE_AT_HIGHEST: Final = 0.95
"""With the clocks fixed, less than this at the highest means that they were not."""

_FUNCTION: Final = f"""{READ_CLOCKS}mticks(){{ while read -r mk mv; do case $mk in
cpu[0-9]*) echo "$1busy.$mk=$mv";; cpu) ;; *) break;; esac; done < /proc/stat; }}
mstate(){{ echo; echo "{_START}"; mticks {_OPENING}
mclocks | while read -r ml; do echo "{_OPENING}$ml"; done
mr /proc/sys/kernel/random/boot_id boot_id; mr /proc/uptime uptime; mr $mc/online online
dumpsys battery | grep -E 'UPDATES|powered|level|scale|status|temperature'; echo "=thermal"
dumpsys thermalservice | grep -E 'Override|Thermal Status|HAL Ready|emperature|Cooling|Name: '
echo "=power"; dumpsys power | grep mWakefulness=
mclocks; mticks; echo "{_END}"; }}
"""
QUICK: Final = f"{_FUNCTION}mstate\n"
"""Shell script that prints one reading: the clocks first and last, since the services take time."""

VOIDS: Final = (
    "REBOOTED", "THERMAL-FAKED", "THROTTLED", "CLOCK-CAPPED", "CLOCK-CHANGED", "CLOCK-LOW",
    "CORES-OFFLINE", "ASLEEP", "BATTERY-FAKED", "LOW-BATTERY",
)  # fmt: skip
"""Names of the rules in `voids`."""
_ALLOWED_BY: Final[Mapping[str, str]] = {"CLOCK-CAPPED": "THROTTLED"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticks:
    """Time of one CPU since boot, in units of the phone's kernel."""

    busy: int
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Where the work was between two readings, 0 to 1.

    Attributes:
        used: mean share of their time that the CPUs measured on were in use; a phone's processor
            may idle while a GPU works.
        others: share of the time of all CPUs that was spent on the other ones: by other processes.
    """

    used: float
    others: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Quick:
    """One reading; None or empty where the phone does not say.

    Attributes:
        boot_id: another one after each start.
        uptime_s: since it started.
        online_cpus: that are switched on.
        opening, closing: clocks at the start and at the end of the reading.
        opening_ticks, closing_ticks: of each CPU, in use and in all since boot, at the same time.
        thermal: of the thermal service.
        battery: of the battery service.
        awake: the screen is on.
    """

    boot_id: str
    uptime_s: float | None
    online_cpus: tuple[int, ...]
    opening: tuple[Policy, ...]
    closing: tuple[Policy, ...]
    opening_ticks: Mapping[int, Ticks]
    closing_ticks: Mapping[int, Ticks]
    thermal: Thermal
    battery: Battery
    awake: bool | None


def around(command: str) -> str:
    """A script that prints a reading, runs a command (which may print), and prints another."""
    return f"{_FUNCTION}mstate\n{command}\nmstate\n"


def take_states(out: bytes) -> tuple[tuple[Quick, ...], str]:
    """Cut the whole readings out of an output.

    Returns:
        The readings in order (fewer than two after `around`: the output was cut off), and the rest
        of the output.
    """
    text = out.decode(errors="replace").replace("\r\n", "\n")
    pattern = rf"\n?^{_START}\n(?P<body>.*?)^{_END}\n?"
    found = [_read(match["body"]) for match in re.finditer(pattern, text, re.MULTILINE | re.DOTALL)]
    return tuple(found), re.sub(pattern, "", text, flags=re.MULTILINE | re.DOTALL)


def read_quick(text: str) -> Quick:
    """What `QUICK` printed.

    Raises:
        PhoneError: it is not whole.
    """
    found, _ = take_states(text.encode(errors="replace"))
    if not found:
        raise PhoneError(
            "the phone broke off while it told its state; look at the cable, then type "
            "'mnasnet doctor'"
        )
    return found[-1]


def voids(
    before: Quick, after: Quick, cpus: Collection[int], mode: str, allowed: Collection[str] = ()
) -> str:
    """The state rule that voids the launch between two readings, name first; empty for none.

    Args:
        before: the reading before it.
        after: the reading after it.
        cpus: that were measured on.
        mode: `stock`, `fixed` or `locked`.
        allowed: gates let through by name: what they tolerate at the start voids nothing.
    """
    for name, what in _broken(before, after, cpus, mode):
        if _ALLOWED_BY.get(name, name) not in allowed:
            return f"{name} ({what})"
    return ""


def clock_facts(before: Quick, after: Quick, cpus: Collection[int]) -> tuple[str, ...]:
    """Which CPUs worked between two readings and how fast, as far as the phone says."""
    facts = []
    if found := load(before, after, cpus):
        facts.append(
            f"CPU {ranges(cpus)} in use for {found.used:.0%} of the time, the others took "
            f"{found.others:.0%} of all CPUs"
        )
    for start, end in _pairs(before.closing, after.opening, cpus):
        if spent := _spent(start, end):
            total = sum(spent.values())
            mean = sum(clock * ms for clock, ms in spent.items()) / total
            highest = max(clock for clock, _ in end.time_in_state)
            facts.append(
                f"CPU {ranges(end.cpus)} ran at {mean:.0f} MHz on average, "
                f"{spent.get(highest, 0.0) / total:.0%} of the time at its highest, "
                f"{highest:.0f} MHz"
            )
    return tuple(facts)


def load(before: Quick, after: Quick, cpus: Collection[int]) -> Load | None:
    """Where the work was between two readings; None where the phone does not say."""
    shares = {}
    for cpu, start in before.closing_ticks.items():
        end = after.opening_ticks.get(cpu)
        if end and end.total > start.total:
            share = (end.busy - start.busy) / (end.total - start.total)
            # The kernel lets the time spent waiting for a disk go backwards.
            shares[cpu] = min(1.0, max(0.0, share))
    used = [share for cpu, share in shares.items() if cpu in cpus]
    if not used:
        return None
    return Load(
        used=sum(used) / len(used),
        others=(sum(shares.values()) - sum(used)) / len(shares),
    )


def _read(body: str) -> Quick:
    head, _, tail = body.partition("=thermal\n")
    thermal, _, rest = tail.partition("=power\n")
    values = read_values([*head.split("\n"), *rest.split("\n")])
    opening = {
        name.removeprefix(_OPENING): value
        for name, value in values.items()
        if name.startswith(_OPENING)
    }
    return Quick(
        boot_id=values.get("boot_id", ""),
        uptime_s=uptime_s(values),
        online_cpus=read_cpus(values.get("online", "")),
        opening=read_policies(opening),
        closing=read_policies(values),
        opening_ticks=_ticks(opening),
        closing_ticks=_ticks(values),
        thermal=read_thermal(thermal),
        battery=read_battery(head),
        awake=read_awake(rest),
    )


def _ticks(values: Mapping[str, str]) -> dict[int, Ticks]:
    found = {}
    for name, value in values.items():
        cpu = whole_number(name.removeprefix("busy.cpu"))
        counts = [whole_number(word) for word in value.split()[:8]]
        if cpu is None or not name.startswith("busy.") or len(counts) < 5 or None in counts:
            continue
        whole = [count or 0 for count in counts]
        total, idle = sum(whole), whole[3] + whole[4]  # idle, and waiting for a disk
        found[cpu] = Ticks(busy=total - idle, total=total)
    return found


def _broken(
    before: Quick, after: Quick, cpus: Collection[int], mode: str
) -> "list[tuple[str, str]]":
    """Every rule that was broken, and how."""
    found = []
    if _rebooted(before, after):
        return [("REBOOTED", "the phone started anew")]
    for when, state in (("before", before), ("after", after)):
        thermal, battery = state.thermal, state.battery
        if thermal.overridden:
            found.append(("THERMAL-FAKED", f"the thermal status was made up {when} it"))
        if thermal.status:
            found.append(("THROTTLED", f"thermal status {thermal.status} {when} it"))
        elif sensor := throttled_sensor(thermal):
            found.append(("THROTTLED", f"{sensor.name} at {sensor.celsius:.1f} °C {when} it"))
        found += _capped(state, cpus, mode, when)
        if state.online_cpus and (off := set(cpus) - set(state.online_cpus)):
            found.append(("CORES-OFFLINE", f"CPU {ranges(off)} was off {when} it"))
        if state.awake is False:
            found.append(("ASLEEP", f"the screen was off {when} it"))
        if battery.faked:
            found.append(("BATTERY-FAKED", f"the battery state was made up {when} it"))
        if battery.percent is not None and battery.percent < MIN_BATTERY_PERCENT:
            found.append(("LOW-BATTERY", f"{battery.percent:.0f} % {when} it"))
    for start, end in _pairs(before.closing, after.opening, cpus):
        found += _clock_rules(start, end, mode)
    return sorted(found, key=lambda rule: VOIDS.index(rule[0]))


def _rebooted(before: Quick, after: Quick) -> bool:
    if before.boot_id and after.boot_id and before.boot_id != after.boot_id:
        return True
    start, end = before.uptime_s, after.uptime_s
    return start is not None and end is not None and end < start


def _capped(state: Quick, cpus: Collection[int], mode: str, when: str) -> list[tuple[str, str]]:
    if mode == "locked":  # held below the highest on purpose
        return []
    return [
        (
            "CLOCK-CAPPED",
            f"CPU {ranges(policy.cpus)} might run at {policy.scaling_max_mhz:.0f} of "
            f"{policy.max_mhz:.0f} MHz {when} it",
        )
        for policy in (*state.opening, *state.closing)
        if policy.used_by(cpus) and policy.capped
    ]


def _clock_rules(start: Policy, end: Policy, mode: str) -> list[tuple[str, str]]:
    found = []
    names = ranges(end.cpus)
    low, high = start.scaling_max_mhz, end.scaling_max_mhz
    if low is not None and high is not None and low != high:
        found.append(("CLOCK-CHANGED", f"the limit of CPU {names} went from {low:.0f} to "
                      f"{high:.0f} MHz"))  # fmt: skip
    if start.governor and end.governor and start.governor != end.governor:
        found.append(("CLOCK-CHANGED", f"the governor of CPU {names} went from {start.governor} "
                      f"to {end.governor}"))  # fmt: skip
    spent = _spent(start, end)
    if mode == "fixed" and spent:
        share = spent.get(max(clock for clock, _ in end.time_in_state), 0.0) / sum(spent.values())
        if share < MIN_SHARE_AT_HIGHEST:
            found.append(("CLOCK-LOW", f"CPU {names} was at its highest clock for {share:.0%} of "
                          "the time only"))  # fmt: skip
    return found


def _pairs(
    before: tuple[Policy, ...], after: tuple[Policy, ...], cpus: Collection[int]
) -> list[tuple[Policy, Policy]]:
    """The same clock in both readings, of those in use."""
    later = {policy.cpus: policy for policy in after}
    return [
        (policy, later[policy.cpus])
        for policy in before
        if policy.used_by(cpus) and policy.cpus in later
    ]


def _spent(start: Policy, end: Policy) -> dict[float, float]:
    """Time at each clock between two readings, in ms; empty where they do not say."""
    first = dict(start.time_in_state)
    spent = {clock: ms - first.get(clock, 0.0) for clock, ms in end.time_in_state}
    if min(spent.values(), default=0.0) < 0.0:  # counting started anew
        return {}
    return {clock: ms for clock, ms in spent.items() if ms > 0.0}
