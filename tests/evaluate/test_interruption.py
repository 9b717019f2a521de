"""Stopped in the middle, by Ctrl-C or by the worst there is: what is done stays, and goes on."""

import json
import os
import re
import signal
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.processes,
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="signals and /proc"),
]
COPIES = 20
PATIENCE_S = 60.0


@pytest.fixture(scope="module")
def many(images, tmp_path_factory):
    """Eighteen hundred images, some seconds of work."""
    folder = tmp_path_factory.mktemp("many") / "val"
    for path in images.rglob("*.*"):
        place = folder / path.parent.name
        place.mkdir(parents=True, exist_ok=True)
        for copy in range(COPIES):
            os.link(path, place / f"{copy}_{path.name}")
    return folder


@pytest.fixture(scope="module")
def command(many, models):
    script = Path(sysconfig.get_path("scripts")) / "mnasnet"
    return [script, "eval", *models.values(), "--data", many, "--jobs", "2"]


@pytest.fixture(scope="module")
def undisturbed(command, tmp_path_factory):
    """What an evaluation says that nobody stops."""
    return finish(command, tmp_path_factory.mktemp("undisturbed"))


def finish(command, folder):
    done = subprocess.run(
        [*command, "--json"], cwd=folder, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["accuracies"]
    for accuracy in found:
        for key in ("id", "time", "cpu_ms"):
            del accuracy[key]
    return found, done.stderr


def kept(folder):
    return list((folder / "results").glob("evaluations/*/*/*.json"))


def wait_for(condition):
    deadline = time.monotonic() + PATIENCE_S
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.005)
    return found


def started(command, folder):
    """The command, once two shards are kept and more are missing."""
    process = subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    wait_for(lambda: len(kept(folder)) >= 4)
    assert process.poll() is None
    return process


def workers(pid):
    """Processes below one that evaluate, by id, with their age so that ids are not mixed up."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                line = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if int(fields[1]) == pid and b"spawn_main" in line:
                found[int(entry.name)] = fields[19]
    return found


def gone(processes):
    for pid, age in processes.items():
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[19] == age and fields[0] != "Z":
            return False
    return True


def whole(folder):
    """Nothing half-written lies about."""
    for path in kept(folder):
        json.loads(path.read_text())
    return not list(folder.rglob("*.part"))


def test_ctrl_c_keeps_what_is_done_and_the_same_command_goes_on(command, undisturbed, tmp_path):
    process = started(command, tmp_path)
    below = workers(process.pid)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130, err
    assert out == ""
    assert "Traceback" not in err
    assert len(re.findall(r"int8\.tflite: \d+\.\d .* so far", err)) == 1
    done = re.fullmatch(
        r"interrupted: ([\d,]+) of 3,600 evaluated and kept in results: the same command goes on "
        r"from there",
        err.splitlines()[-1],
    )
    assert whole(tmp_path)
    wait_for(lambda: gone(below))
    found, err = finish(command, tmp_path)
    assert f"{done[1]} of 3,600 kept from before" in err
    assert found == undisturbed[0]


def test_killed_it_leaves_whole_files_no_workers_and_goes_on(command, undisturbed, tmp_path):
    process = started(command, tmp_path)
    below = workers(process.pid)
    assert len(below) == 2
    process.kill()
    process.communicate(timeout=PATIENCE_S)
    wait_for(lambda: gone(below))
    assert kept(tmp_path)
    for path in kept(tmp_path):
        json.loads(path.read_text())
    found, err = finish(command, tmp_path)
    assert re.search(r"[1-9][\d,]* of 3,600 kept from before", err)
    assert found == undisturbed[0]
    assert not kept(tmp_path)  # all in one file for each model now


def test_a_killed_worker_ends_it_in_one_line_and_it_goes_on(command, undisturbed, tmp_path):
    process = started(command, tmp_path)
    os.kill(next(iter(workers(process.pid))), signal.SIGKILL)
    _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1, err
    assert "Traceback" not in err
    assert err.splitlines()[-1].startswith("error: a worker process was killed")
    assert finish(command, tmp_path)[0] == undisturbed[0]


def test_one_process_says_the_same_as_two(command, undisturbed, tmp_path):
    assert finish([*command[:-1], "1"], tmp_path)[0] == undisturbed[0]
