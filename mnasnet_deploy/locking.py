"""One process or thread at a time, by a lock on a file, on every system."""

import sys
from typing import IO

__all__ = ["try_lock"]


def try_lock(stream: IO[bytes]) -> bool:
    """Try to lock an open file against everyone else who opened it; never waits.

    Closing the file gives the lock back, and so does the end of the process, however it ends.

    Returns:
        False where another one holds the lock.

    Raises:
        OSError: the file system knows no locks.
    """
    try:
        if sys.platform == "win32":
            import msvcrt

            stream.seek(0)  # what is locked starts where the file stands
            msvcrt.locking(stream.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True
