"""Whole files or none: write under a temporary name in the same folder, sync, rename.

A killed process leaves the old file or the new one, never half of one; at worst a temporary file
whose name starts with a dot and ends in `.part` stays behind.
"""

import contextlib
import os
import secrets
from collections.abc import Iterable
from pathlib import Path

from mnasnet_deploy.errors import NotReadyError

__all__ = ["write_bytes", "write_text"]


def write_bytes(path: Path, parts: bytes | Iterable[bytes | memoryview]) -> None:
    """Write a file whole.

    Args:
        path: where to; its folder is made if it is missing.
        parts: the content, in one piece or in several that are written one behind the other.

    Raises:
        NotReadyError: the folder cannot be written, or the disk is full. The old file is untouched.
    """
    if isinstance(parts, bytes):
        parts = (parts,)
    # Unique per call, so that two processes may write the same target: the last rename wins.
    temporary = path.with_name(f".{path.name[:180]}.{os.getpid()}-{secrets.token_hex(4)}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("xb") as file:
                for part in parts:
                    file.write(part)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:  # Ctrl-C included: nothing half-written stays
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)
    except OSError as error:
        raise NotReadyError(
            f"cannot write {path}: {error.strerror or error} (free some space or choose another "
            "folder)"
        ) from error


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file whole, newlines as they are; errors as in `write_bytes`."""
    write_bytes(path, text.encode())


def _sync_folder(folder: Path) -> None:
    """Make the rename itself survive a power cut, where the system lets a folder be synced."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
