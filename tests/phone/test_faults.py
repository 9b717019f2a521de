"""Everything that can go wrong on the way to a phone, once, as the real adb shows it."""

import subprocess
import time

import pytest
from softphone.faults import Fault

pytestmark = [pytest.mark.processes, pytest.mark.slow]


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes(bytes(range(256)) * 12_000)
    return path


def shell(rig, phone, command, **options):
    return rig.adb("-s", phone.serial, "shell", command, **options)


def push(rig, phone, file, **options):
    return rig.adb("-s", phone.serial, "push", file, "/data/local/tmp/model", **options)


@pytest.mark.parametrize(
    ("state", "link"),
    [
        ("unauthorized", "usb"),
        ("offline", "usb"),
        ("authorizing", "usb"),
        ("unauthorized", "tcp"),  # for the others `adb connect` waits 10 s
    ],
)
def test_a_phone_that_does_not_let_us_in(phone_rig, state, link):
    phone = phone_rig.phone(
        "pixel-8", wait=False, link=link, rules=[Fault(on="cnxn", do=state, times=None)]
    )
    phone_rig.wait_for_state(phone, state)
    assert shell(phone_rig, phone, "true").code == 1
    phone.set_rules()  # Allow is pressed
    phone_rig.wait_for_state(phone, "device")
    assert shell(phone_rig, phone, "true").code == 0


def test_offline_in_the_middle(phone_rig, software_phone):
    software_phone.offline()
    phone_rig.wait_for_state(software_phone, "offline")
    assert b"offline" in shell(phone_rig, software_phone, "true").err
    software_phone.unplug()
    software_phone.plug()
    phone_rig.wait_for_state(software_phone)


@pytest.mark.parametrize("link", ["usb", "tcp"])
def test_a_cable_that_falls_out_during_a_push(phone_rig, file, link):
    phone = phone_rig.phone("pixel-8", link=link)
    phone.set_rules(Fault(on="push", after=1_000_000, do="unplug", seconds=0.2))
    assert push(phone_rig, phone, file).code == 1
    phone_rig.wait_for_state(phone)
    assert push(phone_rig, phone, file).code == 0
    assert phone.fired()[0][:2] == ("push", "unplug")


@pytest.mark.parametrize("event", ["push", "pushed"])
def test_a_connection_that_breaks_before_or_after_a_push(phone_rig, software_phone, file, event):
    software_phone.set_rules(Fault(on=event, do="drop"))
    assert push(phone_rig, software_phone, file).code == 1
    phone_rig.wait_for_state(software_phone)
    assert push(phone_rig, software_phone, file).code == 0


def test_a_push_that_hangs_until_the_deadline(phone_rig, software_phone, file):
    software_phone.set_rules(Fault(on="push", after=500_000, do="hang"))
    with pytest.raises(subprocess.TimeoutExpired):
        push(phone_rig, software_phone, file, timeout=1)
    assert shell(phone_rig, software_phone, "echo alive").out == b"alive\n"


def test_a_disk_that_is_full(phone_rig, file):
    phone = phone_rig.phone("pixel-8", tmp_size="1m")
    done = push(phone_rig, phone, file)
    assert done.code == 1
    assert "No space left on device" in done.text
    assert shell(phone_rig, phone, "ls /data/local/tmp").out == b""


def test_a_folder_that_is_read_only(phone_rig, file):
    phone = phone_rig.phone("pixel-8", tmp_flags="ro")
    done = push(phone_rig, phone, file)
    assert done.code == 1
    assert "Read-only file system" in done.text


def test_a_folder_whose_files_may_not_run(phone_rig):
    phone = phone_rig.phone("pixel-8", tmp_flags="noexec")
    binary = phone_rig.benchmark_binary()
    assert phone_rig.adb("-s", phone.serial, "push", binary, "/data/local/tmp/b").code == 0
    done = shell(phone_rig, phone, "/data/local/tmp/b --help")
    assert done.code == 126
    assert b"ermission denied" in done.err


def test_a_shell_that_loses_its_connection(phone_rig, software_phone):
    software_phone.set_rules(Fault(on="output", match="^yes", after=100_000, do="drop"))
    done = shell(phone_rig, software_phone, "yes | head -c 1000000; echo @@END")
    assert done.code == 255
    assert b"@@END" not in done.out
    phone_rig.wait_for_state(software_phone)


def test_a_shell_that_loses_its_connection_after_a_while(phone_rig, software_phone):
    software_phone.set_rules(Fault(on="shell", match="sleep 9", seconds_in=0.2, do="unplug"))
    assert shell(phone_rig, software_phone, "sleep 9; echo @@END").code == 255
    phone_rig.wait_for_state(software_phone, "")
    assert b"not found" in shell(phone_rig, software_phone, "true").err
    software_phone.plug()
    phone_rig.wait_for_state(software_phone)


def test_a_reboot(phone_rig, software_phone):
    before = shell(phone_rig, software_phone, "cat /proc/sys/kernel/random/boot_id").out
    transport = phone_rig.adb("devices", "-l").out
    shell(phone_rig, software_phone, "echo kept > /data/local/tmp/f; sleep 99 > /dev/null 2>&1 &")
    software_phone.reboot(0.3)
    phone_rig.wait_for_state(software_phone, "")
    phone_rig.wait_for_state(software_phone)
    assert shell(phone_rig, software_phone, "cat /proc/sys/kernel/random/boot_id").out != before
    assert phone_rig.adb("devices", "-l").out != transport
    done = shell(phone_rig, software_phone, "cat /data/local/tmp/f; pidof sleep; cat /proc/uptime")
    assert done.out.startswith(b"kept\n3")


def test_a_frozen_phone_still_says_device(phone_rig, software_phone):
    software_phone.freeze()
    assert phone_rig.state(software_phone.serial) == b"device"
    with pytest.raises(subprocess.TimeoutExpired):
        shell(phone_rig, software_phone, "echo", timeout=0.7)
    software_phone.thaw()
    assert shell(phone_rig, software_phone, "echo alive").out == b"alive\n"


def test_a_server_that_is_killed_finds_the_phone_again(phone_rig, software_phone):
    software_phone.set_rules(Fault(on="shell", match="sleep", seconds_in=0.2, do="kill-server"))
    assert shell(phone_rig, software_phone, "sleep 5; echo @@END").code == 255
    phone_rig.wait_for_state(software_phone)  # any adb command starts a server
    assert shell(phone_rig, software_phone, "true").code == 0


def test_a_shell_that_ends_without_a_code(phone_rig, software_phone):
    software_phone.set_rules(Fault(on="shell", match="echo", do="no-exit"))
    done = shell(phone_rig, software_phone, "echo all")
    assert (done.code, done.out) == (255, b"all\n")


def test_answers_that_are_none(phone_rig, software_phone):
    software_phone.set_rules(
        Fault(on="shell", match="one", do="reply", stdout="\x00\xff garbage", code=0),
        Fault(on="open", match="shell.*two", do="refuse"),
        Fault(on="shell", match="three", do="garbage"),
    )
    assert shell(phone_rig, software_phone, "one").out == b"\x00\xff garbage"
    assert b"closed" in shell(phone_rig, software_phone, "two").err
    assert shell(phone_rig, software_phone, "three").code != 0
    phone_rig.wait_for_state(software_phone)


def test_rules_count_and_let_some_pass(phone_rig, software_phone):
    software_phone.set_rules(Fault(on="shell", match="^n$", do="reply", skip=1, times=2, code=9))
    codes = [shell(phone_rig, software_phone, "n").code for _ in range(4)]
    assert codes == [127, 9, 9, 127]


def test_a_rule_changes_the_state_of_the_phone(phone_rig, software_phone):
    path = "/sys/devices/system/cpu/cpufreq/policy8/scaling_max_freq"
    software_phone.set_rules(Fault(on="shell", match="hot", write={path: "1401000\n"}))
    assert shell(phone_rig, software_phone, f"true hot; cat {path}").out == b"1401000\n"
    assert shell(phone_rig, software_phone, f"echo 1 > {path}").code != 0


def test_an_unknown_key_of_a_rule_is_an_error(software_phone):
    with pytest.raises(TypeError):
        software_phone.set_rules({"on": "shell", "mach": "x"})


def test_the_clocks_go_on(phone_rig, software_phone):
    read = "cat /proc/uptime /sys/devices/system/cpu/cpufreq/policy4/stats/time_in_state"
    before = shell(phone_rig, software_phone, read).out
    time.sleep(0.05)
    assert shell(phone_rig, software_phone, read).out != before
