"""Whether a download is of the kind its name says, and whole. Nothing is unpacked to disk."""

import hashlib
import json
import zipfile
import zlib
from pathlib import Path
from typing import Final

__all__ = ["MAX_BYTES", "foreign", "incomplete", "sha256_of"]

# Trainer checkpoints of the largest network hold about 100 MB; what claims more is something else.
MAX_BYTES: Final = 1 << 30
SNIFF_BYTES: Final = 64

_BLOCK = 1 << 20
_GZIP = b"\x1f\x8b"
_ZIP = b"PK\x03\x04"
_PICKLE = b"\x80\x02"  # .pth files written before PyTorch 1.6
_LENGTH = 8  # bytes of the header's length in front of a .safetensors file


def foreign(name: str, start: bytes) -> str:
    """What a file is if it is not what its name says, judged by its first bytes.

    Args:
        name: of the file; its ending says what it should be.
        start: its first SNIFF_BYTES bytes, or all of it.

    Returns:
        In words, `a web page`; empty where nothing speaks against it.
    """
    if not start:
        return "nothing at all"
    if start.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        return "a web page"
    if name.endswith((".tgz", ".tar.gz")):
        return "" if start.startswith(_GZIP) else "not a gzip archive"
    if name.endswith(".safetensors"):
        return "" if start[_LENGTH : _LENGTH + 1] == b"{" else "not a safetensors file"
    if name.endswith(".pth"):
        return "" if start.startswith((_ZIP, _PICKLE)) else "not a PyTorch file"
    return ""


def incomplete(path: Path, name: str) -> str:
    """What is wrong with a file as a whole, by the checksums and lengths inside it.

    Args:
        path: of the file.
        name: its ending says what it should be; `path` may have another.

    Returns:
        In words, `it ends early`; empty where it is whole.
    """
    with path.open("rb") as file:
        problem = foreign(name, file.read(SNIFF_BYTES))
    if problem:
        return f"it is {problem}"
    if name.endswith((".tgz", ".tar.gz")):
        return _gzip_problem(path)
    if name.endswith(".safetensors"):
        return _safetensors_problem(path)
    if name.endswith(".pth"):
        return _zip_problem(path)
    return ""


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    state = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            state.update(block)
    return state.hexdigest()


def _gzip_problem(path: Path) -> str:
    unpacked = 0
    with path.open("rb") as file:
        stream = zlib.decompressobj(zlib.MAX_WBITS | 16)
        rest = b""
        try:
            while rest or (rest := file.read(_BLOCK)):
                unpacked += len(stream.decompress(rest, _BLOCK))
                if unpacked > MAX_BYTES:
                    return f"it unpacks to more than {MAX_BYTES >> 20} MiB"
                if stream.eof:  # zeros may follow; of several members the first holds the archive
                    return ""
                rest = stream.unconsumed_tail
        except zlib.error as error:
            return f"it is damaged ({error})"
    return "it ends early"


def _safetensors_problem(path: Path) -> str:
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(_LENGTH), "little")
        if _LENGTH + length > size:
            return "it ends early"
        try:
            header = json.loads(file.read(length))
            ends = [v["data_offsets"][1] for k, v in header.items() if k != "__metadata__"]
            wanted = _LENGTH + length + max(ends, default=0)
        except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
            return "its header is damaged"
    if size != wanted:
        return "it ends early" if size < wanted else "it is longer than its header says"
    return ""


def _zip_problem(path: Path) -> str:
    with path.open("rb") as file:
        if file.read(len(_PICKLE)) == _PICKLE:
            return ""  # holds no length and no checksum; only a known sha256 tells
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > MAX_BYTES:
                return f"it unpacks to more than {MAX_BYTES >> 20} MiB"
            damaged = archive.testzip()
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        return f"it is damaged or ends early ({error})"
    return f"it is damaged ({damaged})" if damaged else ""
