"""Records on disk: one file each, only ever added.

    results/records/20261124t035200123-9f86d081.json

A file appears whole or not at all, and is never written again. Whatever else lies in the folder
(half a file, a file of another version, a link that leads nowhere) is named, skipped and kept.
"""

import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Final, TypeVar

from mnasnet_deploy.errors import InputError, MnasnetError
from mnasnet_deploy.results.accuracy import Accuracy
from mnasnet_deploy.results.codec import AnyRecord, decode, encode
from mnasnet_deploy.results.record import Identified, Record, instant

__all__ = [
    "DEFAULT_FOLDER",
    "Loaded",
    "Problem",
    "add",
    "load",
    "new_id",
    "newest_last",
    "read_limited",
    "read_record",
    "record_path",
]

DEFAULT_FOLDER: Final = Path("results")
MAX_BYTES: Final = 32 * 1024 * 1024
"""A record of 50 launches of 10,000 runs has 10 MiB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A file that is not a record.

    Attributes:
        path: the file.
        reason: why it was skipped.
    """

    path: Path
    reason: str

    def __str__(self) -> str:
        return f"{self.path} is skipped (and kept): {self.reason}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """What a results folder holds.

    Attributes:
        records: of latencies, oldest first.
        accuracies: oldest first.
        problems: files that are none, by name.
    """

    records: tuple[Record, ...] = ()
    accuracies: tuple[Accuracy, ...] = ()
    problems: tuple[Problem, ...] = ()

    @property
    def everything(self) -> tuple[AnyRecord, ...]:
        """Records of all kinds, oldest first."""
        return tuple(newest_last((*self.records, *self.accuracies)))


def new_id(now: datetime) -> str:
    """A fresh id that sorts by time: `20261124t035200123-9f86d081`.

    Args:
        now: with its time zone.
    """
    utc = now.astimezone(timezone.utc)
    random = os.urandom(4).hex()  # `secrets` would load OpenSSL for the same bytes
    return f"{utc:%Y%m%dt%H%M%S}{utc.microsecond // 1000:03d}-{random}"


_Kind = TypeVar("_Kind", bound=Identified)


def newest_last(records: Iterable[_Kind]) -> list[_Kind]:
    """Records in the order they were measured."""
    return sorted(records, key=lambda record: (instant(record), record.id))


def add(record: AnyRecord, folder: Path = DEFAULT_FOLDER) -> Path:
    """Put a record into a results folder, whole or not at all; a file that is there stays.

    Args:
        record: its id names the file.
        folder: the results folder; made if it is missing.

    Returns:
        The file. Adding the very same record again is no error and changes nothing.

    Raises:
        MnasnetError: another record of that id is there.
        NotReadyError: the folder cannot be written, or the disk is full.
        ValueError: not a record (a bug of whoever built it).
    """
    from mnasnet_deploy import atomic  # readers of results need no OpenSSL

    text = encode(record)
    path = record_path(folder, record.id)
    if not atomic.write_new_text(path, text) and read_record(path) != record:
        raise MnasnetError(
            f"{path} holds something else under this id, and results are never overwritten: "
            "move it away"
        )
    return path


def load(folder: Path) -> Loaded:
    """Read every record of a results folder; a folder that is missing holds none.

    Nothing in the folder can make it fail: files that are no records become problems.
    """
    records: list[Record] = []
    accuracies: list[Accuracy] = []
    problems: list[Problem] = []
    for path in _record_files(folder, problems):
        found = read_record(path)
        if isinstance(found, Problem):
            problems.append(found)
        elif isinstance(found, Accuracy):
            accuracies.append(found)
        else:
            records.append(found)
    return Loaded(
        records=tuple(newest_last(records)),
        accuracies=tuple(newest_last(accuracies)),
        problems=tuple(problems),
    )


def record_path(folder: Path, record: str) -> Path:
    """Where a results folder keeps the record of an id."""
    return folder / "records" / f"{record}.json"


def read_record(path: Path) -> AnyRecord | Problem:
    """Read the file of a record of any kind, or say why it is none."""
    try:
        record = decode(read_limited(path, MAX_BYTES))
    except InputError as error:
        return Problem(path=path, reason=str(error))
    if record.id != path.stem:
        return Problem(path=path, reason=f"it is the record {record.id} under another name")
    return record


def read_limited(path: Path, limit: int) -> bytes:
    """Read a regular file of at most so many bytes.

    Raises:
        InputError: it is something else (a folder, a pipe), too long or cannot be read.
    """
    try:
        # Looked at before it is opened: opening a pipe would wait for its writer for ever.
        if not stat.S_ISREG(path.stat().st_mode):
            raise InputError("not a file")
        with path.open("rb") as file:
            content = file.read(limit + 1)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}") from None
    if len(content) > limit:
        raise InputError(f"longer than {limit // 1024} KiB")
    return content


def _record_files(folder: Path, problems: list[Problem]) -> list[Path]:
    inside = folder / "records"
    try:
        paths = sorted(inside.iterdir())
    except FileNotFoundError:
        return []
    except OSError as error:
        problems.append(Problem(path=inside, reason=error.strerror or str(error)))
        return []
    return [path for path in paths if path.suffix == ".json" and not path.name.startswith(".")]
