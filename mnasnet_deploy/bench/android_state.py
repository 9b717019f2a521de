"""What a phone says of itself: one read-only shell script, and its output as values.

The script needs Android's shell and toybox only, changes nothing and never asks for the serial
number. Whatever a phone does not say is None or empty; only an output that was cut off is an error.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from mnasnet_deploy.bench.clock_policies import (
    READ_CLOCKS,
    Policy,
    read_cpus,
    read_policies,
    read_values,
)
from mnasnet_deploy.bench.dumpsys import (
    Battery,
    Cooling,
    Thermal,
    read_awake,
    read_battery,
    read_thermal,
    whole_number,
)
from mnasnet_deploy.errors import PhoneError

__all__ = ["PREFLIGHT", "Core", "PhoneState", "preflight", "read_preflight"]

END: Final = "@@END rc=0"
KIB_PER_MIB: Final = 1024
_PROPERTIES: Final = (
    "ro.product.manufacturer", "ro.product.model", "ro.product.device", "ro.board.platform",
    "ro.soc.manufacturer", "ro.soc.model", "ro.build.fingerprint", "ro.build.type",
    "ro.build.version.release", "ro.build.version.sdk", "ro.build.version.security_patch",
    "ro.product.cpu.abi", "ro.product.cpu.abilist", "ro.kernel.qemu", "ro.boot.qemu",
    "sys.boot_completed", "ro.boot.software_phone",
)  # fmt: skip
_SETTINGS: Final = {
    "global": (
        "airplane_mode_on", "low_power", "stay_on_while_plugged_in", "wifi_on", "bluetooth_on",
    ),
    "system": ("screen_brightness", "screen_brightness_mode", "screen_off_timeout"),
}  # fmt: skip


def preflight(busy_window_s: float = 0.0) -> str:
    """The script; a `busy_window_s` above 0 makes it watch the load of the CPUs for so long."""
    stat = "mr /proc/stat stat.{}\n"
    watch = f"{stat.format(0)}sleep {busy_window_s:g}\n{stat.format(1)}" if busy_window_s else ""
    settings = "".join(
        f"settings list {space} | grep -E '^({'|'.join(keys)})='\n"
        for space, keys in _SETTINGS.items()
    )
    # One string on a command line: phones without shell_v2 take 4096 bytes.
    return f"""{READ_CLOCKS}{watch}for k in {" ".join(_PROPERTIES)}
do echo "prop.$k=$(getprop $k)"; done
mr /proc/sys/kernel/random/boot_id boot_id
mr /proc/uptime uptime
echo "kernel=$(uname -a)"
mr /proc/self/cpuset cpuset
echo "allowed=$(grep Cpus_allowed_list /proc/self/status)"
for f in possible present online; do mr $mc/$f cpu.$f; done
mclocks
for d in $mc/cpu[0-9]*; do [ -d $d ] || continue; k=core.${{d#$mc/cpu}}
mr $d/cpu_capacity $k.capacity; mr $d/cpufreq/cpuinfo_max_freq $k.max
mr $d/regs/identification/midr_el1 $k.midr; done
for z in /sys/class/thermal/*; do [ -r $z/type ] && read -r t < $z/type || continue
[ -r $z/temp ] && mr $z/temp "zone.$t"
[ -r $z/cur_state ] && mr $z/cur_state "cdev.${{z##*/}}.$t"; done 2>/dev/null
echo "dex2oat=$(pidof dex2oat64 dex2oat32 dex2oat)"
echo "df=$(df -k /data/local/tmp | tail -n 1)"
mr /proc/loadavg load
mr /proc/meminfo memory
echo ==settings
{settings}echo ==cpuinfo
grep -E '^(processor|CPU (implementer|variant|part|revision))' /proc/cpuinfo
echo ==battery
dumpsys battery
echo ==thermal
dumpsys thermalservice
echo ==power
dumpsys power | grep -E 'mWakefulness=|mIsPowered=|mPlugType=|mStayOn='
echo
echo "{END}"
"""


PREFLIGHT: Final = preflight()


@dataclass(frozen=True, slots=True, kw_only=True)
class Core:
    """One CPU; None where the phone does not say.

    Attributes:
        cpu: its number.
        capacity: of the scheduler, 1024 for the fastest core of the phone.
        max_mhz: limit of the hardware.
        midr: identification register of Arm.
    """

    cpu: int
    capacity: int | None = None
    max_mhz: float | None = None
    midr: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PhoneState:
    """What a phone says of itself at one moment; None or empty where it does not.

    Attributes:
        props: system properties by name, of a fixed list without the serial number.
        boot_id: another one after each start.
        uptime_s: since it started.
        kernel: as `uname -a`.
        allowed_cpus: that a shell of adb may use.
        present_cpus, online_cpus: that there are, and that are switched on.
        policies: CPUs that share a clock.
        cores: every CPU.
        thermal: of the thermal service.
        cooling: what throttles, as the kernel says; most phones do not let a shell see it.
        zones_c: sensors the kernel shows, in degrees Celsius by name.
        battery: of the battery service.
        awake: the screen is on.
        settings: by key, of a fixed list.
        free_kib: in /data/local/tmp.
        memory_mib: installed.
        busy: share of all CPUs in use while watched, 0 to 1.
        compiling: Android compiles apps now (dex2oat).
        raw: all it said.
    """

    props: Mapping[str, str]
    boot_id: str
    uptime_s: float | None
    kernel: str
    allowed_cpus: tuple[int, ...]
    present_cpus: tuple[int, ...]
    online_cpus: tuple[int, ...]
    policies: tuple[Policy, ...]
    cores: tuple[Core, ...]
    thermal: Thermal
    cooling: tuple[Cooling, ...]
    zones_c: Mapping[str, float]
    battery: Battery
    awake: bool | None
    settings: Mapping[str, str]
    free_kib: int | None
    memory_mib: int
    busy: float | None
    compiling: bool
    raw: str

    @property
    def is_software(self) -> bool:
        """It is the stand-in of the tests, whose numbers are another computer's."""
        return self.props.get("ro.boot.software_phone") == "1"

    @property
    def api(self) -> int | None:
        """Level of Android's interface: 29 is Android 10, 35 Android 15."""
        return whole_number(self.props.get("ro.build.version.sdk", ""))

    def policies_of(self, cpus: tuple[int, ...]) -> tuple[Policy, ...]:
        """The clocks these CPUs run on."""
        return tuple(policy for policy in self.policies if policy.used_by(cpus))


def read_preflight(out: bytes) -> PhoneState:
    """What the script of `preflight` printed.

    Raises:
        PhoneError: it is not whole.
    """
    text = out.decode(errors="replace").replace("\r\n", "\n").replace("\r", "\n")
    body, end, _ = text.rpartition(END)
    if not end:
        raise PhoneError(
            "the phone broke off while it told its state; look at the cable, then type "
            "'mnasnet doctor'"
        )
    parts = _sections(body)
    values = read_values(parts[""].split("\n"))
    props = {name: value for name in _PROPERTIES if (value := values.get(f"prop.{name}", "")) != ""}
    settings = read_values(parts.get("settings", "").split("\n"))
    return PhoneState(
        props=props,
        boot_id=values.get("boot_id", ""),
        uptime_s=uptime_s(values),
        kernel=values.get("kernel", ""),
        allowed_cpus=read_cpus(values.get("allowed", "").rpartition(":")[2]),
        present_cpus=read_cpus(values.get("cpu.present", "")),
        online_cpus=read_cpus(values.get("cpu.online", "")),
        policies=read_policies(values),
        cores=_cores(values, parts.get("cpuinfo", "")),
        thermal=read_thermal(parts.get("thermal", "")),
        cooling=_cooling(values),
        zones_c=_zones(values),
        battery=read_battery(parts.get("battery", "")),
        awake=read_awake(parts.get("power", "")),
        settings={key: value for key, value in settings.items() if value != "null"},
        free_kib=_free_kib(values.get("df", "")),
        memory_mib=_memory_mib(values.get("memory", "")),
        busy=_busy(values),
        compiling=whole_number(values.get("dex2oat", "").partition(" ")[0]) is not None,
        raw=body,
    )


def uptime_s(values: Mapping[str, str]) -> float | None:
    """The first number of /proc/uptime."""
    match = re.match(r"[0-9]{1,12}(\.[0-9]{1,9})?", values.get("uptime", ""))
    return float(match[0]) if match else None


def _sections(text: str) -> dict[str, str]:
    """The output split at its `==name` lines; what comes first is called by no name."""
    first, *rest = re.split(r"^==([a-z]+)$", text, flags=re.MULTILINE)
    return {"": first, **dict(zip(rest[::2], rest[1::2], strict=True))}


def _cores(values: Mapping[str, str], cpuinfo: str) -> tuple[Core, ...]:
    named = _cpuinfo_midr(cpuinfo)
    numbers = {
        int(match[1]) for name in values if (match := re.match(r"core\.([0-9]{1,3})\.", name))
    }
    cores = []
    for cpu in sorted(numbers):
        khz = whole_number(values.get(f"core.{cpu}.max", ""))
        midr = values.get(f"core.{cpu}.midr", "")
        cores.append(
            Core(
                cpu=cpu,
                capacity=whole_number(values.get(f"core.{cpu}.capacity", "")),
                max_mhz=khz / 1e3 if khz else None,
                midr=int(midr, 16) if re.fullmatch(r"0x[0-9a-f]{1,16}", midr) else named.get(cpu),
            )
        )
    return tuple(cores)


def _cpuinfo_midr(text: str) -> dict[int, int]:
    """Registers put together from /proc/cpuinfo, where old kernels say it."""
    found = {}
    for block in re.split(r"^(?=processor)", text, flags=re.MULTILINE):
        pairs = (line.partition(":") for line in block.split("\n"))
        fields = {name.strip(): value.strip() for name, _, value in pairs}
        cpu = whole_number(fields.get("processor", ""))
        implementer, variant, part = (
            _hexadecimal(fields.get(f"CPU {name}", ""))
            for name in ("implementer", "variant", "part")
        )
        revision = whole_number(fields.get("CPU revision", ""))
        if cpu is None or implementer is None or part is None:
            continue
        # Architecture 15: identified by its own registers, as on every Armv8 core.
        found[cpu] = (
            implementer << 24 | (variant or 0) << 20 | 15 << 16 | part << 4 | (revision or 0)
        )
    return found


def _hexadecimal(text: str) -> int | None:
    return int(text, 16) if re.fullmatch(r"0x[0-9a-fA-F]{1,4}", text) else None


def _cooling(values: Mapping[str, str]) -> tuple[Cooling, ...]:
    found = []
    for name, value in values.items():
        prefix, _, rest = name.partition(".")
        level = whole_number(value)
        if prefix == "cdev" and level is not None:
            kind = rest.partition(".")[2]
            found.append(Cooling(name=kind, of_cpu="cpufreq" in kind, level=level))
    return tuple(found)


def _zones(values: Mapping[str, str]) -> dict[str, float]:
    """Thermal zones: in thousandths of a degree, some old kernels in whole degrees."""
    found = {}
    for name, value in values.items():
        prefix, _, kind = name.partition(".")
        number = whole_number(value)
        if prefix == "zone" and number is not None:
            found[kind] = number / 1e3 if abs(number) >= 1000 else float(number)
    return found


def _free_kib(text: str) -> int | None:
    match = re.search(r"[0-9]+\s+[0-9]+\s+([0-9]+)\s+[0-9]+%", text)
    return whole_number(match[1]) if match else None


def _memory_mib(text: str) -> int:
    match = re.match(r"MemTotal:\s*([0-9]+) kB", text)
    return (whole_number(match[1]) or 0) // KIB_PER_MIB if match else 0


def _busy(values: Mapping[str, str]) -> float | None:
    readings = []
    for name in ("stat.0", "stat.1"):
        words = values.get(name, "").split()
        ticks = [whole_number(word) for word in words[1:9]]
        if words[:1] != ["cpu"] or len(ticks) < 5 or None in ticks:
            return None
        whole = [tick or 0 for tick in ticks]
        readings.append((sum(whole), whole[3] + whole[4]))  # idle, and waiting for a disk
    (before, idle_before), (after, idle_after) = readings
    if after <= before:
        return None
    return min(1.0, max(0.0, 1.0 - (idle_after - idle_before) / (after - before)))
