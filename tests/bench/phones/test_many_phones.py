"""Several phones at once: one's trouble is its own, and `--resume` measures exactly the rest."""

import re

import pytest
from softphone.faults import Fault
from softphone.fixtures import need
from softphone.parts import system_adb
from softphone.rig import Rig

from mnasnet_deploy.cli.main import main
from mnasnet_deploy.results.campaigns import cells_on

from .conftest import QUICK, SIX, left_behind
from .running import Work, on_phone, wait_until, work_folder

pytestmark = [pytest.mark.processes, pytest.mark.slow]

PIXELS = {"Pixel (software phone)": "pixel-1", "Pixel 8 (software phone)": "pixel-8"}


@pytest.fixture
def phones(phone_rig):
    """A Pixel 1 and a Pixel 8 on one server."""
    return [phone_rig.phone(model) for model in ("pixel-1", "pixel-8")]


@pytest.fixture
def work(tmp_path, phone_rig, tiny_float32, tiny_int8) -> Work:
    return work_folder(tmp_path / "work", [tiny_float32, tiny_int8], phone_rig)


def secrets_of(rig, phone) -> tuple[str, ...]:
    """What tells one phone from all others of its kind."""
    told = on_phone(rig, phone, "getprop ro.serialno; getprop ro.boot.serialno; cat "
                    "/proc/sys/kernel/random/boot_id").split()  # fmt: skip
    assert len(told) >= 2
    return (phone.serial, *told[:1])


def assert_nothing_told(work, rig, phones) -> None:
    """No serial number in anything that is kept or shown to others."""
    words = [re.escape(word) for phone in phones for word in secrets_of(rig, phone)]
    pattern = re.compile("|".join(words).encode())
    files = [path for path in work.results.rglob("*") if path.is_file()]
    assert len(files) > 2
    found = [(path.name, pattern.search(path.read_bytes())) for path in files]
    assert [one for one in found if one[1]] == []


def test_two_phones_are_measured_at_once_and_no_serial_is_kept(work, phone_rig, phones):
    before = [phone.settings() for phone in phones]
    with work.started("--device", "adb:all", *QUICK, "--min-seconds", "1.5") as process:
        wait_until(
            lambda: all(on_phone(phone_rig, one, "pidof benchmark_model") for one in phones),
            process,
        )
        out, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    work.assert_all_measured()
    assert {record.device.name for record in work.records} == set(PIXELS)
    assert {record.device.kind for record in work.records} == {"software-phone"}
    assert len(work.records) == 4
    for name in PIXELS:
        assert name in out
    assert_nothing_told(work, phone_rig, phones)
    assert [phone.settings() for phone in phones] == before


def test_one_that_is_gone_for_good_does_not_stop_the_other(
    bench, phone_rig, phones, tiny_float32, tiny_int8, monkeypatch
):
    monkeypatch.setattr("mnasnet_deploy.bench.android.BACK_S", 1.0)
    work = Work(bench.folder, phone_rig)
    old, new = phones
    before = [phone.settings() for phone in phones]
    old.set_rules(Fault(on="benchmark", skip=5, after=1, do="unplug"))
    ended = bench(tiny_float32, tiny_int8, "--device", "adb:all")
    assert ended.code == 3
    assert "did not come back within 1 s" in ended.err
    assert "2 of 4 measurements are still to be made: 'mnasnet bench --resume " in ended.err
    kept = work.contents
    assert {record.device.name for record in work.records} == {"Pixel 8 (software phone)"}
    assert new.settings() == before[1]
    assert work.missing == cells_on(work.campaign, 0)

    # While it is away there is nothing to do, and nothing is measured again.
    alone = bench.resume(tiny_float32, tiny_int8)
    assert alone.code == 3
    assert "Pixel (software phone) of the campaign is not attached" in alone.err
    assert work.contents == kept

    old.set_rules()
    old.plug()
    phone_rig.wait_for_state(old)
    assert old.settings() != before[0]
    ended = bench.resume(tiny_float32, tiny_int8)
    assert ended.code == 0, ended.err
    work.assert_all_measured()
    assert {name: work.contents[name] for name in kept} == kept
    assert [phone.settings() for phone in phones] == before
    assert [left_behind(phone_rig, phone) for phone in phones] == [[], []]
    assert_nothing_told(work, phone_rig, phones)


def test_two_phones_that_are_named_and_one_of_them_wrongly(work, phone_rig, phones):
    names = [word for phone in phones for word in ("--device", f"adb:{phone.serial}")]
    ended = work.bench(*names, "--device", "adb:NOT-THERE", *QUICK)
    assert ended.code == 3
    assert "NOT-THERE" in ended.err
    work.assert_all_measured()
    assert len(work.records) == 4


@pytest.mark.long
def test_a_small_campaign_with_the_adb_of_debian(tmp_path, adb_home, tiny_float32, tiny_int8):
    need("system-adb", "namespaces")
    with Rig(tmp_path / "rig", adb=system_adb(), home=adb_home) as rig:
        work = work_folder(tmp_path / "work", [tiny_float32, tiny_int8], rig)
        phones = [rig.phone("pixel-1"), rig.phone("pixel-8", link="tcp")]
        before = [phone.settings() for phone in phones]
        phones[0].set_rules(Fault(on="benchmark", skip=6, after=2, do="unplug", seconds=1))
        phones[1].set_rules(
            Fault(on="push", after=1000, do="unplug", seconds=1),
            Fault(on="benchmark", skip=8, after=2, do="drop"),
            Fault(on="benchmark", skip=10, after=2, do="kill-server"),
        )
        ended = work.bench("--device", "adb:all", *SIX)
        assert ended.code == 0, ended.err
        assert all(phone.fired() for phone in phones)
        work.assert_all_measured()
        rules = {
            launch.discarded.partition(" ")[0]
            for record in work.records for launch in record.launches
        }  # fmt: skip
        assert "DISCONNECTED" in rules
        assert [phone.settings() for phone in phones] == before
        assert [left_behind(rig, phone) for phone in phones] == [[], []]
        assert_nothing_told(work, rig, phones)


@pytest.fixture(scope="module")
def whole_grid(tmp_path_factory):
    """The 25 networks of the published table as float32 and int8, untrained."""
    folder = tmp_path_factory.mktemp("grid")
    arguments = ["export", "--grid", "--float32", "--int8", "--weights", "random",
                 "--calibration-samples", "2", "--out", str(folder)]  # fmt: skip
    assert main(arguments) == 0
    models = sorted(folder.glob("*.tflite"))
    assert len(models) == 50
    return models


@pytest.mark.long
def test_the_grid_on_two_phones_ends_after_one_resume_with_every_record(
    tmp_path, phone_rig, phones, whole_grid
):
    """A drop in a run, a restart, a server that dies, and a phone that is gone for good."""
    work = work_folder(tmp_path / "work", whole_grid, phone_rig)
    before = [phone.settings() for phone in phones]
    tried = 2 * len(whole_grid)  # runs before the first launch: answer and operators of each file
    phones[0].set_rules(
        Fault(on="benchmark", skip=tried + 20, after=3, do="unplug", seconds=1),
        Fault(on="benchmark", skip=tried + 130, after=3, do="unplug"),
    )
    phones[1].set_rules(
        Fault(on="benchmark", skip=tried + 40, after=3, do="reboot", seconds=0.5),
        Fault(on="benchmark", skip=tried + 160, after=3, do="kill-server"),
    )
    half = ["--launches", "6", "--max-launches", "6", "--min-seconds", "0.1", "--runs", "5",
            "--warmup-seconds", "0.1", "--warmup-runs", "2", "--ambient", "21"]  # fmt: skip
    with work.started("--device", "adb:all", "--allow", "BUSY", *half) as process:
        err = process.communicate(timeout=7200)[1]
    assert process.returncode == 3, err
    assert len(phones[0].fired()) == 2
    assert len(phones[1].fired()) == 2
    kept = work.contents
    assert 50 < len(kept) < 100
    missing = work.missing
    assert len(missing) == 100 - len(kept)

    phones[0].set_rules()
    phones[0].plug()
    phone_rig.wait_for_state(phones[0])
    with work.started("--resume") as process:
        err = process.communicate(timeout=7200)[1]
    assert process.returncode == 0, err
    work.assert_all_measured()
    records = work.records
    assert len(records) == 100
    assert all(record.estimate is not None and len(record.launches) >= 6 for record in records)
    assert [(one.artifact.file, one.reasons) for one in records if one.verdict == "invalid"] == []
    assert {name: work.contents[name] for name in kept} == kept
    voided = {
        launch.discarded.partition(" ")[0]
        for record in records for launch in record.launches if launch.discarded
    }  # fmt: skip
    assert voided >= {"DISCONNECTED", "REBOOTED"}
    assert [phone.settings() for phone in phones] == before
    assert [left_behind(phone_rig, phone) for phone in phones] == [[], []]
    assert_nothing_told(work, phone_rig, phones)
