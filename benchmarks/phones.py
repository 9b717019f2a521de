"""The row about phones: what a campaign costs beyond the runs of the program that it is made of.

Measured on a software phone, which runs models on this computer; needs Linux and the parts that
`tests/phone/README.md` names.
"""

import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from measure import run_command, say
from rows import FULL, HERE, MNASNET, Plan, Row

from mnasnet_deploy.results import store
from mnasnet_deploy.results.record import Record

sys.path.insert(0, str(HERE.parent / "tests" / "phone"))

from softphone.rig import Rig, missing_parts

MULTIPLIERS = ("0.35", "0.5")
RESOLUTIONS = ("96", "128", "160", "192", "224")
BY_HAND = 2
COUNTING = """\
#!/bin/sh
case "$*" in
*" push "*) echo push ;;
*--num_runs={runs}*) echo launch ;;
*) echo other ;;
esac >> '{log}'
exec '{adb}' "$@"
"""
"""An adb that counts what it is called for. Launches alone ask for so many runs."""


def phones(plan: Plan) -> Iterator[Row]:
    """A campaign of ten networks on one phone against the same runs typed by hand."""
    if missing := missing_parts("pip-adb", "namespaces"):
        say(f"  left out: {'; '.join(map(str, missing))}")
        return
    launches = ["--max-launches", "10"]
    if plan != FULL:
        launches = ["--launches", "2", "--max-launches", "2", "--min-seconds", "0.2"]
    multipliers, resolutions = (
        (MULTIPLIERS, RESOLUTIONS) if plan == FULL else (MULTIPLIERS[:1], RESOLUTIONS[:2])
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        export: list[str | Path] = [MNASNET, "export", "--weights", "random"]
        export += [word for each in multipliers for word in ("--multiplier", each)]
        export += [word for each in resolutions for word in ("--res", each)]
        run_command(export, folder)
        with _rig(folder / "rig") as rig:
            phone = rig.phone("pixel-8")
            campaign = [MNASNET, "bench", "--device", "adb", "--ambient", "21", *launches]
            campaign += ["--benchmark-binary", rig.benchmark_binary()]
            whole_s, first = _counted(campaign, folder, rig)
            records = store.load(folder / "results").records
            hand_s = sum(_by_hand(rig, phone.serial, record) for record in records)
            short = [*campaign, "--launches", "1", "--max-launches", "1", "--results", "again"]
            _, second = _counted(short, folder, rig)
    count = sum(len(record.launches) for record in records)
    share = (whole_s - hand_s) / whole_s
    yield Row(
        work=f"campaign of {len(records)} networks on a software phone, {count} launches, whole "
        "command",
        ours=f"{whole_s:.0f} s",
        against="the same runs of benchmark_model by hand, `adb shell`, with no state read",
        theirs=f"{hand_s:.0f} s",
        result=f"{share:.1%} on top",
        reach="below 5 %",
        met=share < 0.05,
    )
    files = 2 * len(records) + 1  # each network, an image of its size, the program
    yield Row(
        work="adb calls of that campaign: for launches, for pushes, pushes of a second campaign",
        ours=f"{first['launch']}, {first['push']}, {second['push']}",
        against="launches, files at most, none",
        theirs=f"{count}, {files}, 0",
        result="",
        reach="no more",
        met=first["launch"] == count and first["push"] <= files and second["push"] == 0,
    )


def _rig(folder: Path) -> AbstractContextManager[Any]:
    return Rig(folder)


def _counted(command: Sequence[str | Path], folder: Path, rig: Any) -> tuple[float, Counter[str]]:
    """Seconds of a bench, and what it called adb for."""
    log, adb = folder / "calls.log", folder / "adb"
    log.write_text("")
    adb.write_text(COUNTING.format(runs=50, log=log, adb=rig.adb_path))
    adb.chmod(0o755)
    start = time.perf_counter()
    done = subprocess.run(
        command, cwd=folder, env={**rig.environment, "ADB": str(adb)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    seconds = time.perf_counter() - start
    if done.returncode:
        raise SystemExit(f"{' '.join(map(os.fspath, command))}\n{done.stderr}")
    return seconds, Counter(log.read_text().split())


def _by_hand(rig: Any, serial: str, record: Record) -> float:
    """Seconds of a record's runs as a person would type them: its answer, operators, launches."""
    launch = record.command
    short = re.sub(r"(--(?:warmup_)?min_secs)=\S+", r"\1=0", launch)
    short = re.sub(r"--warmup_runs=\S+", "--warmup_runs=1", short)
    answer, operators = (re.sub(r"--num_runs=\S+", f"--num_runs={n}", short) for n in (3, 10))
    profiled = f"{operators} --enable_op_profiling=true"
    return (
        _typed(rig, serial, record, answer)
        + _typed(rig, serial, record, profiled)
        + len(record.launches) * _typed(rig, serial, record, launch)
    )


def _typed(rig: Any, serial: str, record: Record, command: str) -> float:
    """Mean seconds of a command in `adb shell`, on the same CPUs."""
    mask = sum(1 << cpu for cpu in record.settings.cpus)
    script = f"cd /data/local/tmp && taskset {mask:x} {command}"
    times = []
    for _ in range(BY_HAND):
        start = time.perf_counter()
        done = rig.adb("-s", serial, "shell", script)
        times.append(time.perf_counter() - start)
        if done.code:
            raise SystemExit(f"{script}\n{done.text}")
    return statistics.mean(times)
