"""The real adb takes the software phone for a phone: states, shell, transfer, several at once."""

import os
import re
import socket
import subprocess
import threading
import time

import pytest
from softphone.faults import Fault
from softphone.fixtures import need
from softphone.parts import system_adb
from softphone.rig import Rig
from softphone.stubs import FORBIDDEN_SERIAL, adb_without_permission, other_server

pytestmark = [pytest.mark.processes, pytest.mark.slow]


def shell(rig, phone, command, **options):
    return rig.adb("-s", phone.serial, "shell", command, **options)


def test_a_phone_starts_fast_and_says_what_it_is(phone_rig):
    phone_rig.phone("pixel-1")  # the first also makes the keys
    started = time.monotonic()
    phone = phone_rig.phone("pixel-8")
    assert time.monotonic() - started < 5, "well under a second on an idle machine"
    listed = phone_rig.adb("devices", "-l").out.decode()
    assert re.search(rf"{phone.serial}\s+device product:shiba model:Pixel_8 device:shiba", listed)
    assert shell(phone_rig, phone, "getprop ro.product.model").out == b"Pixel 8\n"
    assert b"shell_v2" in phone_rig.adb("-s", phone.serial, "features").out


@pytest.mark.parametrize("command", ["exit 7", "kill -SEGV $$", "nowhere", "true"])
def test_exit_codes_come_through(phone_rig, software_phone, command):
    wanted = {"exit 7": 7, "kill -SEGV $$": 139, "nowhere": 127, "true": 0}[command]
    assert shell(phone_rig, software_phone, command).code == wanted


def test_streams_are_apart_and_standard_input_arrives(phone_rig, software_phone):
    done = shell(phone_rig, software_phone, "cat; echo oops >&2", input=b"hello " * 50_000)
    assert done.out == b"hello " * 50_000
    assert done.err == b"oops\n"


def test_big_files_go_there_and_back(phone_rig, software_phone, tmp_path):
    content = os.urandom(20_000_001)
    (tmp_path / "big").write_bytes(content)
    (tmp_path / "big").chmod(0o755)
    serial = software_phone.serial
    assert (
        phone_rig.adb("-s", serial, "push", tmp_path / "big", "/data/local/tmp/a/b/big").code == 0
    )
    assert (
        phone_rig.adb("-s", serial, "pull", "/data/local/tmp/a/b/big", tmp_path / "back").code == 0
    )
    assert (tmp_path / "back").read_bytes() == content
    listed = shell(phone_rig, software_phone, "ls -l /data/local/tmp/a/b/big").out
    assert listed.startswith(b"-rwxrwxrwx")


def test_a_tree_is_pushed_and_pulled(phone_rig, software_phone, tmp_path):
    for name in ("one", "sub/two", "sub/deeper/three"):
        (tmp_path / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "tree" / name).write_text(name)
    serial = software_phone.serial
    assert phone_rig.adb("-s", serial, "push", tmp_path / "tree", "/data/local/tmp/").code == 0
    assert phone_rig.adb("-s", serial, "pull", "/data/local/tmp/tree", tmp_path / "back").code == 0
    assert (tmp_path / "back/sub/deeper/three").read_text() == "sub/deeper/three"


def test_a_missing_file_cannot_be_pulled(phone_rig, software_phone, tmp_path):
    done = phone_rig.adb("-s", software_phone.serial, "pull", "/data/local/tmp/no", tmp_path / "x")
    assert done.code == 1
    assert not (tmp_path / "x").exists()


def test_what_the_host_leaves_behind_can_be_killed(phone_rig, software_phone):
    with pytest.raises(subprocess.TimeoutExpired):
        shell(phone_rig, software_phone, "echo $$ > /data/local/tmp/pid; sleep 78; echo", timeout=1)
    left = shell(phone_rig, software_phone, "kill -9 -- -$(cat /data/local/tmp/pid); pgrep sleep")
    assert b"78" not in left.out


def test_an_old_phone_has_no_exit_code_and_one_stream(phone_rig):
    phone = phone_rig.phone("pixel-1", legacy=True)
    done = shell(phone_rig, phone, "echo a; echo b >&2; exit 5")
    assert (done.code, done.out, done.err) == (0, b"a\nb\n", b"")


def test_an_old_phone_takes_and_gives_files(phone_rig, tmp_path):
    phone = phone_rig.phone("pixel-1", legacy=True)
    (tmp_path / "f").write_bytes(b"x" * 100_000)
    assert phone_rig.adb("-s", phone.serial, "push", tmp_path / "f", "/data/local/tmp/f").code == 0
    assert phone_rig.adb("-s", phone.serial, "pull", "/data/local/tmp/f", tmp_path / "g").code == 0
    assert (tmp_path / "g").read_bytes() == b"x" * 100_000


def test_a_terminal_is_one_where_asked_for(phone_rig, software_phone):
    done = phone_rig.adb("-s", software_phone.serial, "shell", "-tt", "tty; exit 3")
    assert done.code == 3
    assert done.out.startswith(b"/dev/pts/")


def test_several_phones_work_at_once(phone_rig, tmp_path):
    phones = [
        phone_rig.phone(("pixel-1", "pixel-8")[i % 2], link=("usb", "tcp")[i // 2])
        for i in range(4)
    ]
    (tmp_path / "f").write_bytes(os.urandom(3_000_000))
    results = {}

    def work(phone):
        pushed = phone_rig.adb("-s", phone.serial, "push", tmp_path / "f", "/data/local/tmp/f").code
        results[phone.serial] = (pushed, shell(phone_rig, phone, "getprop ro.serialno").out)

    threads = [threading.Thread(target=work, args=(phone,)) for phone in phones]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [code for code, _ in results.values()] == [0] * 4
    assert len({serial for _, serial in results.values()}) == 4


def test_one_phone_is_found_without_a_name_and_two_are_not(phone_rig):
    phone_rig.phone("pixel-1")
    assert phone_rig.adb("get-state").out == b"device\n"
    phone_rig.phone("pixel-8")
    assert b"more than one device" in phone_rig.adb("get-state").err


def test_nothing_is_left_of_a_rig(tmp_path, adb_home):
    need("pip-adb", "namespaces")
    with Rig(tmp_path / "rig", home=adb_home) as rig:
        phone = rig.phone("pixel-8")
        port, process = rig.port, phone._process
        rig.kill_server()
        rig.adb("start-server")  # one that is not our child
    assert process.poll() is not None
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


def test_the_adb_of_debian_is_served_too(tmp_path):
    need("system-adb", "namespaces")
    with Rig(tmp_path / "rig", adb=system_adb()) as rig:
        phone = rig.phone("pixel-8")
        assert rig.adb("-s", phone.serial, "shell", "exit 9").code == 9
        (tmp_path / "f").write_bytes(b"y" * 200_000)
        assert rig.adb("-s", phone.serial, "push", tmp_path / "f", "/data/local/tmp/f").code == 0
        phone.set_rules(Fault(on="shell", match="lost", do="drop"))
        assert rig.adb("-s", phone.serial, "shell", "echo lost").code == 0, "29 calls this success"


def test_mksh_names_a_program_of_another_processor(phone_rig, software_phone):
    need("mksh")
    binary = phone_rig.foreign_binary()
    serial = software_phone.serial
    assert phone_rig.adb("-s", serial, "push", binary, "/data/local/tmp/b").code == 0
    done = shell(phone_rig, software_phone, "cd /data/local/tmp; ./b --graph=x")
    assert done.code in (1, 126)  # as the version has it
    assert b"not executable: 64-bit ELF file" in done.err


def test_a_client_kills_a_server_of_another_version(phone_rig):
    with other_server() as server:
        environment = {**phone_rig.environment, "ANDROID_ADB_SERVER_PORT": str(server.port)}
        done = subprocess.run(
            [phone_rig.adb_path, "devices"], env=environment, capture_output=True, timeout=30
        )
        assert b"adb server version (40) doesn't match this client (41); killing..." in done.stderr
        assert "host:kill" in server.asked
        subprocess.run([phone_rig.adb_path, "kill-server"], env=environment, timeout=30)


def test_a_phone_the_user_may_not_open_is_listed(phone_rig, software_phone, tmp_path):
    adb = adb_without_permission(tmp_path / "bin", phone_rig.adb_path)
    listed = subprocess.run(
        [adb, "devices", "-l"], env=phone_rig.environment, capture_output=True, text=True
    ).stdout
    assert software_phone.serial in listed
    assert f"{FORBIDDEN_SERIAL}         no permissions (" in listed
