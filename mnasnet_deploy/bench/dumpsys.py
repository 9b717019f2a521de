"""What Android's services say of battery, heat and screen (`dumpsys NAME`), as values.

Nothing here raises: what a text does not hold, or holds as garbage, is None or left out.
Sources: BatteryService, ThermalManagerService and PowerManagerService (`dumpInternal`) of AOSP
frameworks/base; the form of temperatures before Android 10's release is that of its commit
009170c7.
"""

import math
import re
from dataclasses import dataclass
from typing import Final

__all__ = [
    "Battery",
    "Cooling",
    "Temperature",
    "Thermal",
    "plausible",
    "read_awake",
    "read_battery",
    "read_thermal",
    "whole_number",
]

TENTHS_OF_DEGREES: Final = 10.0
PERCENT: Final = 100.0
PLAUSIBLE_C: Final = (1.0, 130.0)
"""Sensors that are not there read 0 or a marker far out of this range."""

_KINDS: Final = {0: "cpu", 1: "gpu", 2: "battery", 3: "skin", 4: "usb-port", 9: "npu"}
_CPU_COOLING: Final = 2
_TEMPERATURE = re.compile(
    r"Temperature\{mValue=(?P<value>[^,}]*), mType=(?P<kind>-?\d+), mName=(?P<name>[^}]*), "
    r"mStatus=(?P<status>-?\d+)\}"
)
_OLD_TEMPERATURE = re.compile(
    r"Name: (?P<name>[^\n]*?), Type: (?P<kind>-?\d+), Status: (?P<status>-?\d+), "
    r"Value: (?P<value>[^\s,]+)"
)
_COOLING = re.compile(r"CoolingDevice\{mValue=(-?\d+), mType=(-?\d+), mName=([^}]*)\}")
_PLUGS: Final = {"USB": "usb", "AC": "ac", "Wireless": "wireless", "Dock": "dock"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Temperature:
    """A thermal sensor.

    Attributes:
        name: as the phone calls it.
        kind: cpu, gpu, battery, skin, usb-port, npu or other.
        celsius: its value.
        status: throttling it asks for: 0 none, 1 light to 6 shutdown.
    """

    name: str
    kind: str
    celsius: float
    status: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Cooling:
    """What throttles to cool.

    Attributes:
        name: as the phone calls it (`thermal-cpufreq-0`).
        of_cpu: it slows down CPUs.
        level: 0 for not at work.
    """

    name: str
    of_cpu: bool
    level: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Thermal:
    """What the thermal service knows (Android 10 and later).

    Attributes:
        status: highest of the skin sensors, 0 none to 6 shutdown; None where it does not say. 0 is
            no proof of full clocks: a CPU is capped before the skin gets warm.
        overridden: somebody made it report a status (`cmd thermalservice override-status`).
        ready: the sensors can be read; None where there is no such service.
        temperatures: of the sensors now; empty unless ready.
        cooling: what throttles; empty unless ready.
    """

    status: int | None = None
    overridden: bool = False
    ready: bool | None = None
    temperatures: tuple[Temperature, ...] = ()
    cooling: tuple[Cooling, ...] = ()

    def hottest(self, *kinds: str) -> float | None:
        """The hottest plausible sensor of some kinds, of all for none named, in degrees Celsius."""
        return max(
            (
                one.celsius
                for one in self.temperatures
                if plausible(one.celsius) and (not kinds or one.kind in kinds)
            ),
            default=None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Battery:
    """What the battery service says; None where it does not.

    Attributes:
        percent: charge.
        celsius: temperature.
        status: 1 unknown, 2 charging, 3 discharging, 4 not charging, 5 full.
        plugged: usb, ac, wireless, dock, or empty for not plugged in.
        faked: somebody made it report what is not (`dumpsys battery set`, `unplug`).
    """

    percent: float | None = None
    celsius: float | None = None
    status: int | None = None
    plugged: str | None = None
    faked: bool = False


def read_thermal(text: str) -> Thermal:
    """`dumpsys thermalservice`, of any Android; nothing known where there is no such service."""
    ready = _truth(r"HAL Ready: *(\w+)", text)
    _, live, current = text.partition("Current temperatures from HAL:")
    shown = current if live else text
    found = [*_TEMPERATURE.finditer(shown), *_OLD_TEMPERATURE.finditer(shown)]
    temperatures = [temperature for match in found if (temperature := _temperature(match))]
    cooling = [
        Cooling(name=name, of_cpu=kind == str(_CPU_COOLING), level=whole)
        for level, kind, name in _COOLING.findall(shown)
        if (whole := whole_number(level)) is not None
    ]
    # Without the hardware layer only old values are left.
    usable = ready is not False
    return Thermal(
        status=_number(r"Thermal Status: *(\d+)", text),
        overridden=_truth(r"IsStatusOverride: *(\w+)", text) is True,
        ready=ready,
        temperatures=tuple(temperatures) if usable else (),
        cooling=tuple(cooling) if usable else (),
    )


def read_battery(text: str) -> Battery:
    """`dumpsys battery`."""
    level, scale = _number(r"^ *level: *(\d+)", text), _number(r"^ *scale: *(\d+)", text)
    tenths = _number(r"^ *temperature: *(-?\d+)", text)
    powered = {
        name: _truth(rf"^ *{name} powered: *(\w+)", text) for name in _PLUGS
    }  # Dock since Android 12
    plugged = next((_PLUGS[name] for name, on in powered.items() if on), None)
    if plugged is None and False in powered.values():
        plugged = ""
    return Battery(
        percent=None if level is None else level * PERCENT / (scale or PERCENT),
        celsius=None if tenths is None else tenths / TENTHS_OF_DEGREES,
        status=_number(r"^ *status: *(\d+)", text),
        plugged=plugged,
        faked="UPDATES STOPPED" in text,
    )


def read_awake(text: str) -> bool | None:
    """`dumpsys power`: whether the phone is awake; None where it does not say."""
    match = re.search(r"^ *mWakefulness=(\w+)", text, flags=re.MULTILINE)
    return match[1] == "Awake" if match else None


def plausible(celsius: float) -> bool:
    """Whether a sensor with this value exists."""
    low, high = PLAUSIBLE_C
    return low <= celsius <= high


def whole_number(text: str) -> int | None:
    """Decimal digits with or without a sign as a number; None for anything else."""
    # Not int() alone: that takes 1_0, other digits, and refuses very long numbers with an error.
    return int(text) if re.fullmatch(r"-?[0-9]{1,18}", text.strip()) else None


def _temperature(match: re.Match[str]) -> Temperature | None:
    try:
        celsius = float(match["value"])
    except ValueError:
        return None
    kind, status = whole_number(match["kind"]), whole_number(match["status"])
    if kind is None or status is None or not math.isfinite(celsius):
        return None
    return Temperature(
        name=match["name"], kind=_KINDS.get(kind, "other"), celsius=celsius, status=status
    )


def _number(pattern: str, text: str) -> int | None:
    match = re.search(pattern, text, flags=re.MULTILINE)
    return whole_number(match[1]) if match else None


def _truth(pattern: str, text: str) -> bool | None:
    match = re.search(pattern, text, flags=re.MULTILINE)
    return {"true": True, "false": False}.get(match[1]) if match else None
