"""Pinning, and one bench at a time on one machine."""

import subprocess
import sys
import tempfile

import pytest

from mnasnet_deploy.bench import system
from mnasnet_deploy.errors import InputError

HOLD = """
import sys
from mnasnet_deploy.bench import system
with system.exclusive(sys.argv[1], lambda: print("waiting", flush=True)):
    print("held", flush=True)
    sys.stdin.read()
"""


def _holder():
    return subprocess.Popen(
        [sys.executable, "-c", HOLD, "a-lock"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.processes
def test_the_second_waits_until_the_first_is_done():
    with _holder() as first:
        assert first.stdout.readline() == "held\n"
        with _holder() as second:
            assert second.stdout.readline() == "waiting\n"
            first.communicate()
            assert second.stdout.readline() == "held\n"
            second.communicate()


@pytest.mark.processes
def test_a_killed_holder_holds_nothing():
    with _holder() as first:
        assert first.stdout.readline() == "held\n"
        first.kill()
        first.wait()
    with system.exclusive("a-lock", lambda: pytest.fail("nobody holds it")):
        pass


def test_locks_of_different_names_do_not_meet():
    def refuse():
        pytest.fail("nobody holds it")

    with system.exclusive("one", refuse), system.exclusive("other", refuse):
        pass


def test_without_a_place_for_locks_the_work_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    with system.exclusive("a-lock", lambda: pytest.fail("nobody holds it")):
        pass


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux pins processes")
def test_a_cpu_that_is_not_there_is_named_with_those_that_are():
    allowed = system.allowed_cpus()
    system.check_cpus(tuple(allowed))
    system.check_cpus(())
    with pytest.raises(InputError, match=f"CPU 9999 .*{min(allowed)}"):
        system.check_cpus((min(allowed), 9999))


@pytest.mark.skipif(sys.platform == "linux", reason="Linux pins processes")
def test_pinning_where_it_is_not_possible_says_so():
    with pytest.raises(InputError, match="--cpus needs Linux"):
        system.check_cpus((0,))
