"""A folder to unpack into, and the end of those that killed processes left behind."""

import contextlib
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from mnasnet_deploy.errors import NotReadyError
from mnasnet_deploy.locking import try_lock

__all__ = ["scratch_folder"]

PREFIX: Final = "mnasnet-unpacked-"
LOCK: Final = "lock"
YOUNG_S: Final = 60.0
"""A folder of this age may belong to a process that has not come to lock it yet."""


@contextlib.contextmanager
def scratch_folder(label: str) -> Iterator[Path]:
    """A new temporary folder, locked while it is in use and removed afterwards.

    Folders that nobody holds any more are removed first: unpacked weights are up to 1 GiB, and a
    killed process removes nothing.

    Args:
        label: what is to be unpacked, for the error.

    Raises:
        NotReadyError: there is no place for one.
    """
    _sweep(Path(tempfile.gettempdir()))
    try:
        folder = tempfile.TemporaryDirectory(prefix=PREFIX)
    except OSError as error:
        raise NotReadyError(
            f"{label} cannot be unpacked: {error.strerror or error} (set TMPDIR to a folder that "
            "can be written)"
        ) from error
    with folder as name, (Path(name) / LOCK).open("wb") as lock:
        # Where the file system knows no locks, a sweep leaves the folder alone, too.
        with contextlib.suppress(OSError):
            try_lock(lock)
        yield Path(name)


def _sweep(parent: Path) -> None:
    """Remove the folders of processes that are gone."""
    for folder in parent.glob(f"{PREFIX}*"):
        # Others may be at it in the same moment, and what cannot be removed does no harm.
        with contextlib.suppress(OSError):
            status = folder.lstat()
            own = os.name != "posix" or status.st_uid == os.getuid()
            if not own or not stat.S_ISDIR(status.st_mode):
                continue
            if time.time() - status.st_mtime < YOUNG_S:
                continue
            with (folder / LOCK).open("rb+") as lock:
                abandoned = try_lock(lock)
            if abandoned:
                shutil.rmtree(folder)
