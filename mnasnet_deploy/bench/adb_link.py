"""The way to one phone: commands, files, and waiting until it is back."""

import contextlib
import hashlib
import re
import secrets
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from mnasnet_deploy.bench import adb_words
from mnasnet_deploy.bench.adb_process import Ended
from mnasnet_deploy.bench.system import exclusive
from mnasnet_deploy.errors import LinkLostError, NoAnswerError, PhoneError

__all__ = ["Done", "Link", "Listed", "read_answer"]

PROBE_S = 5.0
KILL_S = 5.0
POLL_S = 0.1
NUDGE_S = 5.0
TRANSFER_BASE_S = 30.0
SLOWEST_BYTES_PER_S = 500_000
"""Less than a poor Wi-Fi connection gives: what takes longer stands still."""

FOLDER = "/data/local/tmp/mnasnet"
"""All that this tool keeps on a phone, where the shell may write and start programs."""

_NETWORK = re.compile(r"[A-Za-z0-9.-]+:\d+|\[[0-9A-Fa-f:.]+\]:\d+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A phone in adb's list.

    Attributes:
        serial: its name for adb.
        state: `device` if it is ready.
        transport_id: a new number each time it is connected; None where adb says none.
        model: as adb spells it, with _ for blanks; empty if it is not ready.
        product: its product name; empty as well.
        detail: the reason, where the state has one.
    """

    serial: str
    state: str
    transport_id: int | None = None
    model: str = ""
    product: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What a command on the phone gave back.

    Attributes:
        code: its exit code; 128 + n where signal n ended it.
        out: all it printed, standard error included, byte for byte.
    """

    code: int
    out: bytes

    @property
    def text(self) -> str:
        """What it printed, for reading."""
        return self.out.decode(errors="replace")


class Caller(Protocol):
    """Runs the adb program: `adb.Adb`."""

    def call(
        self,
        *arguments: str | Path,
        deadline_s: float,
        on_start: Callable[["subprocess.Popen[bytes]"], None] | None = None,
        on_interrupt: Callable[[bytes], None] | None = None,
    ) -> Ended:
        """Run it once."""

    def devices(self) -> tuple[Listed, ...]:
        """List the phones."""


class Link:
    """The way to one phone.

    Used by one thread; `abort` may be called by any.

    Args:
        adb: the program.
        serial: of the phone.
    """

    def __init__(self, adb: Caller, serial: str) -> None:
        self.adb = adb
        self.serial = serial
        self._lock = threading.Lock()
        self._running: subprocess.Popen[bytes] | None = None
        self._aborted = False

    def __repr__(self) -> str:
        return f"Link({self.serial!r})"

    def exclusive(
        self,
        on_wait: Callable[[], None] | None = None,
        pause: Callable[[float], None] = time.sleep,
    ) -> contextlib.AbstractContextManager[None]:
        """Have the phone alone on this computer; see `system.exclusive`."""
        name = hashlib.sha256(self.serial.encode()).hexdigest()[:16]
        return exclusive(f"mnasnet-phone-{name}", on_wait, pause)

    def abort(self) -> None:
        """Cut short, from another thread, the call that runs now.

        What it runs on the phone is ended, and the call raises KeyboardInterrupt. Later calls are
        not concerned; where none runs, nothing happens.
        """
        with self._lock:
            if self._running:
                self._aborted = True
                self._running.kill()

    def shell(self, script: str, *, deadline_s: float = 20.0) -> Done:
        """Run a script in the phone's shell.

        Args:
            script: for Android's sh; nothing is quoted or changed. `$$` in it is not its own.
            deadline_s: after so long it is killed on the phone, with all it started.

        Raises:
            LinkLostError: the connection broke; whether the script ran to its end is not known.
            NoAnswerError: the deadline passed.
            PhoneError: the phone does not let us in.
        """
        tag = secrets.token_hex(8)
        wrapped = f"exec 2>&1; echo {tag}:pid:$$; (\n{script}\n); r=$?; echo; echo {tag}:rc:$r"
        ended = self._call(
            "shell",
            wrapped,
            deadline_s=deadline_s,
            on_interrupt=lambda out: self._interrupted(tag, out),
        )
        pid, done = read_answer(ended.out, tag)
        if done:
            return done
        if ended.code is None:
            raise self._no_answer(tag, pid, deadline_s)
        # Once the command runs, standard output is its own.
        said = ended.text if pid is None else ended.err.decode(errors="replace")
        meaning = adb_words.explain(said)
        if meaning and meaning.name == "too-long":
            return self._shell_from_file(script, deadline_s)
        failed = f"a command on phone {self.serial} was cut short"
        raise self._error(meaning or adb_words.GONE, failed)

    def push(self, local: Path, remote: str, *, deadline_s: float | None = None) -> None:
        """Copy a file to the phone; a broken push may leave a part of it there.

        Args:
            local: the file.
            remote: its full name on the phone; missing folders are made.
            deadline_s: by default what the slowest connection would need.

        Raises:
            InputError: the file is not there.
            LinkLostError: the connection broke.
            NoAnswerError: the deadline passed.
            PhoneError: the phone is full, or lets nothing be written there.
        """
        deadline_s = deadline_s or _transfer_s(local)
        ended = self._call("push", str(local), remote, deadline_s=deadline_s)
        self._check_transfer(ended, f"cannot copy {local.name} to phone {self.serial}", deadline_s)

    def pull(self, remote: str, local: Path, *, deadline_s: float = 60.0) -> None:
        """Copy a file from the phone; the local file is whole or untouched.

        Raises:
            LinkLostError: the connection broke.
            NoAnswerError: the deadline passed.
            PhoneError: the phone has no such file.
        """
        temporary = local.with_name(f".{local.name}.{secrets.token_hex(4)}.part")
        try:
            ended = self._call("pull", remote, str(temporary), deadline_s=deadline_s)
            self._check_transfer(
                ended, f"cannot copy {remote} from phone {self.serial}", deadline_s
            )
            temporary.replace(local)
        finally:
            temporary.unlink(missing_ok=True)

    def transport_id(self) -> int | None:
        """Number of the present connection, another after each; None if there is none."""
        found = (one for one in self.adb.devices() if one.serial == self.serial)
        return next((one.transport_id for one in found), None)

    def wait_back(
        self, deadline_s: float = 60.0, pause: Callable[[float], None] = time.sleep
    ) -> None:
        """Wait until the phone answers and Android has started.

        A phone that stays offline is reconnected once, one on the network that adb has forgotten is
        connected again; nothing is done to the server or to other phones.

        Args:
            deadline_s: how long at most.
            pause: called with seconds between two looks; ends the wait by raising.

        Raises:
            LinkLostError: it did not within the deadline.
            PhoneError: it is back but does not let us in; waiting does not help.
        """
        start = time.monotonic()
        nudged = start
        while True:
            trouble = self._trouble(max(0.5, min(PROBE_S, start + deadline_s - time.monotonic())))
            if trouble is None:
                return
            if trouble.kind is not LinkLostError:
                raise self._error(trouble, f"phone {self.serial} cannot be used")
            now = time.monotonic()
            if now > start + deadline_s:
                raise self._error(
                    trouble, f"phone {self.serial} did not come back within {deadline_s:g} s"
                )
            if now > nudged + NUDGE_S:
                nudged = now
                self._nudge(trouble)
            pause(POLL_S)

    # -- inside

    def _call(
        self,
        *arguments: str,
        deadline_s: float,
        on_interrupt: Callable[[bytes], None] | None = None,
    ) -> Ended:
        def started(process: "subprocess.Popen[bytes]") -> None:
            with self._lock:
                self._running = process

        try:
            ended = self.adb.call(
                "-s",
                self.serial,
                *arguments,
                deadline_s=deadline_s,
                on_start=started,
                on_interrupt=on_interrupt,
            )
        finally:
            with self._lock:
                self._running = None
                aborted, self._aborted = self._aborted, False
        if aborted:
            if on_interrupt:
                on_interrupt(ended.out)
            raise KeyboardInterrupt
        return ended

    def _shell_from_file(self, script: str, deadline_s: float) -> Done:
        """Run a script that is longer than what phones before Android 7 take as a command."""
        remote = f"{FOLDER}/script.{secrets.token_hex(8)}"
        with tempfile.TemporaryDirectory() as folder:
            local = Path(folder) / "script"
            local.write_text(script, encoding="utf-8", newline="\n")
            self.push(local, remote)
        return self.shell(f"sh {remote}; r=$?; rm -f {remote}; exit $r", deadline_s=deadline_s)

    def _interrupted(self, tag: str, out: bytes) -> None:
        pid, done = read_answer(out, tag)
        if pid is not None and done is None:
            self._end(tag, pid)

    def _no_answer(self, tag: str, pid: int | None, deadline_s: float) -> PhoneError:
        if pid is not None and self._end(tag, pid):
            return NoAnswerError(
                f"a command on phone {self.serial} did not end within {deadline_s:g} s and was "
                "killed: try again, with more time if it needs more"
            )
        return NoAnswerError(
            f"phone {self.serial} does not answer, not within {deadline_s:g} s: it hangs; plug it "
            "in again, or hold its power button until it restarts"
        )

    def _end(self, tag: str, pid: int) -> bool:
        """Kill a command with all it started; whether it is gone."""
        # adbd gives each command a session of its own, and on a hang-up it tells the shell only.
        group = f"kill -9 -- -{pid}"
        script = (
            f"n=0; while {group} 2>/dev/null && [ $n -lt 20 ]; do n=$((n+1)); sleep 0.1; done; "
            f"{group} 2>/dev/null || echo {tag}:gone"
        )
        with contextlib.suppress(PhoneError):
            ended = self.adb.call("-s", self.serial, "shell", script, deadline_s=KILL_S)
            return f"{tag}:gone".encode() in ended.out
        return False

    def _check_transfer(self, ended: Ended, failed: str, deadline_s: float) -> None:
        # Some versions print "1 file pushed" on a failed push: only the exit code counts.
        if ended.code is None:
            raise NoAnswerError(
                f"{failed}: nothing moves, not within {deadline_s:g} s; plug the phone in again"
            )
        if ended.code != 0:
            raise self._error(adb_words.explain(ended.text) or adb_words.GONE, failed)

    def _error(self, meaning: adb_words.Meaning, failed: str) -> Exception:
        return meaning.error(f"phone {self.serial}", failed)

    def _trouble(self, deadline_s: float) -> adb_words.Meaning | None:
        """What keeps the phone from being used at this moment."""
        try:
            states = [one.state for one in self.adb.devices() if one.serial == self.serial]
            if not states:
                return adb_words.GONE
            if meaning := adb_words.state_meaning(states[0]):
                return meaning
            booted = self.shell("getprop sys.boot_completed", deadline_s=deadline_s)
        except NoAnswerError:
            return adb_words.FROZEN
        except LinkLostError:
            return adb_words.GONE
        return None if booted.out.strip() == b"1" else adb_words.BOOTING

    def _nudge(self, trouble: adb_words.Meaning) -> None:
        if trouble is adb_words.OFFLINE:
            self.adb.call("-s", self.serial, "reconnect", deadline_s=PROBE_S)
        elif trouble is adb_words.GONE and _NETWORK.fullmatch(self.serial):
            # adb forgets these when its server ends; those on USB it finds by itself.
            self.adb.call("connect", self.serial, deadline_s=PROBE_S)


def read_answer(out: bytes, tag: str) -> tuple[int | None, Done | None]:
    """Find a command's output and exit code between the marks put around it.

    Args:
        out: all that came.
        tag: of the marks.

    Returns:
        The process on the phone, None if it did not start; what it gave back, None if it did not
        end.
    """
    mark = tag.encode()
    start = re.search(rb"^%s:pid:(\d+)(\r*)\n" % mark, out, re.MULTILINE)
    if not start:
        return None, None
    body = out[start.end() :]
    if start[2]:
        # Before Android 7 a command's output came through a terminal.
        body = body.replace(start[2] + b"\n", b"\n")
    pid = int(start[1])
    end = body.rfind(b"\n%s:rc:" % mark)
    code = re.match(rb"\d+(?=\n)", body[end + len(mark) + 5 :]) if end >= 0 else None
    return pid, Done(code=int(code[0]), out=body[:end]) if code else None


def _transfer_s(local: Path) -> float:
    try:
        size = local.stat().st_size
    except OSError:
        size = 0  # adb says what is wrong with the file
    return TRANSFER_BASE_S + size / SLOWEST_BYTES_PER_S
