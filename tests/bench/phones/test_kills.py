"""A bench that is killed or interrupted at any moment: nothing lost, nothing twice.

What a killed bench has left changed on a phone, the next one puts back.
"""

import random
import time

import pytest
from softphone.faults import Fault

from mnasnet_deploy.results import campaigns

from .conftest import QUICK, left_behind
from .running import (
    PATIENCE_S,
    Work,
    cached_files,
    end_of,
    interrupt,
    on_phone,
    runs_a_model,
    wait_until,
    work_folder,
)

pytestmark = [pytest.mark.processes, pytest.mark.slow]

SLOW = ["--launches", "2", "--max-launches", "2", "--min-seconds", "30", "--warmup-seconds", "0",
        "--ambient", "21"]  # fmt: skip
SOON_S = 5.0
"""What `a few seconds` are, on a computer that does other things too."""


@pytest.fixture
def work(tmp_path, phone_rig, tiny_float32, tiny_int8) -> Work:
    return work_folder(tmp_path / "work", [tiny_float32, tiny_int8], phone_rig)


@pytest.fixture
def phone(phone_rig):
    """A phone with its screen off, as they are from the start."""
    return phone_rig.phone("pixel-8")


def kill_at_random(work: Work, phones, kills: int, seed: int, start: list[str]) -> int:
    """Kill a campaign as often as asked for, going on with it each time; a new one where it ends.

    Returns:
        How often a phone was changed at that moment.
    """
    chance = random.Random(seed)
    before = [phone.settings() for phone in phones]
    killed = changed = 0
    known: dict[str, bytes] = {}
    while killed < kills:
        go_on = work.begun
        if go_on and not work.missing:
            work.assert_all_measured()
            for left in (work.results / "records", work.results / "campaigns"):
                for file in left.iterdir():
                    file.unlink()
            known, go_on = {}, False
        # Records come seldom: half of the kills hit the moment one appears.
        moment = chance.uniform(0.2, 6.0)
        at_record = chance.random() < 0.5
        with work.started(*(["--resume"] if go_on else start)) as process:
            ends = time.monotonic() + (15.0 if at_record else moment)
            while process.poll() is None and time.monotonic() < ends:
                if at_record and _count(work) > len(known):
                    break
                time.sleep(0.001 * chance.randint(1, 4))
            if process.poll() is None:
                process.kill()
                process.wait()
                killed += 1
                changed += [phone.settings() for phone in phones] != before
        if work.begun:
            now = work.contents
            assert {name: now[name] for name in known} == known, "a record is lost or changed"
            known = now
    return changed


def assert_as_found(rig, phone, before) -> None:
    assert phone.settings() == before
    assert left_behind(rig, phone) == []
    assert cached_files(rig, phone)


def test_killed_at_five_moments_nothing_is_lost(work, phone_rig, phone):
    before = phone.settings()
    changed = kill_at_random(
        work, [phone], kills=5, seed=5, start=["--device", "adb", "--prepare", *QUICK]
    )
    assert changed, "kills have to meet a phone that is changed"
    if not work.begun:
        assert work.bench("--device", "adb", *QUICK).code == 0
    ended = work.resume()
    assert ended.code == 0, ended.err
    work.assert_all_measured()
    assert_as_found(phone_rig, phone, before)


@pytest.mark.long
def test_killed_at_fifty_moments_with_two_phones_nothing_is_lost(work, phone_rig, phone):
    phones = [phone, phone_rig.phone("pixel-1")]
    before = [phone.settings() for phone in phones]
    start = ["--device", "adb:all", "--prepare", "--threads", "1", "--threads", "2", *QUICK]
    changed = kill_at_random(work, phones, kills=50, seed=50, start=start)
    assert changed > 10
    if not work.begun:
        assert work.bench(*start).code == 0
    ended = work.resume()
    assert ended.code == 0, ended.err
    work.assert_all_measured()
    for phone, found in zip(phones, before, strict=True):
        assert_as_found(phone_rig, phone, found)


def test_what_a_killed_bench_left_changed_the_next_one_puts_back(work, phone_rig, phone):
    before = phone.settings()
    with work.started("--device", "adb", *SLOW, "--prepare") as process:
        wait_until(lambda: work.begun and runs_a_model(phone_rig, phone), process)
        process.kill()
        process.wait()
    assert phone.settings() != before
    assert "restore.sh" in left_behind(phone_rig, phone)
    # Any bench does, not only one that goes on.
    (model,) = (work.folder / "models").glob("*int8*")
    ended = work.bench(model, "--device", "adb", *QUICK, "--results", "others")
    assert ended.code == 0, ended.err
    assert "a run that was cut off left changed" in ended.err
    assert_as_found(phone_rig, phone, before)
    assert work.missing == (0, 1)


def test_resume_puts_back_a_phone_that_has_nothing_left_to_measure(work, phone_rig, phone):
    """It was killed between the last record and the end."""
    before = phone.settings()
    # Without it the phone may be put back by what is on its way there already.
    phone.set_rules(Fault(on="shell", match=r"then sh \S*restore\.sh", do="hang"))
    with work.started("--device", "adb", *QUICK, "--prepare") as process:
        wait_until(phone.fired, process)
        process.kill()
        process.wait()
    assert work.missing == ()
    assert phone.settings() != before
    planned = work.bench("--resume", "--plan")
    assert planned.code == 0, planned.err
    assert phone.settings() != before
    ended = work.resume()
    assert ended.code == 0, ended.err
    assert "a run that was cut off left changed" in ended.err
    assert "nothing to resume" in ended.err
    assert_as_found(phone_rig, phone, before)


def test_ctrl_c_puts_the_phone_back_at_once_and_resume_goes_on(work, phone_rig, phone):
    before = phone.settings()
    with work.started("--device", "adb", *SLOW, "--prepare") as process:
        wait_until(lambda: work.begun and runs_a_model(phone_rig, phone), process)
        interrupt(process)
        ended, waited_s = _timed_end(process)
    assert ended.code == 130
    assert waited_s < SOON_S
    assert "interrupted: 0 of 2 measurements are finished and kept; go on with" in ended.err
    assert "Traceback" not in ended.err
    assert_as_found(phone_rig, phone, before)
    assert work.missing == (0, 1)


@pytest.mark.parametrize("stops", [3, pytest.param(25, marks=pytest.mark.long)])
def test_ctrl_c_at_any_moment_leaves_the_phone_as_found(work, phone_rig, phone, stops):
    before = phone.settings()
    chance = random.Random(stops)
    start = ["--device", "adb", "--prepare", *QUICK]
    for number in range(stops):
        newest = campaigns.load(work.results).campaigns[-1:]
        go_on = newest and campaigns.missing(*newest, work.results)
        # The last moment of all is while the phone is put back.
        last = 2 if number % 2 else None
        with work.started(*(["--resume"] if go_on else start)) as process:
            ends = time.monotonic() + (PATIENCE_S if last else chance.uniform(0.5, 8.0))
            known = _count(work)
            while process.poll() is None and time.monotonic() < ends:
                if last and _count(work) >= known + last:
                    break
                time.sleep(0.001 * chance.randint(1, 4))
            if process.poll() is None:
                interrupt(process)
            ended, waited_s = _timed_end(process)
        assert ended.code in (0, 130), ended.err
        assert waited_s < SOON_S
        assert "Traceback" not in ended.err
        assert phone.settings() == before, ended.err
        assert left_behind(phone_rig, phone) == []
    ended = work.resume()
    assert ended.code == 0, ended.err
    newest = campaigns.load(work.results).campaigns[-1]
    assert campaigns.missing(newest, work.results) == ()


def test_ctrl_c_while_a_phone_is_away_is_heard(work, phone):
    phone.set_rules(Fault(on="benchmark", skip=4, do="unplug"))
    with work.started("--device", "adb", *QUICK) as process:
        wait_until(phone.fired, process)
        time.sleep(1.0)  # into the wait; without it the test is easier, not wrong
        interrupt(process)
        ended, waited_s = _timed_end(process)
    assert ended.code == 130
    assert waited_s < SOON_S
    assert "not put back as it was" in ended.err


def test_a_second_bench_on_a_phone_waits_for_the_first(work, phone_rig, phone, tmp_path, tiny_int8):
    before = phone.settings()
    other = work_folder(tmp_path / "other", [tiny_int8], phone_rig)
    with work.started("--device", "adb", *QUICK) as first:
        wait_until(lambda: work.begun, first)
        with other.started("--device", "adb", *QUICK) as second:
            waiting = _line_with(second, "another bench uses this phone; waiting")
            assert waiting
            assert end_of(first).code == 0
            assert end_of(second).code == 0
    assert len(work.records) == 2
    (late,) = other.records
    assert late.before.time >= max(record.after.time for record in work.records)
    assert_as_found(phone_rig, phone, before)


def test_ctrl_c_ends_a_bench_that_waits_for_another(work, phone_rig, phone, tmp_path, tiny_int8):
    other = work_folder(tmp_path / "other", [tiny_int8], phone_rig)
    with work.started("--device", "adb", *SLOW) as first:
        assert _line_with(first, "takes")
        launch = "pgrep -o -f '[m]in_secs=30'"  # the short runs before it end by themselves
        wait_until(lambda: on_phone(phone_rig, phone, launch).strip(), first)
        running = on_phone(phone_rig, phone, launch)
        with other.started("--device", "adb", *QUICK) as second:
            assert _line_with(second, "another bench uses this phone; waiting")
            interrupt(second)
            ended, waited_s = _timed_end(second)
        assert ended.code == 130
        assert waited_s < SOON_S
        assert on_phone(phone_rig, phone, launch) == running
        interrupt(first)
        assert end_of(first).code == 130


def _count(work) -> int:
    return len(list(work.results.glob("records/[!.]*")))


def _timed_end(process):
    start = time.monotonic()
    ended = end_of(process, 90.0)
    return ended, time.monotonic() - start


def _line_with(process, text: str) -> str:
    """The next line on standard error that says this."""
    for line in process.stderr:
        if text in line:
            return line
    return ""
