"""What no phone can cause: a server of another version, an adb too old, USB without permission.

The last two are the only places where something else than the real adb answers, and each says only
the one thing the real adb would need broken hardware, or an old machine, to say.
"""

import shlex
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

FORBIDDEN_SERIAL = "0A021FDD4000XX"
_REASON = (
    "no permissions (user in plugdev group; are your udev rules wrong?); "
    "see [http://developer.android.com/tools/device.html]"
)


@dataclass
class OtherServer:
    """An adb server of another version, as far as a client gets with it.

    Attributes:
        port: where it listens.
        asked: requests so far; `host:kill` among them means that a client killed it.
    """

    port: int
    asked: list[str] = field(default_factory=list)


@contextmanager
def other_server(version: int = 40) -> Iterator[OtherServer]:
    """Run one; the clients of today are version 41."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(4)
        server = OtherServer(listener.getsockname()[1])

        def answer() -> None:
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                with client:
                    size = client.recv(4)
                    request = client.recv(int(size, 16)).decode() if len(size) == 4 else ""
                    server.asked.append(request)
                    client.sendall(b"OKAY" + (f"0004{version:04x}".encode()))
                    if request == "host:kill":
                        listener.shutdown(socket.SHUT_RDWR)
                        return

        threading.Thread(target=answer, daemon=True).start()
        yield server


def old_adb(folder: Path, version: str = "1.0.31") -> Path:
    """A program that knows its own, old, version and little else."""
    return _script(
        folder,
        f"""case $1 in
version) echo "Android Debug Bridge version {version}" ;;
*)
    echo "error: unknown command" >&2
    exit 1
    ;;
esac""",
    )


def adb_without_permission(folder: Path, adb: Path) -> Path:
    """The real adb, but with one more phone in the list, which the user may not open."""
    real = shlex.quote(str(adb))
    return _script(
        folder,
        f"""case " $* " in
*" -s {FORBIDDEN_SERIAL} "*)
    echo "error: insufficient permissions for device: user in plugdev group; are your udev rules" \\
        "wrong?" >&2
    echo "See [http://developer.android.com/tools/device.html] for more information" >&2
    exit 1
    ;;
*" devices -l "*)
    {real} "$@" | sed '/^$/d'
    echo "{FORBIDDEN_SERIAL}         {_REASON} usb:1-1 transport_id:99"
    echo
    ;;
*" devices "*)
    {real} "$@" | sed '/^$/d'
    printf '%s\\t%s\\n\\n' "{FORBIDDEN_SERIAL}" "{_REASON}"
    ;;
*) exec {real} "$@" ;;
esac""",
    )


def _script(folder: Path, body: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "adb"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path
