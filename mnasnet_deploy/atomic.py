"""Whole files or none: write under a temporary name in the same folder, sync, rename.

A killed process leaves the old file or the new one, never half of one; at worst a temporary file
whose name starts with a dot and ends in `.part` stays behind.
"""

import contextlib
import os
import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path

from mnasnet_deploy.errors import NotReadyError

__all__ = ["staged", "write_bytes", "write_new_text", "write_text"]


@contextlib.contextmanager
def staged(path: Path, parts: Iterable[bytes | bytearray | memoryview]) -> Iterator[Path]:
    """Write a file under a temporary name, let the caller look at it, then give it its name.

    If the block raises, the temporary file is removed and the old file stays.

    Args:
        path: where to; its folder is made if it is missing.
        parts: the content, in pieces that are written one behind the other.

    Yields:
        The temporary file, whole and synced.

    Raises:
        NotReadyError: the folder cannot be written, or the disk is full.
    """
    with _temporary(path, parts) as temporary:
        yield temporary
        with _disk_errors(path):
            temporary.replace(path)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole.

    Raises:
        NotReadyError: the folder cannot be written, or the disk is full. The old file is untouched.
    """
    with staged(path, (content,)):
        pass


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file whole, newlines as they are; errors as in `write_bytes`."""
    write_bytes(path, text.encode())


def write_new_text(path: Path, text: str) -> bool:
    """Write a UTF-8 text file whole unless one is there; errors as in `write_bytes`.

    Returns:
        Whether it was written. Of several processes writing one name, one gets True.
    """
    with _temporary(path, (text.encode(),)) as temporary, _disk_errors(path):
        return _place_new(temporary, path)


@contextlib.contextmanager
def _temporary(path: Path, parts: Iterable[bytes | bytearray | memoryview]) -> Iterator[Path]:
    """Write a whole file beside its target; the block renames it, and nothing stays if it fails."""
    # Unique per call, so that two processes may write the same target: the last rename wins. Cut in
    # bytes, so that a long name of wide letters has room for the rest.
    stem = os.fsencode(path.name)[:150].decode(errors="ignore")
    temporary = path.with_name(f".{stem}.{os.getpid()}-{secrets.token_hex(4)}.part")
    try:
        with _disk_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("xb") as file:
                for part in parts:
                    file.write(part)
                file.flush()
                os.fsync(file.fileno())
        yield temporary
    except BaseException:  # Ctrl-C included: nothing half-written stays
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _place_new(temporary: Path, path: Path) -> bool:
    """Give a file its name unless the name is taken; the temporary name is gone afterwards."""
    try:
        # A rename would replace what is there; a second link cannot.
        path.hardlink_to(temporary)
    except FileExistsError:
        temporary.unlink()
        return False
    except OSError:  # a file system without links (FAT, some network drives): look, then rename
        if path.exists():
            temporary.unlink()
            return False
        temporary.replace(path)
        return True
    temporary.unlink()
    return True


@contextlib.contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise NotReadyError(
            f"cannot write {path}: {error.strerror or error} (free some space or choose another "
            "folder)"
        ) from error


def _sync_folder(folder: Path) -> None:
    """Make the rename itself survive a power cut, where the system lets a folder be synced."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
