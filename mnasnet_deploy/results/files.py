"""Which bytes a model's file name means now: by looking, or as it was noted beside the records.

A record is of bytes, not of a name. Before a number is shown as a file's, the file is hashed.
"""

import json
import re
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from mnasnet_deploy.errors import InputError
from mnasnet_deploy.results.codec import parse_json
from mnasnet_deploy.results.record import Identified
from mnasnet_deploy.results.store import Problem, read_limited

__all__ = ["NOTES_NAME", "Files", "read_notes", "render_notes", "scan"]

NOTES_SCHEMA: Final = "mnasnet.files/1"
NOTES_NAME: Final = "files.json"
_MAX_NOTES_BYTES = 4 * 1024 * 1024
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """What is known about the model files that records speak of.

    Attributes:
        sha256: by file name.
        complete: a name that is not in it is the name of no file here. Otherwise nothing is known
            about it.
    """

    sha256: Mapping[str, str] = field(default_factory=dict)
    complete: bool = False


def scan(folder: Path, records: Iterable[Identified]) -> tuple[Files, tuple[Problem, ...]]:
    """Hash the .tflite files of a folder that any of the records could be about.

    Args:
        folder: where models lie; when it is missing nothing is known.
        records: files neither of a name nor of a size that they know are not read.

    Returns:
        What was found, and the files that could not be read.
    """
    known = [record.artifact for record in records]
    names = {artifact.file for artifact in known}
    sizes = {artifact.size_bytes for artifact in known}
    try:
        paths = sorted(folder.iterdir())
    except FileNotFoundError:
        return Files(), ()
    except OSError as error:
        return Files(), (Problem(path=folder, reason=error.strerror or str(error)),)
    found, problems = {}, []
    for path in paths:
        if path.suffix != ".tflite":
            continue
        try:
            state = path.stat()
            if not stat.S_ISREG(state.st_mode):
                raise OSError("not a file")
            if path.name in names or state.st_size in sizes:
                found[path.name] = _sha256(path)
        except OSError as error:
            problems.append(Problem(path=path, reason=error.strerror or str(error)))
    return Files(sha256=found, complete=True), tuple(problems)


def read_notes(folder: Path) -> tuple[dict[str, str], Problem | None]:
    """Read which bytes each file name meant when the records of this folder were put together.

    Args:
        folder: a results folder; most have no notes.

    Returns:
        sha256 by file name, and what is wrong with the notes if they cannot be used.
    """
    path = folder / NOTES_NAME
    if not path.exists() and not path.is_symlink():
        return {}, None
    try:
        notes = parse_json(read_limited(path, _MAX_NOTES_BYTES))
        if not isinstance(notes, Mapping) or notes.get("schema") != NOTES_SCHEMA:
            raise InputError(f"not of the format {NOTES_SCHEMA!r}")
        files = notes.get("files")
        if not isinstance(files, Mapping) or not all(
            isinstance(sha256, str) and _SHA256.fullmatch(sha256) for sha256 in files.values()
        ):
            raise InputError("'files' does not map names to sha256 sums")
    except InputError as error:
        return {}, Problem(path=path, reason=str(error))
    return dict(files), None


def render_notes(sha256: Mapping[str, str]) -> str:
    """The text that `read_notes` reads."""
    notes = {"schema": NOTES_SCHEMA, "files": dict(sorted(sha256.items()))}
    return json.dumps(notes, indent=1) + "\n"


def _sha256(path: Path) -> str:
    import hashlib  # loads OpenSSL; a table without a models folder does without

    sha256 = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            sha256.update(block)
    return sha256.hexdigest()
