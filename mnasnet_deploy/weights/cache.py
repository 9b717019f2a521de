"""The folder downloads are kept in: where it is, what is known of a file, whose turn it is.

Beside `NAME` lies `NAME.json`, the receipt: the sha256 that was recorded when the file first came,
and is asked for ever after. While a file is on its way there are `.NAME.part` and, with where it
comes from, `.NAME.part.json`.
"""

import contextlib
import json
import os
import re
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Final

from mnasnet_deploy import atomic
from mnasnet_deploy.errors import NotReadyError, WeightsError
from mnasnet_deploy.locking import try_lock

__all__ = ["Receipt", "cache_folder", "exclusive", "read_receipt", "write_receipt"]

RECEIPT_SCHEMA: Final = "mnasnet.receipt/1"
_MAX_RECEIPT_BYTES = 64 * 1024
_SHA256 = re.compile(r"[0-9a-f]{64}")
_POLL_S = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What was recorded of a file when it first came.

    Attributes:
        sha256: of its bytes.
        size_bytes: how many.
        url: where it came from; empty where someone put it into the folder.
    """

    sha256: str
    size_bytes: int
    url: str


def cache_folder(environment: Mapping[str, str] | None = None, platform: str | None = None) -> Path:
    """The folder for downloads by the conventions of the system.

    `MNASNET_CACHE` if it is set; else `mnasnet` in `XDG_CACHE_HOME`, in `~/Library/Caches` on
    macOS, in `%LOCALAPPDATA%` on Windows, in `~/.cache` elsewhere.

    Args:
        environment: variables; those of the process where None.
        platform: as in `sys.platform`, which it is where None.

    Raises:
        NotReadyError: there is no home folder.
    """
    variables = os.environ if environment is None else environment
    platform = platform or sys.platform
    try:
        if own := variables.get("MNASNET_CACHE"):
            return Path(own).expanduser()
        shared = variables.get("XDG_CACHE_HOME", "")
        if Path(shared).is_absolute():  # a relative one is to be ignored, says the convention
            return Path(shared) / "mnasnet"
        if platform == "win32":
            local = variables.get("LOCALAPPDATA")
            return (Path(local) if local else Path.home() / "AppData" / "Local") / "mnasnet"
        if platform == "darwin":
            return Path.home() / "Library" / "Caches" / "mnasnet"
        return Path.home() / ".cache" / "mnasnet"
    except RuntimeError as error:
        raise NotReadyError(
            f"no folder for downloads ({error}): set MNASNET_CACHE to one"
        ) from error


def read_receipt(file: Path) -> Receipt | None:
    """What was recorded of a file, or None where nothing was.

    Raises:
        WeightsError: the receipt is there and cannot be read.
    """
    path = _receipt_path(file)
    try:
        with path.open("rb") as stream:
            content = json.loads(stream.read(_MAX_RECEIPT_BYTES))
        receipt = Receipt(
            sha256=content["sha256"], size_bytes=content["size_bytes"], url=content["url"]
        )
        if content["schema"] != RECEIPT_SCHEMA or not _SHA256.fullmatch(receipt.sha256):
            raise ValueError("not of this format")
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise WeightsError(
            f"{path} is not readable ({type(error).__name__}: {error}): delete it, and the sha256 "
            "is recorded anew"
        ) from error
    return receipt


def write_receipt(file: Path, receipt: Receipt) -> None:
    """Record what a file is.

    Raises:
        NotReadyError: the folder cannot be written.
    """
    text = json.dumps({"schema": RECEIPT_SCHEMA, **asdict(receipt)}, indent=1)
    atomic.write_text(_receipt_path(file), text + "\n")


@contextlib.contextmanager
def exclusive(file: Path, stop: threading.Event) -> Iterator[None]:
    """Hold the right to fetch a file, against other threads and processes; waits for its turn.

    The system takes the right back from a process that dies.

    Args:
        file: what is to be fetched; its folder is made if it is missing.
        stop: ends the waiting.

    Raises:
        NotReadyError: the folder cannot be written, its file system knows no locks, or `stop` was
            set.
    """
    path = file.with_name(f".{file.name}.lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        stream = path.open("ab")
    except OSError as error:
        raise NotReadyError(
            f"cannot write {path.parent}: {error.strerror or error} (set MNASNET_CACHE to another "
            "folder)"
        ) from error
    with stream:
        while not _is_locked(stream, path):
            if stop.wait(_POLL_S):
                raise NotReadyError(f"stopped waiting for another process that fetches {file.name}")
        yield  # closing the file gives the right back


def _receipt_path(file: Path) -> Path:
    return file.with_name(f"{file.name}.json")


def _is_locked(stream: IO[bytes], path: Path) -> bool:
    try:
        return try_lock(stream)
    except OSError as error:
        raise NotReadyError(
            f"cannot lock {path}: {error.strerror or error} (set MNASNET_CACHE to a folder on a "
            "local disk)"
        ) from error
