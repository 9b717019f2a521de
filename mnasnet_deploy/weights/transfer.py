"""One URL into one file, in as many pieces as it takes.

What has come stays in the part file, whatever ends the process. The next try asks for the rest, and
only on the condition that the file on the server is still the same (`If-Range`); a server that
cannot promise that sends it all again.
"""

import contextlib
import email.utils
import errno
import http.client
import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO, Final

from mnasnet_deploy import atomic
from mnasnet_deploy.errors import MnasnetError, NotReadyError
from mnasnet_deploy.weights.intact import MAX_BYTES, SNIFF_BYTES, foreign
from mnasnet_deploy.weights.web import RangeError, Response, TransferError, Web

__all__ = ["Advance", "discard", "download"]

Advance = Callable[[int, int | None], None]
"""Called with the bytes that are there, and with how many there will be where that is known."""

BLOCK_BYTES: Final = 1 << 16
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")
_MAX_NOTE_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class _Note:
    """What a part file is part of.

    Attributes:
        url: where it comes from.
        validator: what tells one version on the server from the next; empty where the server gives
            none, and then nothing can be resumed.
        total: bytes of the whole, None where the server does not say.
    """

    url: str
    validator: str
    total: int | None


def download(
    url: str, part: Path, name: str, web: Web, *, stop: threading.Event, advance: Advance
) -> bool:
    """Bring a part file up to the whole.

    Args:
        url: what to download.
        part: where to; what is there already is used if it is of the same version.
        name: of the file it will be, whose ending says what it must look like.
        web: opens URLs, and says how often to try.
        stop: ends it at the next block.
        advance: see `Advance`.

    Returns:
        Whether some of the bytes come from an earlier run.

    Raises:
        NotReadyError: no network, a server that fails or breaks off again and again, a full disk,
            or `stop` was set.
        MnasnetError: the server has something else, or nothing.
    """
    limits = web.limits
    furthest, failures, resumed = _size(part), 0, False
    while True:
        try:
            resumed = _attempt(url, part, name, web, stop=stop, advance=advance) or resumed
        except TransferError as error:
            size = _size(part)
            failures = 1 if size > furthest else failures + 1
            furthest = max(furthest, size)
            if failures >= limits.tries:
                kept = f" ({size:,} bytes are kept)" if size else ""
                raise NotReadyError(
                    f"{url}: {error}, {failures} times in a row; try again later{kept}, or name a "
                    "mirror with --base-url"
                ) from error
            if stop.wait(limits.pause_s):
                raise NotReadyError(f"{url}: stopped") from error
        else:
            return resumed


def discard(part: Path) -> None:
    """Remove a part file and what is known of it."""
    with contextlib.suppress(OSError):
        part.unlink(missing_ok=True)
        _note_path(part).unlink(missing_ok=True)


def _attempt(
    url: str, part: Path, name: str, web: Web, *, stop: threading.Event, advance: Advance
) -> bool:
    """Try once; True where it went on from what was there."""
    start, headers = 0, {}
    note = _read_note(part)
    if note is not None and note.url == url and note.validator:
        start = _size(part)
    if note is not None and start and start == note.total:  # killed after the last byte
        advance(start, start)
        return True
    if start and note is not None:
        headers = {"Range": f"bytes={start}-", "If-Range": note.validator}
    try:
        response = web.open(url, headers)
    except RangeError:
        discard(part)
        raise
    with contextlib.closing(response.body):
        goes_on = response.status == 206 and note is not None and _continues(response, note, start)
        if response.status == 206 and not goes_on:
            discard(part)
            raise TransferError("the server sent another part than was asked for")
        if not goes_on:
            start = 0
            note = _Note(url=url, validator=_validator(response.headers), total=_length(response))
        assert note is not None
        _receive(response, part, name, note, start, stop=stop, advance=advance)
    return goes_on


def _receive(
    response: Response,
    part: Path,
    name: str,
    note: _Note,
    start: int,
    *,
    stop: threading.Event,
    advance: Advance,
) -> None:
    """Write the body behind `start`, look at its beginning, and count."""
    total = note.total
    if total is not None and total > MAX_BYTES:
        raise MnasnetError(f"{note.url}: {total:,} bytes are more than such a file has")
    blocks = _Blocks(response, None if total is None else total - start, note.url, stop)
    first = b""
    if not start:
        while len(first) < SNIFF_BYTES and (block := blocks.read()):
            first += block
        kind = foreign(name, first)
        if kind:
            raise MnasnetError(
                f"{note.url}: the server sent {kind} (a login page, a proxy, or the wrong "
                "--base-url?); name a mirror with --base-url, or get the file elsewhere and give "
                "its path to --weights"
            )
    with _disk_errors(part):
        stream = part.open("ab" if start else "wb")
    with stream:
        if not start:
            # Between the emptied part and its first byte: a note never describes other bytes.
            atomic.write_text(_note_path(part), json.dumps(asdict(note)) + "\n")
        done = start
        block = first
        while block or (block := blocks.read()):
            done += len(block)
            if done > MAX_BYTES:
                raise MnasnetError(f"{note.url}: it does not end; more than {MAX_BYTES:,} bytes")
            _write(stream, block, part)
            advance(done, total)
            block = b""
    if total is not None and done < total:
        raise TransferError(f"the server ended after {done:,} of {total:,} bytes")


class _Blocks:
    """The bytes of an answer as they come, never more than it promised."""

    def __init__(
        self, response: Response, left: int | None, url: str, stop: threading.Event
    ) -> None:
        self._body = response.body
        self._left = left
        self._url = url
        self._stop = stop

    def read(self) -> bytes:
        """The next block, empty at the end."""
        if self._stop.is_set():
            raise NotReadyError(f"{self._url}: stopped")
        if self._left == 0:
            return b""
        wanted = BLOCK_BYTES if self._left is None else min(BLOCK_BYTES, self._left)
        try:
            block: bytes = self._body.read1(wanted)
        except TimeoutError as error:
            raise TransferError("the server does not go on") from error
        except (OSError, http.client.HTTPException) as error:
            raise TransferError(
                f"the connection broke ({error or type(error).__name__})"
            ) from error
        if self._left is not None:
            self._left -= len(block)
        return block


def _continues(response: Response, note: _Note, start: int) -> bool:
    """Whether a 206 is the rest that was asked for, of the version that was asked for."""
    match = _CONTENT_RANGE.fullmatch(response.headers.get("content-range", ""))
    if match is None or not start:
        return False
    first, last, total = map(int, match.groups())
    validator = _validator(response.headers)
    return (
        first == start
        and first <= last == total - 1
        and note.total in (None, total)
        and validator in ("", note.validator)
    )


def _validator(headers: Mapping[str, str]) -> str:
    """What goes behind If-Range: a strong ETag, or a date that cannot hide a second change.

    A file may change twice in the second its Last-Modified names (RFC 9110, 8.8.2.2).
    """
    tag = headers.get("etag", "")
    if tag.startswith('"'):
        return tag
    modified = headers.get("last-modified", "")
    try:
        age = email.utils.parsedate_to_datetime(
            headers.get("date", "")
        ) - email.utils.parsedate_to_datetime(modified)
    except (ValueError, TypeError, OverflowError):
        return ""
    return modified if age.total_seconds() >= 1 else ""


def _length(response: Response) -> int | None:
    text = response.headers.get("content-length", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None


def _size(part: Path) -> int:
    try:
        return part.stat().st_size
    except OSError:
        return 0


def _read_note(part: Path) -> _Note | None:
    try:
        with _note_path(part).open("rb") as file:
            content = json.loads(file.read(_MAX_NOTE_BYTES))
        note = _Note(**content)
    except (OSError, ValueError, TypeError, RecursionError):
        return None
    kinds = (isinstance(note.url, str), isinstance(note.validator, str))
    return note if all(kinds) and (note.total is None or type(note.total) is int) else None


def _note_path(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _write(stream: BinaryIO, block: bytes, part: Path) -> None:
    with _disk_errors(part):
        stream.write(block)
        stream.flush()  # a full disk shows here, not when the file is closed


@contextlib.contextmanager
def _disk_errors(part: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        advice = (
            "free some space, or set MNASNET_CACHE to a folder on another disk"
            if full
            else "set MNASNET_CACHE to another folder"
        )
        raise NotReadyError(
            f"cannot write {part.parent}: {error.strerror or error} ({advice})"
        ) from error
