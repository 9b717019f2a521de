"""`mnasnet bench` as a user types it."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from mnasnet_deploy.results import store

QUICK = ["--launches", "2", "--max-launches", "2", "--runs", "5", "--min-seconds", "0",
         "--warmup-runs", "1", "--warmup-seconds", "0"]  # fmt: skip
MNASNET = Path(sysconfig.get_path("scripts")) / "mnasnet"

posix = pytest.mark.skipif(sys.platform == "win32", reason="needs signals or a pseudo-terminal")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder to work in."""
    inside = tmp_path / "work"
    inside.mkdir()
    monkeypatch.chdir(inside)
    return inside


def records(folder):
    loaded = store.load(folder / "results")
    assert loaded.problems == ()
    return loaded.records


# ---- what is measured


@pytest.mark.processes
@pytest.mark.slow
def test_two_files_give_two_records_and_a_line_each(mnasnet, folder, tiny_float32, tiny_int8):
    run = mnasnet("bench", tiny_float32, tiny_int8, *QUICK, "--seed", 5, "--threads", 2)
    assert run.code == 0, run.err
    by_file = {record.artifact.file: record for record in records(folder)}
    assert set(by_file) == {tiny_float32.name, tiny_int8.name}
    for name, record in by_file.items():
        line = next(line for line in run.out.splitlines() if line.startswith(name))
        assert " ms [" in line
        assert "noisy (FEW-LAUNCHES" in line
        assert "untrained weights" in line
        assert (record.settings.seed, record.settings.threads) == (5, 2)
        assert record.settings.delegate == "xnnpack"
        assert record.artifact.network == "tiny"
        assert len(record.launches) == 2
        assert all(len(launch.samples_ms) == 5 for launch in record.launches)
        assert record.estimate is not None
        assert record.peak_memory_mib is None or record.peak_memory_mib > 10
    assert "order by seed 5" in run.err
    assert re.search(r"takes \d+ s", run.err)
    assert "FEW-LAUNCHES: the range of 2 covers" in run.err


@pytest.mark.processes
@pytest.mark.slow
def test_threads_repeat_and_the_delegate_can_be_left_out(mnasnet, folder, tiny_int8):
    run = mnasnet("bench", tiny_int8, *QUICK, "--threads", 1, "--threads", 2, "--no-xnnpack")
    assert run.code == 0, run.err
    found = records(folder)
    assert [record.settings.threads for record in found] == [1, 2]
    assert {record.settings.delegate for record in found} == {"none"}
    assert "1 thread " in run.out
    assert "2 threads " in run.out


@pytest.mark.processes
@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux pins processes")
def test_cpus_are_pinned_and_kept(mnasnet, folder, tiny_int8):
    cpu = max(os.sched_getaffinity(0))
    assert mnasnet("bench", tiny_int8, *QUICK, "--cpus", cpu).code == 0
    (record,) = records(folder)
    assert record.settings.cpus == (cpu,)
    assert not any(launch.discarded for launch in record.launches)


@pytest.mark.processes
@pytest.mark.slow
def test_networks_are_found_by_the_options_that_made_them(mnasnet, folder, exported, tiny_int8):
    named = ["--spec", exported / "tiny.yaml", "--res", 32, "--models", exported / "models"]
    assert mnasnet("bench", *named, "--int8", *QUICK).code == 0
    assert [record.artifact.file for record in records(folder)] == [tiny_int8.name]
    every = mnasnet("bench", *named, *QUICK, "--plan")
    assert every.code == 0
    assert "_float32.tflite" in every.out
    assert "_int8.tflite" in every.out


def test_a_file_that_is_not_there_ends_in_the_command_that_makes_it(mnasnet, folder):
    run = mnasnet("bench", "--variant", "a1", "--multiplier", "0.5", "--res", "160", "--int8")
    assert run.code == 2
    path = Path("models") / "mnasnet-a1_0.5_160_int8.tflite"
    command = "mnasnet export --variant a1 --multiplier 0.5 --res 160 --int8"
    assert run.err == f"error: {path} is not there; make it: '{command}'\n"
    assert list(folder.iterdir()) == []


def test_several_that_are_not_there_are_made_by_one_command(mnasnet, folder):
    run = mnasnet("bench", "--grid", "--float16", "--int8", "--models", "my models")
    assert run.code == 2
    assert run.err.endswith("'mnasnet export --grid --float16 --int8 --out 'my models''\n")


def test_no_files_at_all_names_the_next_command(mnasnet, folder):
    run = mnasnet("bench")
    assert run.code == 2
    assert run.err == (
        "error: no .tflite files in models; name some, or make one: 'mnasnet export'\n"
    )
    assert list(folder.iterdir()) == []


@pytest.mark.processes
@pytest.mark.slow
def test_without_names_all_files_of_the_models_folder_are_measured(mnasnet, folder, exported):
    shutil.copytree(exported / "models", folder / "models")
    assert mnasnet("bench", *QUICK).code == 0
    assert len(records(folder)) == 2


# ---- plan


@pytest.mark.processes
def test_a_plan_says_what_would_run_and_writes_nothing(mnasnet, folder, tiny_float32, tiny_int8):
    run = mnasnet("bench", tiny_float32, tiny_int8, "--plan", "--seed", 3)
    assert run.code == 0
    assert tiny_float32.name in run.out
    assert "10 to 30" in run.out
    assert "order by seed 3" in run.out
    assert run.out.splitlines()[-1].startswith("takes 1 min ")
    assert list(folder.iterdir()) == []


@pytest.mark.processes
@pytest.mark.slow
def test_a_plan_for_programs(mnasnet, folder, tiny_float32, tiny_int8):
    run = mnasnet("bench", tiny_float32, tiny_int8, "--plan", "--json", "--launches", 4)
    plan = json.loads(run.out)
    assert plan["schema"] == "mnasnet.bench-plan/1"
    # Warm-up of 1 s and 2 s of runs, and what a process takes to start.
    assert 4 * 2 * 3.0 < plan["least_s"] < 4 * 2 * 10.0
    assert plan["most_s"] == pytest.approx(plan["least_s"] * 30 / 4)
    canaries = [one["file"] for one in plan["measurements"] if one["canary"]]
    assert canaries == [min(tiny_float32, tiny_int8, key=lambda path: path.stat().st_size).name]


# ---- results


@pytest.mark.processes
@pytest.mark.slow
def test_results_for_programs(mnasnet, folder, tiny_int8):
    run = mnasnet("bench", tiny_int8, *QUICK, "--json")
    answer = json.loads(run.out)
    assert answer["schema"] == "mnasnet.bench/1"
    (result,) = answer["results"]
    (record,) = records(folder)
    assert (result["id"], result["verdict"]) == (record.id, "noisy")
    assert Path(result["record"]).is_file()
    assert result["estimate"]["median_ms"] == record.estimate.median_ms
    assert result["untrained"] is True
    assert answer["failed"] == {}


@pytest.mark.processes
@pytest.mark.slow
def test_noisy_is_a_result_unless_valid_is_required(mnasnet, folder, tiny_int8):
    assert mnasnet("bench", tiny_int8, *QUICK).code == 0
    assert mnasnet("bench", tiny_int8, *QUICK, "--require-valid").code == 1
    assert len(records(folder)) == 2


@pytest.mark.processes
@pytest.mark.slow
def test_a_file_the_delegate_takes_nothing_of_is_invalid(mnasnet, folder, handmade):
    run = mnasnet("bench", handmade / "undelegated.tflite", *QUICK)
    assert run.code == 1
    assert "invalid (NO-DELEGATE)" in run.out
    assert "--no-xnnpack" in run.err
    assert mnasnet("bench", handmade / "undelegated.tflite", *QUICK, "--no-xnnpack").code == 0
    assert [record.verdict for record in records(folder)] == ["invalid", "noisy"]


@pytest.mark.processes
@pytest.mark.slow
def test_a_foreign_file_is_measured_with_a_warning(mnasnet, folder, handmade):
    run = mnasnet("bench", handmade / "foreign.tflite", *QUICK)
    assert run.code == 0
    assert "foreign.tflite: no checksum in it, cannot tell" in run.err
    (record,) = records(folder)
    assert record.artifact.network == ""


# ---- bad input


def _broken(kind, path, original):
    content = bytearray(original.read_bytes())
    if kind == "flipped":
        content[len(content) // 2] ^= 1
    path.write_bytes({"empty": b"", "truncated": content[:-100], "text": b"hello, world" * 9}.get(
        kind, content
    ))  # fmt: skip
    return path


@pytest.mark.parametrize("kind", ["empty", "truncated", "text", "flipped"])
def test_a_broken_file_is_one_line_and_nothing_is_written(mnasnet, folder, tiny_int8, kind):
    path = _broken(kind, folder / "broken.tflite", tiny_int8)
    run = mnasnet("bench", path, *QUICK)
    assert run.code == 2
    (line,) = run.err.splitlines()
    assert line.startswith("error: broken.tflite")
    assert run.out == ""
    assert list(folder.iterdir()) == [path]


@pytest.mark.processes
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["crashing", "refused"])
def test_a_file_that_no_runtime_takes_is_one_line_and_nothing_is_written(
    mnasnet, folder, handmade, kind
):
    run = mnasnet("bench", handmade / f"{kind}.tflite", *QUICK)
    assert run.code == 2
    errors = [line for line in run.err.splitlines() if line.startswith("error:")]
    assert len(errors) == 1
    assert f"{kind}.tflite" in errors[0]
    assert list(folder.iterdir()) == []


@pytest.mark.processes
@pytest.mark.slow
def test_a_file_that_fails_does_not_stop_the_others(mnasnet, folder, handmade, tiny_int8):
    empty = _broken("empty", folder / "empty.tflite", tiny_int8)
    run = mnasnet("bench", handmade / "crashing.tflite", empty, tiny_int8, *QUICK, "--json")
    assert run.code == 1
    assert set(json.loads(run.out)["failed"]) == {str(handmade / "crashing.tflite"), str(empty)}
    assert [record.artifact.file for record in records(folder)] == [tiny_int8.name]


@pytest.mark.processes
@pytest.mark.slow
def test_a_file_that_hangs_is_given_up(mnasnet, folder, handmade):
    run = mnasnet("bench", handmade / "hanging.tflite", *QUICK, "--timeout", "1")
    assert run.code == 2
    assert "did not come back from the runtime (no answer within 1 s)" in run.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--device", "pixel"], "unknown device 'pixel'"),
        (["--cpus", "0,x"], "--cpus '0,x'"),
        (["--cpus", "3-1"], "--cpus '3-1'"),
        (["--cpus", ""], "--cpus ''"),
        (["--cpus", "9999"], "CPU 9999 is not available"),
        (["--min-seconds", "nan"], "--min-seconds nan"),
        (["--warmup-seconds", "-1"], "--warmup-seconds -1"),
        (["--timeout", "inf"], "--timeout inf"),
        (["--launches", "0"], "--launches"),
        (["--runs", "0"], "--runs"),
        (["--threads", "0"], "--threads"),
        (["--int8"], "not both"),
        (["--variant", "a2"], "not both"),
    ],
)
def test_a_bad_option_is_one_line(mnasnet, folder, tiny_int8, arguments, said):
    run = mnasnet("bench", tiny_int8, *arguments)
    assert run.code == 2
    assert said in run.err
    assert len(run.err.splitlines()) == 1
    assert list(folder.iterdir()) == []


@pytest.mark.processes
def test_a_results_folder_that_cannot_be_written_is_found_before_measuring(
    mnasnet, folder, tiny_int8
):
    (folder / "results").write_text("a file")
    run = mnasnet("bench", tiny_int8)  # at full length: it must not come to that
    assert run.code == 3
    assert "--results" in run.err
    assert "takes" not in run.err


# ---- the world around it


@posix
@pytest.mark.processes
@pytest.mark.slow
def test_a_bar_on_the_terminal_leaves_the_results_in_the_pipe(folder, tiny_int8, tiny_float32):
    ours, theirs = os.openpty()
    done = subprocess.run(
        [MNASNET, "bench", tiny_int8, tiny_float32, *QUICK],
        stdout=subprocess.PIPE,
        stderr=theirs,
        text=True,
        env={**os.environ, "TERM": "xterm"},
        check=False,
    )
    os.close(theirs)
    drawn = b""
    os.set_blocking(ours, False)
    while chunk := _read(ours):
        drawn += chunk
    os.close(ours)
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 2
    assert done.stdout.count(" ms [") == 2
    assert b"measuring" in drawn
    assert b"4/4" in drawn
    assert b" ms [" not in drawn


def _read(descriptor):
    try:
        return os.read(descriptor, 65536)
    except OSError:  # nothing is left
        return b""


@posix
@pytest.mark.processes
@pytest.mark.slow
@pytest.mark.parametrize("whole_group", [True, False])
def test_ctrl_c_keeps_what_is_finished_and_nothing_else(
    folder, tiny_int8, tiny_float32, whole_group
):
    """Twelve measurements are two groups; the first one's records come while the second waits."""
    counts = [word for count in range(1, 7) for word in ("--threads", str(count))]
    with subprocess.Popen(
        [MNASNET, "bench", tiny_int8, tiny_float32, *QUICK, "--launches", "1", *counts,
         "--max-launches", "1", "--min-seconds", "0.3"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    ) as process:  # fmt: skip
        first = process.stdout.readline()
        assert " ms [" in first
        # A terminal interrupts the whole foreground group, `kill` only the one it is told to.
        if whole_group:
            os.killpg(process.pid, signal.SIGINT)
        else:
            process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    kept = records(folder)
    assert len(kept) == len(out.splitlines()) + 1
    assert 1 <= len(kept) < 12
    assert f"interrupted: {len(kept)} of 12 measurements are finished and kept\n" in err


@pytest.mark.processes
@pytest.mark.slow
def test_two_benches_at_once_run_one_behind_the_other(folder, tiny_int8):
    both = [
        subprocess.Popen(
            [MNASNET, "bench", tiny_int8, *QUICK, "--min-seconds", "0.3"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for _ in range(2)
    ]  # fmt: skip
    errors = [process.communicate(timeout=60)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sorted("waiting for it to end" in error for error in errors) == [False, True]
    first, second = records(folder)
    assert first.time <= second.before.time


@pytest.mark.processes
@pytest.mark.slow
def test_a_closed_pipe_ends_the_bench_quietly(folder, tiny_int8):
    with subprocess.Popen(
        [MNASNET, "bench", tiny_int8, *QUICK],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        process.stdout.close()
        error = process.stderr.read()
    assert process.returncode == 0
    assert "Traceback" not in error
    assert len(records(folder)) == 1
