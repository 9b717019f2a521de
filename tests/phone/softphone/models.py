"""The phones there are: what each says about itself.

Clusters, clocks and names are those of real phones (Linux device trees and the dumps kept by
pytorch/cpuinfo); the rest is what such a phone would plausibly say.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Policy:
    """Cores that share one clock.

    Attributes:
        cpus: their numbers.
        max_khz, min_khz: limits of the hardware.
        midr: identification register.
        capacity: 1024 for the fastest core of the phone.
    """

    cpus: tuple[int, ...]
    max_khz: int
    min_khz: int
    midr: int
    capacity: int

    @property
    def name(self) -> str:
        """Its folder."""
        return f"policy{self.cpus[0]}"


@dataclass(frozen=True, kw_only=True)
class Sensor:
    """A thermal sensor: kind is 0 CPU, 1 GPU, 2 battery, 3 skin, -1 unknown."""

    name: str
    kind: int
    celsius: float


@dataclass(frozen=True, kw_only=True)
class Phone:
    """One model of phone.

    Attributes:
        key: how tests name it.
        properties: what getprop says.
        policies: clusters, slowest first.
        sensors: what the thermal service knows.
        governor: of every policy.
        says_capacity: the kernel has `cpu_capacity`.
        shows_thermal_zones: the shell may read /sys/class/thermal.
        fixed_performance: `cmd power set-fixed-performance-mode-enabled` works.
        memory_kib: installed.
        kernel: as in uname.
    """

    key: str
    properties: Mapping[str, str]
    policies: tuple[Policy, ...]
    sensors: tuple[Sensor, ...]
    governor: str
    says_capacity: bool
    shows_thermal_zones: bool
    fixed_performance: bool
    memory_kib: int
    kernel: str
    settings: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @property
    def cores(self) -> int:
        """How many."""
        return sum(len(policy.cpus) for policy in self.policies)

    @property
    def api(self) -> int:
        """Android API level."""
        return int(self.properties["ro.build.version.sdk"])


def _properties(
    *, model: str, device: str, platform: str, release: str, api: int, patch: str, build: str,
    soc: tuple[str, str] | None,
) -> dict[str, str]:  # fmt: skip
    found = {
        "ro.product.manufacturer": "Google",
        "ro.product.brand": "google",
        "ro.product.model": model,
        "ro.product.name": device,
        "ro.product.device": device,
        "ro.board.platform": platform,
        "ro.hardware": device,
        "ro.build.id": build,
        "ro.build.fingerprint": f"google/{device}/{device}:{release}/{build}/1:user/release-keys",
        "ro.build.type": "user",
        "ro.build.tags": "release-keys",
        "ro.build.version.release": release,
        "ro.build.version.sdk": str(api),
        "ro.build.version.security_patch": patch,
        "ro.product.cpu.abi": "arm64-v8a",
        "ro.product.cpu.abilist": "arm64-v8a,armeabi-v7a,armeabi",
        "sys.boot_completed": "1",
        "dev.bootcomplete": "1",
        "ro.debuggable": "0",
        "ro.secure": "1",
        "persist.sys.timezone": "Europe/Zurich",
        # What sets this phone apart from a real one; nothing else does.
        "ro.boot.software_phone": "1",
    }
    if soc:
        found["ro.soc.manufacturer"], found["ro.soc.model"] = soc
    return found


SETTINGS = {
    "global": {
        "airplane_mode_on": "0", "low_power": "0", "stay_on_while_plugged_in": "0",
        "wifi_on": "1", "bluetooth_on": "1", "adb_enabled": "1",
        "development_settings_enabled": "1",
    },
    "system": {
        "screen_brightness": "102", "screen_brightness_mode": "1", "screen_off_timeout": "30000",
    },
    "secure": {"adaptive_sleep": "0"},
}  # fmt: skip

PIXEL_1 = Phone(
    key="pixel-1",
    properties=_properties(
        model="Pixel", device="sailfish", platform="msm8996", release="10", api=29,
        patch="2019-10-06", build="QP1A.191005.007.A3", soc=None,
    ),
    policies=(
        Policy(cpus=(0, 1), max_khz=1593600, min_khz=307200, midr=0x511F2112, capacity=600),
        Policy(cpus=(2, 3), max_khz=2150400, min_khz=307200, midr=0x511F2052, capacity=1024),
    ),
    sensors=(
        Sensor(name="cpu0-silver-usr", kind=0, celsius=31.0),
        Sensor(name="cpu2-gold-usr", kind=0, celsius=32.0),
        Sensor(name="gpu", kind=1, celsius=30.0),
        Sensor(name="battery", kind=2, celsius=27.1),
        Sensor(name="fps-therm-adc", kind=3, celsius=28.0),
    ),
    governor="sched",
    says_capacity=False,
    shows_thermal_zones=True,
    fixed_performance=False,
    memory_kib=3_870_000,
    kernel="3.18.137-g72a7a64dbf5f",
    settings=SETTINGS,
)  # fmt: skip

PIXEL_8 = Phone(
    key="pixel-8",
    properties=_properties(
        model="Pixel 8", device="shiba", platform="zuma", release="15", api=35,
        patch="2024-12-05", build="AP4A.241205.013", soc=("Google", "Tensor G3"),
    ),
    policies=(
        Policy(cpus=(0, 1, 2, 3), max_khz=1704000, min_khz=324000, midr=0x410FD461, capacity=187),
        Policy(cpus=(4, 5, 6, 7), max_khz=2367000, min_khz=402000, midr=0x411FD4D0, capacity=595),
        Policy(cpus=(8,), max_khz=2914000, min_khz=500000, midr=0x411FD4E0, capacity=1024),
    ),
    sensors=(
        Sensor(name="LITTLE", kind=0, celsius=31.0),
        Sensor(name="MID", kind=0, celsius=32.0),
        Sensor(name="BIG", kind=0, celsius=33.0),
        Sensor(name="G3D", kind=1, celsius=30.0),
        Sensor(name="battery", kind=2, celsius=27.1),
        Sensor(name="VIRTUAL-SKIN", kind=3, celsius=28.0),
        Sensor(name="VIRTUAL-SKIN-CPU-LIGHT-ODPM", kind=-1, celsius=28.0),
    ),
    governor="sched_pixel",
    says_capacity=True,
    shows_thermal_zones=False,
    fixed_performance=True,
    memory_kib=7_740_000,
    kernel="5.15.148-android14-11-g0e5f3d4b8d4d-ab12438236",
    settings=SETTINGS,
)  # fmt: skip

PHONES = {phone.key: phone for phone in (PIXEL_1, PIXEL_8)}
