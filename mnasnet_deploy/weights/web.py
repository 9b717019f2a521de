"""One run's view of the network: proxies, redirects, and 3 seconds at most where there is none.

`urllib` asks the name server and every address of a host in turn, each with a time limit of its
own, and the name server with none. So a connection is made in a thread that is left behind when the
time is up, and what could not be reached is not asked again in the same run.
"""

import contextlib
import http.client
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from queue import Empty, SimpleQueue
from typing import IO, Any, Final
from urllib.parse import urlsplit

from mnasnet_deploy import __version__
from mnasnet_deploy.errors import MnasnetError, NotReadyError

__all__ = ["Limits", "RangeError", "Response", "TransferError", "Web"]

USER_AGENT: Final = f"mnasnet-deploy/{__version__}"
_GONE = (404, 410)
_REFUSED = (401, 403, 407)
_LATER = (408, 425, 429)
_UNSAFE = "unsafe redirect"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long to wait, and how often to try.

    Attributes:
        connect_s: for a connection, name server, proxy and handshake included. As long as no host
            has answered in this run, it is the limit of all attempts together.
        stall_s: for the next bytes of an open connection.
        tries: how often in a row a transfer may fail without getting further.
        pause_s: between two tries.
    """

    connect_s: float = 3.0
    stall_s: float = 20.0
    tries: int = 3
    pause_s: float = 1.0


class TransferError(Exception):
    """A transfer broke off; trying again may help."""


class RangeError(TransferError):
    """The server has no such part of the file: the file has changed."""


class _UnreachableError(OSError):
    """No connection: host and reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """An open answer of a server.

    Attributes:
        status: 200, or 206 for a part.
        headers: by lower-case name.
        body: its bytes; `read1` may raise `OSError` or `http.client.HTTPException`.
    """

    status: int
    headers: Mapping[str, str]
    body: Any


class Web:
    """Opens URLs; one for each run. Threads may share it.

    Args:
        limits: of time and of tries.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self._lock = threading.Lock()
        self._budget = _Budget(self.limits.connect_s)
        self._reached: set[str] = set()
        self._unreachable: dict[str, str] = {}

    def open(self, url: str, headers: Mapping[str, str]) -> Response:
        """Ask for a URL.

        Raises:
            TransferError: the server does not answer now, or (RangeError) has no such part.
            NotReadyError: it cannot be reached.
            MnasnetError: it has no such file, or does not give it.
        """
        host = urlsplit(url).netloc
        with self._lock:
            reason = self._unreachable.get(host)
        if reason:
            raise NotReadyError(reason)
        request = urllib.request.Request(
            url,
            headers={"User-Agent": USER_AGENT, "Accept-Encoding": "identity", **headers},
        )
        try:
            # Only a ceiling: `connect` has the first word, and sets what holds from then on.
            ceiling_s = self.limits.connect_s + self.limits.stall_s
            answer = self._opener.open(request, timeout=ceiling_s)
        except urllib.error.HTTPError as error:
            self._remember(host)
            with error:
                raise _refusal(error, url) from error
        except urllib.error.URLError as error:
            if isinstance(error.reason, _UnreachableError):
                raise self._unreachable_error(host, *error.reason.args) from error
            raise TransferError(_words(error.reason)) from error
        except (OSError, http.client.HTTPException) as error:
            raise TransferError(_words(error)) from error
        self._remember(host)
        lower = {name.lower(): value for name, value in answer.headers.items()}
        return Response(status=answer.status, headers=lower, body=answer)

    @cached_property
    def _opener(self) -> urllib.request.OpenerDirector:
        # ProxyHandler is among the defaults: HTTPS_PROXY, NO_PROXY and the system's settings.
        return urllib.request.build_opener(_Plain(self), _Secure(self), _Redirects())

    def connect(self, connection: http.client.HTTPConnection, connect: Callable[[], None]) -> None:
        """Run a connection's own `connect`, but not for longer than is allowed.

        Raises:
            _UnreachableError: there is no connection.
        """
        outcome: SimpleQueue[Exception | None] = SimpleQueue()
        late = threading.Event()

        def run() -> None:
            try:
                connect()
                outcome.put(None)
            except Exception as error:  # handed over, whatever it is
                outcome.put(error)
            if late.is_set():
                connection.close()

        with self._budget.spend() as limit_s:
            threading.Thread(target=run, daemon=True, name="connect").start()
            try:
                error = outcome.get(timeout=limit_s)
            except Empty:
                late.set()
                reason = f"no answer within {self.limits.connect_s:g} s"
                raise _UnreachableError(connection.host, reason) from None
        if isinstance(error, (OSError, http.client.HTTPException, UnicodeError)):
            raise _UnreachableError(connection.host, _words(error)) from error
        if error is not None:
            raise error
        self._budget.lift()
        if connection.sock is not None:
            connection.sock.settimeout(self.limits.stall_s)

    def _remember(self, host: str) -> None:
        with self._lock:
            self._reached.add(host)

    def _unreachable_error(self, asked: str, host: str, reason: str) -> Exception:
        """A host that never answered is given up; one that did may come back."""
        text = _unreachable_text(host, reason)
        with self._lock:
            if asked in self._reached:
                return TransferError(f"cannot reach {host} any more: {reason}")
            self._unreachable[asked] = text
        return NotReadyError(text)


class _Budget:
    """Time for connections: shared by all attempts until one succeeds, for each of them later.

    Attempts at the same time cost their time once.
    """

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._lock = threading.Lock()
        self._lifted = False
        self._pending = 0
        self._since_s = 0.0
        self._spent_s = 0.0

    @contextlib.contextmanager
    def spend(self) -> Iterator[float]:
        """Yield the seconds an attempt may take."""
        with self._lock:
            now_s = time.monotonic()
            if not self._pending:
                self._since_s = now_s
            self._pending += 1
            spent_s = 0.0 if self._lifted else self._spent_s + now_s - self._since_s
        try:
            yield max(0.0, self._limit_s - spent_s)
        finally:
            with self._lock:
                self._pending -= 1
                if not self._pending:
                    self._spent_s += time.monotonic() - self._since_s

    def lift(self) -> None:
        """There is a network: from now on every attempt has the whole time."""
        with self._lock:
            self._lifted = True


class _PlainConnection(http.client.HTTPConnection):
    def __init__(self, *arguments: Any, web: Web, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._web = web

    def connect(self) -> None:
        self._web.connect(self, super().connect)


class _SecureConnection(http.client.HTTPSConnection):
    def __init__(self, *arguments: Any, web: Web, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._web = web

    def connect(self) -> None:
        self._web.connect(self, super().connect)


class _Plain(urllib.request.HTTPHandler):
    def __init__(self, web: Web) -> None:
        super().__init__()
        self._web = web

    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(partial(_PlainConnection, web=self._web), req)


class _Secure(urllib.request.HTTPSHandler):
    def __init__(self, web: Web) -> None:
        super().__init__()
        self._web = web

    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(partial(_SecureConnection, web=self._web), req, context=self._trust)

    @cached_property
    def _trust(self) -> ssl.SSLContext:
        return ssl.create_default_context()  # reads the system's certificates: 20 ms


class _Redirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        """Follow, but never from a protected connection to an open one."""
        target = urlsplit(newurl).scheme
        if target not in ("http", "https") or (req.type == "https" and target != "https"):
            raise urllib.error.HTTPError(newurl, code, _UNSAFE, headers, fp)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _refusal(error: urllib.error.HTTPError, url: str) -> Exception:
    """What an answer other than 200 and 206 means."""
    code = error.code
    if code in _GONE:
        return MnasnetError(
            f"{url}: the server has no such file ({code}); name a mirror with --base-url, or get "
            "the file elsewhere and give its path to --weights"
        )
    if code in _REFUSED:
        who = "the proxy" if code == 407 else "the server"
        return MnasnetError(
            f"{url}: {who} refuses ({code} {error.reason}); check the proxy settings, or name a "
            "mirror with --base-url"
        )
    if 300 <= code < 400:
        reason = str(error.reason)
        kind = "in a circle" if "infinite loop" in reason else "to nowhere"
        if reason == _UNSAFE:
            kind = "to an unprotected address"
        return MnasnetError(
            f"{url}: the server redirects {kind} ({code}); name a mirror with --base-url"
        )
    if code == 416:
        return RangeError("the file on the server has changed")
    if code >= 500 or code in _LATER:
        return TransferError(f"the server fails ({code} {error.reason})")
    return MnasnetError(
        f"{url}: the server answers {code} {error.reason}; name a mirror with --base-url"
    )


def _unreachable_text(host: str, reason: str) -> str:
    if "certificate" in reason.lower():
        return (
            f"{host} shows a certificate this system does not trust ({reason}): behind a proxy "
            "that reads along, set SSL_CERT_FILE to its certificate"
        )
    return (
        f"cannot reach {host} ({reason}): check the network and HTTPS_PROXY, give 'mnasnet weights "
        "fetch' more time (--timeout 20), or name a mirror with --base-url"
    )


def _words(error: object) -> str:
    """An error of the network in few words."""
    if isinstance(error, TimeoutError):
        return "no answer"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate: {error.verify_message}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
