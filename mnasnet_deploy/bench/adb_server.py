"""The adb server, asked directly: which version runs, before a client of another one kills it.

An adb client that meets a server of another version ends it and starts its own, and with it every
other program's connection to every phone. Asking `host:version` on the server's socket starts
nothing and ends nothing.
"""

import contextlib
import socket
from collections.abc import Mapping
from dataclasses import dataclass

from mnasnet_deploy.errors import InputError, PhoneError

__all__ = ["ServerPlace", "find_server", "server_version"]

PORT = 5037
"""Where adb servers listen if nobody says otherwise (adb's DEFAULT_ADB_PORT)."""

ANSWER_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerPlace:
    """Where an adb server listens.

    Attributes:
        host: its name or address; empty for a local socket.
        port: its port, or 0.
        path: name of its local socket, one in the abstract name space starting with a zero byte.
    """

    host: str = ""
    port: int = 0
    path: str = ""

    def __str__(self) -> str:
        if self.path:
            return self.path.replace("\0", "@")
        return f"{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"


def find_server(environment: Mapping[str, str], server: tuple[str, int] | None) -> ServerPlace:
    """Find out where the server is, by the rules of the adb client.

    Args:
        environment: ADB_SERVER_SOCKET counts before ANDROID_ADB_SERVER_ADDRESS and
            ANDROID_ADB_SERVER_PORT (adb's client/commandline.cpp).
        server: host and port that were named; they count before all of these.

    Raises:
        InputError: a variable says what adb does not understand either.
    """
    if server:
        return ServerPlace(host=server[0], port=server[1])
    if spec := environment.get("ADB_SERVER_SOCKET", ""):
        return _socket(spec)
    host = environment.get("ANDROID_ADB_SERVER_ADDRESS") or "localhost"
    port = environment.get("ANDROID_ADB_SERVER_PORT") or str(PORT)
    if not _is_port(port):
        raise InputError(f"ANDROID_ADB_SERVER_PORT is {port!r}: set it to a port, or unset it")
    return ServerPlace(host=host, port=int(port))


def _socket(spec: str) -> ServerPlace:
    kind, _, rest = spec.partition(":")
    if kind == "tcp":
        host, _, port = rest.rpartition(":")
        if _is_port(port):
            return ServerPlace(host=host.strip("[]") or "localhost", port=int(port))
    elif rest and kind in ("local", "localfilesystem"):
        return ServerPlace(path=rest)
    elif rest and kind == "localabstract":
        return ServerPlace(path=f"\0{rest}")
    raise InputError(
        f"ADB_SERVER_SOCKET is {spec!r}: set it to tcp:HOST:PORT, localfilesystem:PATH or "
        "localabstract:NAME, or unset it"
    )


def _is_port(text: str) -> bool:
    return text.isdecimal() and 1 <= int(text) <= 65535


def server_version(place: ServerPlace) -> int | None:
    """Ask a running server for its version (41 for all since 2018).

    Returns:
        The version; None where no server runs.

    Raises:
        PhoneError: something else is at that place, or it does not answer.
    """
    try:
        connection = _connect(place)
    except TimeoutError:
        raise PhoneError(
            f"the adb server at {place} cannot be reached within {ANSWER_S:g} s: check the name, "
            "the port and the network"
        ) from None
    except socket.gaierror:
        raise PhoneError(f"no computer is called {place.host}: check the name") from None
    except OSError:
        return None
    with connection:
        try:
            connection.sendall(b"000chost:version")
            answer = _read(connection, 12)
        except TimeoutError:
            raise PhoneError(
                f"the adb server at {place} does not answer: type `adb kill-server`, which also "
                "ends what else uses it"
            ) from None
        except OSError:  # it ended just now
            return None
    if not answer:
        return None
    with contextlib.suppress(ValueError):
        if len(answer) == 12 and answer[:8] == b"OKAY0004":
            return int(answer[8:], 16)
    raise PhoneError(
        f"what listens at {place} is no adb server: stop it, or set ANDROID_ADB_SERVER_PORT to "
        "another port"
    )


def _connect(place: ServerPlace) -> socket.socket:
    if not place.path:
        return socket.create_connection((place.host, place.port), timeout=ANSWER_S)
    if not hasattr(socket, "AF_UNIX"):
        raise InputError("this system has no local sockets: set ADB_SERVER_SOCKET to tcp:HOST:PORT")
    found = socket.socket(socket.AF_UNIX)
    try:
        found.settimeout(ANSWER_S)
        found.connect(place.path)
    except BaseException:
        found.close()
        raise
    return found


def _read(connection: socket.socket, size: int) -> bytes:
    got = b""
    while len(got) < size and (more := connection.recv(size - len(got))):
        got += more
    return got
