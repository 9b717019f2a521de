"""The guards of conftest.py hold."""

import multiprocessing
import os
import subprocess
import sys

import pytest


def _nothing() -> None: ...


@pytest.mark.parametrize(
    "start",
    [
        lambda: subprocess.run([sys.executable, "-c", "pass"], check=True),
        lambda: os.system("true"),
        lambda: multiprocessing.get_context("spawn").Process(target=_nothing).start(),
    ],
    ids=["subprocess", "os.system", "multiprocessing"],
)
def test_a_test_that_starts_a_process_without_asking_fails(start):
    with pytest.raises(pytest.fail.Exception, match="mark it `processes`"):
        start()


@pytest.mark.processes
def test_a_test_that_asks_may_start_a_process():
    assert subprocess.run([sys.executable, "-c", "pass"], check=True).returncode == 0


def test_tensorflow_cannot_be_imported_where_the_run_says_so(request):
    if not request.config.getoption("--no-tensorflow"):
        pytest.skip("only with --no-tensorflow")
    with pytest.raises(ModuleNotFoundError):
        import tensorflow  # noqa: F401
