"""What adb and a phone's shell say when something is wrong, and what to do about it.

The words are those of adb's own source (client/adb_client.cpp, client/commandline.cpp,
client/file_sync_client.cpp, daemon/file_sync_service.cpp, transport.cpp; diagnose_usb.cpp) and of
the shell and the linker of Android. Versions put different prefixes in front and print on different
streams, so only the middle of a message is looked at.
"""

import re
from dataclasses import dataclass

from mnasnet_deploy.errors import InputError, LinkLostError, MnasnetError, PhoneError

__all__ = ["Meaning", "explain", "explain_program", "state_meaning"]

_CABLE = "check the cable, unlock the phone, and look at `mnasnet devices`"
_FOLDER = "free /data/local/tmp for writing, or use a phone whose /data/local/tmp is as it came"


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning:
    """What a message means.

    Attributes:
        name: of the trouble, one word for programs.
        what: what is wrong, in words.
        cure: what to do next.
        kind: the error it is.
    """

    name: str
    what: str
    cure: str
    kind: type[MnasnetError] = PhoneError

    def error(self, subject: str, failed: str = "") -> MnasnetError:
        """The error that says so.

        Args:
            subject: the phone, or what else it is about.
            failed: what was being done; empty for nothing in particular.
        """
        return self.kind(f"{failed or f'{subject} cannot be used'}: {self.what}; {self.cure}")


UNAUTHORIZED = Meaning(
    name="unauthorized",
    what="the phone has not allowed this computer",
    cure="unlock it and tap Allow in the dialog `Allow USB debugging?`; if none is there, choose "
    "`Revoke USB debugging authorizations` in its developer options and plug it in again",
)
NO_PERMISSION = Meaning(
    name="no-permissions",
    what="this user may not open the phone's USB port",
    cure="install the udev rules (sudo apt-get install android-sdk-platform-tools-common), join "
    "the group (sudo usermod -aG plugdev $USER), log in again, plug the phone in again",
)
OFFLINE = Meaning(
    name="offline",
    what="the phone is attached but does not talk to adb",
    cure="plug it in again; if that does not help, switch USB debugging off and on",
    kind=LinkLostError,
)
CONNECTING = Meaning(
    name="connecting",
    what="the phone is only just connecting",
    cure="wait some seconds and try again",
    kind=LinkLostError,
)
AUTHORIZING = Meaning(
    name="authorizing",
    what="the phone is still checking this computer's key",
    cure="wait some seconds, then unlock it and tap Allow if it asks",
    kind=LinkLostError,
)

GONE = Meaning(
    name="gone",
    what="the phone is not connected any more",
    cure=_CABLE,
    kind=LinkLostError,
)

FROZEN = Meaning(
    name="frozen",
    what="the phone hangs",
    cure="plug it in again, or hold its power button until it restarts",
    kind=LinkLostError,
)
BOOTING = Meaning(
    name="booting",
    what="Android is still starting",
    cure="wait until its home screen is there",
    kind=LinkLostError,
)

NOT_WRITABLE = Meaning(
    name="not-writable", what="the phone lets nothing be written there", cure=_FOLDER
)

# In this order: a later row may also match what an earlier one is for.
_ADB: tuple[tuple[str, Meaning], ...] = (
    (
        r"adb server version \(\d+\) doesn't match this client",
        Meaning(
            name="server-version",
            what="adb met a server of another version",
            cure="use one adb for everything: name it with --adb or $ADB",
        ),
    ),
    (r"device unauthorized", UNAUTHORIZED),
    (r"insufficient permissions for device|no permissions", NO_PERMISSION),
    (r"device still authorizing", AUTHORIZING),
    (r"device still connecting", CONNECTING),
    (r"device offline", OFFLINE),
    (
        r"more than one (device|emulator|USB device|transport)",
        Meaning(
            name="ambiguous",
            what="several phones are meant",
            cure="name one: --device adb:SERIAL, with a serial of `mnasnet devices`",
        ),
    ),
    (
        r"no devices(/emulators)? found",
        Meaning(
            name="none",
            what="no phone is attached",
            cure="plug one in, with USB debugging on in its developer options; then type "
            "`mnasnet devices`",
            kind=LinkLostError,
        ),
    ),
    (r"device '.*' not found|no device with transport id|device not found", GONE),
    (
        r"cannot start server on remote host|cannot connect to daemon|failed to start daemon"
        r"|failed to check server version",
        Meaning(
            name="no-server",
            what="the adb server cannot be reached",
            cure="type `adb start-server` to see why (ADB_SERVER_SOCKET, "
            "ANDROID_ADB_SERVER_ADDRESS and ANDROID_ADB_SERVER_PORT say where it is looked for)",
            kind=LinkLostError,
        ),
    ),
    (
        r"protocol fault",
        Meaning(
            name="server-ended",
            what="the adb server ended in the middle",
            cure="close what else uses adb (Android Studio, scrcpy), or have it use the same adb",
            kind=LinkLostError,
        ),
    ),
    (
        r"shell command too long",
        Meaning(
            name="too-long",
            what="this old phone takes no command of that length",
            cure="use a phone with Android 7 or newer",
        ),
    ),
    (
        r"no space left on device",
        Meaning(
            name="disk-full",
            what="the phone's storage is full",
            cure="free some space on it, or type `mnasnet devices --clean SERIAL`",
        ),
    ),
    (
        r"read-only file system",
        Meaning(name="read-only", what="/data/local/tmp on the phone is read-only", cure=_FOLDER),
    ),
    (
        r"(couldn't create|create failed|mkdirs?\(\) failed|fchown\(\) failed|fchmod\(\) failed"
        r"|cannot create|can't create)"
        r"|(remote|failed to copy|mkdir|mv|chmod)"
        r".*(permission denied|not permitted|not a directory)",
        NOT_WRITABLE,
    ),
    (
        r"cannot stat '",
        Meaning(
            name="no-local-file",
            what="the file is not there any more, or may not be read",
            cure="look whether it was moved",
            kind=InputError,
        ),
    ),
    (
        r"remote object '.*' does not exist|failed to stat remote object|open failed: ",
        Meaning(
            name="no-remote-file",
            what="the phone has no such file",
            cure="try again; if it stays so, type `mnasnet devices --clean SERIAL`",
        ),
    ),
    (
        r"failed to read copy response|couldn't read from device|connect failed|\bEOF\b|\bclosed\b"
        r"|write failure during connection|connection reset|broken pipe",
        GONE,
    ),
)

NOEXEC = Meaning(
    name="noexec",
    what="the phone starts no program from that folder",
    cure="use a phone whose /data/local/tmp lets programs start",
)

_PROGRAM: tuple[tuple[str, Meaning], ...] = (
    (
        r"not executable: \d+-bit ELF|exec format error|has unexpected e_machine",
        Meaning(
            name="other-abi",
            what="the program is built for another processor",
            cure="name one for this phone: --benchmark-binary PATH, or `mnasnet benchmark-binary "
            "fetch --abi` with what `getprop ro.product.cpu.abi` says",
        ),
    ),
    (
        r"CANNOT LINK EXECUTABLE",
        Meaning(
            name="linker",
            what="the program needs a library that the phone does not have",
            cure="name a statically linked one: --benchmark-binary PATH",
        ),
    ),
    (r"can't execute: permission denied|: permission denied\s*$", NOEXEC),
    (
        r"inaccessible or not found|: not found|no such file or directory",
        Meaning(
            name="missing",
            what="the program is not on the phone",
            cure="run the command again; it is put there anew",
        ),
    ),
)

_STATES = {
    "unauthorized": UNAUTHORIZED,
    "no permissions": NO_PERMISSION,
    "offline": OFFLINE,
    "connecting": CONNECTING,
    "authorizing": AUTHORIZING,
    "detached": Meaning(
        name="detached",
        what="adb has let go of the phone",
        cure="type `adb attach` for it, or plug it in again",
    ),
}


def explain(text: str) -> Meaning | None:
    """Say what a message of adb means, whatever stands around it; None if it is not known."""
    return _look_up(_ADB, text)


def explain_program(text: str) -> Meaning | None:
    """Say why the phone's shell did not start a program; None if it does not say so."""
    return _look_up(_PROGRAM, text)


def state_meaning(state: str) -> Meaning | None:
    """Say what a state in adb's list of devices means; None for a phone that is ready."""
    if state == "device":
        return None
    return _STATES.get(
        state,
        Meaning(
            name=state or "unknown",
            what=f"the phone is in the state `{state}`, not in Android",
            cure="start it normally",
        ),
    )


def _look_up(rows: tuple[tuple[str, Meaning], ...], text: str) -> Meaning | None:
    return next(
        (
            meaning
            for pattern, meaning in rows
            if re.search(pattern, text, re.IGNORECASE | re.MULTILINE)
        ),
        None,
    )
