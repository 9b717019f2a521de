"""The way to phones: the adb program as a process, and nothing else of adb's.

It is what users have and can repeat by hand, and every version of it works. Four habits make it
reliable: adb's own exit code of a shell is never believed (some versions return 0 when the phone
vanishes), every call has a deadline, what a deadline or Ctrl-C cuts short is ended on the phone as
well, and a server of another version is noticed before adb would end it.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from mnasnet_deploy.bench import adb_process, adb_words
from mnasnet_deploy.bench.adb_link import Done, Link, Listed
from mnasnet_deploy.bench.adb_server import ServerPlace, find_server, server_version
from mnasnet_deploy.bench.device_name import DeviceName
from mnasnet_deploy.errors import InputError, LinkLostError, NoAnswerError, PhoneError

__all__ = ["Adb", "Done", "Link", "Listed", "find_adb", "read_devices"]

OLDEST = 41
"""Of adb's protocol, with all platform-tools since 2018: what the tests run against."""

VERSION_S = 10.0
LIST_S = 20.0
"""The first call may have to start the server, which may have to make a key."""

SETTLE_S = 15.0
"""How long a phone that is only just being plugged in may take."""

_LINE = re.compile(
    r"(?P<serial>\(no serial number\)|\S+)\s+"
    r"(?P<state>no permissions|[a-z]+)"
    r"(?:\s*(?P<reason>(?:\(.*?\))?; see \[.*?\]|\(.*?\)))?(?:\s+(?P<rest>.*))?"
)
_INSTALL = {
    "linux": "sudo apt-get install adb",
    "darwin": "brew install android-platform-tools",
    "win32": "winget install Google.PlatformTools",
}
_SDK = {
    "linux": "Android/Sdk",
    "darwin": "Library/Android/sdk",
    "win32": "AppData/Local/Android/Sdk",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Adb:
    """An adb program that may be used.

    Attributes:
        program: where it is.
        version: of platform-tools, as in `36.0.0`.
        protocol: the number that client and server must share.
        server: where its server is.
        options: in front of every call.
    """

    program: Path
    version: str
    protocol: int
    server: ServerPlace
    options: tuple[str, ...] = ()

    def call(
        self,
        *arguments: str | Path,
        deadline_s: float,
        on_start: Callable[["subprocess.Popen[bytes]"], None] | None = None,
        on_interrupt: Callable[[bytes], None] | None = None,
    ) -> adb_process.Ended:
        """Run the program once; see `adb_process.run`.

        Raises:
            PhoneError: it cannot be started, or its server is one that it would end.
        """
        self.server_version()
        return adb_process.run(
            [self.program, *self.options, *arguments],
            deadline_s=deadline_s,
            on_start=on_start,
            on_interrupt=on_interrupt,
        )

    def server_version(self) -> int | None:
        """Version of the running server; None where none runs.

        Raises:
            PhoneError: it is another than the program's, or no adb server.
        """
        found = server_version(self.server)
        if found not in (None, self.protocol):
            raise PhoneError(
                f"the adb server at {self.server} is of version {found}, {self.program} of version "
                f"{self.protocol} and would end it, and every other program's connections with it: "
                "name the adb that started it with --adb or $ADB, or end it with its own "
                "`adb kill-server`"
            )
        return found

    def devices(self) -> tuple[Listed, ...]:
        """Every phone that the server knows, ready or not.

        Raises:
            PhoneError: the server cannot be reached.
        """
        ended = self.call("devices", "-l", deadline_s=LIST_S)
        if ended.code is None:
            raise NoAnswerError(
                f"{self.program} did not list the phones within {LIST_S:g} s: end its server with "
                "`adb kill-server` (which also ends what else uses it) and try again"
            )
        if ended.code or (listed := read_devices(ended.out.decode(errors="replace"))) is None:
            meaning = adb_words.explain(ended.text)
            if meaning:
                raise meaning.error("adb", "the phones cannot be listed")
            raise PhoneError(
                f"{self.program} does not list phones ({_first_line(ended.text)}): try "
                "`adb devices`, or name another adb with --adb or $ADB"
            )
        return listed

    def link(self, serial: str, *, patience_s: float | None = None) -> Link:
        """The way to one phone that is ready.

        Args:
            serial: as `devices` lists it.
            patience_s: how long a phone that is just connecting is waited for; 15 s by default.

        Raises:
            PhoneError: it is not attached, or not ready; the message says how to mend it.
        """
        attached = self.devices()
        found = [one for one in attached if one.serial == serial]
        if not found:
            raise PhoneError(
                f"no phone {serial} is attached ({_list(attached) or 'none is'}): check the serial "
                "and the cable"
            )
        if len(found) > 1:
            raise PhoneError(f"{len(found)} phones have the serial {serial}: unplug all but one")
        link = Link(self, serial)
        if meaning := adb_words.state_meaning(found[0].state):
            if meaning.kind is not LinkLostError:
                raise meaning.error(f"phone {serial}")
            link.wait_back(SETTLE_S if patience_s is None else patience_s)
        return link

    def links(self, name: DeviceName, on_skip: Callable[[str], None]) -> tuple[Link, ...]:
        """The ways to the phones that were asked for.

        Args:
            name: one phone, the only one attached (ANDROID_SERIAL names it where several are), or
                all.
            on_skip: gets a line for each phone that is not ready, where all are meant.

        Raises:
            PhoneError: there is none, it is not ready, or it is not clear which is meant.
        """
        serial = name.serial
        if not (serial or name.everything):
            serial = os.environ.get("ANDROID_SERIAL", "")
        if serial:
            return (self.link(serial),)
        attached = self.devices()
        if not attached:
            raise PhoneError(
                "no phone is attached: plug one in, with USB debugging on in its developer "
                "options, then type `mnasnet devices`"
            )
        if not name.everything:
            if len(attached) > 1:
                raise PhoneError(
                    f"{len(attached)} phones are attached ({_list(attached)}): name one, as in "
                    f"--device adb:{attached[0].serial}, or all with --device adb:all"
                )
            return (self.link(attached[0].serial),)
        # At once, for each may have to be waited for.
        with ThreadPoolExecutor(len(attached)) as pool:
            tried = list(pool.map(self._try_link, [one.serial for one in attached]))
        found = [one for one in tried if isinstance(one, Link)]
        for one in tried:
            if isinstance(one, PhoneError):
                on_skip(str(one))
        if not found:
            raise PhoneError(
                f"none of the phones is ready ({_list(attached)}): see `mnasnet devices`"
            )
        return tuple(found)

    def _try_link(self, serial: str) -> Link | PhoneError:
        try:
            return self.link(serial)
        except PhoneError as error:
            return error


def find_adb(program: str | None = None, server: tuple[str, int] | None = None) -> Adb:
    """Find an adb that may be used, without starting or ending a server.

    Args:
        program: name or path of it; else $ADB says, else PATH.
        server: host and port of the server; else adb's own variables say, else it is the usual one.

    Raises:
        InputError: what was named is not there.
        PhoneError: there is none, it is too old, or a server of another version runs.
    """
    path = _find_program(program, os.environ)
    ended = adb_process.run([path, "version"], deadline_s=VERSION_S)
    text = ended.out.decode(errors="replace")
    known = re.search(r"Android Debug Bridge version 1\.0\.(\d+)", text)
    if not known:
        raise PhoneError(f"{path} is no adb: name one with --adb or $ADB")
    protocol = int(known[1])
    if protocol < OLDEST:
        raise PhoneError(
            f"{path} is too old (1.0.{protocol}; needed is 1.0.{OLDEST}, of 2018): "
            f"{_install()}, or name another with --adb or $ADB"
        )
    release = re.search(r"^Version ([0-9.]+)", text, re.MULTILINE)
    host = () if server is None else ("-H", server[0], "-P", str(server[1]))
    found = Adb(
        program=path,
        version=release[1] if release else f"1.0.{protocol}",
        protocol=protocol,
        server=find_server(os.environ, server),
        options=host,
    )
    found.server_version()
    return found


def read_devices(text: str) -> tuple[Listed, ...] | None:
    """Read what `adb devices -l` prints; None if there is no list in it."""
    _, header, rows = text.partition("List of devices attached")
    if not header:
        return None
    found = []
    for row in rows.splitlines():
        match = _LINE.fullmatch(row.strip())
        if not match or row.startswith("*"):
            continue
        facts = dict(word.split(":", 1) for word in (match["rest"] or "").split() if ":" in word)
        number = facts.get("transport_id", "")
        found.append(
            Listed(
                serial=match["serial"],
                state=match["state"],
                transport_id=int(number) if number.isdecimal() else None,
                model=facts.get("model", ""),
                product=facts.get("product", ""),
                detail=(match["reason"] or "").strip(),
            )
        )
    return tuple(found)


def _find_program(named: str | None, environment: Mapping[str, str]) -> Path:
    source, wanted = ("--adb", named) if named else ("$ADB", environment.get("ADB"))
    if found := shutil.which(wanted or "adb"):
        return Path(found)
    if wanted:
        raise InputError(f"{source} is {wanted}, and that is no program: name the adb program")
    program = Path.home() / _SDK.get(sys.platform, "Android/Sdk") / "platform-tools/adb"
    if beside := shutil.which(str(program)):
        raise PhoneError(f"adb is not on PATH, but here: --adb {beside} (or set ADB to it)")
    raise PhoneError(f"adb, the program that talks to phones, is not installed: {_install()}")


def _install() -> str:
    return _INSTALL.get(sys.platform, "install Android's platform-tools")


def _list(attached: tuple[Listed, ...]) -> str:
    return ", ".join(
        one.serial if one.state == "device" else f"{one.serial} {one.state}" for one in attached
    )


def _first_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "it says nothing")
