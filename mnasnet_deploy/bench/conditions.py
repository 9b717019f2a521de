"""What this computer is and what state it is in, as far as the system says without privileges."""

import os
import platform
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path

from mnasnet_deploy.errors import NotReadyError
from mnasnet_deploy.processor import ROOT, cpu_fields, cpu_name, text_of
from mnasnet_deploy.results.record import Conditions, DeviceInfo

__all__ = [
    "RUNTIME",
    "CpuTimes",
    "clock_limit_mhz",
    "cpu_times",
    "device_info",
    "read_conditions",
]

RUNTIME = "ai-edge-litert"
LOAD_WINDOW_S = 0.2
KHZ_PER_MHZ = 1e3
MILLIDEGREES = 1e3
BYTES_PER_MIB = 1024**2
PLAUSIBLE_C = (1.0, 130.0)
"""Sensors that are not there read 0 or a marker far out of this range."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuTimes:
    """Time all CPUs spent since boot, in seconds.

    Attributes:
        busy_s: with anything but idling and waiting for a disk; stolen time counts.
        total_s: altogether.
    """

    busy_s: float
    total_s: float


def device_info(root: Path = ROOT) -> DeviceInfo:
    """Describe this computer; what the system does not say is empty or 0.

    Args:
        root: folder that holds `proc` and `sys`.

    Raises:
        NotReadyError: the runtime is not installed.
    """
    try:
        version = metadata.version(RUNTIME)
    except metadata.PackageNotFoundError:
        raise NotReadyError(
            f"{RUNTIME} is not installed, so no model can run; type 'pip install {RUNTIME}'"
        ) from None
    cpu = cpu_name(root)
    return DeviceInfo(
        kind="host",
        name=cpu,
        os=_os_name(),
        cpu=cpu,
        cores=os.cpu_count() or 0,
        memory_mib=_memory_mib(),
        runtime=f"{RUNTIME} {version}",
    )


def read_conditions(
    cpus: Collection[int], root: Path = ROOT, window_s: float = LOAD_WINDOW_S
) -> Conditions:
    """Read the state of this computer now; None where it does not say.

    Args:
        cpus: the CPUs whose clock counts.
        root: folder that holds `proc` and `sys`.
        window_s: how long to watch the load; this process idles meanwhile.
    """
    before = cpu_times(root)
    time.sleep(window_s)
    after = cpu_times(root)
    load = None
    if before and after and after.total_s > before.total_s:
        # The kernel lets the time spent waiting for a disk go backwards: clip what that leaves.
        share = (after.busy_s - before.busy_s) / (after.total_s - before.total_s)
        load = min(1.0, max(0.0, share))
    folders = _clock_folders(cpus, root)
    clocks = _mhz(folders, "scaling_cur_freq") or _cpuinfo_mhz(root)
    governors = sorted(
        {text for folder in folders if (text := text_of(folder / "scaling_governor"))}
    )
    return Conditions(
        time=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        clock_mhz=max(clocks, default=None),
        clock_limit_mhz=clock_limit_mhz(cpus, root),
        clock_max_mhz=max(_mhz(folders, "cpuinfo_max_freq"), default=None),
        governor=" ".join(governors) or None,
        temperature_c=_temperature_c(root),
        load=load,
    )


def cpu_times(root: Path = ROOT) -> CpuTimes | None:
    """Time all CPUs spent since boot; None where the system does not say."""
    first = text_of(root / "proc/stat").partition("\n")[0].split()
    if first[:1] != ["cpu"]:
        return None
    # user nice system idle iowait irq softirq steal; guest time is part of user time.
    ticks = [int(field) for field in first[1:9]]
    per_second = os.sysconf("SC_CLK_TCK")
    total = sum(ticks)
    return CpuTimes(busy_s=(total - sum(ticks[3:5])) / per_second, total_s=total / per_second)


def clock_limit_mhz(cpus: Collection[int], root: Path = ROOT) -> float | None:
    """The highest clock the governor allows on these CPUs now; None where it does not say."""
    return max(_mhz(_clock_folders(cpus, root), "scaling_max_freq"), default=None)


def _clock_folders(cpus: Collection[int], root: Path) -> list[Path]:
    return [root / f"sys/devices/system/cpu/cpu{cpu}/cpufreq" for cpu in sorted(cpus)]


def _mhz(folders: Iterable[Path], file: str) -> list[float]:
    """A clock of every CPU that says it."""
    texts = (text_of(folder / file) for folder in folders)
    return [int(text) / KHZ_PER_MHZ for text in texts if text.isdigit()]


def _cpuinfo_mhz(root: Path) -> list[float]:
    """Clock of every CPU where there is no cpufreq, as in most virtual machines."""
    return [
        float(value) for value in cpu_fields(root, "cpu MHz") if value.replace(".", "").isdigit()
    ]


def _temperature_c(root: Path) -> float | None:
    """The hottest sensor that can be read and is plausible."""
    files = [
        *root.glob("sys/class/thermal/thermal_zone*/temp"),
        *root.glob("sys/class/hwmon/hwmon*/temp*_input"),
    ]
    degrees = [
        int(text) / MILLIDEGREES for file in files if (text := text_of(file)).lstrip("-").isdigit()
    ]
    low, high = PLAUSIBLE_C
    return max((value for value in degrees if low <= value <= high), default=None)


def _os_name() -> str:
    try:
        name = platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):  # not Linux, or a very small one
        return platform.platform(terse=True)
    return f"{name}, {platform.system()} {platform.release()}"


def _memory_mib() -> int:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // BYTES_PER_MIB
    except (AttributeError, ValueError, OSError):  # Windows has no sysconf
        return 0
