"""The phone's adbd: takes connections from an adb server and serves them until its rig is gone.

Started as `python -I -S run.py CONFIG`. Standard output says `ready PORT`; commands come as lines
of JSON on standard input, whose end is the end of the phone.
"""

import contextlib
import json
import os
import secrets
import signal
import socket
import sys
import threading
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from softphone import jail, rootfs, sync, wire
from softphone.faults import Fault, Faults
from softphone.models import PHONES, Phone
from softphone.shell import Shell
from softphone.wire import Connection, Gone, Stream
from softphone.world import World

FEATURES = "shell_v2,cmd,stat_v2,ls_v2,fixed_push_mkdir,fixed_push_symlink_timestamp,sendrecv_v2"
STATE = Path("/.phone")
TICK_S = 0.1
PLUG_S = 0.02
PATH = "/product/bin:/system/bin:/system/xbin:/odm/bin:/vendor/bin"


class Daemon:
    """One phone.

    Args:
        config: from `rig`.
        listener: the socket adb servers connect to.
    """

    def __init__(self, config: Mapping[str, Any], listener: socket.socket) -> None:
        self._config = config
        self._phone: Phone = PHONES[config["model"]]
        self._port: int = listener.getsockname()[1]
        self._listener: socket.socket | None = listener
        self._world = World(Path("/"), self._phone)
        self._faults = Faults(STATE, self)
        self._gate = threading.Event()
        self._gate.set()
        self._connections: set[Connection] = set()
        self._plugged = threading.Event()
        self._lock = threading.Lock()
        self._commands = 0
        self._environment = {
            "PATH": PATH, "HOME": "/", "SHELL": "/system/bin/sh", "USER": "shell",
            "LOGNAME": "shell", "HOSTNAME": self._phone.properties["ro.product.device"],
            "ANDROID_ROOT": "/system", "ANDROID_DATA": "/data", "TMPDIR": "/data/local/tmp",
            "TERM": "xterm",
        }  # fmt: skip

    def run(self) -> None:
        """Serve until standard input ends."""
        self._boot(uptime_s=86_400.0)
        self._plugged.set()
        for work in (self._accept, self._tick, self._keep_plugged_in):
            threading.Thread(target=work, daemon=True).start()
        print(f"ready {self._port}", flush=True)
        for line in sys.stdin:
            request = json.loads(line)
            with contextlib.suppress(Gone):
                self.command(request)
            print("done", flush=True)
        # Whatever started a server on our port, it is not to outlive the tests.
        self._ask_server("host:kill")

    def command(self, request: Mapping[str, Any]) -> None:
        """Carry out a device-wide action; see `softphone.faults.Fault.do`."""
        what, seconds = request["do"], float(request.get("seconds") or 0.0)
        if what == "drop":
            self._drop_all()
        elif what == "unplug":
            self._leave()
            if seconds:
                self._later(seconds, self._return)
        elif what == "plug":
            self._return()
        elif what == "reboot":
            self._leave()
            self._signal_all(signal.SIGKILL)
            self._boot(uptime_s=30.0)
            self._later(seconds or 0.3, self._return)
        elif what == "freeze":
            self._gate.clear()
            self._signal_all(signal.SIGSTOP)
        elif what == "thaw":
            self._signal_all(signal.SIGCONT)
            self._gate.set()
        elif what == "offline":
            for connection in list(self._connections):
                connection.send(wire.AUTH, wire.AUTH_UNKNOWN, 0)
        elif what == "kill-server":
            self._ask_server("host:kill")
        elif what == "nothing":
            pass
        else:
            raise ValueError(f"no such action: {what}")

    # -- the cable

    def _leave(self) -> None:
        self._plugged.clear()
        with self._lock:
            listener, self._listener = self._listener, None
        if listener:
            # Closing alone leaves a thread in accept(), and the port open with it.
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        self._drop_all()

    def _return(self) -> None:
        with self._lock:
            if self._listener is None:
                self._listener = listen(self._port)
        threading.Thread(target=self._accept, daemon=True).start()
        self._plugged.set()

    def _later(self, seconds: float, action: Any) -> None:
        timer = threading.Timer(seconds, action)
        timer.daemon = True
        timer.start()

    def _drop_all(self) -> None:
        for connection in list(self._connections):
            connection.drop()

    def _keep_plugged_in(self) -> None:
        """As a phone on USB: be seen by whatever server runs, again after it was restarted."""
        if not self._config["console"]:
            return
        while True:
            self._plugged.wait()
            if not self._connections:
                self._ask_server(f"host:connect:emu:{self._config['console']},{self._port}")
                # The server says yes before the connection stands.
                end = time.monotonic() + 0.5
                while not self._connections and time.monotonic() < end:
                    time.sleep(PLUG_S / 4)
            time.sleep(PLUG_S)

    def _ask_server(self, request: str) -> None:
        with (
            contextlib.suppress(OSError),
            socket.create_connection(
                ("127.0.0.1", self._config["server_port"]), timeout=2
            ) as server,
        ):
            server.sendall(f"{len(request):04x}{request}".encode())
            server.recv(4)

    # -- the phone's own life

    def _boot(self, *, uptime_s: float) -> None:
        self._world.boot(str(uuid.uuid4()), uptime_s)

    def _signal_all(self, number: signal.Signals) -> None:
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) not in (1, os.getpid()):
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(int(entry.name), number)

    def _tick(self) -> None:
        while True:
            time.sleep(TICK_S)
            if self._commands:
                self._world.advance()

    # -- connections

    def _accept(self) -> None:
        listener = self._listener
        while listener and listener is self._listener:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        connection = Connection(sock, self._gate)
        self._connections.add(connection)
        try:
            command, version, max_payload, _ = connection.receive()
            if command == wire.CNXN:
                connection.agree(version, max_payload)
                fault = self._faults.fire("cnxn")
                if fault and fault.do == "garbage":
                    connection.send_raw(secrets.token_bytes(64))
                self._greet(connection, fault)
        except Gone:
            pass
        finally:
            self._connections.discard(connection)
            connection.drop()

    def _greet(self, connection: Connection, fault: Fault | None) -> None:
        """Let the host in, at once or when the rule that keeps it out is gone; then serve it."""

        def answer(kind: int) -> None:
            # No answer to a signature is how the state stays `authorizing`.
            if fault and fault.do == "unauthorized" and kind == wire.AUTH_SIGNATURE:
                connection.send(wire.AUTH, wire.AUTH_TOKEN, 0, secrets.token_bytes(20))

        def let_in_later() -> None:
            while self._faults.standing("cnxn"):
                if not connection.alive:
                    return
                time.sleep(PLUG_S)
            self._welcome(connection)

        if fault and fault.do in ("unauthorized", "authorizing", "offline"):
            if fault.do != "offline":
                connection.send(wire.AUTH, wire.AUTH_TOKEN, 0, secrets.token_bytes(20))
            threading.Thread(target=let_in_later, daemon=True).start()
        elif fault:
            return
        else:
            self._welcome(connection)
        connection.serve(self._open, answer)

    def _welcome(self, connection: Connection) -> None:
        properties = self._phone.properties
        banner = "device::" + ";".join(
            f"{name}={properties[name]}"
            for name in ("ro.product.name", "ro.product.model", "ro.product.device")
        )
        features = "" if self._config["legacy"] else FEATURES
        connection.send(
            wire.CNXN, wire.VERSION_NO_CHECKSUM, wire.MAX_PAYLOAD,
            f"{banner};features={features}".encode(),
        )  # fmt: skip

    def _open(self, stream: Stream, name: str) -> None:
        fault = self._faults.fire("open", name)
        if fault and fault.do == "refuse":
            stream.refuse()
            return
        try:
            if fault:
                self._faults.act(fault, stream)
            kind, _, rest = name.partition(":")
            first, *options = kind.split(",")
            if first == "shell":
                self._shell(stream, rest, options)
            elif first == "exec":
                self._shell(stream, rest, ["raw"])
            elif name == "sync:":
                stream.accept()
                sync.serve(stream, self._faults)
            elif first == "reboot":
                stream.accept()
                self.command({"do": "reboot", "seconds": 0.5})
            else:
                stream.refuse()
        except Gone:
            pass
        finally:
            stream.close()

    def _shell(self, stream: Stream, command: str, options: list[str]) -> None:
        stream.accept()
        self._world.advance()
        with self._lock:
            self._commands += 1
        try:
            Shell(
                stream, command,
                second="v2" in options,
                terminal="pty" in options or (not command and "raw" not in options),
                environment=self._environment,
                faults=self._faults,
            ).run()  # fmt: skip
        finally:
            with self._lock:
                self._commands -= 1


def listen(port: int) -> socket.socket:
    """A listening socket on loopback."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(8)
    return listener


def _watch_control(daemon: Daemon) -> None:
    """Requests of the phone's own programs."""
    path = STATE / "control"
    path.unlink(missing_ok=True)
    control = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    control.bind(str(path))
    path.chmod(0o666)

    def work() -> None:
        while True:
            request = json.loads(control.recv(4096))
            with contextlib.suppress(Gone):
                daemon.command(request)

    threading.Thread(target=work, daemon=True).start()


def main() -> None:
    """Enter the jail and serve; the outer processes wait and pass the end on."""
    jail.die_with_parent()
    config = json.loads(Path(sys.argv[1]).read_text())
    root = Path(config["root"])
    listener = listen(config["port"])
    try:
        jail.enter_namespaces()
    except OSError as error:
        print(f"no namespaces: {error}", flush=True)
        sys.exit(1)
    first = os.fork()
    if first:
        listener.close()
        signal.signal(signal.SIGTERM, lambda *_: os.kill(first, signal.SIGKILL))
        sys.stdin.close()
        _, status = os.waitpid(first, 0)
        sys.exit(os.waitstatus_to_exitcode(status) & 0xFF)
    jail.die_with_parent()
    _furnish(root, config)
    worker = os.fork()
    if worker:
        listener.close()
        os.close(0)
        os._exit(jail.reap_until(worker) & 0xFF)
    jail.change_root(root)
    jail.set_name("adbd")
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    daemon = Daemon(config, listener)
    _watch_control(daemon)
    daemon.run()
    os._exit(0)


def _furnish(root: Path, config: Mapping[str, Any]) -> None:
    """Mount what the phone needs of the computer."""
    for name in rootfs.SHARED:
        source = Path("/") / name
        if source.is_dir() and not source.is_symlink():
            jail.bind(source, root / name)
    for path in map(Path, config["folders"]):
        if not path.is_relative_to("/usr"):
            jail.bind(path, root / path.relative_to("/"))
    for name in ("null", "zero", "full", "random", "urandom", "tty"):
        jail.bind(Path("/dev") / name, root / "dev" / name, writable=True)
    jail.mount_terminals(root / "dev")
    if Path("/etc/ld.so.cache").exists():
        jail.bind(Path("/etc/ld.so.cache"), root / "etc/ld.so.cache")
    jail.mount_proc(root, rootfs.FAKES)
    shared = root / "data/local/tmp"
    jail.mount_tmpfs(shared, size=config["tmp_size"], mode=0o777, flags=config["tmp_flags"])
    jail.mount_tmpfs(root / "sdcard", size="64m", mode=0o777, flags="noexec")
    if "ro" in config["tmp_flags"].split(","):
        jail.make_read_only(shared)
    if os.getuid() == 0:
        for folder, folders, names in os.walk(root / ".phone"):
            for name in (*folders, *names):
                os.chown(Path(folder) / name, jail.SHELL_UID, jail.SHELL_UID, follow_symlinks=False)
        for top in (root / ".phone", root / "sys"):
            os.chown(top, jail.SHELL_UID, jail.SHELL_UID)
        for folder, folders, names in os.walk(root / "sys"):
            for name in (*folders, *names):
                os.chown(Path(folder) / name, jail.SHELL_UID, jail.SHELL_UID, follow_symlinks=False)


if __name__ == "__main__":
    main()
