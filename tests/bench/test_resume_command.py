"""`mnasnet bench --resume`, and a bench that is killed: nothing lost, nothing twice."""

import json
import random
import shutil
import signal
import subprocess
import sysconfig
import time
from dataclasses import replace
from pathlib import Path

import pytest

from mnasnet_deploy.cli.bench_run import How, resume_command
from mnasnet_deploy.results import campaigns, store

resource = pytest.importorskip("resource")

QUICK = ["--launches", "1", "--max-launches", "1", "--runs", "5", "--min-seconds", "0",
         "--warmup-runs", "1", "--warmup-seconds", "0"]  # fmt: skip
MNASNET = Path(sysconfig.get_path("scripts")) / "mnasnet"
RESULTS = Path("results")

pytestmark = [pytest.mark.processes, pytest.mark.slow]


@pytest.fixture
def folder(tmp_path, monkeypatch, exported):
    """A folder to work in, with two files in `models`."""
    inside = tmp_path / "work"
    shutil.copytree(exported / "models", inside / "models")
    monkeypatch.chdir(inside)
    return inside


def contents():
    """Bytes of every record by its id; all of them are whole."""
    loaded = store.load(RESULTS)
    assert loaded.problems == ()
    return {path.stem: path.read_bytes() for path in sorted((RESULTS / "records").glob("*.json"))}


def the_campaign():
    (campaign,) = campaigns.load(RESULTS).campaigns
    return campaign


def test_resume_measures_the_missing_ones_with_the_settings_of_the_plan(mnasnet, folder):
    assert mnasnet("bench", *QUICK, "--threads", 1, "--threads", 2, "--seed", 9).code == 0
    whole = contents()
    campaign = the_campaign()
    gone = campaigns.record_id(campaign.id, 1)
    store.record_path(RESULTS, gone).unlink()

    planned = mnasnet("bench", "--resume", "--plan")
    assert planned.code == 0, planned.err
    assert "1 of 4 measurements are still to be made" in planned.err
    assert "order by seed 9" in planned.out
    assert gone not in contents()

    run = mnasnet("bench", "--resume", campaign.id[:-4], "--json")
    assert run.code == 0, run.err
    answer = json.loads(run.out)
    assert [result["id"] for result in answer["results"]] == [gone]
    assert (answer["campaign"], answer["unfinished"]) == (campaign.id, 0)
    now = contents()
    assert set(now) == set(whole)
    assert {name: now[name] for name in now if name != gone} == {
        name: whole[name] for name in whole if name != gone
    }
    record = store.read_record(store.record_path(RESULTS, gone))
    assert record.settings == campaign.cells[1].settings
    assert record.settings.seed == 9

    finished = mnasnet("bench", "--resume")
    assert finished.code == 0
    assert finished.err == (f"campaign {campaign.id} is finished (4 records): nothing to resume\n")
    assert json.loads(mnasnet("bench", "--resume", "--json").out)["results"] == []


def test_a_model_that_changed_is_one_line_and_the_others_go_on(mnasnet, folder, tiny_int8):
    assert mnasnet("bench", *QUICK).code == 0
    shutil.rmtree(RESULTS / "records")
    model = folder / "models" / tiny_int8.name
    kept = model.read_bytes()
    model.write_bytes(kept[:-1] + b"!")
    run = mnasnet("bench", "--resume")
    assert run.code == 1
    errors = [line for line in run.err.splitlines() if line.startswith("error:")]
    assert len(errors) == 1
    assert f"{tiny_int8.name} changed since the campaign started" in errors[0]
    assert len(contents()) == 1
    assert "1 of 2 measurements are still to be made: 'mnasnet bench --resume" in run.err
    # Where the file is now does not matter, its bytes do.
    elsewhere = folder / "elsewhere.tflite"
    elsewhere.write_bytes(kept)
    assert mnasnet("bench", elsewhere, "--resume").code == 0
    assert len(contents()) == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--threads", "2"], "--resume takes its settings from the campaign: leave out --threads"),
        (["--launches", "10"], "leave out --launches"),
        (["--delegate", "none"], "leave out --delegate"),
        (["--variant", "a1"], "leave out --variant"),
        (["--seed", "1"], "leave out --seed"),
        ([], "no campaign in results to go on with: 'mnasnet bench' starts one"),
    ],
)
def test_what_cannot_be_resumed_is_one_line(mnasnet, folder, arguments, said):
    run = mnasnet("bench", "--resume", *arguments)
    assert run.code == 2
    assert run.out == ""
    (line,) = run.err.splitlines()
    assert said in line
    assert not RESULTS.exists()


def test_a_campaign_that_is_running_is_not_resumed(mnasnet, folder, tiny_int8):
    with subprocess.Popen(
        [MNASNET, "bench", tiny_int8, "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        try:
            _wait_for(lambda: list((RESULTS / "campaigns").glob("*.json")), process)
            run = mnasnet("bench", "--resume")
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=60)
    assert run.code == 2
    assert "is running in another process" in run.err
    assert process.returncode == 130
    assert list((RESULTS / "campaigns").glob(".*")) == []


def test_ctrl_c_ends_within_two_seconds_though_a_launch_is_long(mnasnet, folder):
    # Of a tiny network a launch has all the runs it may have in a fraction of a second.
    assert mnasnet("export", "--weights", "random", "--float32", "--out", "large").code == 0
    (large,) = Path("large").glob("*.tflite")
    with subprocess.Popen(
        [MNASNET, "bench", large, *QUICK, "--min-seconds", "60"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        for line in process.stderr:
            if line.startswith("takes"):
                break
        time.sleep(0.5)  # into the launch; without it the test is easier, not wrong
        process.send_signal(signal.SIGINT)
        asked = time.monotonic()
        _, err = process.communicate(timeout=60)
    assert time.monotonic() - asked < 2
    assert process.returncode == 130
    assert "interrupted: 0 of 1 measurements are finished and kept; go on with" in err


def test_a_full_disk_ends_in_what_is_kept_and_how_to_go_on(mnasnet, folder):
    """A limit of the size of files stands for the disk: the plan fits, a record does not."""
    arguments = [*QUICK, "--threads", "1", "--threads", "2", "--runs", "400"]
    process = subprocess.run(
        [MNASNET, "bench", *arguments],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4_000, -1)),
    )
    assert process.returncode == 3
    assert "error: cannot write results" in process.stderr
    assert "stopped: 0 of 4 measurements are finished and kept; go on with" in process.stderr
    assert "Traceback" not in process.stderr
    assert contents() == {}
    assert list((RESULTS / "records").iterdir()) == [], "nothing half-written stays"
    assert mnasnet("bench", "--resume").code == 0
    assert len(contents()) == 4


def test_the_command_that_goes_on_says_where_everything_is():
    how = How(results=RESULTS, models=Path("models"), plan=False, json=False, require_valid=False)
    inside, elsewhere = Path("models") / "a.tflite", Path("my models") / "b.tflite"
    assert resume_command("ID", [inside, inside], how) == "mnasnet bench --resume ID"
    assert resume_command("ID", [elsewhere], how) == (
        "mnasnet bench --resume ID --models 'my models'"
    )
    again = ("--benchmark-binary", "bm")
    other = replace(how, results=Path("r"), again=again)
    assert resume_command("ID", [inside, elsewhere], other) == (
        "mnasnet bench models/a.tflite 'my models/b.tflite' --resume ID --results r "
        "--benchmark-binary bm"
    )


def _kill_again_and_again(kills: int, seed: int, longest_s: float) -> None:
    """Run a campaign, kill it at random moments, go on; a new one where it ended before."""
    moment = random.Random(seed)
    start = [MNASNET, "bench", *QUICK, *(w for n in "123" for w in ("--threads", n))]
    resume = [MNASNET, "bench", "--resume"]
    known: dict[str, bytes] = {}
    killed = 0
    while killed < kills:
        begun = campaigns.load(RESULTS).campaigns
        with subprocess.Popen(
            resume if begun else start, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process:
            try:
                process.wait(moment.uniform(0.3, longest_s))
            except subprocess.TimeoutExpired:
                process.kill()
                killed += 1
        now = contents()
        assert {name: now[name] for name in known} == known, "a record is never lost or changed"
        known = now
        if begun and not campaigns.missing(the_campaign(), RESULTS):
            shutil.rmtree(RESULTS)
            known = {}
    if not campaigns.load(RESULTS).campaigns:
        subprocess.run(start, check=True, capture_output=True)
    subprocess.run(resume, check=True, capture_output=True)


@pytest.mark.parametrize("kills", [4, pytest.param(50, marks=pytest.mark.long)])
def test_killed_at_any_moment_it_loses_nothing_and_measures_nothing_twice(folder, kills):
    _kill_again_and_again(kills, seed=kills, longest_s=3.5)
    campaign = the_campaign()
    expected = {campaigns.record_id(campaign.id, number) for number in range(6)}
    assert set(contents()) == expected
    records = store.load(RESULTS).records
    measured = {(one.artifact.file, one.settings.threads) for one in records}
    assert len(measured) == len(records) == 6


def _wait_for(condition, process) -> None:
    ends = time.monotonic() + 60
    while not condition():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < ends
        time.sleep(0.05)
