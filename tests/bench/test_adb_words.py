"""Messages of adb, of several versions, as printed, and what they are taken for."""

import pytest

from mnasnet_deploy.bench.adb_words import explain, explain_program, state_meaning
from mnasnet_deploy.errors import InputError, LinkLostError, PhoneError

PUSH = "adb: error: failed to copy 'm.tflite' to '/data/local/tmp/mnasnet/m': "


@pytest.mark.parametrize(
    ("text", "name", "kind"),
    [
        ("adb: no devices/emulators found", "none", LinkLostError),
        ("error: no devices/emulators found", "none", LinkLostError),
        ("error: device 'emulator-5554' not found", "gone", LinkLostError),
        ("adb: error: failed to get feature set: device 'X' not found", "gone", LinkLostError),
        ("adb: no device with transport id '4'", "gone", LinkLostError),
        ("adb: device offline", "offline", LinkLostError),
        ("adb: error: failed to get feature set: device offline", "offline", LinkLostError),
        ("error: device still connecting", "connecting", LinkLostError),
        ("adb: device still authorizing", "authorizing", LinkLostError),
        (
            "adb: device unauthorized.\nThis adb server's $ADB_VENDOR_KEYS is not set\nTry 'adb "
            "kill-server' if that seems wrong.\nOtherwise check for a confirmation dialog on your "
            "device.",
            "unauthorized",
            PhoneError,
        ),
        (
            "error: insufficient permissions for device: user in plugdev group; are your udev "
            "rules wrong?\nSee "
            "[http://developer.android.com/tools/device.html] for more information",
            "no-permissions",
            PhoneError,
        ),
        ("adb: more than one device/emulator", "ambiguous", PhoneError),
        ("error: closed", "gone", LinkLostError),
        ("adb: error: connect failed: closed", "gone", LinkLostError),
        (PUSH + "couldn't read from device", "gone", LinkLostError),
        ("m: 1 file pushed. 3 MB/s\nadb: error: failed to read copy response: EOF", "gone",
         LinkLostError),
        ("error: protocol fault (couldn't read status): Success", "server-ended", LinkLostError),
        ("adb: cannot connect to daemon at tcp:5037: Connection refused", "no-server",
         LinkLostError),
        ("* cannot start server on remote host", "no-server", LinkLostError),
        ("adb server version (40) doesn't match this client (41); killing...", "server-version",
         PhoneError),
        ("error: shell command too long", "too-long", PhoneError),
        (PUSH + "remote write failed: No space left on device", "disk-full", PhoneError),
        (PUSH + "remote couldn't create file: Read-only file system", "read-only", PhoneError),
        (PUSH + "remote secure_mkdirs() failed: Read-only file system", "read-only", PhoneError),
        (PUSH + "remote couldn't create file: Permission denied", "not-writable", PhoneError),
        (PUSH + "remote secure_mkdirs() failed: Operation not permitted", "not-writable",
         PhoneError),
        (PUSH + "remote fchown() failed: Operation not permitted", "not-writable", PhoneError),
        ("adb: error: cannot stat 'm.tflite': No such file or directory", "no-local-file",
         InputError),
        ("adb: error: failed to stat remote object '/x': No such file or directory",
         "no-remote-file", PhoneError),
        ("adb: error: remote object '/x' does not exist", "no-remote-file", PhoneError),
    ],
)  # fmt: skip
def test_a_message_is_understood(text, name, kind):
    meaning = explain(text)
    assert meaning.name == name
    error = meaning.error("phone X")
    assert type(error) is kind
    assert str(error).startswith("phone X cannot be used: ")
    assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("/system/bin/sh: ./b: not executable: 64-bit ELF file", "other-abi"),
        ("sh: ./b: Exec format error", "other-abi"),
        ('CANNOT LINK EXECUTABLE "./b": library "libc++_shared.so" not found', "linker"),
        ("/system/bin/sh: /sdcard/b: can't execute: Permission denied", "noexec"),
        ("/system/bin/sh: ./b: inaccessible or not found", "missing"),
    ],
)
def test_why_a_program_did_not_start_is_understood(text, name):
    assert explain_program(text).name == name


def test_what_nobody_has_seen_is_not_guessed():
    assert explain("* daemon started successfully") is None
    assert explain_program("Segmentation fault") is None


def test_a_state_says_what_to_do():
    assert state_meaning("device") is None
    assert state_meaning("unauthorized").name == "unauthorized"
    assert state_meaning("no permissions").name == "no-permissions"
    assert "recovery" in state_meaning("recovery").what
