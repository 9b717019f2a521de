"""What differs between operating systems: pinning a process to CPUs, and one bench at a time."""

import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from mnasnet_deploy.errors import InputError, NotReadyError
from mnasnet_deploy.locking import try_lock

__all__ = [
    "InUseError", "allowed_cpus", "check_cpus", "children_cpu_s", "exclusive", "holding", "pin",
    "pinned",
]  # fmt: skip

RETRY_S = 0.2


class InUseError(Exception):
    """Another process holds what `exclusive` was asked for, and it was not to wait."""


def allowed_cpus() -> frozenset[int]:
    """Logical CPUs this process may run on; all of them where the system does not say."""
    if sys.platform == "linux":
        cpus = os.sched_getaffinity(0)
    else:
        cpus = set(range(os.cpu_count() or 1))
    return frozenset(cpus)


def check_cpus(cpus: tuple[int, ...]) -> None:
    """Raise InputError where a process cannot be pinned to these CPUs, or pinned at all."""
    if cpus and sys.platform != "linux":
        raise InputError("--cpus needs Linux: this system does not pin processes; leave it out")
    allowed = allowed_cpus()
    if missing := sorted(set(cpus) - allowed):
        raise InputError(
            f"CPU {missing[0]} is not available (this process may use "
            f"{', '.join(map(str, sorted(allowed)))})"
        )


def pin(cpus: tuple[int, ...]) -> None:
    """Pin this process, and the threads it starts from now on, to CPUs that `check_cpus` passed."""
    if sys.platform == "linux":
        os.sched_setaffinity(0, cpus)


@contextlib.contextmanager
def pinned(cpus: tuple[int, ...]) -> Iterator[None]:
    """Within, this thread and the processes it starts are pinned to CPUs `check_cpus` passed."""
    if not cpus or sys.platform != "linux":
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextlib.contextmanager
def exclusive(
    name: str, on_wait: Callable[[], None] | None, pause: Callable[[float], None] = time.sleep
) -> Iterator[None]:
    """Hold a lock of this machine, so that two benches run one behind the other.

    The system frees it when the process ends, however it ends. Where no lock can be made the
    work goes on without: the load of the other bench still shows in the record.

    Args:
        name: of the lock.
        on_wait: called once when another process holds it, before waiting; None does not wait.
        pause: called with seconds while waiting; ends the wait by raising.

    Raises:
        InUseError: another process holds it, and nobody waits.
    """
    with contextlib.ExitStack() as stack:
        try:
            file = stack.enter_context(_open(Path(tempfile.gettempdir()) / f"{name}.lock"))
            free = try_lock(file)
        except OSError:
            yield
            return
        if not free:
            if on_wait is None:
                raise InUseError
            on_wait()
            # Polled, so that Ctrl-C ends the wait on every system.
            while not try_lock(file):
                pause(RETRY_S)
        yield


@contextlib.contextmanager
def holding(path: Path) -> Iterator[bool]:
    """Hold a lock file of one's own, which goes when it is let go; gives whether it was free.

    The system frees it when the process ends, however it ends; then only the file stays.

    Args:
        path: of the file; its folder is made if it is missing.

    Raises:
        NotReadyError: the file cannot be made.
    """
    with contextlib.ExitStack() as stack:
        while True:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                file = path.open("ab")
            except OSError as error:
                raise NotReadyError(
                    f"cannot write into {path.parent}: {error.strerror or error} (choose another "
                    "folder with --results)"
                ) from error
            stack.enter_context(file)
            try:
                free = try_lock(file)
            except OSError:  # a file system without locks: go on without
                break
            if not free:
                yield False
                return
            # Whoever held it before removed the file after we opened it: that lock holds nothing.
            with contextlib.suppress(OSError):
                if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                    break
            file.close()
        try:
            yield True
        finally:
            if sys.platform == "win32":
                file.close()
            with contextlib.suppress(OSError):
                path.unlink()


def _open(path: Path) -> IO[bytes]:
    """Open a lock file, another user's too: locking needs no right to write."""
    try:
        return path.open("ab")
    except PermissionError:
        return path.open("rb")


if sys.platform == "win32":

    def children_cpu_s() -> float | None:
        """Processor time of all ended child processes; None where the system does not say."""
        return None

else:
    import resource

    def children_cpu_s() -> float | None:
        """Processor time of all ended child processes; None where the system does not say."""
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime
