"""`mnasnet devices` and `mnasnet doctor` as a user sees them, with phones that have troubles."""

import json
import re
import threading

import pytest
from softphone.faults import Fault
from softphone.stubs import FORBIDDEN_SERIAL, adb_without_permission, old_adb, other_server

from mnasnet_deploy.bench import survey
from mnasnet_deploy.bench.adb import find_adb
from mnasnet_deploy.bench.adb_link import FOLDER

pytestmark = [pytest.mark.processes, pytest.mark.slow]


@pytest.fixture(scope="module")
def phones(module_rig):
    """A Pixel 8 and a Pixel, which every test leaves as they were."""
    return [module_rig.phone("pixel-8"), module_rig.phone("pixel-1")]


@pytest.fixture
def rig(module_rig, use_rig, phones, monkeypatch, tmp_path):
    use_rig(module_rig)
    monkeypatch.setenv("MNASNET_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return module_rig


def lines_of(run, serial):
    return [line for line in run.out.splitlines() if line.startswith(serial)]


def test_every_phone_has_a_line(rig, phones, mnasnet):
    run = mnasnet("devices")
    assert (run.code, run.err) == (0, "")
    assert [re.split(r" {2,}", line) for line in run.out.splitlines()] == [
        ["serial", "phone", "SoC", "Android", "state", "battery", "temp", "cores", "profile"],
        [phones[0].serial, "Pixel 8 (software phone)", "Google Tensor G3", "15", "ready", "93 %",
         "28 °C", "4+4+1", "pixel_8"],
        [phones[1].serial, "Pixel (software phone)", "msm8996", "10", "ready", "93 %", "28 °C",
         "2+2", "pixel_1"],
    ]  # fmt: skip


def test_a_program_gets_what_a_person_sees_and_more(rig, phones, mnasnet):
    shown = json.loads(mnasnet("devices", "--json").out)
    assert shown["schema"] == "mnasnet.devices/1"
    assert shown["adb"]["version"] == "36.0.0"
    first = shown["devices"][0]
    assert first["serial"] == phones[0].serial
    assert first["ready"] is first["software"] is True
    assert first["cores"][-1] == {
        "cpus": [8], "core": "Cortex-X3", "max_mhz": 2914.0, "capacity": 1024,
    }  # fmt: skip
    assert (first["battery_percent"], first["skin_c"], first["api"]) == (93.0, 28.0, 35)


def test_what_is_wrong_stands_below_with_its_cure(rig, phones, mnasnet):
    before = {
        path: phones[0].read(path) for path in ("/.phone/battery/level", "/.phone/thermal/status")
    }
    phones[0].write("/.phone/battery/level", "7\n")
    phones[0].write("/.phone/thermal/status", "2\n")
    find_adb().link(phones[0].serial).shell(
        f"mkdir -p {FOLDER}; echo '# keep the screen on while plugged in' > {FOLDER}/restore.sh"
    )
    try:
        run = mnasnet("devices")
        entry = json.loads(mnasnet("devices", "--json").out)["devices"][0]
    finally:
        for path, content in before.items():
            phones[0].write(path, content)
        find_adb().link(phones[0].serial).shell(f"rm -rf {FOLDER}")
    head, *troubles = lines_of(run, phones[0].serial)
    assert "not fit" in head
    assert [line.split(": ")[1] for line in troubles[:2]] == ["LOW-BATTERY", "THROTTLED"]
    assert troubles[0].endswith("charge it")
    assert "keep the screen on while plugged in; the next one undoes it" in troubles[2]
    assert [one["fatal"] for one in entry["troubles"]] == [True, True, False]
    assert len(lines_of(run, phones[1].serial)) == 1


def test_phones_that_are_not_ready_say_how_to_mend_it(rig, phones, mnasnet):
    bad = rig.phone("pixel-8", wait=False, rules=[Fault(on="cnxn", do="unauthorized", times=None)])
    rig.wait_for_state(bad, "unauthorized")
    try:
        run = mnasnet("devices")
    finally:
        bad.stop()
        rig.wait_for_state(bad, "")
    head, trouble = lines_of(run, bad.serial)
    assert re.split(r" {2,}", head)[4] == "unauthorized"
    assert "tap Allow" in trouble


def test_a_phone_the_user_may_not_open_is_told_apart(rig, phones, mnasnet, tmp_path):
    adb = adb_without_permission(tmp_path / "bin", rig.adb_path)
    head, trouble = lines_of(mnasnet("devices", "--adb", adb), FORBIDDEN_SERIAL)
    assert "no permissions" in head
    assert "plugdev" in trouble


def test_a_phone_that_does_not_answer_does_not_hide_the_others(rig, phones, mnasnet, monkeypatch):
    phones[0].set_rules(Fault(on="open", match="shell", do="drop"))
    try:
        run = mnasnet("devices")
    finally:
        phones[0].set_rules()
        rig.wait_for_state(phones[0])
    assert "no-answer" in lines_of(run, phones[0].serial)[0]
    assert "ready" in lines_of(run, phones[1].serial)[0]


def test_a_phone_that_is_measured_on_is_left_alone(rig, phones, mnasnet):
    held, done = threading.Event(), threading.Event()

    def measure():
        with find_adb().link(phones[0].serial).exclusive(lambda: None):
            held.set()
            done.wait(30)

    thread = threading.Thread(target=measure)
    thread.start()
    held.wait(10)
    try:
        run = mnasnet("devices")
    finally:
        done.set()
        thread.join()
    assert "in-use" in lines_of(run, phones[0].serial)[0]
    assert "wait until that is done" in lines_of(run, phones[0].serial)[1]


def test_cleaning_removes_what_is_there_and_says_how_much(rig, phones, mnasnet):
    serial = phones[1].serial
    link = find_adb().link(serial)
    link.shell(f"mkdir -p {FOLDER}/files/x; head -c 3145728 /dev/zero > {FOLDER}/files/x/m")
    run = mnasnet("devices", "--clean", serial)
    assert (run.code, run.out, run.err) == (0, "", f"{serial}: 3.0 MiB removed\n")
    assert link.shell(f"ls -d {FOLDER}").code != 0
    cleaned = json.loads(mnasnet("devices", "--clean", serial, "--json").out)["cleaned"]
    assert cleaned == [{"serial": serial, "removed_bytes": 0, "not_restored": []}]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--clean", "NOPE"], 3, "no phone NOPE is attached"),
        (["--clean", "a;reboot"], 2, "cannot be the serial"),
        (["--server", "nowhere"], 2, "'nowhere' names no adb server"),
        (["--adb", "nowhere"], 2, "--adb is nowhere"),
    ],
)
def test_a_wrong_option_is_one_line(rig, phones, mnasnet, arguments, code, said):
    run = mnasnet("devices", *arguments)
    assert (run.code, run.out) == (code, "")
    assert said in run.err
    assert run.err.count("\n") == 1


def test_the_server_of_another_computer_can_be_named(rig, phones, mnasnet, monkeypatch):
    monkeypatch.delenv("ANDROID_ADB_SERVER_PORT")
    run = mnasnet("devices", "--server", f"localhost:{rig.port}")
    assert len(run.out.splitlines()) == 3


def test_no_phone_is_said_and_no_error(phone_rig, use_rig, mnasnet):
    use_rig(phone_rig)
    run = mnasnet("devices")
    assert (run.code, run.out) == (0, "")
    assert "no phone is attached" in run.err
    assert json.loads(mnasnet("devices", "--json").out)["devices"] == []


def test_a_server_of_another_version_lives_on(rig, mnasnet, monkeypatch):
    with other_server() as server:
        monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(server.port))
        for command in ("devices", "doctor"):
            run = mnasnet(command)
            assert run.code == 3
            assert "would end it" in run.out + run.err
        assert set(server.asked) == {"host:version"}


# ---- doctor


def test_the_doctor_ends_in_the_command_that_measures(rig, phones, mnasnet, tmp_path):
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "x.tflite").write_bytes(b"x")
    binary = rig.benchmark_binary()
    run = mnasnet("doctor", "--benchmark-binary", binary)
    assert run.code == 0
    *steps, last = run.out.splitlines()
    assert [line.split()[:2] for line in steps] == [
        ["ok", name]
        for name in ("runtime", "models", "results", "adb", "phone", "phone", "benchmark_model")
    ]
    devices = " ".join(f"--device adb:{phone.serial}" for phone in phones)
    assert last == f"next: mnasnet bench {devices} --benchmark-binary {binary}"


@pytest.mark.parametrize("missing", ["models", "program"])
def test_the_doctor_names_the_command_that_brings_what_is_missing(
    rig, phones, mnasnet, tmp_path, missing
):
    if missing == "program":
        (tmp_path / "models").mkdir()
        (tmp_path / "models" / "x.tflite").write_bytes(b"x")
    run = mnasnet("doctor")
    assert run.code == 3
    wanted = {
        "models": "next: mnasnet export --variant a1 --float32",
        "program": "next: mnasnet benchmark-binary fetch --abi arm64-v8a",
    }
    assert run.out.splitlines()[-1] == wanted[missing]
    shown = json.loads(mnasnet("doctor", "--json").out)
    assert shown["schema"] == "mnasnet.doctor/1"
    assert f"next: {shown['next']}" == wanted[missing]
    assert shown["ok"] is False


def test_the_doctor_without_an_adb_names_the_command_that_installs_it(
    rig, mnasnet, monkeypatch, tmp_path
):
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "x.tflite").write_bytes(b"x")
    monkeypatch.delenv("ADB")
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert mnasnet("doctor").out.splitlines()[-1] == "next: sudo apt-get install adb"
    old = old_adb(tmp_path / "old")
    run = mnasnet("doctor", "--adb", old)
    assert "too old" in run.out
    assert run.out.splitlines()[-1] == f"next: mnasnet doctor --adb {old}"


def test_the_doctor_without_a_phone_says_how_to_plug_one_in(
    phone_rig, use_rig, mnasnet, tmp_path, monkeypatch
):
    use_rig(phone_rig)
    monkeypatch.chdir(tmp_path)
    run = mnasnet("doctor")
    assert run.code == 3
    assert re.search(r"^WRONG  phone +none is attached: switch on USB debugging", run.out, re.M)


def test_one_phone_that_is_ready_is_enough(rig, phones, mnasnet, tmp_path):
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "x.tflite").write_bytes(b"x")
    level = phones[0].read("/.phone/battery/level")
    phones[0].write("/.phone/battery/level", "7\n")
    try:
        run = mnasnet("doctor", "--benchmark-binary", rig.benchmark_binary())
    finally:
        phones[0].write("/.phone/battery/level", level)
    assert run.code == 0
    assert re.search(rf"^note +phone +{phones[0].serial} .*charge it$", run.out, re.M)
    assert f"bench --device adb:{phones[1].serial} --bench" in run.out


def test_gates_that_concern_a_measurement_only_are_gates(rig):
    from mnasnet_deploy.bench.gates import GATES

    assert set(survey.ABOUT_THE_BENCH) <= set(GATES)
