"""The shell and exec services: commands run by the phone's own shell, in the phone."""

import contextlib
import fcntl
import os
import pty
import signal
import struct
import subprocess
import termios
import threading
from collections.abc import Mapping

from softphone.faults import Faults
from softphone.wire import ByteReader, Gone, Stream

STDIN, STDOUT, STDERR, EXIT, CLOSE_STDIN, WINDOW = range(6)
SHELL = "/system/bin/sh"
CHUNK = 32 * 1024


def packet(kind: int, data: bytes) -> bytes:
    """One packet of the second shell protocol."""
    return struct.pack("<BI", kind, len(data)) + data


class Shell:
    """One run of a command.

    Args:
        stream: to the host.
        command: what the shell gets; empty for an interactive one.
        second: the protocol with separate stderr and an exit code.
        terminal: run it on a pseudo-terminal.
        environment: of the phone.
        faults: the rules.
    """

    def __init__(
        self,
        stream: Stream,
        command: str,
        *,
        second: bool,
        terminal: bool,
        environment: Mapping[str, str],
        faults: Faults,
    ) -> None:
        self._stream = stream
        self._command = command
        self._second = second
        self._terminal = terminal
        self._environment = dict(environment)
        self._faults = faults
        self._sent = 0
        self._output = faults.fire("output", command)
        self._lock = threading.Lock()

    def run(self) -> None:
        """Run it to its end, or until the host goes."""
        fault = self._faults.fire("shell", self._command)
        if fault and fault.do == "reply":
            with contextlib.suppress(Gone):
                self._emit(STDOUT, fault.stdout.encode("latin-1"))
                self._emit(STDERR, fault.stderr.encode("latin-1"))
                if self._second:
                    self._stream.write(packet(EXIT, bytes([fault.code])))
            self._stream.close()
            return
        if fault and fault.seconds_in is None:
            self._faults.act(fault, self._stream)
        process, ends = self._start()
        if fault and fault.seconds_in is not None:
            later = fault
            timer = threading.Timer(fault.seconds_in, lambda: self._faults.act(later, self._stream))
            timer.daemon = True
            timer.start()
        self._watch_output_clock()
        threading.Thread(target=self._feed, args=(process, ends[0]), daemon=True).start()
        pumps = [
            threading.Thread(target=self._pump, args=(end, kind), daemon=True)
            for end, kind in zip(ends[1:], (STDOUT, STDERR), strict=False)
            if end >= 0
        ]
        for pump in pumps:
            pump.start()
        for pump in pumps:
            pump.join()
        code = process.wait()
        silent = fault is not None and fault.do == "no-exit"
        with contextlib.suppress(Gone):
            if self._second and not silent:
                # The last output is taken before the code is sent: a host that has the code
                # closes the stream.
                code = 128 - code if code < 0 else code
                self._stream.write(packet(EXIT, bytes([code & 0xFF])))
            self._stream.drain()
        self._stream.close()

    def _start(self) -> tuple["subprocess.Popen[bytes]", list[int]]:
        arguments = [SHELL, "-c", self._command] if self._command else [SHELL, "-"]
        if self._terminal:
            ours, theirs = pty.openpty()
            process = subprocess.Popen(
                arguments, stdin=theirs, stdout=theirs, stderr=theirs, cwd="/",
                env=self._environment, start_new_session=True,
            )  # fmt: skip
            os.close(theirs)
            return process, [ours, os.dup(ours)]
        given, feed = os.pipe()
        out, ours_out = os.pipe()
        err, ours_err = os.pipe() if self._second else (-1, -1)
        process = subprocess.Popen(
            arguments, stdin=given, stdout=ours_out,
            stderr=ours_err if self._second else subprocess.STDOUT, cwd="/",
            env=self._environment, start_new_session=True,
        )  # fmt: skip
        for end in (given, ours_out, ours_err):
            if end >= 0:
                os.close(end)
        return process, [feed, out, err]

    def _emit(self, kind: int, data: bytes) -> None:
        with self._lock:
            fault = self._output
            if fault and fault.seconds_in is None and self._sent + len(data) > fault.after:
                self._output = None
                data, rest = data[: fault.after - self._sent], data[fault.after - self._sent :]
            else:
                fault, rest = None, b""
            self._sent += len(data) + len(rest)
            if data:
                self._stream.write(packet(kind, data) if self._second else data)
            if fault:
                self._stream.drain()
                self._faults.act(fault, self._stream)
                if rest:
                    self._stream.write(packet(kind, rest) if self._second else rest)

    def _watch_output_clock(self) -> None:
        fault = self._output
        if fault and fault.seconds_in is not None:
            self._output = None
            timer = threading.Timer(fault.seconds_in, lambda: self._faults.act(fault, self._stream))
            timer.daemon = True
            timer.start()

    def _pump(self, end: int, kind: int) -> None:
        try:
            while data := os.read(end, CHUNK):
                self._emit(kind, data)
        except (Gone, OSError):  # a terminal whose other side closed reads EIO
            pass
        finally:
            os.close(end)

    def _feed(self, process: "subprocess.Popen[bytes]", end: int) -> None:
        """Host to standard input; when the host goes, hang the shell up as adbd does."""
        try:
            if self._second:
                reader = ByteReader(self._stream)
                while True:
                    kind, size = struct.unpack("<BI", reader.take(5))
                    data = reader.take(size)
                    if kind == STDIN:
                        _write_all(end, data)
                    elif kind == CLOSE_STDIN and not self._terminal:
                        os.close(end)
                        end = -1
                    elif kind == WINDOW and self._terminal:
                        _resize(end, data)
            else:
                while data := self._stream.read():
                    _write_all(end, data)
        except (Gone, OSError):
            pass
        self._stream.wait_ended()
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGHUP)
        if end >= 0:
            with contextlib.suppress(OSError):
                os.close(end)


def _write_all(end: int, data: bytes) -> None:
    if end < 0:
        return
    view = memoryview(data)
    with contextlib.suppress(BrokenPipeError):
        while view:
            view = view[os.write(end, view) :]


def _resize(end: int, data: bytes) -> None:
    with contextlib.suppress(ValueError, OSError):
        rows, columns = data.split(b",")[0].split(b"x")
        fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", int(rows), int(columns), 0, 0))
