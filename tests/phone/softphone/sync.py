"""The sync service: push and pull, first and second version."""

import contextlib
import os
import stat
import struct
from pathlib import Path

from softphone.faults import Fault, Faults
from softphone.wire import ByteReader, Gone, Stream

CHUNK = 64 * 1024
_STAT2 = struct.Struct("<4sIQQIIIIQqqq")
_DENT2 = struct.Struct("<4sIQQIIIIQqqqI")


def serve(stream: Stream, faults: Faults) -> None:
    """Answer requests until the host is done."""
    reader = ByteReader(stream)
    with contextlib.suppress(Gone):
        while True:
            kind, size = struct.unpack("<4sI", reader.take(8))
            if kind == b"QUIT":
                break
            path = reader.take(size).decode(errors="surrogateescape")
            if kind == b"STAT":
                stream.write(_stat1(path))
            elif kind in (b"STA2", b"LST2"):
                stream.write(_stat2(kind, path, follow=kind == b"STA2"))
            elif kind in (b"LIST", b"LIS2"):
                stream.write(_list(path, second=kind == b"LIS2"))
            elif kind == b"SEND":
                name, _, mode = path.rpartition(",")
                if not _receive(reader, stream, name, int(mode), faults):
                    break
            elif kind == b"SND2":
                _, mode2, _ = struct.unpack("<4sII", reader.take(12))
                if not _receive(reader, stream, path, mode2, faults):
                    break
            elif kind in (b"RECV", b"RCV2"):
                if kind == b"RCV2":
                    reader.take(8)
                _send(stream, path, faults)
            else:
                break
        stream.close()


def _fail(text: str) -> bytes:
    return struct.pack("<4sI", b"FAIL", len(text.encode())) + text.encode()


def _stat1(path: str) -> bytes:
    try:
        found = os.lstat(path)
    except OSError:
        return struct.pack("<4s3I", b"STAT", 0, 0, 0)
    return struct.pack(
        "<4s3I", b"STAT", found.st_mode, found.st_size & 0xFFFFFFFF, int(found.st_mtime)
    )


def _fields(found: os.stat_result) -> tuple[int, ...]:
    return (
        found.st_dev, found.st_ino, found.st_mode, found.st_nlink, found.st_uid, found.st_gid,
        found.st_size, int(found.st_atime), int(found.st_mtime), int(found.st_ctime),
    )  # fmt: skip


def _stat2(kind: bytes, path: str, *, follow: bool) -> bytes:
    try:
        found = Path(path).stat(follow_symlinks=follow)
    except OSError as error:
        return _STAT2.pack(kind, error.errno or 1, *[0] * 10)
    return _STAT2.pack(kind, 0, *_fields(found))


def _list(path: str, *, second: bool) -> bytes:
    out = bytearray()
    names: list[str] = []
    with contextlib.suppress(OSError):
        names = [".", "..", *os.listdir(path)]  # noqa: PTH208 - raw names
    for name in names:
        try:
            found = os.lstat(Path(path) / name)
        except OSError:
            continue
        raw = os.fsencode(name)
        if second:
            out += _DENT2.pack(b"DNT2", 0, *_fields(found), len(raw)) + raw
        else:
            head = (found.st_mode, found.st_size & 0xFFFFFFFF, int(found.st_mtime), len(raw))
            out += struct.pack("<4s4I", b"DENT", *head) + raw
    return bytes(out) + (_DENT2.pack(b"DONE", *[0] * 12) if second else b"DONE" + bytes(16))


def _receive(reader: ByteReader, stream: Stream, name: str, mode: int, faults: Faults) -> bool:
    """Take one pushed file; false where the stream cannot go on."""
    target = Path(name)
    fault = faults.fire("push", name)
    link = stat.S_ISLNK(mode)
    descriptor = -1
    got = 0
    try:
        if fault and fault.do == "fail":
            raise OSError(0, fault.text or "No space left on device")
        _make_parents(target.parent)
        with contextlib.suppress(FileNotFoundError):
            target.unlink()
        if not link:
            try:
                descriptor = os.open(
                    name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600
                )
            except OSError as error:
                raise OSError(0, f"couldn't create file: {error.strerror}") from error
    except OSError as error:
        return _reject(reader, stream, error.strerror or str(error))
    content = bytearray()
    try:
        while True:
            kind, size = struct.unpack("<4sI", reader.take(8))
            if kind == b"DONE":
                mtime = size
                break
            if kind != b"DATA" or size > CHUNK:
                return False
            data = reader.take(size)
            if fault and fault.do != "fail" and got + size > fault.after:
                faults.act(fault, stream)
                fault = None
            got += size
            if link:
                content += data
                continue
            try:
                view = memoryview(data)
                while view:
                    view = view[os.write(descriptor, view) :]
            except OSError as error:
                with contextlib.suppress(OSError):
                    target.unlink()
                return _reject(reader, stream, f"write failed: {error.strerror}")
    finally:
        if descriptor >= 0:
            os.close(descriptor)
    if fault:
        faults.act(fault, stream)
    if after := faults.fire("pushed", name):
        if after.do == "close":  # neither OKAY nor FAIL
            return False
        faults.act(after, stream)
    try:
        if link:
            target.symlink_to(bytes(content).rstrip(b"\0").decode(errors="surrogateescape"))
        else:
            bits = mode & 0o777
            # The host's own bits say nothing about the phone's groups: the owner's go for all.
            target.chmod(bits | ((bits >> 3) & 0o070) | ((bits >> 6) & 0o007))
            os.utime(name, (mtime, mtime))
    except OSError as error:
        stream.write(_fail(error.strerror or str(error)))
        return True
    stream.write(struct.pack("<4sI", b"OKAY", 0))
    return True


def _make_parents(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(0, f"secure_mkdirs() failed: {error.strerror}") from error


def _reject(reader: ByteReader, stream: Stream, reason: str) -> bool:
    """Say why at once, then throw the rest away as adbd does; no rule is consulted here."""
    stream.write(_fail(reason))
    with contextlib.suppress(Gone):
        while True:
            kind, size = struct.unpack("<4sI", reader.take(8))
            if kind == b"DONE":
                break
            if kind != b"DATA":
                break
            reader.take(size)
    return False


def _send(stream: Stream, path: str, faults: Faults) -> None:
    fault: Fault | None = faults.fire("pull", path)
    if fault and fault.do == "fail":
        stream.write(_fail(fault.text or "Permission denied"))
        return
    try:
        with Path(path).open("rb") as file:
            sent = 0
            while True:
                data = file.read(CHUNK)
                if fault and sent + len(data) > fault.after:
                    faults.act(fault, stream)
                    fault = None
                sent += len(data)
                out = struct.pack("<4sI", b"DATA", len(data)) + data if data else b""
                if len(data) < CHUNK:
                    # The end travels with the last piece: two small packets cost 40 ms on TCP.
                    stream.write(out + struct.pack("<4sI", b"DONE", 0))
                    return
                stream.write(out)
    except OSError as error:
        stream.write(_fail(f"open failed: {error.strerror}"))
