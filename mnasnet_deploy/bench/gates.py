"""What must hold before anything is measured on a phone, by name.

A gate that does not hold refuses the phone, and only its own name lets it through; the name then
stays with the number. Sources: androidx.benchmark (DeviceInfo, ThrottleDetector, MINIMUM_BATTERY),
AOSP's power and thermal services, MLPerf Mobile's submission rules (room, charging); where none is
named, the limit is this project's.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from mnasnet_deploy.bench.android_state import PhoneState
from mnasnet_deploy.bench.clock_policies import Policy
from mnasnet_deploy.bench.clusters import ranges
from mnasnet_deploy.bench.dumpsys import Cooling, Temperature, Thermal
from mnasnet_deploy.errors import InputError, PhoneError

__all__ = [
    "GATES",
    "MIN_BATTERY_PERCENT",
    "WARM_C",
    "Gate",
    "check",
    "check_names",
    "refuse",
    "throttled_sensor",
    "throttling",
]

MIN_BATTERY_PERCENT: Final = 25.0
"""androidx.benchmark: below, phones switch off their big cores "even when plugged in"."""
WARM_C: Final = 35.0
"""Of the skin and of the battery; Pixels hold clocks back from 37 °C."""
MAX_BUSY: Final = 0.10
SETTLED_S: Final = 300.0
"""A phone that has just started still does what starting leaves behind."""
_CHARGING: Final = 2
_ALIEN_GOVERNORS: Final = ("performance", "powersave", "userspace")
"""No phone is sold with one of these: somebody set it."""

GATES: Final[Mapping[str, bool]] = {
    "EMULATOR": True,
    "ENG-BUILD": True,
    "LOW-BATTERY": True,
    "BATTERY-SAVER": True,
    "BATTERY-FAKED": True,
    "THERMAL-FAKED": True,
    "THROTTLED": True,
    "WARM": True,
    "ASLEEP": True,
    "CORES-OFFLINE": True,
    "CPUSET": True,
    "CLOCKS-ALIEN": True,
    "BUSY": True,
    "THERMAL-UNKNOWN": False,
    "ROOM": False,
    "CHARGING": False,
}
"""Every gate, and whether it refuses (True) or only warns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """A gate that does not hold.

    Attributes:
        name: of `GATES`.
        message: what the phone says, and what to do.
        fatal: it refuses the phone unless it is let through by name.
    """

    name: str
    message: str
    fatal: bool


def check(
    state: PhoneState,
    cpus: Collection[int],
    *,
    ambient_c: float | None,
    stock: Collection[str] = (),
    forced: bool = False,
) -> tuple[Gate, ...]:
    """The gates that do not hold, in the order of `GATES`.

    What a phone does not say of its battery or its screen does not hold either; of its heat, it
    only warns, since phones before Android 10 never say.

    Args:
        state: of the phone.
        cpus: that will be measured on.
        ambient_c: temperature of the room; None where the operator did not give it.
        stock: governors this model has where nobody changed them; empty where unknown.
        forced: the clocks are fixed or locked for the measurement, and nobody else's.
    """
    messages = {
        **_system(state),
        **_battery(state),
        **_heat(state, cpus, forced),
        **_cpus(state, cpus, stock, forced),
        **_room(ambient_c),
    }
    return tuple(
        Gate(name=name, message=messages[name], fatal=fatal)
        for name, fatal in GATES.items()
        if name in messages
    )


def check_names(names: Iterable[str]) -> tuple[str, ...]:
    """Names of gates as given on a command line, in capitals.

    Raises:
        InputError: there is no such gate.
    """
    found = tuple(dict.fromkeys(name.strip().upper() for name in names))
    if unknown := [name for name in found if name not in GATES]:
        raise InputError(f"there is no gate {unknown[0]!r} to allow; they are {', '.join(GATES)}")
    return found


def refuse(gates: Iterable[Gate], allowed: Collection[str] = ()) -> tuple[str, ...]:
    """Stop where a gate refuses the phone and was not let through.

    Args:
        gates: that do not hold.
        allowed: names let through.

    Returns:
        The names that were let through, to stay with the number.

    Raises:
        InputError: there is no such gate to let through.
        PhoneError: the phone is refused; names every gate.
    """
    names = check_names(allowed)
    fatal = [gate for gate in gates if gate.fatal]
    if refused := [gate for gate in fatal if gate.name not in names]:
        options = " ".join(f"--allow {gate.name}" for gate in refused)
        reasons = "; ".join(f"{gate.name}: {gate.message}" for gate in refused)
        raise PhoneError(f"the phone is not fit to measure on: {reasons} (or measure all the same "
                         f"with {options})")  # fmt: skip
    return tuple(gate.name for gate in fatal)


def throttled_sensor(thermal: Thermal) -> Temperature | None:
    """A sensor of the skin or a CPU that asks for throttling."""
    asking = [t for t in thermal.temperatures if t.kind in ("skin", "cpu") and t.status > 0]
    return max(asking, key=lambda sensor: sensor.status, default=None)


def throttling(
    thermal: Thermal,
    cooling: Iterable[Cooling],
    policies: Iterable[Policy],
    cpus: Collection[int],
    forced: bool,
) -> list[str]:
    """The signs of throttling, in words; empty for none.

    Args:
        thermal: of the thermal service, which sees it late: it looks at the skin.
        cooling: what throttles, as the kernel says.
        policies: the clocks, which show it first.
        cpus: that are measured on.
        forced: the clocks are fixed or locked for the measurement.
    """
    signs = []
    if thermal.status:
        signs.append(f"its thermal status is {thermal.status}")
    elif sensor := throttled_sensor(thermal):
        signs.append(f"its sensor {sensor.name} asks for throttling ({sensor.celsius:.1f} °C)")
    signs += [
        f"CPU {ranges(policy.cpus)} may run at {policy.scaling_max_mhz:.0f} of "
        f"{policy.max_mhz:.0f} MHz"
        for policy in policies
        if policy.used_by(cpus) and policy.capped and not (forced and _still(policy))
    ]
    at_work = [one for one in (*cooling, *thermal.cooling) if one.of_cpu and one.level]
    if at_work and not signs:
        signs.append(f"{at_work[0].name} slows CPUs down (level {at_work[0].level})")
    return signs


def _system(state: PhoneState) -> dict[str, str]:
    found = {}
    build = state.props.get("ro.build.fingerprint", "")
    model = state.props.get("ro.product.model", "")
    emulated = "1" in (state.props.get("ro.kernel.qemu"), state.props.get("ro.boot.qemu"))
    if (
        emulated
        or build.startswith(("generic", "unknown"))
        or "emulator" in build
        or model.startswith("sdk_")
    ):
        found["EMULATOR"] = f"{model or build or 'this'} is an emulator; attach a phone"
    if ":eng/" in build:
        found["ENG-BUILD"] = "its system is an engineering build, which is slow; flash a user build"
    if state.awake is not True:
        seen = "its screen is off" if state.awake is False else "it does not say its screen is on"
        found["ASLEEP"] = f"{seen}; wake and unlock it"
    reasons = []
    if state.busy is not None and state.busy > MAX_BUSY:
        reasons.append(f"its CPUs are {state.busy:.0%} busy")
    if state.uptime_s is not None and state.uptime_s < SETTLED_S:
        reasons.append(f"it started {state.uptime_s:.0f} s ago")
    if state.props.get("sys.boot_completed") != "1":
        reasons.append("it is still starting")
    if state.compiling:
        reasons.append("it compiles apps")
    if reasons:
        found["BUSY"] = f"{', '.join(reasons)}; leave it alone for some minutes"
    return found


def _battery(state: PhoneState) -> dict[str, str]:
    found = {}
    battery = state.battery
    if battery.percent is None:
        found["LOW-BATTERY"] = "it does not say how full its battery is; look at 'dumpsys battery'"
    elif battery.percent < MIN_BATTERY_PERCENT:
        found["LOW-BATTERY"] = (
            f"its battery is at {battery.percent:.0f} %, below {MIN_BATTERY_PERCENT:.0f} %; "
            "charge it"
        )
    if state.settings.get("low_power") == "1":
        found["BATTERY-SAVER"] = "its battery saver is on; switch it off, or use --prepare"
    if battery.faked:
        found["BATTERY-FAKED"] = (
            "its battery state was made up by 'dumpsys battery set'; type "
            "'adb shell dumpsys battery reset'"
        )
    if battery.plugged and battery.status == _CHARGING:
        found["CHARGING"] = (
            "it charges, which warms it; charge it to 100 % first, or use adb over Wi-Fi"
        )
    return found


def _heat(state: PhoneState, cpus: Collection[int], forced: bool) -> dict[str, str]:
    found = {}
    thermal = state.thermal
    if thermal.overridden:
        found["THERMAL-FAKED"] = (
            "its thermal status was made up by 'cmd thermalservice override-status'; type "
            "'adb shell cmd thermalservice reset'"
        )
    if not thermal.ready:
        found["THERMAL-UNKNOWN"] = (
            "it does not say whether it throttles for heat; only the clock limits are looked at"
        )
    if signs := throttling(thermal, state.cooling, state.policies, cpus, forced):
        found["THROTTLED"] = f"{', '.join(signs)}; let it cool down, out of its case"
    warm = []
    skin = thermal.hottest("skin")
    if skin is not None and skin > WARM_C:
        warm.append(f"its skin has {skin:.1f} °C")
    if state.battery.celsius is not None and state.battery.celsius > WARM_C:
        warm.append(f"its battery has {state.battery.celsius:.1f} °C")
    if warm:
        found["WARM"] = f"{' and '.join(warm)}, over {WARM_C:.0f} °C; let it cool down"
    return found


def _cpus(
    state: PhoneState, cpus: Collection[int], stock: Collection[str], forced: bool
) -> dict[str, str]:
    found = {}
    if state.online_cpus and (off := set(cpus) - set(state.online_cpus)):
        found["CORES-OFFLINE"] = f"CPU {ranges(off)} is switched off; restart the phone"
    elif state.allowed_cpus and (barred := set(cpus) - set(state.allowed_cpus)):
        found["CPUSET"] = (
            f"a shell may not use CPU {ranges(barred)} (only {ranges(state.allowed_cpus)}); wake "
            "the phone, or choose --cpus among these"
        )
    for policy in state.policies:
        if policy.used_by(cpus) and (seen := _alien(policy, stock, forced)):
            found["CLOCKS-ALIEN"] = (
                f"CPU {ranges(policy.cpus)} has {seen}, which somebody set; restart the phone"
            )
            break
    return found


def _alien(policy: Policy, stock: Collection[str], forced: bool) -> str:
    governor = policy.governor
    if governor and (governor not in stock if stock else governor in _ALIEN_GOVERNORS):
        expected = f" and not {' or '.join(sorted(stock))}" if stock else ""
        return f"the governor {governor}{expected}"
    if _still(policy) and not forced:
        return f"its clock fixed at {policy.scaling_max_mhz:.0f} MHz"
    return ""


def _still(policy: Policy) -> bool:
    """Whether its clock cannot move."""
    low, high = policy.scaling_min_mhz, policy.scaling_max_mhz
    return low is not None and low == high and policy.min_mhz != policy.max_mhz


def _room(ambient_c: float | None) -> dict[str, str]:
    if ambient_c is not None:
        return {}
    return {"ROOM": "the temperature of the room is not recorded; give it with --ambient"}
