"""CPUs that share a clock (cpufreq policies): the shell that reads them, and what it printed.

Source of the files: the kernel's admin-guide/pm/cpufreq and cpu-freq/cpufreq-stats.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from mnasnet_deploy.bench.dumpsys import whole_number

__all__ = ["READ_CLOCKS", "Policy", "read_cpus", "read_policies", "read_values"]

KHZ_PER_MHZ: Final = 1e3
MS_PER_UNIT: Final = 10.0
"""`time_in_state` counts in units of 10 ms."""
MAX_CPUS: Final = 1024

_FILES: Final = (
    "related_cpus", "scaling_governor", "cpuinfo_min_freq", "cpuinfo_max_freq", "scaling_min_freq",
    "scaling_max_freq", "scaling_cur_freq",
)  # fmt: skip

READ_CLOCKS: Final = rf"""mc=/sys/devices/system/cpu
mr(){{ mv=; {{ read -r mv < "$1"; }} 2>/dev/null; echo "$2=$mv"; }}
mclocks(){{ set -- $mc/cpufreq/policy*; [ -d "$1" ] || set -- $mc/cpu[0-9]*/cpufreq
for md; do [ -d "$md" ] || continue; mk=${{md#$mc/}}
for mf in {" ".join(_FILES)}; do mr $md/$mf $mk/$mf; done
mt=; {{ while read -r ma mb; do mt="$mt$ma:$mb "; done < $md/stats/time_in_state; }} 2>/dev/null
echo "$mk/time_in_state=$mt"; done; }}
"""
"""Shell functions `mr FILE NAME`, which prints NAME=first line, and `mclocks`, for every policy.

Builtins only, so that reading starts no process. A kernel without policy folders (3.18) says it of
every CPU; `read_policies` takes each group once.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """CPUs that share a clock; None where the phone does not say.

    Attributes:
        cpus: their numbers, ascending.
        governor: what chooses the clock.
        min_mhz, max_mhz: limits of the hardware.
        scaling_min_mhz, scaling_max_mhz: limits in force now.
        cur_mhz: what was asked of the hardware last.
        time_in_state: pairs of a clock in MHz and the time at it since boot in ms.
    """

    cpus: tuple[int, ...]
    governor: str | None = None
    min_mhz: float | None = None
    max_mhz: float | None = None
    scaling_min_mhz: float | None = None
    scaling_max_mhz: float | None = None
    cur_mhz: float | None = None
    time_in_state: tuple[tuple[float, float], ...] = ()

    @property
    def capped(self) -> bool:
        """Whether less is allowed than the hardware could do."""
        limit, most = self.scaling_max_mhz, self.max_mhz
        return limit is not None and most is not None and limit < most

    def used_by(self, cpus: Collection[int]) -> bool:
        """Whether any of these CPUs has this clock."""
        return not set(self.cpus).isdisjoint(cpus)


def read_values(lines: Iterable[str]) -> dict[str, str]:
    """`name=value` lines; of a name that comes twice, the last, and other lines are left out."""
    pairs = (line.partition("=") for line in lines)
    return {name.strip(): value.strip() for name, equals, value in pairs if equals}


def read_policies(values: Mapping[str, str]) -> tuple[Policy, ...]:
    """What `mclocks` printed, by the lowest CPU; a policy without CPUs is left out."""
    folders: dict[str, dict[str, str]] = {}
    for name, value in values.items():
        folder, slash, file = name.rpartition("/")
        if slash and re.fullmatch(r"(cpufreq/policy|cpu)[0-9]+(/cpufreq)?", folder):
            folders.setdefault(folder, {})[file] = value
    found: dict[tuple[int, ...], Policy] = {}
    for folder, files in folders.items():
        own = re.search(r"[0-9]+", folder)
        # Where no CPU is listed it is at least the one the folder is named for.
        cpus = read_cpus(files.get("related_cpus", "")) or read_cpus(own[0] if own else "")
        if cpus and cpus not in found:
            found[cpus] = Policy(
                cpus=cpus,
                governor=files.get("scaling_governor") or None,
                min_mhz=_mhz(files, "cpuinfo_min_freq"),
                max_mhz=_mhz(files, "cpuinfo_max_freq"),
                scaling_min_mhz=_mhz(files, "scaling_min_freq"),
                scaling_max_mhz=_mhz(files, "scaling_max_freq"),
                cur_mhz=_mhz(files, "scaling_cur_freq"),
                time_in_state=_times(files.get("time_in_state", "")),
            )
    return tuple(found[cpus] for cpus in sorted(found))


def read_cpus(text: str) -> tuple[int, ...]:
    """`0-3,7` or `0 1 2 3 7` as numbers, ascending; empty where that is not what it is."""
    found: set[int] = set()
    for part in re.split(r"[,\s]+", text.strip()):
        first, dash, last = part.partition("-")
        low, high = whole_number(first), whole_number(last if dash else first)
        if low is None or high is None or not 0 <= low <= high < MAX_CPUS:
            return ()
        found.update(range(low, high + 1))
    return tuple(sorted(found))


def _mhz(files: Mapping[str, str], name: str) -> float | None:
    khz = whole_number(files.get(name, ""))
    return khz / KHZ_PER_MHZ if khz is not None and khz > 0 else None


def _times(text: str) -> tuple[tuple[float, float], ...]:
    found = []
    for pair in text.split():
        clock, _, units = pair.partition(":")
        khz, count = whole_number(clock), whole_number(units)
        if khz is None or count is None or khz <= 0 or count < 0:
            return ()
        found.append((khz / KHZ_PER_MHZ, count * MS_PER_UNIT))
    return tuple(found)
