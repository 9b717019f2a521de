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
from mnasnet_deploy.bench.dumpsys import Battery, Thermal, read_awake, read_battery, read_thermal
from mnasnet_deploy.bench.gates import MIN_BATTERY_PERCENT, throttled_sensor
from mnasnet_deploy.errors import PhoneError

__all__ = ["QUICK", "VOIDS", "Quick", "around", "clock_facts", "read_quick", "take_states", "voids"]

_START: Final = "@@STATE"
_END: Final = "@@STATE-END"
_OPENING: Final = "opening/"
MIN_SHARE_AT_HIGHEST: Final = 0.95
"""With the clocks fixed, less than this at the highest means that they were not."""

_FUNCTION: Final = f"""{READ_CLOCKS}mstate(){{ echo; echo "{_START}"; mclocks | while read -r ml
do echo "{_OPENING}$ml"; done
mr /proc/sys/kernel/random/boot_id boot_id; mr /proc/uptime uptime; mr $mc/online online
dumpsys battery | grep -E 'UPDATES|powered|level|scale|status|temperature'; echo "=thermal"
dumpsys thermalservice | grep -E 'Override|Thermal Status|HAL Ready|emperature|Cooling|Name: '
echo "=power"; dumpsys power | grep mWakefulness=
mclocks; echo "{_END}"; }}
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
class Quick:
    """One reading; None or empty where the phone does not say.

    Attributes:
        boot_id: another one after each start.
        uptime_s: since it started.
        online_cpus: that are switched on.
        opening, closing: clocks at the start and at the end of the reading.
        thermal: of the thermal service.
        battery: of the battery service.
        awake: the screen is on.
    """

    boot_id: str
    uptime_s: float | None
    online_cpus: tuple[int, ...]
    opening: tuple[Policy, ...]
    closing: tuple[Policy, ...]
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
    """How fast the CPUs ran between two readings, one sentence for each clock that says so."""
    facts = []
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
        thermal=read_thermal(thermal),
        battery=read_battery(head),
        awake=read_awake(rest),
    )


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
