"""A publisher on this machine that behaves as badly as it is told to."""

import contextlib
import functools
import hashlib
import io
import json
import random
import socket
import tarfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from mnasnet_deploy.weights.catalog import find_checkpoint
from mnasnet_deploy.weights.fetch import Fetcher
from mnasnet_deploy.weights.web import Limits

PATIENT = Limits(connect_s=10.0, stall_s=10.0, tries=3, pause_s=0.0)
HASTY = Limits(connect_s=0.3, stall_s=0.3, tries=3, pause_s=0.0)


@dataclass(kw_only=True)
class Answer:
    """What the server says to one request.

    Attributes:
        content: of the file.
        status: of a request for all of it.
        etag, modified: validators, None for no such header.
        ranges: whether it knows parts.
        asks_if_range: whether it looks at If-Range before it sends one.
        claims: the Content-Length, if not the true one; negative for none.
        sends: how many bytes it sends before it closes, None for all.
        holds: it does not close then, but waits until it is let go.
        chunked: it sends pieces without saying how many.
        headers: more of them; they win.
    """

    content: bytes = b""
    status: int = 200
    etag: str | None = '"1"'
    modified: str | None = None
    ranges: bool = True
    asks_if_range: bool = True
    claims: int | None = None
    sends: int | None = None
    holds: bool = False
    chunked: bool = False
    headers: dict[str, str] = field(default_factory=dict)


class _Handler(BaseHTTPRequestHandler):
    server: "Publisher"

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""

    def do_CONNECT(self) -> None:
        self.server.requests.append((self.path, dict(self.headers)))
        self.send_error(407)

    def do_GET(self) -> None:
        answer = self.server.next_answer(self.path, dict(self.headers))
        with contextlib.suppress(ConnectionError):
            self._say(answer)

    def _say(self, answer: Answer) -> None:
        start, status, body = self._start(answer), answer.status, answer.content
        headers = {}
        if start >= len(body) > 0:
            self.send_error(416)
            return
        if start:
            status, body = 206, body[start:]
            headers["Content-Range"] = (
                f"bytes {start}-{len(answer.content) - 1}/{start + len(body)}"
            )
        headers["Content-Length"] = str(len(body) if answer.claims is None else answer.claims)
        if answer.chunked:
            headers["Transfer-Encoding"] = "chunked"
        if answer.chunked or (answer.claims or 0) < 0:
            del headers["Content-Length"]
        if answer.etag:
            headers["ETag"] = answer.etag
        if answer.modified:
            headers["Last-Modified"] = answer.modified
        # HTTP/1.1 in the status line, as pieces need it; one request for each connection.
        self.protocol_version, self.close_connection = "HTTP/1.1", True
        self.send_response(status)
        for name, value in {**headers, **answer.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        body = body if answer.sends is None else body[: answer.sends]
        if answer.chunked:
            for place in range(0, len(body), 10_000):
                piece = body[place : place + 10_000]
                self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            if answer.sends is None:
                self.wfile.write(b"0\r\n\r\n")
        else:
            self.wfile.write(body)
        self.wfile.flush()
        self.server.sent.set()
        if answer.holds:
            self.server.released.wait(30)

    def _start(self, answer: Answer) -> int:
        wanted = self.headers.get("Range", "")
        if not wanted or not answer.ranges:
            return 0
        if answer.asks_if_range and self.headers.get("If-Range") not in (
            None,
            answer.etag,
            answer.modified,
        ):
            return 0
        return int(wanted.removeprefix("bytes=").removesuffix("-"))


class Publisher(ThreadingHTTPServer):
    """A server on 127.0.0.1.

    Attributes:
        requests: what came: path and headers.
        sent: set when an answer is out, or as far out as it goes.
        released: set it to let held answers end.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.sent, self.released = threading.Event(), threading.Event()
        self._answers: dict[str, list[Answer]] = {}

    @property
    def url(self) -> str:
        """Its address, without a slash at the end."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def serve(self, path: str, *answers: Answer) -> None:
        """Answer the first request with the first one, and so on; the last one stays."""
        self._answers[path] = list(answers)

    def next_answer(self, path: str, headers: dict[str, str]) -> Answer:
        """The answer to one request, which is noted."""
        self.requests.append((path, headers))
        answers = self._answers.get(path)
        if not answers:
            return Answer(content=b"<html>no such file</html>", status=404, etag=None)
        return answers.pop(0) if len(answers) > 1 else answers[0]

    def handle_error(self, *arguments: object) -> None:
        """Clients that leave in the middle are what this is for."""


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    with Publisher() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.released.set()
            server.shutdown()
            thread.join()


@pytest.fixture
def answer() -> type[Answer]:
    return Answer


@pytest.fixture(scope="session")
def hasty() -> Limits:
    """For those who want to see it give up."""
    return HASTY


@pytest.fixture(scope="session")
def long_ago() -> str:
    return formatdate(time.time() - 86_400, usegmt=True)


@pytest.fixture(scope="session")
def make_archive():
    """`make_archive(seed)` is a .tgz of 300 kB that does not shrink any more."""

    @functools.cache  # gzip writes the time into it
    def make(seed: int = 0) -> bytes:
        content = random.Random(seed).randbytes(300_000)
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w:gz") as archive:
            entry = tarfile.TarInfo("mnasnet-a1-050/saved_model/variables/variables.index")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
        return stream.getvalue()

    return make


@pytest.fixture(scope="session")
def archive(make_archive) -> bytes:
    return make_archive(0)


@pytest.fixture
def checkpoint():
    """An official archive: no sha256 of it was ever published."""
    return find_checkpoint("official:mnasnet-a1-050")


@pytest.fixture
def place(checkpoint) -> str:
    """Where the publisher has it."""
    return f"/{checkpoint.file}"


@pytest.fixture
def make_fetcher(tmp_path, publisher):
    """`make_fetcher()` fetches from the publisher into `tmp_path / "cache"`."""

    def make(**options) -> Fetcher:
        return Fetcher(
            tmp_path / "cache", **{"base_url": publisher.url, "limits": PATIENT, **options}
        )

    return make


@pytest.fixture
def lies_there(tmp_path):
    """`lies_there()` is the set of names in the cache, without locks."""

    def look() -> set[str]:
        folder = tmp_path / "cache" / "weights"
        if not folder.exists():
            return set()
        return {path.name for path in folder.iterdir() if path.suffix != ".lock"}

    return look


@pytest.fixture
def whole(lies_there):
    """`whole(path, content)`: the file is there with its receipt, and nothing else is."""

    def look(path: Path, content: bytes) -> bool:
        assert path.read_bytes() == content
        assert lies_there() == {path.name, f"{path.name}.json"}
        receipt = json.loads(path.with_name(f"{path.name}.json").read_text())
        assert receipt["schema"] == "mnasnet.receipt/1"
        assert receipt["sha256"] == hashlib.sha256(content).hexdigest()
        assert receipt["size_bytes"] == len(content)
        return True

    return look


@pytest.fixture(autouse=True)
def _plain_network(monkeypatch, tmp_path) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.delenv("MNASNET_OFFLINE")
    monkeypatch.setenv("MNASNET_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def black_hole() -> Iterator[str]:
    """The address of a port that lets every new caller wait for ever, as a dropped packet does."""
    with socket.socket() as listener, contextlib.ExitStack() as callers:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(16):  # until the queue of those who wait to be accepted is full
            caller = callers.enter_context(socket.socket())
            caller.settimeout(0.1)
            try:
                caller.connect(listener.getsockname())
            except TimeoutError:
                break
        else:
            pytest.skip("this system queues callers without end")
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that takes every call and never says a word."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(16)
        yield listener.getsockname()[1]


@pytest.fixture
def closed_port() -> str:
    """The address of a port where no one listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{listener.getsockname()[1]}"
