"""`make bench` works from end to end; what it measures only a quiet machine can say."""

import subprocess
import sys
from pathlib import Path

import pytest
from softphone.fixtures import need

RUN = Path(__file__).parents[1] / "benchmarks" / "run.py"


@pytest.mark.long
@pytest.mark.tensorflow
@pytest.mark.processes
def test_the_quick_benchmark_prints_a_table_of_the_rows_asked_for(tmp_path):
    rows = ["--only", "float32", "--only", "cold", "--only", "startup", "--only", "memory",
            "--only", "padding", "--only", "evaluate"]  # fmt: skip
    done = subprocess.run(
        [sys.executable, RUN, "--quick", *rows],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith("|")]
    assert len(lines) == 2 + 3 + 2 + 4 + 2  # startup and evaluate have two, padding one a scheme
    assert all(line.rstrip(" |").endswith(("reached", "missed")) for line in lines[2:])
    assert "not a measurement" in done.stdout
    assert str(tmp_path) not in done.stdout


@pytest.mark.long
@pytest.mark.processes
def test_the_quick_benchmark_of_phones_pushes_each_file_once(tmp_path):
    need("pip-adb", "namespaces")
    done = subprocess.run(
        [sys.executable, RUN, "--quick", "--only", "phones"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    share, calls = [line for line in done.stdout.splitlines() if line.startswith("|")][2:]
    assert "4 launches" in share
    assert calls.rstrip(" |").endswith("reached")


@pytest.mark.processes
def test_the_benchmark_names_its_rows_where_one_is_unknown(tmp_path):
    done = subprocess.run(
        [sys.executable, RUN, "--only", "everything"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "float32" in done.stderr
