"""What tests hold in their hands: a private adb server, phones on it, and the adb program.

    with Rig(folder) as rig:
        phone = rig.phone("pixel-8")
        rig.adb("-s", phone.serial, "shell", "getprop ro.product.model")

Nothing here touches the adb server, the keys or the devices of whoever runs the tests.
"""

import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any

from softphone import rootfs
from softphone.faults import Fault
from softphone.jail import die_with_parent
from softphone.models import PHONES, Phone
from softphone.parts import missing_parts, pip_adb, system_adb

HERE = Path(__file__).parent
START_S = 10.0
DEADLINE_S = 60.0
FORMATS = ("tf-2.3", "tf-2.12", "tf-2.19", "litert")
"""Of the stand-in for `benchmark_model`."""

_numbers = itertools.count()


@dataclass(frozen=True)
class Done:
    """What a run of adb gave back."""

    code: int
    out: bytes
    err: bytes

    @property
    def text(self) -> str:
        """Standard output, then standard error."""
        return (self.out + self.err).decode(errors="replace")


class Rig:
    """A private adb server and the phones on it.

    Args:
        folder: for everything that is written; its path may be long.
        adb: the adb program; the one of adbutils by default.
        home: folder of the adb keys, shared between rigs so that the key is made once.
    """

    def __init__(self, folder: Path, adb: Path | None = None, home: Path | None = None) -> None:
        found = adb or pip_adb() or system_adb()
        if found is None:
            raise FileNotFoundError(str(missing_parts("pip-adb")[0]))
        self.adb_path = found
        self._folder = folder
        self._home = home or folder / "home"
        for needed in (folder, self._home):
            needed.mkdir(parents=True, exist_ok=True)
        self.port = _free_port()
        self._server: subprocess.Popen[bytes] | None = None
        self._phones: list[SoftwarePhone] = []
        self._consoles = itertools.count(5601 + 10 * next(_numbers))

    @property
    def environment(self) -> dict[str, str]:
        """For every process that is to use this server: adb itself, and mnasnet."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("ADB_", "ANDROID_")) and name != "ADB"
        }
        temporary = self._folder / "tmp"
        temporary.mkdir(exist_ok=True)
        return {
            **kept,
            "ANDROID_ADB_SERVER_PORT": str(self.port),
            "HOME": str(self._home),
            "ANDROID_USER_HOME": str(self._home / ".android"),
            "TMPDIR": str(temporary),
            "ANDROID_ADB_LOG_PATH": str(temporary / "adb.log"),
            "ADB_USB": "0",  # or it takes the phones of whoever runs the tests
            "ADB_EMU": "0",
            "ADB_MDNS": "0",
            "ADB_MDNS_AUTO_CONNECT": "",
            "ADB": str(self.adb_path),
            "PATH": f"{self.adb_path.parent}{os.pathsep}{kept.get('PATH', '')}",
        }

    def __enter__(self) -> "Rig":
        self.start_server()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def start_server(self) -> None:
        """Start the adb server as our child, so that it cannot outlive us."""
        with (self._folder / "server.log").open("ab") as log:
            self._server = subprocess.Popen(
                [self.adb_path, "-L", f"tcp:localhost:{self.port}", "server", "nodaemon"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                env=self.environment,
                preexec_fn=die_with_parent,
            )
        _wait_for(lambda: _listens(self.port), "the adb server to listen")

    def kill_server(self) -> None:
        """End the adb server, whoever started it."""
        self.adb("kill-server")
        if self._server:
            self._server.wait(DEADLINE_S)
            self._server = None

    def close(self) -> None:
        """Stop phones and server."""
        for phone in self._phones:
            phone.stop()
        self._phones.clear()
        if _listens(self.port):
            self.adb("kill-server")
        if self._server:
            self._server.terminate()
            self._server.wait(DEADLINE_S)
            self._server = None

    def adb(self, *arguments: str | Path, input: bytes = b"", timeout: float = DEADLINE_S) -> Done:
        """Run the real adb client.

        Raises:
            subprocess.TimeoutExpired: it did not come back; it has been killed.
        """
        done = subprocess.run(
            [self.adb_path, *map(str, arguments)], input=input, capture_output=True,
            env=self.environment, timeout=timeout, check=False,
        )  # fmt: skip
        return Done(done.returncode, done.stdout, done.stderr)

    def phone(
        self, model: str = "pixel-8", *, wait: bool = True, **options: Any
    ) -> "SoftwarePhone":
        """Switch a phone on and plug it in.

        Args:
            model: pixel-1 or pixel-8.
            wait: until the server shows it as `device`.
            options: of `SoftwarePhone`.
        """
        link = options.get("link", "usb")
        console = next(self._consoles) if link == "usb" else 0
        phone = SoftwarePhone(
            self._folder / f"phone{len(self._phones)}", PHONES[model], self.port, console, **options
        )
        self._phones.append(phone)
        if link == "tcp":
            self.adb("connect", phone.serial)
        if wait:
            self.wait_for_state(phone)
        return phone

    def wait_for_state(self, phone: "SoftwarePhone", state: str = "device") -> None:
        """Wait until the server says so; an empty state: until it does not know the phone."""
        wanted = state.encode()
        _wait_for(lambda: self.state(phone.serial) == wanted, f"{phone.serial} to be {state!r}")

    def state(self, serial: str) -> bytes:
        """What `adb devices` says of a serial; empty if it is not listed."""
        for line in self.adb("devices").out.splitlines()[1:]:
            name, _, state = line.partition(b"\t")
            if name == serial.encode():
                return state
        return b""

    def benchmark_binary(self, form: str = "tf-2.19") -> Path:
        """A file to push and run as `benchmark_model`, printing the format of a version."""
        if form not in FORMATS:
            raise ValueError(f"{form} is none of {FORMATS}")
        path = self._folder / "binaries" / form / "benchmark_model"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/system/bin/benchmark_standin {form}\n")
        path.chmod(0o755)
        return path

    def foreign_binary(self, *, bits: int = 64) -> Path:
        """A file that is a program of another processor, and does not run on the phone."""
        path = self._folder / "binaries" / f"foreign{bits}" / "benchmark_model"
        path.parent.mkdir(parents=True, exist_ok=True)
        head = b"\x7fELF" + bytes([1 if bits == 32 else 2, 1, 1]) + bytes(9)
        machine = 40 if bits == 32 else 243  # Arm, and RISC-V
        path.write_bytes(
            head + (2).to_bytes(2, "little") + machine.to_bytes(2, "little") + bytes(200)
        )
        path.chmod(0o755)
        return path


class SoftwarePhone:
    """One running phone.

    Args:
        folder: for its files.
        model: which phone.
        server_port: of the adb server it is plugged into.
        console: makes its serial `emulator-CONSOLE`; 0 for a phone on TCP.
        link: usb (in the server's list while plugged in, also after the server was restarted) or
            tcp (`127.0.0.1:PORT`, connected by `adb connect`).
        legacy: an old phone without the second shell protocol.
        tmp_size: of /data/local/tmp.
        tmp_flags: `ro` or `noexec` for /data/local/tmp.
        rooted: a userdebug build with `su`, whose clocks can be set.
        rules: in force from the start.
    """

    def __init__(
        self,
        folder: Path,
        model: Phone,
        server_port: int,
        console: int,
        *,
        link: str = "usb",
        legacy: bool = False,
        tmp_size: str = "32g",
        tmp_flags: str = "",
        rooted: bool = False,
        rules: Sequence[Fault | Mapping[str, Any]] = (),
    ) -> None:
        self.model = model
        self.root = folder / "root"
        self.root.mkdir(parents=True)
        number = next(_numbers)
        python = Path(sys.executable).resolve()
        packages = [p for p in map(Path, sys.path) if p.name == "site-packages" and p.is_dir()]
        joined = os.pathsep.join(map(str, packages))
        rootfs.build(
            self.root,
            model,
            serial=f"SOFT{model.key[-1]}{number:06}",
            rooted=rooted,
            standin=[str(python), "-I", "-S", str(HERE / "standin_main.py"), joined],
        )
        self.set_rules(*rules)
        config = folder / "config.json"
        rootfs.write_config(
            config, root=str(self.root), model=model.key, port=0, server_port=server_port,
            console=console, legacy=legacy, tmp_size=tmp_size, tmp_flags=tmp_flags,
            folders=[sys.base_prefix, str(HERE.parent), *map(str, packages)],
        )  # fmt: skip
        self._log = (folder / "phone.log").open("wb")
        self._process = subprocess.Popen(
            [python, "-I", "-S", HERE / "run.py", config],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log,
        )  # fmt: skip
        said = self._line()
        if not said.startswith("ready "):
            raise RuntimeError(f"the phone did not start: {said} (see {folder / 'phone.log'})")
        self.port = int(said.split()[1])
        self.serial = f"emulator-{console}" if console else f"127.0.0.1:{self.port}"

    # -- its files

    def read(self, path: str) -> str:
        """A file of the phone's own (/sys, /.phone), not of /data or /sdcard."""
        return self._place(path).read_text()

    def write(self, path: str, content: str) -> None:
        """Give such a file a new content."""
        from softphone.faults import replace as put

        put(self._place(path), content)

    def setting(self, space: str, key: str) -> str | None:
        """A value of `settings get`; None where there is none."""
        path = self._place(f"/.phone/settings/{space}/{key}")
        return path.read_text().strip() if path.exists() else None

    def settings(self) -> dict[str, str]:
        """Everything a measurement may have changed, by name: to be the same afterwards."""
        found = {}
        for pattern in (
            ".phone/settings/*/*", ".phone/battery/*", ".phone/thermal/override",
            ".phone/power/wakefulness", "sys/devices/system/cpu/cpufreq/*/scaling_m*_freq",
            "sys/devices/system/cpu/cpufreq/*/scaling_governor",
        ):  # fmt: skip
            for path in self.root.glob(pattern):
                found[str(path.relative_to(self.root))] = path.read_text().strip()
        return found

    def options(self, **values: float) -> None:
        """Of the world: busy (share of each idle core), ambient (°C), heating (°C per second and
        busy core, off by default), cooling_s."""
        self.write("/.phone/options.json", json.dumps(values))

    def _place(self, path: str) -> Path:
        return self.root / path.lstrip("/")

    # -- what goes wrong

    def set_rules(self, *rules: Fault | Mapping[str, Any]) -> None:
        """Replace the rules; counting starts anew."""
        made = [rule if isinstance(rule, Fault) else Fault(**rule) for rule in rules]
        named = [
            asdict(replace(rule, id=f"{time.monotonic_ns()}-{i}")) for i, rule in enumerate(made)
        ]
        self.write("/.phone/rules.json", json.dumps(named))

    def fired(self) -> list[tuple[str, str, str]]:
        """What went wrong so far: event, action, subject."""
        path = self._place("/.phone/fired.log")
        lines = path.read_text().splitlines() if path.exists() else []
        return [(on, do, subject) for _, on, do, subject in map(json.loads, lines)]

    def unplug(self, seconds: float = 0.0) -> None:
        """Pull the cable; it goes back in after so many seconds, 0: when `plug` is called."""
        self._command("unplug", seconds)

    def plug(self) -> None:
        """Put the cable back in."""
        self._command("plug")

    def drop(self) -> None:
        """Break all connections; the phone is back at once."""
        self._command("drop")

    def reboot(self, seconds: float = 0.3) -> None:
        """Restart: everything on it is killed, it is away for a while, boot_id is a new one."""
        self._command("reboot", seconds)

    def freeze(self) -> None:
        """Let nothing move; the server still says `device`."""
        self._command("freeze")

    def thaw(self) -> None:
        """End a freeze."""
        self._command("thaw")

    def offline(self) -> None:
        """Make the server call it offline; only `adb reconnect` or a cable helps."""
        self._command("offline")

    def _command(self, what: str, seconds: float = 0.0) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": what, "seconds": seconds}).encode() + b"\n")
        self._process.stdin.flush()
        if self._line() != "done":
            raise RuntimeError(f"the phone did not carry out {what}")

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().decode().strip()

    def stop(self) -> None:
        """Switch it off for good."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(DEADLINE_S)
        for pipe in (self._process.stdin, self._process.stdout, self._log):
            if pipe:
                pipe.close()


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _wait_for(condition: Callable[[], bool], what: str, seconds: float = 15.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"waited {seconds:g} s for {what}")
        time.sleep(0.01)


def temporary_folder() -> Path:
    """A folder with a short path."""
    return Path(tempfile.mkdtemp(prefix="softphone-"))
