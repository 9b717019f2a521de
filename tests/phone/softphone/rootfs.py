"""The phone's file system as a folder: what the jail then makes the root."""

import json
import shutil
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from softphone.models import Phone
from softphone.world import opps, temperatures

HERE = Path(__file__).parent
SHARED = ("usr", "lib", "lib32", "lib64", "libx32")
"""Of the computer, shown in the phone for its interpreters and libraries."""
FAKES = (
    "cpuinfo", "uptime", "stat", "loadavg", "meminfo", "version", "sys/kernel/random/boot_id",
)  # fmt: skip
TOOLS = [
    "awk",
    "base64",
    "basename",
    "cat",
    "chmod",
    "cmp",
    "comm",
    "cp",
    "cut",
    "date",
    "dd",
    "df",
    "diff",
    "dirname",
    "du",
    "echo",
    "env",
    "expr",
    "false",
    "find",
    "getconf",
    "gzip",
    "gunzip",
    "head",
    "hostname",
    "id",
    "kill",
    "ln",
    "ls",
    "lsof",
    "md5sum",
    "mkdir",
    "mkfifo",
    "mktemp",
    "mv",
    "nice",
    "nohup",
    "nproc",
    "od",
    "paste",
    "pgrep",
    "pkill",
    "printenv",
    "printf",
    "ps",
    "pwd",
    "readlink",
    "realpath",
    "rm",
    "rmdir",
    "sed",
    "seq",
    "setsid",
    "sha1sum",
    "sha256sum",
    "sleep",
    "sort",
    "split",
    "stat",
    "stty",
    "sync",
    "tail",
    "tar",
    "tee",
    "test",
    "time",
    "timeout",
    "touch",
    "tr",
    "true",
    "truncate",
    "tty",
    "uname",
    "uniq",
    "uptime",
    "wc",
    "which",
    "xargs",
    "xxd",
    "yes",
]
_FOLDERS = (
    "system/bin", "vendor/bin", "product/bin", "data/local/tmp", "sdcard", "proc", "dev/pts", "etc",
    "sys/class/thermal", "sys/devices/system/cpu", "tmp",
    ".phone/prop", ".phone/battery", ".phone/power", ".phone/thermal", ".phone/running",
    ".phone/affinity", ".phone/real", ".phone/proc/sys/kernel/random",
    ".phone/settings/global", ".phone/settings/system", ".phone/settings/secure",
)  # fmt: skip


@cache
def _toybox() -> tuple[str, frozenset[str]]:
    """Where Android's tools are on this computer, and which of them."""
    found = shutil.which("toybox")
    if not found:
        return "", frozenset()
    listed = subprocess.run([found], capture_output=True, text=True, check=True).stdout
    return found, frozenset(listed.split())


def shell_program() -> str:
    """Android's own shell where it is installed, else this computer's."""
    return shutil.which("mksh") or str(Path("/bin/sh").resolve())


def build(root: Path, phone: Phone, *, serial: str, rooted: bool, standin: Sequence[str]) -> None:
    """Make the folder.

    Args:
        root: an empty folder.
        phone: its model.
        serial: what the phone says its serial number is.
        rooted: a userdebug build.
        standin: the command that runs models.
    """
    for name in _FOLDERS:
        (root / name).mkdir(parents=True)
    for name, target in (("bin", "system/bin"), ("sbin", "system/bin"), ("d", "sys")):
        (root / name).symlink_to(target)
    for name in SHARED:
        place = Path("/") / name
        if place.is_symlink():
            (root / name).symlink_to(place.readlink())
    (root / "etc/passwd").write_text(
        "root::0:0:root:/:/system/bin/sh\nshell:x:2000:2000:shell:/:\n"
    )
    (root / "etc/group").write_text("root:x:0:\nshell:x:2000:\n")
    _commands(root, rooted=rooted, standin=standin)
    _state(root, phone, serial=serial, rooted=rooted)
    _proc(root, phone)
    _cpus(root, phone, rooted=rooted)
    _thermal_zones(root, phone)


def _commands(root: Path, *, rooted: bool, standin: Sequence[str]) -> None:
    bin_folder = root / "system/bin"
    (bin_folder / "sh").symlink_to(shell_program())
    for script in (HERE / "commands").iterdir():
        if script.name != "su" or rooted:
            _program(bin_folder / script.name, script.read_text())
    quoted = " ".join(f"'{word}'" for word in standin)
    _program(bin_folder / "benchmark_standin", f'#!/system/bin/sh\nexec {quoted} "$@"\n')
    toybox, known = _toybox()
    for name in TOOLS:
        source = toybox if name in known else shutil.which(name)
        if source and not (bin_folder / name).exists():
            (bin_folder / name).symlink_to(source)
    (root / ".phone/real/grep").symlink_to(toybox if "grep" in known else str(shutil.which("grep")))


def _program(path: Path, text: str) -> None:
    # Never through a link: those beside it lead to the computer's own programs.
    with path.open("x") as file:
        file.write(text)
    path.chmod(0o755)


def _state(root: Path, phone: Phone, *, serial: str, rooted: bool) -> None:
    state = root / ".phone"
    properties = {**phone.properties, "ro.serialno": serial}
    if rooted:
        properties |= {"ro.build.type": "userdebug", "ro.debuggable": "1"}
    for name, value in properties.items():
        (state / "prop" / name).write_text(f"{value}\n")
    for space, keys in phone.settings.items():
        for name, value in keys.items():
            (state / "settings" / space / name).write_text(f"{value}\n")
    for name, value in (("usb", "true"), ("status", "2"), ("level", "93"), ("temperature", "271")):
        (state / "battery" / name).write_text(f"{value}\n")
    (state / "power/wakefulness").write_text("Asleep\n")
    (state / "thermal/status").write_text("0\n")
    (state / "thermal/temperatures").write_text(temperatures(phone.sensors))
    (state / "thermal/cooling").write_text(
        "".join(
            f"\tCoolingDevice{{mValue=0, mType=2, mName=thermal-cpufreq-{number}}}\n"
            for number in range(len(phone.policies))
        )
    )
    if phone.fixed_performance:
        (state / "fixed_performance").touch()
    (state / "online_mask").write_text(f"{(1 << phone.cores) - 1:x}\n")
    (state / "world.json").touch()
    (state / "rules.json").write_text("[]")
    (state / "model").write_text(phone.key)


def _proc(root: Path, phone: Phone) -> None:
    proc = root / ".phone/proc"
    blocks = []
    for policy in phone.policies:
        for cpu in policy.cpus:
            blocks.append(
                f"processor\t: {cpu}\nBogoMIPS\t: 49.15\n"
                "Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp\n"
                f"CPU implementer\t: 0x{policy.midr >> 24:x}\nCPU architecture: 8\n"
                f"CPU variant\t: 0x{policy.midr >> 20 & 15:x}\n"
                f"CPU part\t: 0x{policy.midr >> 4 & 0xFFF:03x}\n"
                f"CPU revision\t: {policy.midr & 15}\n"
            )
    (proc / "cpuinfo").write_text("\n".join(blocks))
    (proc / "uptime").write_text("0.00 0.00\n")
    (proc / "stat").write_text("cpu  0 0 0 0 0 0 0 0 0 0\n")
    (proc / "loadavg").write_text("0.42 0.40 0.38 1/1200 4321\n")
    (proc / "version").write_text(f"Linux version {phone.kernel} (build@host)\n")
    free = phone.memory_kib // 2
    (proc / "meminfo").write_text(
        f"MemTotal:       {phone.memory_kib:8} kB\nMemFree:        {free // 2:8} kB\n"
        f"MemAvailable:   {free:8} kB\n"
    )
    (proc / "sys/kernel/random/boot_id").write_text("\n")


def _cpus(root: Path, phone: Phone, *, rooted: bool) -> None:
    cpu_folder = root / "sys/devices/system/cpu"
    everything = f"0-{phone.cores - 1}\n"
    settable = 0o666 if rooted else 0o444
    for name in ("possible", "present", "online"):
        _file(cpu_folder / name, everything)
    for policy in phone.policies:
        folder = cpu_folder / "cpufreq" / policy.name
        numbers = " ".join(map(str, policy.cpus)) + "\n"
        _file(folder / "related_cpus", numbers)
        _file(folder / "affected_cpus", numbers)
        _file(folder / "scaling_available_frequencies", " ".join(map(str, opps(policy))) + "\n")
        _file(folder / "scaling_available_governors", f"{phone.governor} performance powersave\n")
        _file(folder / "scaling_governor", f"{phone.governor}\n", settable)
        _file(folder / "cpuinfo_min_freq", f"{policy.min_khz}\n")
        _file(folder / "cpuinfo_max_freq", f"{policy.max_khz}\n")
        _file(folder / "scaling_min_freq", f"{policy.min_khz}\n", settable)
        _file(folder / "scaling_max_freq", f"{policy.max_khz}\n", settable)
        _file(folder / "scaling_cur_freq", f"{policy.min_khz}\n")
        _file(folder / "stats/time_in_state", "")
        for cpu in policy.cpus:
            own = cpu_folder / f"cpu{cpu}"
            own.mkdir()
            (own / "cpufreq").symlink_to(f"../cpufreq/{policy.name}")
            _file(own / "online", "1\n")
            _file(own / "regs/identification/midr_el1", f"0x{policy.midr:016x}\n")
            if phone.says_capacity:
                _file(own / "cpu_capacity", f"{policy.capacity}\n")


def _thermal_zones(root: Path, phone: Phone) -> None:
    thermal = root / "sys/class/thermal"
    for number, sensor in enumerate(phone.sensors):
        _file(thermal / f"thermal_zone{number}/type", f"{sensor.name}\n")
        _file(thermal / f"thermal_zone{number}/temp", f"{int(sensor.celsius * 1000)}\n")
    for number in range(len(phone.policies)):
        _file(thermal / f"cooling_device{number}/type", f"thermal-cpufreq-{number}\n")
        _file(thermal / f"cooling_device{number}/cur_state", "0\n")
    if not phone.shows_thermal_zones:
        thermal.chmod(0)


def _file(path: Path, content: str, mode: int = 0o444) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    path.chmod(mode)


def write_config(path: Path, **values: object) -> None:
    """What the daemon is told."""
    path.write_text(json.dumps(values))
