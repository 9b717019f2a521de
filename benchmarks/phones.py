"""The rows about phones: what a campaign costs beyond the runs of the program it is made of.

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
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from measure import run_command, say
from rows import FULL, HERE, MNASNET, Plan, Row

from mnasnet_deploy.bench.phone_run import run_script
from mnasnet_deploy.results import store
from mnasnet_deploy.results.record import Record

sys.path.insert(0, str(HERE.parent / "tests" / "phone"))

from softphone.parts import missing_parts
from softphone.rig import Rig

MULTIPLIERS = ("0.35", "0.5")
RESOLUTIONS = ("96", "128", "160", "192", "224")
RUNS = 50
BY_HAND = 15
COUNTING = f"""\
#!/bin/sh
case "$*" in
*" push "*) kind=push ;;
*--num_runs={RUNS}\\ *) kind=launch ;;
*) kind=other ;;
esac
start=$(date +%s%N)
'{{adb}}' "$@"
code=$?
echo $kind $(($(date +%s%N) - start)) >> '{{log}}'
exit $code
"""
"""An adb that writes down what it is called for and for how many ns. Launches alone ask for so many
runs."""


def phones(plan: Plan) -> Iterator[Row]:
    """A campaign of ten networks on one phone: what is not `benchmark_model` at work."""
    if missing := missing_parts("pip-adb", "namespaces"):
        say(f"  left out: {'; '.join(map(str, missing))}")
        return
    launches = ["--max-launches", "10"]
    multipliers, resolutions = MULTIPLIERS, RESOLUTIONS
    if plan != FULL:
        launches = ["--launches", "2", "--max-launches", "2", "--min-seconds", "0.2"]
        multipliers, resolutions = MULTIPLIERS[:1], RESOLUTIONS[:2]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        export: list[str | Path] = [MNASNET, "export", "--weights", "random"]
        export += [word for each in multipliers for word in ("--multiplier", each)]
        export += [word for each in resolutions for word in ("--res", each)]
        run_command(export, folder)
        with Rig(folder / "rig") as rig:
            phone = rig.phone("pixel-8")
            campaign = [MNASNET, "bench", "--device", "adb", "--ambient", "21", *launches]
            campaign += ["--benchmark-binary", rig.benchmark_binary()]
            whole_s, first = _watched(campaign, folder, rig)
            records = store.load(folder / "results").records
            _, second = _watched([*campaign, "--plan"], folder, rig)
            around_s = _around_a_launch(rig, phone.serial)
            tried_s = sum(_tried(rig, phone.serial, record) for record in records)
    count = sum(len(record.launches) for record in records)
    at_work_s = sum(first["launch"]) - count * around_s + tried_s
    share = 1 - at_work_s / whole_s
    yield Row(
        work=f"campaign of {len(records)} networks on a software phone, {count} launches, whole "
        "command",
        ours=f"{whole_s:.0f} s",
        against="`benchmark_model` at work in it",
        theirs=f"{at_work_s:.0f} s",
        result=f"{share:.1%} of it is ours",
        reach="below 5 %",
        met=share < 0.05,
    )
    files = 2 * len(records) + 1  # each network, an image of its size, the program
    called = [len(first["launch"]), len(first["push"]), len(second["push"])]
    yield Row(
        work="adb calls of that campaign: launches, pushes, pushes when it is planned again",
        ours=", ".join(map(str, called)),
        against="one for a launch, one for a file, none",
        theirs=f"{count}, {files} at most, 0",
        result="",
        reach="no more",
        met=called[0] == count and called[1] <= files and called[2] == 0,
    )


def _watched(
    command: Sequence[str | Path], folder: Path, rig: Any
) -> tuple[float, dict[str, list[float]]]:
    """Seconds of a bench, and of each adb call by what it was for."""
    log, adb = folder / "calls.log", folder / "adb"
    log.write_text("")
    adb.write_text(COUNTING.format(log=log, adb=rig.adb_path))
    adb.chmod(0o755)
    start = time.perf_counter()
    done = subprocess.run(
        command, cwd=folder, env={**rig.environment, "ADB": str(adb)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    seconds = time.perf_counter() - start
    if done.returncode:
        raise SystemExit(f"{' '.join(map(os.fspath, command))}\n{done.stderr}")
    calls: dict[str, list[float]] = {"launch": [], "push": [], "other": []}
    for line in log.read_text().splitlines():
        kind, nanoseconds = line.split()
        calls[kind].append(int(nanoseconds) / 1e9)
    return seconds, calls


def _around_a_launch(rig: Any, serial: str) -> float:
    """Seconds that a launch takes around the program: adb, the states, its output."""
    return _typed(rig, serial, run_script(("true",), (8,), "/data/local/tmp", "0123456789abcdef"))


def _tried(rig: Any, serial: str, record: Record) -> float:
    """Seconds of the two runs before the launches, for the answer and for the operators."""
    short = re.sub(r"(--(?:warmup_)?min_secs)=\S+", r"\1=0", record.command)
    short = re.sub(r"--warmup_runs=\S+", "--warmup_runs=1", short)
    answer, operators = (re.sub(r"--num_runs=\S+", f"--num_runs={n}", short) for n in (3, 10))
    commands = (answer, f"{operators} --enable_op_profiling=true")
    return sum(_typed(rig, serial, command, times=2) for command in commands)


def _typed(rig: Any, serial: str, script: str, times: int = BY_HAND) -> float:
    """Median seconds of a script in `adb shell`."""
    found = []
    for _ in range(times):
        start = time.perf_counter()
        done = rig.adb("-s", serial, "shell", script)
        found.append(time.perf_counter() - start)
        if done.code:
            raise SystemExit(f"{script}\n{done.text}")
    return statistics.median(found)
