"""A pool of processes ends when it is told to, at whatever moment that is."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mnasnet_deploy.workers import each_in_pool

pytestmark = [pytest.mark.slow, pytest.mark.processes]

# Tasks that take no time: an interrupt nearly always finds the pool at its books.
WORK = """
import itertools
import os
import signal
import sys
import threading
from mnasnet_deploy.workers import each_in_pool

if __name__ == "__main__":
    results = each_in_pool(abs, itertools.count(), 2)
    next(results)
    threading.Timer(float(sys.argv[1]), os.kill, (os.getpid(), signal.SIGINT)).start()
    try:
        for _, future in results:
            future.result()
    except KeyboardInterrupt:
        sys.exit(130)
"""

# Interrupts at the worst of moments: the n-th time that a lock has just been taken.
WORST = """
import itertools
import signal
import sys
import threading
from mnasnet_deploy.workers import each_in_pool

ENTER = threading.Condition.__enter__.__code__
left = int(sys.argv[1])

def profile(frame, event, _):
    global left
    if event == "return" and frame.f_code is ENTER:
        left -= 1
        if left == 0:
            signal.raise_signal(signal.SIGINT)

if __name__ == "__main__":
    results = each_in_pool(abs, itertools.count(), 2)
    next(results)
    sys.setprofile(profile)
    try:
        for _ in results:
            pass
    except KeyboardInterrupt:
        sys.setprofile(None)
        sys.exit(130)
"""


def test_every_task_comes_back_with_its_result() -> None:
    found = {task: future.result() for task, future in each_in_pool(abs, range(-20, 20), 2)}
    assert found == {task: abs(task) for task in range(-20, 20)}


def test_the_tasks_of_a_caller_who_stops_are_stopped() -> None:
    results = each_in_pool(abs, iter(int, 1), 2)
    next(results)
    results.close()
    assert list(results) == []


@pytest.mark.skipif(os.name != "posix", reason="sends POSIX signals")
@pytest.mark.parametrize("how", ["at any moment", "while a lock is taken"])
def test_an_interrupt_ends_it(tmp_path: Path, how: str) -> None:
    script = tmp_path / "work.py"
    script.write_text(WORK if how == "at any moment" else WORST)
    for moment in range(1, 16):
        delay = f"{0.006 * moment:.3f}"
        done = subprocess.run(
            [sys.executable, script, delay if how == "at any moment" else str(moment)],
            timeout=20, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (130, ""), moment
