"""One run of the adb program: bytes in and out, a deadline, and nothing left running."""

import os
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mnasnet_deploy.bench.processes import never_began
from mnasnet_deploy.errors import PhoneError

__all__ = ["Ended", "run"]

DRAIN_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """What a run of adb gave back.

    Attributes:
        code: its exit code; None where the deadline passed and it was killed.
        out: standard output, as far as it came.
        err: standard error; what adb itself says is on either, by version.
    """

    code: int | None
    out: bytes
    err: bytes

    @property
    def text(self) -> str:
        """All of it, for reading."""
        return (self.err + b"\n" + self.out).decode(errors="replace")


def run(
    arguments: Sequence[str | os.PathLike[str]],
    *,
    deadline_s: float,
    on_start: Callable[["subprocess.Popen[bytes]"], None] | None = None,
    on_interrupt: Callable[[bytes], None] | None = None,
) -> Ended:
    """Run adb.

    Args:
        arguments: the program, then what it is told.
        deadline_s: after so long it is killed.
        on_start: gets the process, so that another thread may kill it.
        on_interrupt: gets the standard output so far when Ctrl-C cuts the run short, after the
            process was killed and before the interrupt goes on.

    Raises:
        PhoneError: the program cannot be started.
    """
    while True:
        ended = _run_once(arguments, deadline_s, on_start, on_interrupt)
        if not never_began(ended.code):
            return ended


def _run_once(
    arguments: Sequence[str | os.PathLike[str]],
    deadline_s: float,
    on_start: Callable[["subprocess.Popen[bytes]"], None] | None,
    on_interrupt: Callable[[bytes], None] | None,
) -> Ended:
    try:
        # In a session of its own, so that Ctrl-C reaches us alone and the phone can be tidied up
        # before adb goes.
        process = subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        raise PhoneError(
            f"cannot start {os.fspath(arguments[0])}: {error.strerror or error}; name another adb "
            "with --adb or $ADB"
        ) from error
    with process:
        try:
            if on_start:
                on_start(process)
            out, err = process.communicate(timeout=deadline_s)
        except subprocess.TimeoutExpired:
            out, err = _kill(process)
            return Ended(code=None, out=out, err=err)
        except BaseException:
            out, _ = _kill(process)
            if on_interrupt:
                on_interrupt(out)
            raise
        return Ended(code=process.returncode, out=out, err=err)


def _kill(process: "subprocess.Popen[bytes]") -> tuple[bytes, bytes]:
    process.kill()
    try:
        return process.communicate(timeout=DRAIN_S)
    except subprocess.TimeoutExpired as still:
        # A server that this client had started just then holds the pipes open.
        return still.output or b"", still.stderr or b""
