"""Published files into the cache: each once, whole, and the same for ever."""

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Final, Generic, Literal, Protocol, TypeVar
from urllib.parse import quote, urlsplit

from mnasnet_deploy.errors import InputError, MnasnetError, NotReadyError, WeightsError
from mnasnet_deploy.weights.cache import (
    Receipt,
    cache_folder,
    exclusive,
    read_receipt,
    write_receipt,
)
from mnasnet_deploy.weights.intact import incomplete, sha256_of
from mnasnet_deploy.weights.transfer import discard, download
from mnasnet_deploy.weights.web import WEIGHTS, Limits, Purpose, Web

__all__ = ["DEFAULT_JOBS", "Fetched", "Fetcher", "Progress", "Published"]

DEFAULT_JOBS: Final = 4
_LOOK_S = 0.5  # how often the main thread looks up, so that Ctrl-C ends it on every system


class Published(Protocol):
    """A file that somebody published: `catalog.Checkpoint`, for one."""

    @property
    def name(self) -> str:
        """What a command calls it."""

    @property
    def file(self) -> str:
        """Its name in the cache and on a mirror."""

    @property
    def url(self) -> str:
        """Where it was published."""

    @property
    def sha256(self) -> str:
        """Of the file, or its first digits; empty where no one published it."""


Progress = Callable[[Published, int, int | None], None]
"""Called from several threads with the bytes that are there and will be there, if that is known."""

_Kind = TypeVar("_Kind", bound=Published)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched(Generic[_Kind]):
    """What became of one file.

    Attributes:
        checkpoint: which.
        path: where it lies, or would.
        status: `cached` (it was there), `fetched` or `failed`.
        size_bytes: of the file, 0 where it failed.
        sha256: of the file, empty where it failed.
        error: why it failed.
    """

    checkpoint: _Kind
    path: Path
    status: Literal["cached", "fetched", "failed"]
    size_bytes: int = 0
    sha256: str = ""
    error: MnasnetError | None = None


class Fetcher(Generic[_Kind]):
    """The cache and the way to fill it, for one run.

    Args:
        folder: where downloads are kept; `cache_folder()` where None.
        offline: never ask the network.
        base_url: of a mirror: a folder that holds the files under the names of `Checkpoint.file`.
        limits: of time and of tries.
        force: fetch what is there already, and record it anew.
        purpose: what is fetched.

    Raises:
        InputError: `base_url` is not the address of a folder, or `force` offline.
        NotReadyError: there is no folder for downloads.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        offline: bool = False,
        base_url: str = "",
        limits: Limits | None = None,
        force: bool = False,
        purpose: Purpose = WEIGHTS,
    ) -> None:
        if force and offline:
            raise InputError("--force fetches again and --offline fetches nothing: leave one out")
        self.folder = (cache_folder() if folder is None else folder) / purpose.folder
        self.offline = offline
        self.base_url = _checked(base_url)
        self.force = force
        self._web = Web(limits, purpose)
        self._again = f"{purpose.command} --force"

    def path(self, checkpoint: _Kind) -> Path:
        """Where a file lies, or would."""
        return self.folder / checkpoint.file

    def is_cached(self, checkpoint: _Kind) -> bool:
        """Whether a file is there, without reading it."""
        return self.path(checkpoint).is_file()

    def cached(self, checkpoint: _Kind) -> Fetched[_Kind] | None:
        """The file if it is there, after a look at all of it.

        A file that someone put into the folder is recorded as if it had been fetched.

        Raises:
            WeightsError: it is not what was recorded, or not what was published.
        """
        path = self.path(checkpoint)
        if not path.is_file():
            return None
        receipt = read_receipt(path)
        try:
            sha256, size = sha256_of(path), path.stat().st_size
            if receipt is None and (problem := incomplete(path, checkpoint.file)):
                raise WeightsError(f"{path}: {problem}; {self._anew(checkpoint)}")
        except OSError as error:
            raise NotReadyError(f"cannot read {path}: {error.strerror or error}") from error
        if receipt is not None and receipt.sha256 != sha256:
            raise WeightsError(
                f"{path} is not the file that was recorded when it first came (sha256 "
                f"{sha256[:12]}, then {receipt.sha256[:12]}); {self._anew(checkpoint)}"
            )
        if not sha256.startswith(checkpoint.sha256):
            raise WeightsError(
                f"{path} is not the published file (sha256 {sha256[:12]}, published "
                f"{checkpoint.sha256[:12]}); {self._anew(checkpoint)}"
            )
        if receipt is None:
            # A folder that many read and few may write serves as well.
            with contextlib.suppress(NotReadyError):
                write_receipt(path, Receipt(sha256=sha256, size_bytes=size, url=""))
        return Fetched(
            checkpoint=checkpoint, path=path, status="cached", size_bytes=size, sha256=sha256
        )

    def fetch(
        self,
        checkpoint: _Kind,
        progress: Progress = lambda *_: None,
        stop: threading.Event | None = None,
    ) -> Fetched[_Kind]:
        """Get one file, from the cache or from the network.

        Args:
            checkpoint: which.
            progress: see `Progress`.
            stop: ends it between two blocks.

        Raises:
            WeightsError: the file in the cache is not what was recorded.
            NotReadyError: no network, no disk.
            MnasnetError: the server does not have the file that was published.
        """
        if not self.force and (found := self.cached(checkpoint)):
            return found
        path = self.path(checkpoint)
        url = self._url(checkpoint)
        if self.offline:
            raise NotReadyError(
                f"{checkpoint.name} is not in the cache and nothing may be fetched (offline); put "
                f"{url} at {path}"
            )
        stop = stop or threading.Event()
        with exclusive(path, stop):
            if not self.force and (found := self.cached(checkpoint)):
                return found  # another process was first
            return self._download(checkpoint, url, path, progress, stop)

    def fetch_all(
        self,
        wanted: Sequence[_Kind],
        *,
        jobs: int = DEFAULT_JOBS,
        progress: Progress = lambda *_: None,
    ) -> Iterator[Fetched[_Kind]]:
        """Get many files at once, yielding each as it is there; errors become results.

        Args:
            wanted: which.
            jobs: how many at a time.
            progress: see `Progress`.
        """
        waiting: SimpleQueue[_Kind] = SimpleQueue()
        done: SimpleQueue[Fetched[_Kind] | BaseException] = SimpleQueue()
        stop = threading.Event()
        unique = list(dict.fromkeys(wanted))
        for checkpoint in unique:
            waiting.put(checkpoint)

        def work() -> None:
            while not stop.is_set():
                try:
                    checkpoint = waiting.get_nowait()
                except Empty:
                    return
                try:
                    done.put(self._outcome(checkpoint, progress, stop))
                except BaseException as error:  # a bug: it belongs to the caller's thread
                    done.put(error)
                    return

        # Not an executor: the interpreter would wait at its end for one that hangs in the network.
        for _ in range(min(jobs, len(unique))):
            threading.Thread(target=work, daemon=True, name="fetch").start()
        try:
            for _ in unique:
                outcome = _next(done)
                if isinstance(outcome, BaseException):
                    raise outcome
                yield outcome
        finally:
            stop.set()

    def _outcome(
        self, checkpoint: _Kind, progress: Progress, stop: threading.Event
    ) -> Fetched[_Kind]:
        try:
            return self.fetch(checkpoint, progress, stop)
        except MnasnetError as error:
            path = self.path(checkpoint)
            return Fetched(checkpoint=checkpoint, path=path, status="failed", error=error)

    def _download(
        self,
        checkpoint: _Kind,
        url: str,
        path: Path,
        progress: Progress,
        stop: threading.Event,
    ) -> Fetched[_Kind]:
        part = path.with_name(f".{path.name}.part")

        def advance(done: int, total: int | None) -> None:
            progress(checkpoint, done, total)

        problem = ""
        for last in (False, True):
            resumed = download(url, part, path.name, self._web, stop=stop, advance=advance)
            try:
                sha256, size = sha256_of(part), part.stat().st_size
                problem = incomplete(part, path.name)
            except OSError as error:
                raise NotReadyError(f"cannot read {part}: {error.strerror or error}") from error
            if problem:
                problem += "; try again later, or name a mirror with --base-url"
            else:
                problem = self._foreign(checkpoint, path, sha256)
            if not problem:
                break
            discard(part)
            if last or not resumed:  # else what was kept of an earlier try may be to blame
                raise MnasnetError(f"{url}: {problem}")
        # First the receipt: a file never lies there without what it is held against.
        write_receipt(path, Receipt(sha256=sha256, size_bytes=size, url=url))
        try:
            part.replace(path)
        except OSError as error:
            raise NotReadyError(f"cannot write {path}: {error.strerror or error}") from error
        discard(part)
        return Fetched(
            checkpoint=checkpoint, path=path, status="fetched", size_bytes=size, sha256=sha256
        )

    def _foreign(self, checkpoint: _Kind, path: Path, sha256: str) -> str:
        """Why a whole file is not the one that is wanted, or nothing."""
        if not sha256.startswith(checkpoint.sha256):
            return (
                f"this is not the published file (sha256 {sha256[:12]}, published "
                f"{checkpoint.sha256[:12]}); nothing was kept, name a mirror with --base-url"
            )
        receipt = None if self.force else read_receipt(path)
        if receipt is not None and receipt.sha256 != sha256:
            return (
                f"this is not the file that was recorded when it first came (sha256 {sha256[:12]}, "
                f"then {receipt.sha256[:12]}); nothing was kept. If you trust the new one: "
                f"{self._again} {checkpoint.name}"
            )
        return ""

    def _anew(self, checkpoint: _Kind) -> str:
        return f"get it anew with '{self._again} {checkpoint.name}'"

    def _url(self, checkpoint: _Kind) -> str:
        if not self.base_url:
            return checkpoint.url
        return f"{self.base_url}/{quote(checkpoint.file)}"


def _checked(base_url: str) -> str:
    """A mirror's address without a slash at its end."""
    if not base_url:
        return ""
    try:
        parts = urlsplit(base_url)
        known = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        known = False
    if not known or parts.query or parts.fragment or parts.username or not base_url.isprintable():
        raise InputError(
            f"--base-url '{base_url}': use http:// or https://, a host and a path, without user "
            "name and query"
        )
    return base_url.rstrip("/")


def _next(done: "SimpleQueue[Fetched[_Kind] | BaseException]") -> Fetched[_Kind] | BaseException:
    while True:
        with contextlib.suppress(Empty):
            return done.get(timeout=_LOOK_S)
