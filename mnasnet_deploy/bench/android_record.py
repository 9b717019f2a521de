"""What a phone said, in the words of a record."""

from collections.abc import Collection
from typing import Final

from mnasnet_deploy.bench.android_state import PhoneState
from mnasnet_deploy.bench.clock_policies import Policy
from mnasnet_deploy.bench.dumpsys import plausible
from mnasnet_deploy.results.record import Conditions, DeviceInfo

__all__ = ["device_info", "phone_name", "processor_name", "to_conditions"]

SOFTWARE_MARK: Final = "(software phone)"
_SHOWN_SETTINGS: Final = (
    "airplane_mode_on", "wifi_on", "bluetooth_on", "low_power", "screen_brightness",
    "screen_brightness_mode", "stay_on_while_plugged_in",
)  # fmt: skip
_CHARGING: Final = {2: "charging", 3: "discharging", 4: "not charging", 5: "full"}


def device_info(state: PhoneState, runtime: str, runtime_sha256: str) -> DeviceInfo:
    """What was measured on; never a serial number.

    Args:
        state: of the phone.
        runtime: what runs the model, with version (`benchmark_model 2.19.0`).
        runtime_sha256: of the benchmark binary.
    """
    release = state.props.get("ro.build.version.release", "")
    level = f" (API {state.api})" if state.api is not None else ""
    return DeviceInfo(
        kind="software-phone" if state.is_software else "android",
        name=phone_name(state),
        os=f"Android {release}{level}" if release else "Android",
        cpu=processor_name(state),
        cores=len(state.present_cpus) or len(state.cores),
        memory_mib=state.memory_mib,
        runtime=runtime,
        runtime_sha256=runtime_sha256,
        build=state.props.get("ro.build.fingerprint", ""),
    )


def phone_name(state: PhoneState) -> str:
    """As a column head: `Pixel 8`, `Samsung SM-G960F`; a software phone says so."""
    maker = state.props.get("ro.product.manufacturer", "")
    model = state.props.get("ro.product.model", "") or state.props.get("ro.product.device", "")
    if maker and maker != "Google" and not model.lower().startswith(maker.lower()):
        model = f"{maker[:1].upper()}{maker[1:]} {model}".rstrip()
    name = model or "unnamed phone"
    return f"{name} {SOFTWARE_MARK}" if state.is_software else name


def processor_name(state: PhoneState) -> str:
    """Its SoC: `Google Tensor G3`, or the platform's name where it does not say (Android < 12)."""
    words = (state.props.get(f"ro.soc.{word}", "") for word in ("manufacturer", "model"))
    return " ".join(word for word in words if word) or state.props.get("ro.board.platform", "")


def to_conditions(state: PhoneState, cpus: Collection[int], time: str) -> Conditions:
    """The state in the form a record keeps.

    Args:
        state: of the phone.
        cpus: that are measured on; their clocks count.
        time: when it was read, UTC, ISO 8601.
    """
    policies = [policy for policy in state.policies if policy.used_by(cpus)]
    # Of several clocks the one that is held back most.
    worst = min(policies, key=_allowed_share, default=None)
    zones = [celsius for celsius in state.zones_c.values() if plausible(celsius)]
    hottest = [*zones, *filter(None, (state.thermal.hottest(), state.battery.celsius))]
    return Conditions(
        time=time,
        clock_mhz=max((p.cur_mhz for p in policies if p.cur_mhz is not None), default=None),
        clock_limit_mhz=worst.scaling_max_mhz if worst else None,
        clock_max_mhz=worst.max_mhz if worst else None,
        governor=" ".join(sorted({p.governor for p in policies if p.governor})) or None,
        temperature_c=max(hottest, default=None),
        load=state.busy,
        battery_percent=state.battery.percent,
        thermal_status=state.thermal.status,
        facts=tuple(_facts(state)),
        raw=state.raw,
    )


def _allowed_share(policy: Policy) -> float:
    if policy.scaling_max_mhz is None or policy.max_mhz is None:
        return 2.0  # says nothing, so any that does comes first
    return policy.scaling_max_mhz / policy.max_mhz


def _facts(state: PhoneState) -> list[str]:
    facts = []
    if (skin := state.thermal.hottest("skin")) is not None:
        facts.append(f"skin {skin:.1f} °C")
    if not state.thermal.ready:
        facts.append("the phone does not say whether it throttles")
    battery = state.battery
    if battery.celsius is not None:
        facts.append(f"battery {battery.celsius:.1f} °C")
    if battery.plugged is not None:
        power = f"plugged in ({battery.plugged})" if battery.plugged else "not plugged in"
        charging = _CHARGING.get(battery.status or 0, "")
        facts.append(f"{power}, {charging}" if charging else power)
    if state.awake is not None:
        facts.append(f"screen {'on' if state.awake else 'off'}")
    facts += [f"{key} {state.settings[key]}" for key in _SHOWN_SETTINGS if key in state.settings]
    if state.uptime_s is not None:
        facts.append(f"up for {state.uptime_s / 3600:.1f} h")
    return facts
