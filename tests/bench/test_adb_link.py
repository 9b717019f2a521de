"""Commands and files over a link that breaks in every way, with the real adb."""

import os
import re
import signal
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from softphone.faults import Fault
from softphone.fixtures import need
from softphone.parts import system_adb
from softphone.rig import Rig

from mnasnet_deploy.bench import adb_link
from mnasnet_deploy.bench.adb import find_adb
from mnasnet_deploy.bench.adb_link import Done, read_answer
from mnasnet_deploy.errors import InputError, LinkLostError, NoAnswerError, PhoneError

pytestmark = [pytest.mark.processes, pytest.mark.slow]


@pytest.fixture(scope="module")
def phone(module_rig):
    """A Pixel 8 that every test leaves ready, and without rules."""
    return module_rig.phone("pixel-8")


@pytest.fixture
def link(module_rig, use_rig, phone):
    use_rig(module_rig)
    module_rig.wait_for_state(phone)
    yield find_adb().link(phone.serial)
    phone.set_rules()
    phone.plug()


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes(os.urandom(3_000_000))
    return path


def processes(link, pattern):
    """Of the phone, whose command line matches."""
    listed = link.shell("ps -A -o PID,ARGS").text.splitlines()
    return [line for line in listed if re.search(pattern, line) and ":pid:" not in line]


def wait_until(condition):
    end = time.monotonic() + 15
    while not condition():
        assert time.monotonic() < end, "waited long enough"
        time.sleep(0.01)


# ---- commands


@pytest.mark.parametrize(
    ("script", "code", "out"),
    [
        ("echo out; echo err >&2; exit 7", 7, b"out\nerr\n"),
        ("exit 255", 255, b""),
        ("true", 0, b""),
        ("printf 'no newline'", 0, b"no newline"),
        (r"printf '\000\377\r\nTAG:rc:0\n\n'", 0, b"\0\xff\r\nTAG:rc:0\n\n"),
        ("echo 'it'\"'\"'s $HOME' \"* ;|&\"", 0, b"it's $HOME * ;|&\n"),
        ("nowhere 2>/dev/null", 127, b""),
        ("# a remark", 0, b""),
    ],
)
def test_output_and_code_come_as_they_are(link, script, code, out):
    assert link.shell(script) == Done(code=code, out=out)


@pytest.mark.parametrize(("name", "code"), [("SEGV", 139), ("ABRT", 134), ("KILL", 137)])
def test_a_program_that_a_signal_ends_has_its_code(link, name, code):
    assert link.shell(f"sh -c 'kill -{name} $$'").code == code


def test_a_legacy_phone_answers_the_same(module_rig, use_rig):
    use_rig(module_rig)
    old = module_rig.phone("pixel-1", legacy=True)
    link = find_adb().link(old.serial)
    assert link.shell("echo out; echo err >&2; exit 255") == Done(code=255, out=b"out\nerr\n")
    long = "x" * 9000
    assert link.shell(f"echo {long}; exit 3") == Done(code=3, out=f"{long}\n".encode())
    assert link.shell("ls /data/local/tmp/mnasnet").out == b""
    old.set_rules(Fault(on="output", match="half", after=4, do="drop"))
    with pytest.raises(LinkLostError):
        link.shell("echo half; echo of it")
    old.stop()


def test_a_connection_that_breaks_in_a_command_is_never_a_result(link, phone):
    phone.set_rules(
        Fault(on="shell", match="first", do="drop"),
        Fault(on="output", match="second", after=60, do="drop"),
        Fault(on="shell", match="third", do="no-exit"),
        Fault(on="open", match="fourth", do="refuse"),
        Fault(on="shell", match="fifth", do="garbage"),
    )
    for word in ("first", "second"):
        with pytest.raises(LinkLostError, match="cut short"):
            link.shell(f"echo {word}; echo all of it, which is more than sixty bytes with the mark")
        link.wait_back()
    # All that was printed came, and says itself what it ended in.
    assert link.shell("echo third; exit 4") == Done(code=4, out=b"third\n")
    with pytest.raises(LinkLostError, match="not connected any more"):
        link.shell("echo fourth")
    with pytest.raises(LinkLostError):
        link.shell("echo fifth")
    link.wait_back()


def test_a_reply_of_garbage_is_never_a_result(link, phone):
    phone.set_rules(Fault(on="shell", match="ask", do="reply", stdout="\x00\xff\nrc:0\n"))
    with pytest.raises(LinkLostError):
        link.shell("ask")


def test_a_command_that_hangs_is_dead_after_its_deadline(link):
    with pytest.raises(NoAnswerError, match=r"did not end within 0.5 s and was killed"):
        link.shell("echo begun; sleep 471 & sh -c 'sleep 472; echo'", deadline_s=0.5)
    assert processes(link, r"sleep 47\d") == []


def test_a_command_is_cut_short_from_another_thread(link):
    ended = []

    def work():
        try:
            link.shell("sleep 473", deadline_s=60)
        except KeyboardInterrupt:
            ended.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    other = find_adb().link(link.serial)
    wait_until(lambda: processes(other, "sleep 473"))
    link.abort()
    thread.join(10)
    assert ended == [True]
    assert processes(other, "sleep 473") == []
    link.abort()
    assert link.shell("echo again").out == b"again\n"


def test_ctrl_c_ends_what_runs_on_the_phone(link):
    other = find_adb().link(link.serial)

    def interrupt():
        wait_until(lambda: processes(other, "sleep 474"))
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        link.shell("sleep 474", deadline_s=60)
    thread.join()
    assert processes(other, "sleep 474") == []


def test_a_frozen_phone_is_noticed(link, phone):
    phone.freeze()
    with pytest.raises(NoAnswerError, match="hold its power button"):
        link.shell("echo a", deadline_s=0.3)
    with pytest.raises(LinkLostError, match=r"did not come back within 0.3 s: the phone hangs"):
        link.wait_back(0.3)
    phone.thaw()
    link.wait_back()
    assert link.shell("echo a").out == b"a\n"


def test_a_phone_that_freezes_in_a_command_is_noticed(link, phone, monkeypatch):
    monkeypatch.setattr(adb_link, "KILL_S", 0.5)
    phone.set_rules(Fault(on="shell", match="sleep 475", seconds_in=0.1, do="freeze"))
    with pytest.raises(NoAnswerError, match="hold its power button"):
        link.shell("sleep 475", deadline_s=0.5)
    phone.thaw()
    link.wait_back()


def test_a_phone_that_restarts_is_waited_for(link, phone):
    boot = link.shell("cat /proc/sys/kernel/random/boot_id").out
    number = link.transport_id()
    phone.set_rules(Fault(on="shell", match="sleep 476", seconds_in=0.1, do="reboot", seconds=0.2))
    with pytest.raises(LinkLostError):
        link.shell("sleep 476")
    link.wait_back()
    assert link.shell("cat /proc/sys/kernel/random/boot_id").out != boot
    assert link.transport_id() != number


def test_a_phone_whose_android_is_still_starting_is_waited_for(link, phone):
    phone.write("/.phone/prop/sys.boot_completed", "0\n")
    with pytest.raises(LinkLostError, match="Android is still starting"):
        link.wait_back(0.3)
    phone.write("/.phone/prop/sys.boot_completed", "1\n")
    link.wait_back()


def test_a_phone_that_stays_away_is_an_error_that_says_what_to_do(link, phone, module_rig):
    phone.unplug()
    module_rig.wait_for_state(phone, "")
    with pytest.raises(LinkLostError, match="not connected any more"):
        link.shell("true")
    with pytest.raises(LinkLostError, match=r"did not come back within 0.3 s.*check the cable"):
        link.wait_back(0.3)
    assert link.transport_id() is None
    phone.plug()
    link.wait_back()


def test_a_phone_that_falls_silent_is_reconnected(link, phone, module_rig, monkeypatch):
    monkeypatch.setattr(adb_link, "NUDGE_S", 0.3)
    phone.offline()
    module_rig.wait_for_state(phone, "offline")
    with pytest.raises(LinkLostError, match="does not talk to adb"):
        link.shell("true")
    link.wait_back(20)
    assert link.shell("echo back").out == b"back\n"


def test_a_server_that_somebody_kills_is_no_end(phone_rig, use_rig):
    use_rig(phone_rig)
    phone = phone_rig.phone("pixel-8")
    link = find_adb().link(phone.serial)
    phone.set_rules(Fault(on="shell", match="sleep 477", seconds_in=0.1, do="kill-server"))
    with pytest.raises(LinkLostError):
        link.shell("sleep 477")
    link.wait_back()
    assert link.shell("echo back").out == b"back\n"


def test_a_phone_on_the_network_is_connected_again_after_the_server_was_killed(
    phone_rig, use_rig, monkeypatch
):
    monkeypatch.setattr(adb_link, "NUDGE_S", 0.3)
    use_rig(phone_rig)
    phone = phone_rig.phone("pixel-1", link="tcp")
    link = find_adb().link(phone.serial)
    phone_rig.kill_server()
    with pytest.raises(LinkLostError):
        link.shell("true")
    link.wait_back(30)
    assert link.shell("echo back").out == b"back\n"


# ---- files


def test_a_file_goes_there_and_comes_back(link, file, tmp_path):
    link.push(file, "/data/local/tmp/new folder/it's; here")
    link.pull("/data/local/tmp/new folder/it's; here", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == file.read_bytes()


@pytest.mark.parametrize("rule", [
    Fault(on="open", match="sync", do="drop"),
    Fault(on="push", after=1_000_000, do="drop"),
    Fault(on="push", after=1_000_000, do="unplug", seconds=0.2),
    Fault(on="pushed", do="drop"),
    Fault(on="pushed", do="close"),
], ids=["before", "during", "cable", "after", "unconfirmed"])  # fmt: skip
def test_a_push_over_a_connection_that_breaks_is_an_error(link, phone, file, rule):
    phone.set_rules(rule)
    with pytest.raises(LinkLostError, match=r"cannot copy model\.tflite to phone"):
        link.push(file, "/data/local/tmp/f")
    link.wait_back()
    link.push(file, "/data/local/tmp/f")
    link.shell("rm /data/local/tmp/f")


def test_a_push_that_stands_still_ends_at_its_deadline(link, phone, file):
    phone.set_rules(Fault(on="push", after=1_000_000, do="hang"))
    with pytest.raises(NoAnswerError, match="nothing moves"):
        link.push(file, "/data/local/tmp/f", deadline_s=0.5)
    assert link.shell("rm -f /data/local/tmp/f; echo alive").out == b"alive\n"


def test_a_file_that_is_not_there_is_named(link, tmp_path):
    with pytest.raises(InputError, match="cannot copy nothing to phone"):
        link.push(tmp_path / "nothing", "/data/local/tmp/f")
    with pytest.raises(PhoneError, match="the phone has no such file"):
        link.pull("/data/local/tmp/nothing", tmp_path / "f")
    assert list(tmp_path.iterdir()) == []


def test_a_pull_over_a_connection_that_breaks_leaves_the_old_file(link, phone, file, tmp_path):
    link.push(file, "/data/local/tmp/f")
    kept = tmp_path / "kept"
    kept.write_bytes(b"old")
    phone.set_rules(Fault(on="pull", after=1_000_000, do="drop"))
    with pytest.raises(LinkLostError):
        link.pull("/data/local/tmp/f", kept)
    assert kept.read_bytes() == b"old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept", "model.tflite"]
    link.wait_back()
    link.shell("rm /data/local/tmp/f")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"tmp_size": "1m"}, "storage is full.*devices --clean"),
        ({"tmp_flags": "ro"}, "is read-only"),
    ],
)
def test_a_phone_that_takes_no_file_says_why(module_rig, use_rig, file, options, said):
    use_rig(module_rig)
    phone = module_rig.phone("pixel-1", **options)
    with pytest.raises(PhoneError, match=said) as caught:
        find_adb().link(phone.serial).push(file, "/data/local/tmp/mnasnet/f")
    assert type(caught.value) is PhoneError
    phone.stop()


# ---- one at a time


def test_two_benches_on_one_phone_wait_for_each_other(link):
    waited = []
    with link.exclusive(lambda: pytest.fail("waited for nobody")):
        thread = threading.Thread(target=lambda: _hold(link, waited))
        thread.start()
        wait_until(lambda: waited)
        assert waited == ["waits"]
    thread.join()
    assert waited == ["waits", "held"]


def _hold(link, waited):
    with link.exclusive(lambda: waited.append("waits")):
        waited.append("held")


# ---- the marks round an answer


@given(st.binary(), st.integers(0, 255))
def test_any_output_is_found_again_between_its_marks(out, code):
    raw = b"WARNING: linker\nT:pid:12\n" + out + b"\nT:rc:%d\n" % code
    assert read_answer(raw, "T") == (12, Done(code=code, out=out))


@given(st.integers(0, 40))
def test_an_answer_that_was_cut_is_none(size):
    whole = b"T:pid:12\nhello\n\nT:rc:7\n"
    if size < len(whole):
        assert read_answer(whole[:size], "T")[1] is None


def test_a_terminal_between_us_and_the_phone_is_seen_through():
    raw = b"T:pid:12\r\na\r\n\r\nT:rc:7\r\n"
    assert read_answer(raw, "T") == (12, Done(code=7, out=b"a\n"))


@pytest.mark.long
def test_the_adb_of_debian_fails_and_recovers_the_same(tmp_path, use_rig, file):
    need("system-adb", "namespaces")
    with Rig(tmp_path / "rig", adb=system_adb()) as rig:
        use_rig(rig)
        phone = rig.phone("pixel-8")
        link = find_adb().link(phone.serial)
        assert link.shell("echo out; echo err >&2; exit 255") == Done(code=255, out=b"out\nerr\n")
        for rule in (
            Fault(on="shell", match="word", do="drop"),
            Fault(on="shell", match="word", seconds_in=0.1, do="unplug", seconds=0.2),
            Fault(on="output", match="word", after=50, do="drop"),
            Fault(on="shell", match="word", seconds_in=0.1, do="kill-server"),
        ):
            phone.set_rules(rule)
            with pytest.raises(LinkLostError):
                link.shell("echo word; sleep 0.4; echo and many more bytes")
            link.wait_back()
        for rule in (
            Fault(on="push", after=1_000_000, do="drop"),
            Fault(on="pushed", do="close"),
        ):
            phone.set_rules(rule)
            with pytest.raises(LinkLostError):
                link.push(file, "/data/local/tmp/f")
            link.wait_back()
        phone.set_rules(Fault(on="push", after=1_000_000, do="hang"))
        with pytest.raises(NoAnswerError):
            link.push(file, "/data/local/tmp/f", deadline_s=0.5)
        with pytest.raises(NoAnswerError):
            link.shell("sleep 478", deadline_s=0.3)
        assert processes(link, "sleep 478") == []
        full = rig.phone("pixel-1", tmp_size="1m")
        with pytest.raises(PhoneError, match="storage is full"):
            find_adb().link(full.serial).push(file, "/data/local/tmp/f")
