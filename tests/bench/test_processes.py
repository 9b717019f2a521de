"""Child processes end when another thread says so, and not by the Ctrl-C of a terminal."""

import subprocess
import sys
import threading
import time

import pytest

from mnasnet_deploy.bench import adb_process
from mnasnet_deploy.bench.device import StoppedError
from mnasnet_deploy.bench.processes import Processes

pytestmark = [pytest.mark.processes, pytest.mark.slow]

SLEEPS = [sys.executable, "-c", "import time; print('here', flush=True); time.sleep(60)"]


def test_a_process_gives_its_output_and_exit_code():
    code = "import sys; print(sys.stdin.read()); print('oh', file=sys.stderr); sys.exit(3)"
    ended = Processes().run([sys.executable, "-c", code], deadline_s=60, given=b"hello")
    assert (ended.code, ended.out.split(), ended.err.split()) == (3, [b"hello"], [b"oh"])
    merged = Processes().run([sys.executable, "-c", code], deadline_s=60, merged=True)
    assert (merged.out.split(), merged.err) == ([b"oh"], b"")


def test_at_the_deadline_it_is_killed_and_what_it_said_is_kept():
    with pytest.raises(subprocess.TimeoutExpired) as late:
        Processes().run(SLEEPS, deadline_s=1)
    assert late.value.stdout.split() == [b"here"]


def test_stop_ends_the_process_that_runs_and_refuses_the_next():
    processes = Processes()
    stopper = threading.Timer(0.5, processes.stop)
    stopper.start()
    started = time.monotonic()
    with pytest.raises(StoppedError):
        processes.run(SLEEPS, deadline_s=60)
    assert time.monotonic() - started < 20
    with pytest.raises(StoppedError):
        processes.run(SLEEPS, deadline_s=60)
    with pytest.raises(StoppedError):
        processes.pause(60)
    processes.stop()
    stopper.join()


@pytest.mark.skipif(sys.platform == "win32", reason="sessions")
def test_it_has_a_session_of_its_own():
    code = "import os; print(os.getsid(0) == os.getpid())"
    ended = Processes().run([sys.executable, "-c", code], deadline_s=60)
    assert ended.out.split() == [b"True"]


DIES_AT_FIRST = "[ -e here ] || { touch here; kill -INT $$; }; echo ran"


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_ctrl_c_before_it_has_its_session_starts_it_again(tmp_path):
    """What a signal does there, the program does to itself: the moment is too short to be met."""
    ended = Processes().run(["sh", "-c", DIES_AT_FIRST], deadline_s=60, cwd=tmp_path)
    assert (ended.code, ended.out) == (0, b"ran\n")


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_adb_is_started_again_as_well(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ended = adb_process.run(["sh", "-c", DIES_AT_FIRST], deadline_s=60)
    assert (ended.code, ended.out) == (0, b"ran\n")


def test_a_program_that_is_not_there_is_an_error_of_the_system(tmp_path):
    with pytest.raises(OSError, match="none"):
        Processes().run([tmp_path / "none"], deadline_s=1)
