"""Unpack an archive nobody vouches for: plain files, inside one folder, within limits."""

import bz2
import contextlib
import gzip
import lzma
import os
import secrets
import shutil
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, Final, Protocol

from mnasnet_deploy.errors import NotReadyError, WeightsError

__all__ = ["MAX_BYTES", "extract"]

MAX_BYTES: Final = 2**30
"""Unpacked, headers included; the largest official archive holds about 100 MB."""
MAX_MEMBERS: Final = 10_000
MAX_DEPTH: Final = 16
MAX_NAME: Final = 1024
# One header of an archive is read whole; none needs more.
MAX_HEADER_BYTES: Final = 2**20
CHUNK: Final = 2**20


def extract(archive: Path, folder: Path) -> None:
    """Unpack a tar archive (plain, gzip, bzip2 or xz) into a new folder, whole or not at all.

    Args:
        archive: the file.
        folder: where to; it must not exist. Its parents are made.

    Raises:
        WeightsError: not a whole archive, a name that leads out of the folder, a link, a device, or
            more than an archive of weights holds. Nothing stays behind.
        NotReadyError: the folder cannot be written, or the disk is full.
    """
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}-{secrets.token_hex(4)}.part")
    try:
        _make(temporary)
        with _errors(archive), _unpacked(archive) as stream:
            counter: Any = _Counter(stream, archive.name)
            with tarfile.open(fileobj=counter, mode="r:") as tar:
                _unpack(tar, archive.name, temporary)
            while counter.read(CHUNK):  # the compressor's own checksum stands at the very end
                pass
        with _disk(folder):
            temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextlib.contextmanager
def _unpacked(archive: Path) -> Iterator["_Reader"]:
    """The archive without its compression, which its first bytes tell."""
    with archive.open("rb") as file:
        start = file.read(6)
        file.seek(0)
        if start[:2] == b"\x1f\x8b":
            yield gzip.GzipFile(fileobj=file)
        elif start[:3] == b"BZh":
            yield bz2.BZ2File(file)
        elif start == b"\xfd7zXZ\0":
            with lzma.LZMAFile(file) as unpacked:
                yield unpacked
        else:
            yield file


def _unpack(tar: tarfile.TarFile, name: str, folder: Path) -> None:
    total = 0
    for count, member in enumerate(tar, start=1):
        if count > MAX_MEMBERS:
            raise WeightsError(f"{name}: more than {MAX_MEMBERS} files are no weights")
        target = folder / _relative(member.name, name)
        what = f"{name}: '{_shown(member.name)}'"
        if member.isdir():
            _make(target, what)
            continue
        if not member.isreg() or member.issparse():
            kind = "a link" if member.islnk() or member.issym() else "no plain file"
            raise WeightsError(f"{what} is {kind}; it was not unpacked")
        total += member.size
        if total > MAX_BYTES:
            raise WeightsError(
                f"{name}: unpacked it has more than {MAX_BYTES // 2**20} MiB; it was not unpacked"
            )
        source = tar.extractfile(member)
        if source is None:
            raise WeightsError(f"{what} cannot be read")
        _make(target.parent, what)
        left = member.size
        with _disk(target, what), target.open("xb") as file:
            while left:
                piece = source.read(min(CHUNK, left))
                if not piece:
                    raise EOFError("it ends early")
                file.write(piece)
                left -= len(piece)


def _relative(member: str, archive: str) -> PurePosixPath:
    """The name of a member, if it stays below the folder on every system."""
    parts = [part for part in member.split("/") if part not in ("", ".")]
    unsafe = (
        member.startswith("/")
        or len(member) > MAX_NAME
        or len(parts) > MAX_DEPTH
        or any(part == ".." or "\\" in part or ":" in part or "\0" in part for part in parts)
    )
    if unsafe:
        raise WeightsError(
            f"{archive}: the name '{_shown(member)}' leads out of its folder; it was not unpacked"
        )
    return PurePosixPath(*parts)


class _Reader(Protocol):
    def read(self, size: int = -1, /) -> bytes: ...
    def seek(self, offset: int, whence: int = 0, /) -> int: ...
    def tell(self) -> int: ...


class _Counter:
    """The unpacked stream; refuses to give more than an archive of weights holds."""

    def __init__(self, stream: _Reader, name: str) -> None:
        self.stream = stream
        self.name = name

    def read(self, size: int = -1) -> bytes:
        if size > max(CHUNK, MAX_HEADER_BYTES) or size < 0 or self.tell() + size > 2 * MAX_BYTES:
            raise WeightsError(f"{self.name}: a header in it is too large; it was not unpacked")
        return self.stream.read(size)

    def seek(self, offset: int, whence: int = 0) -> int:
        if whence == 0 and offset > 2 * MAX_BYTES:
            raise WeightsError(f"{self.name}: unpacked it is too large; it was not unpacked")
        return self.stream.seek(offset, whence)

    def tell(self) -> int:
        return self.stream.tell()


def _make(folder: Path, what: str = "") -> None:
    with _disk(folder, what):
        folder.mkdir(parents=True, exist_ok=True)


@contextlib.contextmanager
def _errors(archive: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise WeightsError(f"no archive {archive}") from None
    except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, ValueError) as error:
        raise WeightsError(
            f"{archive.name} is truncated or no archive ({error or 'it ends'}): fetch it again"
        ) from error
    except OSError as error:  # what gzip and bzip2 raise for damaged data is one, without a number
        if error.errno is not None:
            raise NotReadyError(f"cannot read {archive}: {error.strerror or error}") from error
        raise WeightsError(f"{archive.name} is damaged ({error}): fetch it again") from error


@contextlib.contextmanager
def _disk(path: Path, what: str = "") -> Iterator[None]:
    try:
        yield
    except (FileExistsError, NotADirectoryError, IsADirectoryError):
        raise WeightsError(f"{what or path} is there already; it was not unpacked") from None
    except OSError as error:
        if error.errno is None:
            raise
        raise NotReadyError(
            f"cannot write {path}: {error.strerror or error} (free some space or choose another "
            "folder)"
        ) from error


def _shown(name: str) -> str:
    return name if len(name) <= 80 else f"{name[:77]}..."
