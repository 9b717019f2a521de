"""What keeps a bench on a phone from starting, or its records from being kept: said in one line."""

import pytest
from softphone.faults import Fault
from softphone.stubs import adb_without_permission, old_adb, other_server

from .conftest import QUICK, left_behind
from .running import end_of, work_folder

pytestmark = [pytest.mark.processes, pytest.mark.slow]


def the_error(run) -> str:
    """The one line that says what is wrong."""
    assert "Traceback" not in run.err
    (line,) = [line for line in run.err.splitlines() if line.startswith("error: ")]
    return line


def refused(bench, *arguments) -> str:
    """The error of a bench that has to end in 3, with nothing written."""
    run = bench(*arguments)
    assert run.code == 3, run.err
    assert not (bench.folder / "results").exists()
    return the_error(run)


def test_no_phone(bench, tiny_float32):
    assert "no phone is attached" in refused(bench, tiny_float32, "--device", "adb")


def test_a_serial_that_no_phone_has_lists_those_there_are(bench, phone_rig, tiny_float32):
    phone = phone_rig.phone("pixel-8")
    assert phone.serial in refused(bench, tiny_float32, "--device", "adb:R58M123")


def test_two_phones_and_none_named_lists_both(bench, phone_rig, tiny_float32):
    phones = [phone_rig.phone("pixel-1"), phone_rig.phone("pixel-8")]
    error = refused(bench, tiny_float32, "--device", "adb")
    assert all(phone.serial in error for phone in phones)


@pytest.mark.parametrize("serial", ["x;reboot", "$(reboot)", "a b", "-s", "x\ny"])
def test_a_serial_that_a_shell_would_read_is_refused(bench, phone_rig, tiny_float32, serial):
    phone_rig.phone("pixel-8")
    run = bench(tiny_float32, "--device", f"adb:{serial}")
    assert run.code == 2
    assert "serial" in the_error(run)
    assert not (bench.folder / "results").exists()


@pytest.mark.parametrize(
    ("state", "said"), [("unauthorized", "Allow"), ("offline", "does not talk to adb")]
)
def test_a_phone_that_does_not_let_us_in(bench, phone_rig, tiny_float32, state, said, monkeypatch):
    phone = phone_rig.phone("pixel-8", wait=False, rules=[Fault(on="cnxn", do=state, times=None)])
    phone_rig.wait_for_state(phone, state)
    monkeypatch.setattr("mnasnet_deploy.bench.adb.SETTLE_S", 1.0)
    assert said in refused(bench, tiny_float32, "--device", "adb")


def test_a_phone_the_user_may_not_open(bench, phone_rig, tiny_float32, tmp_path, monkeypatch):
    monkeypatch.setenv("ADB", str(adb_without_permission(tmp_path, phone_rig.adb_path)))
    assert "plugdev" in refused(bench, tiny_float32, "--device", "adb")


def test_no_adb(bench, tiny_float32, tmp_path, monkeypatch):
    monkeypatch.delenv("ADB")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "apt-get install adb" in refused(bench, tiny_float32, "--device", "adb")


def test_an_adb_too_old(bench, tiny_float32, tmp_path):
    error = refused(bench, tiny_float32, "--device", "adb", "--adb", old_adb(tmp_path))
    assert "1.0.31" in error


def test_a_server_of_another_version_is_not_ended(bench, tiny_float32, monkeypatch):
    with other_server(version=40) as server:
        monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(server.port))
        assert "version" in refused(bench, tiny_float32, "--device", "adb")
        assert "host:kill" not in server.asked


def test_a_gate_is_named_and_lets_through_by_its_name_only(bench, phone_rig, tiny_float32):
    phone = phone_rig.phone("pixel-8")
    phone.write("/.phone/battery/level", "12\n")
    assert "LOW-BATTERY" in refused(bench, tiny_float32, "--device", "adb")
    assert left_behind(phone_rig, phone) == []
    run = bench(tiny_float32, "--device", "adb", "--allow", "LOW-BATTERY")
    assert run.code == 0, run.err
    (record,) = bench.records
    assert record.settings.allowed == ("LOW-BATTERY",)


@pytest.mark.parametrize(
    ("most_bytes", "said"),
    [
        (14_000, "cannot write results"),
        pytest.param(4_000, "cannot write into", marks=pytest.mark.long),
    ],
    ids=["results", "temporary"],
)
def test_a_full_disk_here_ends_it_and_the_phone_is_put_back(
    tmp_path, phone_rig, tiny_float32, tiny_int8, most_bytes, said
):
    """A limit of the size of files stands for the disk; the plan has 3,000 bytes."""
    work = work_folder(tmp_path / "work", [tiny_float32, tiny_int8], phone_rig)
    phone = phone_rig.phone("pixel-8")
    before = phone.settings()
    with work.started("--device", "adb", *QUICK, most_bytes=most_bytes) as process:
        ended = end_of(process)
    assert ended.code == 3
    assert said in the_error(ended)
    assert work.records == ()
    assert list(work.results.glob("records/*")) == []
    assert phone.settings() == before
    assert left_behind(phone_rig, phone) == []
    go_on = "go on with 'mnasnet bench --resume" in ended.err
    assert go_on == (most_bytes == 14_000), "the temporary file comes before the first run"
    assert (work.resume() if go_on else work.bench("--device", "adb", *QUICK)).code == 0
    work.assert_all_measured()
