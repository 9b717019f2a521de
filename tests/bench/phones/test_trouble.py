"""What goes wrong with phones: what is said, what is kept, how it goes on.

In every case finished records are whole, the phone is left as it was found, and the exit code is
that of the README's table.
"""

import pytest
from softphone.faults import Fault

from .conftest import NINE, SIX, left_behind

pytestmark = [pytest.mark.processes, pytest.mark.slow]

LAUNCH = 2
"""Runs of benchmark_model before the first launch: the trial, and its operators."""


def discarded(record):
    return [launch.discarded.partition(" ")[0] for launch in record.launches if launch.discarded]


# ---- it goes on by itself


@pytest.mark.parametrize(
    "fault",
    [
        Fault(on="open", match="sync", do="drop"),
        Fault(on="push", match=r"\.part", after=2000, do="unplug", seconds=0.5),
        Fault(on="pushed", match=r"\.part", do="unplug", seconds=0.5),
    ],
    ids=["before", "during", "after"],
)
def test_a_drop_around_a_push_is_waited_for(bench, phone_rig, tiny_float32, fault):
    phone = phone_rig.phone("pixel-8")
    before = phone.settings()
    phone.set_rules(fault)
    run = bench(tiny_float32, "--device", "adb")
    assert run.code == 0, run.err
    assert phone.fired()
    (record,) = bench.records
    assert discarded(record) == []
    assert phone.settings() == before
    assert left_behind(phone_rig, phone) == []


def on_launch(number, do, **more):
    """A fault of one launch; its number counts every start of the program."""
    more = {"after": 2, **more}
    return Fault(on="benchmark", skip=LAUNCH + number, do=do, **more)


@pytest.mark.parametrize(
    ("faults", "rules"),
    [
        (
            [on_launch(0, "unplug", seconds=0.5), on_launch(1, "drop"), on_launch(3, "crash")],
            ["DISCONNECTED", "DISCONNECTED", "CRASHED"],
        ),
        (
            [on_launch(0, "abort"), on_launch(2, "kill-server"), on_launch(4, "kill")],
            ["CRASHED", "DISCONNECTED", "CRASHED"],
        ),
        (
            [on_launch(0, "garbage"), on_launch(1, "empty"), on_launch(2, "no-result")],
            ["FAILED", "FAILED", "FAILED"],
        ),
        (
            [
                on_launch(0, "invoke-error"),
                on_launch(1, "warn", text="--new_flag=1"),
                on_launch(2, "fallback"),
            ],
            ["FAILED", "NOT-AS-ASKED", "NO-DELEGATE"],
        ),
    ],
    ids=["link", "signals", "outputs", "promises"],
)
def test_bad_launches_are_kept_as_void_and_repeated(bench, phone_rig, tiny_float32, faults, rules):
    phone = phone_rig.phone("pixel-8")
    before = phone.settings()
    phone.set_rules(*faults)
    run = bench(tiny_float32, "--device", "adb", quick=NINE)
    assert run.code == 0, run.err
    (record,) = bench.records
    assert discarded(record) == rules
    assert len(record.launches) == 12
    assert record.estimate.launches == 9
    assert phone.settings() == before
    assert left_behind(phone_rig, phone) == []


def test_a_restart_midway_is_waited_for(bench, phone_rig, tiny_float32):
    phone = phone_rig.phone("pixel-8")
    before = phone.settings()
    phone.set_rules(Fault(on="benchmark", skip=LAUNCH, after=2, do="reboot", seconds=0.5))
    run = bench(tiny_float32, "--device", "adb", "--allow", "BUSY", quick=SIX)
    assert run.code == 0, run.err
    (record,) = bench.records
    assert discarded(record) == ["REBOOTED"]
    assert "started anew" in run.err
    assert phone.settings() == before


def test_a_launch_that_hangs_is_ended_on_the_phone(bench, phone_rig, tiny_float32):
    phone = phone_rig.phone("pixel-8")
    phone.set_rules(Fault(on="benchmark", skip=LAUNCH, after=2, do="hang"))
    run = bench(tiny_float32, "--device", "adb", "--timeout", "2", quick=SIX)
    assert run.code == 0, run.err
    (record,) = bench.records
    assert discarded(record) == ["HUNG"]
    assert left_behind(phone_rig, phone) == []


# ---- the state of the phone changes midway


@pytest.mark.parametrize(
    ("write", "rule"),
    [
        ({"/.phone/thermal/status": "2\n"}, "THROTTLED"),
        ({"/.phone/battery/level": "20\n"}, "LOW-BATTERY"),
        ({"/.phone/power/wakefulness": "Asleep\n"}, "ASLEEP"),
        ({"/sys/devices/system/cpu/cpufreq/policy8/scaling_max_freq": "1500000\n"}, "CLOCK-CAPPED"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_a_state_that_breaks_midway_voids_what_ran_in_it(
    bench, phone_rig, tiny_float32, write, rule
):
    phone = phone_rig.phone("pixel-8")
    phone.set_rules(Fault(on="benchmark", skip=LAUNCH + 2, after=2, write=write))
    run = bench(tiny_float32, "--device", "adb", "--cool-down", "0", quick=SIX)
    assert rule in discarded_or_said(bench, run)
    # Heat that does not go ends the campaign; the rest makes the number invalid.
    assert run.code == (3 if rule in ("THROTTLED", "CLOCK-CAPPED") else 1), run.err


def discarded_or_said(bench, run):
    voided = [rule for record in bench.records for rule in discarded(record)]
    return voided or ["THROTTLED" if "status is 2" in run.err else "CLOCK-CAPPED"]


# ---- it cannot go on


def test_a_phone_that_stays_away_ends_in_3_and_resume_measures_the_rest(
    bench, phone_rig, tiny_float32, tiny_int8, monkeypatch
):
    monkeypatch.setattr("mnasnet_deploy.bench.android.BACK_S", 1.0)
    phone = phone_rig.phone("pixel-8")
    phone.set_rules(Fault(on="benchmark", skip=2 * LAUNCH + 1, after=2, do="unplug"))
    run = bench(tiny_float32, tiny_int8, "--device", "adb")
    assert run.code == 3
    assert "mnasnet bench --resume" in run.err
    kept = {record.id for record in bench.records}
    phone.set_rules()
    phone.plug()
    phone_rig.wait_for_state(phone)
    again = bench.resume(tiny_float32, tiny_int8)
    assert again.code == 0, again.err
    assert len(bench.records) == 2
    assert kept <= {record.id for record in bench.records}
    assert left_behind(phone_rig, phone) == []


def test_a_frozen_phone_ends_in_3(bench, phone_rig, tiny_float32, monkeypatch):
    monkeypatch.setattr("mnasnet_deploy.bench.android.ANSWER_S", 1.0)
    monkeypatch.setattr("mnasnet_deploy.bench.adb_link.KILL_S", 1.0)
    phone = phone_rig.phone("pixel-8")
    phone.set_rules(Fault(on="benchmark", skip=LAUNCH, after=2, do="freeze"))
    run = bench(tiny_float32, "--device", "adb", "--timeout", "1")
    assert run.code == 3
    assert "--resume" in run.err
    phone.thaw()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"tmp_size": "1k"}, "space"),
        ({"tmp_flags": "ro"}, "is read-only"),
        ({"tmp_flags": "noexec"}, "starts no program"),
    ],
    ids=["full", "read-only", "noexec"],
)
def test_a_folder_that_cannot_be_used_is_named(bench, phone_rig, tiny_float32, options, said):
    phone_rig.phone("pixel-8", **options)
    run = bench(tiny_float32, "--device", "adb")
    assert run.code == 3
    assert said in run.err
    assert "Traceback" not in run.err
    assert bench.records == ()


def test_a_program_for_another_processor_is_named(bench, phone_rig, tiny_float32):
    phone_rig.phone("pixel-8")
    run = bench(tiny_float32, "--device", "adb", binary=phone_rig.foreign_binary())
    assert run.code == 3
    assert "another processor" in run.err


def test_a_program_that_lacks_a_library_is_named(bench, phone_rig, tiny_float32):
    phone = phone_rig.phone("pixel-8")
    phone.set_rules(Fault(on="benchmark", do="linker"))
    run = bench(tiny_float32, "--device", "adb")
    assert run.code == 3
    assert "needs a library" in run.err


def test_a_file_that_crashes_the_program_does_not_stop_the_others(
    bench, phone_rig, tiny_float32, tiny_int8
):
    phone = phone_rig.phone("pixel-8")
    phone.set_rules(Fault(on="benchmark", match="float32", after=-1, do="crash", times=None))
    run = bench(tiny_float32, tiny_int8, "--device", "adb")
    assert run.code == 1
    assert "SIGSEGV" in run.err
    assert [record.artifact.file for record in bench.records] == [tiny_int8.name]


# ---- delegates


def test_a_delegate_that_is_refused_gives_no_number(bench, phone_rig, tiny_float32):
    phone = phone_rig.phone("pixel-8")
    phone.set_rules(Fault(on="benchmark", match="use_gpu", do="refuse", times=None))
    run = bench(tiny_float32, "--device", "adb", "--delegate", "gpu")
    assert run.code in (1, 2)
    assert "does not run on" in run.err
    assert bench.records == ()


def test_a_delegate_that_takes_a_part_marks_the_number(bench, phone_rig, tiny_float32):
    phone = phone_rig.phone("pixel-8")
    phone.set_rules(Fault(on="benchmark", match="use_gpu", do="partial", times=None))
    run = bench(tiny_float32, "--device", "adb", "--delegate", "gpu")
    assert run.code == 0, run.err
    (record,) = bench.records
    (reason,) = [one for one in record.reasons if one.startswith("PARTIAL-DELEGATE")]
    assert "GPU ran" in reason
    assert "nodes" in reason


def test_a_number_of_the_cpu_never_stands_for_the_gpu(bench, phone_rig, tiny_float32):
    phone = phone_rig.phone("pixel-8")
    phone.set_rules(Fault(on="benchmark", match="use_gpu", do="fallback", times=None))
    run = bench(tiny_float32, "--device", "adb", "--delegate", "gpu")
    assert run.code == 1
    (record,) = bench.records
    assert record.verdict == "invalid"
    assert any(reason.startswith("NO-DELEGATE") for reason in record.reasons)
