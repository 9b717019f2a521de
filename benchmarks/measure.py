"""Clocks, processes of their own, and peak memory of a process with all its children."""

import contextlib
import multiprocessing
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

SAMPLING_PERIOD_S = 0.02


def say(text: str) -> None:
    """Tell what is going on, on stderr."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def isolated(function: Callable[..., T], *arguments: object) -> T:
    """Run a function in a fresh process, so that no row inherits the state of another."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(function, *arguments).result()


def side_by_side(function: Callable[..., T], arguments: Sequence[tuple[object, ...]]) -> list[T]:
    """Run a function with each set of arguments in processes of their own, all at once."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(len(arguments), mp_context=context) as pool:
        futures = [pool.submit(function, *each) for each in arguments]
        return [future.result() for future in futures]


def repeat(runs: int, work: Callable[[], object]) -> float:
    """Median time of some runs in seconds, after one that is not counted."""
    work()
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def run_command(command: Sequence[str | Path], cwd: Path) -> float:
    """Time of a whole process in seconds, its output read through pipes.

    Raises:
        subprocess.CalledProcessError: it failed.
    """
    start = time.perf_counter()
    done = subprocess.run(list(map(str, command)), cwd=cwd, capture_output=True, check=False)
    elapsed = time.perf_counter() - start
    if done.returncode:
        say(done.stderr.decode(errors="replace"))
        raise subprocess.CalledProcessError(done.returncode, done.args)
    return elapsed


@dataclass
class Peak:
    """Largest memory seen, in MiB; 0 where the system does not say."""

    mib: float = 0.0


@contextlib.contextmanager
def peak_memory(root: Callable[[], int]) -> Iterator[Peak]:
    """Watch a process and all its descendants: the peak of the sum of their memory.

    Shared pages are counted once (`Pss` of /proc, Linux only), so that what two workers share is
    not held against them.

    Args:
        root: gives the process id once it is known, else 0.
    """
    peak, done = Peak(), threading.Event()

    def watch() -> None:
        while not done.wait(SAMPLING_PERIOD_S):
            if pid := root():
                peak.mib = max(peak.mib, sum(map(_pss_kib, _tree(pid))) / 1024)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield peak
    finally:
        done.set()
        watcher.join()


def run_watched(command: Sequence[str | Path], cwd: Path) -> tuple[float, float]:
    """Time in seconds and peak memory in MiB of a whole process with its children.

    Raises:
        subprocess.CalledProcessError: it failed.
    """
    start = time.perf_counter()
    # To files: a pipe nobody reads would fill up.
    with (cwd / "stdout").open("wb") as out, (cwd / "stderr").open("wb") as err:
        process = subprocess.Popen(list(map(str, command)), cwd=cwd, stdout=out, stderr=err)
        with peak_memory(lambda: process.pid) as peak:
            code = process.wait()
    elapsed = time.perf_counter() - start
    if code:
        say((cwd / "stderr").read_text(errors="replace"))
        raise subprocess.CalledProcessError(code, process.args)
    return elapsed, peak.mib


def _tree(pid: int) -> Iterator[int]:
    """A process and its descendants."""
    yield pid
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                yield from _tree(int(child))


def _pss_kib(pid: int) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
    return 0
