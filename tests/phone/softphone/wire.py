"""ADB packets and streams, the phone's side. All integers are little-endian 32 bit."""

import collections
import contextlib
import itertools
import socket
import struct
import threading
from collections.abc import Callable

CNXN, AUTH, OPEN, OKAY, CLSE, WRTE = (
    int.from_bytes(name, "little")
    for name in (b"CNXN", b"AUTH", b"OPEN", b"OKAY", b"CLSE", b"WRTE")
)
AUTH_TOKEN, AUTH_SIGNATURE, AUTH_PUBLIC_KEY = 1, 2, 3
AUTH_UNKNOWN = 99
"""No such type: the host marks the phone offline and does not try again."""

VERSION_NO_CHECKSUM = 0x01000001
MAX_PAYLOAD = 1 << 20
_HEADER = struct.Struct("<6I")


class Gone(Exception):
    """The host closed the stream or the connection."""


class Connection:
    """One TCP connection to an adb server; `serve` reads it until it ends."""

    def __init__(self, sock: socket.socket, gate: threading.Event) -> None:
        self._sock = sock
        self._gate = gate
        self._lock = threading.Lock()
        self._streams: dict[int, Stream] = {}
        self._ids = itertools.count(1)
        self._checksums = True
        self.max_payload = 4096
        self.alive = True

    def receive(self) -> tuple[int, int, int, bytes]:
        """The next packet.

        Raises:
            Gone: the connection ended or what came is no packet.
        """
        command, first, second, length, _, magic = _HEADER.unpack(self._take(_HEADER.size))
        if magic != command ^ 0xFFFFFFFF or length > MAX_PAYLOAD:
            raise Gone
        data = self._take(length) if length else b""
        self._gate.wait()  # a frozen phone has the packet in its socket and does nothing
        return command, first, second, data

    def _take(self, size: int) -> bytes:
        # Not through a buffered file: another thread may close the socket meanwhile, and a file
        # that is closed while it is read takes the interpreter down.
        taken = bytearray(size)
        view = memoryview(taken)
        while view:
            try:
                got = self._sock.recv_into(view)
            except OSError as error:
                raise Gone from error
            if not got:
                raise Gone
            view = view[got:]
        return bytes(taken)

    def send(self, command: int, first: int, second: int, data: bytes = b"") -> None:
        """Send one packet; does nothing on a dead connection."""
        self._gate.wait()
        total = sum(data) & 0xFFFFFFFF if self._checksums else 0
        head = _HEADER.pack(command, first, second, len(data), total, command ^ 0xFFFFFFFF)
        with self._lock, contextlib.suppress(OSError):
            self._sock.sendall(head + data)

    def send_raw(self, data: bytes) -> None:
        """Send bytes that are no packet."""
        with self._lock, contextlib.suppress(OSError):
            self._sock.sendall(data)

    def agree(self, version: int, max_payload: int) -> None:
        """Take over what the host can do, from its CNXN."""
        self._checksums = version < VERSION_NO_CHECKSUM
        self.max_payload = min(max_payload, MAX_PAYLOAD)

    def serve(
        self, open_service: Callable[["Stream", str], None], on_auth: Callable[[int], None]
    ) -> None:
        """Read packets until the connection ends; start a thread for every service opened.

        Args:
            open_service: given the stream and the service's name; runs in the service's thread.
            on_auth: given the kind of what the host says about its keys.
        """
        try:
            while True:
                command, first, second, data = self.receive()
                if command == OPEN:
                    stream = Stream(self, next(self._ids), first)
                    self._streams[stream.local] = stream
                    name = data.rstrip(b"\0").decode(errors="replace")
                    threading.Thread(target=open_service, args=(stream, name), daemon=True).start()
                elif command == AUTH:
                    on_auth(first)
                elif stream := self._streams.get(second):
                    if command == WRTE:
                        stream.took_in(data)
                    elif command == OKAY:
                        stream.credited()
                    elif command == CLSE:
                        stream.closed_by_host()
        except Gone:
            pass
        finally:
            self.alive = False
            for stream in list(self._streams.values()):
                stream.closed_by_host(answer=False)

    def forget(self, local: int) -> None:
        """A stream ended."""
        self._streams.pop(local, None)

    def drop(self) -> None:
        """End the connection as a pulled cable does: at once, without a word."""
        self.alive = False
        with contextlib.suppress(OSError):
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RD)  # wakes the thread that reads
        with contextlib.suppress(OSError):
            self._sock.close()


class Stream:
    """One service's two-way stream. One packet may be under way in each direction."""

    def __init__(self, connection: Connection, local: int, remote: int) -> None:
        self.connection = connection
        self.local = local
        self.remote = remote
        self._chunks: collections.deque[bytes] = collections.deque()
        self._changed = threading.Condition()
        self._credit = 0
        self._ended = False
        self._opened = False

    def accept(self) -> None:
        """Tell the host that the service is there; it may send now, and so may we."""
        self._opened = True
        self._credit = 1
        self.connection.send(OKAY, self.local, self.remote)

    def refuse(self) -> None:
        """Tell the host that there is no such service."""
        self.connection.forget(self.local)
        self.connection.send(CLSE, 0, self.remote)

    def read(self) -> bytes:
        """The next piece of what the host sends; empty when it closed the stream."""
        with self._changed:
            self._changed.wait_for(lambda: self._chunks or self._ended)
            if not self._chunks:
                return b""
            chunk = self._chunks.popleft()
        # Acknowledged when taken, not when received: this is what slows a fast host down.
        self.connection.send(OKAY, self.local, self.remote)
        return chunk

    def write(self, data: bytes) -> None:
        """Send; returns when the last piece is on its way.

        Raises:
            Gone: the host closed the stream.
        """
        for start in range(0, len(data), self.connection.max_payload):
            with self._changed:
                self._changed.wait_for(lambda: self._credit or self._ended)
                if self._ended:
                    raise Gone
                self._credit -= 1
            piece = data[start : start + self.connection.max_payload]
            self.connection.send(WRTE, self.local, self.remote, piece)

    def drain(self) -> None:
        """Wait until the host took the last piece."""
        with self._changed:
            self._changed.wait_for(lambda: self._credit or self._ended)

    def close(self) -> None:
        """End the stream from our side."""
        with self._changed:
            if self._ended:
                return
            self._ended = True
            self._changed.notify_all()
        self.connection.send(CLSE, self.local, self.remote)

    @property
    def ended(self) -> bool:
        """Whether either side closed it."""
        return self._ended

    def wait_ended(self) -> None:
        """Wait until either side closes it."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended)

    def took_in(self, data: bytes) -> None:
        """The host sent data."""
        with self._changed:
            self._chunks.append(data)
            self._changed.notify_all()

    def credited(self) -> None:
        """The host took what we sent."""
        with self._changed:
            self._credit += 1
            self._changed.notify_all()

    def closed_by_host(self, *, answer: bool = True) -> None:
        """The host closed the stream, or is gone."""
        self.connection.forget(self.local)
        with self._changed:
            was, self._ended = self._ended, True
            self._changed.notify_all()
        if answer and not was and self._opened:
            self.connection.send(CLSE, self.local, self.remote)


class ByteReader:
    """Reads exact numbers of bytes from a stream, whose packet bounds mean nothing."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._buffer = bytearray()

    def take(self, size: int) -> bytes:
        """Exactly so many bytes.

        Raises:
            Gone: the host closed the stream before.
        """
        while len(self._buffer) < size:
            chunk = self._stream.read()
            if not chunk:
                raise Gone
            self._buffer += chunk
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken
