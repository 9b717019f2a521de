"""Child processes that another thread can end."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mnasnet_deploy.bench.device import StoppedError

__all__ = ["Ended", "Processes", "never_began"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a process ended.

    Attributes:
        code: exit code, or the negative number of the signal.
        out, err: all it printed.
    """

    code: int
    out: bytes
    err: bytes


class Processes:
    """Starts processes, one at a time, until it is stopped."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: subprocess.Popen[bytes] | None = None
        self._stopped = threading.Event()

    def run(
        self,
        command: Sequence[str | Path],
        *,
        deadline_s: float,
        given: bytes = b"",
        cwd: Path | None = None,
        merged: bool = False,
    ) -> Ended:
        """Run a program to its end.

        Args:
            command: program and arguments.
            deadline_s: it is killed after this long.
            given: on its standard input.
            cwd: folder to run in.
            merged: standard error goes where standard output goes.

        Raises:
            StoppedError: `stop` was called, before or meanwhile.
            subprocess.TimeoutExpired: it was killed at the deadline; holds what it had printed.
            OSError: it cannot be started.
        """
        while True:
            ended = self._run_once(command, deadline_s, given, cwd, merged)
            if not never_began(ended.code):
                return ended

    def _run_once(
        self, command: Sequence[str | Path], deadline_s: float, given: bytes, cwd: Path | None,
        merged: bool,
    ) -> Ended:  # fmt: skip
        with self._lock:
            self.check()
            # A session of its own: the Ctrl-C of a terminal is for this process to act on, and a
            # launch that dies of it would look like a crash of the runtime.
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT if merged else subprocess.PIPE,
                cwd=cwd,
                start_new_session=sys.platform != "win32",
            )
            self._running = process
        with process:
            try:
                out, err = process.communicate(given, timeout=deadline_s)
            except subprocess.TimeoutExpired as late:
                _kill(process)
                late.stdout, late.stderr = process.communicate()
                raise
            finally:
                with self._lock:
                    _kill(process)
                    self._running = None
        self.check()
        return Ended(code=process.returncode, out=out, err=err or b"")

    def check(self) -> None:
        """Raise StoppedError after `stop`."""
        if self._stopped.is_set():
            raise StoppedError

    def pause(self, seconds: float) -> None:
        """Sleep, or raise StoppedError as soon as `stop` is called."""
        if self._stopped.wait(seconds):
            raise StoppedError

    def stop(self) -> None:
        """End the process that runs; from another thread, at any time, more than once."""
        self._stopped.set()
        with self._lock:
            if self._running is not None:
                _kill(self._running)


def never_began(code: int | None) -> bool:
    """Whether a process that was to have a session of its own died of a Ctrl-C before it had one.

    CPython's `subprocess` gives a child the default actions of signals before `setsid`, so a Ctrl-C
    in that moment kills it. Nothing of the program has run then, and it can be started again.

    Args:
        code: its exit code, or the negative number of the signal; None where it was killed by us.
    """
    return code == -signal.SIGINT


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a process with all it started, unless it has ended and was waited for."""
    if process.poll() is not None:
        return
    if sys.platform == "win32":
        process.kill()
        return
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
