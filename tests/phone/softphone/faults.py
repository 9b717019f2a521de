"""The rule file: what goes wrong, where, when and how often. Read by every part of the phone.

A rule fires on an event whose subject its pattern matches:

    cnxn       a host connects                        subject: empty
    open       a service is opened                    its name
    shell      a command is about to run              the command
    output     a command's output, `after` bytes or `seconds_in` seconds into it
    push       a file arrives, `after` bytes into it  its path on the phone
    pushed     it is whole, but not yet confirmed     its path
    pull       a file is sent, `after` bytes into it  its path
    benchmark  `benchmark_model` runs                 its command line

`skip` events pass first, then `times` of them are hit. Counting is shared by all processes of the
phone. What can be done is in `Fault`.
"""

import fcntl
import json
import re
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Protocol

from softphone.wire import Gone, Stream


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One rule.

    Attributes:
        on: the event.
        match: regular expression, searched in the subject.
        skip: matching events that pass untouched first.
        times: how many events are hit; None for all.
        do: see the module of the event. Everywhere: nothing (only `write`), drop (connection gone,
            back at once), unplug (gone for `seconds`, 0 for until plugged in), reboot (gone for
            `seconds`, everything killed, new boot_id), freeze (nothing answers, until thawed),
            offline (state offline), kill-server (the host's adb server dies), hang (this stream
            gets no answer), close (this stream ends), refuse (open only), garbage (bytes that are
            no packet). cnxn: unauthorized, authorizing, offline, refuse, garbage. shell: reply,
            no-exit. push, pull: fail. benchmark: see `standin`.
        after: bytes into a transfer or an output; finished inferences into a benchmark.
        seconds_in: do it so long after the start of the command, not before it.
        seconds: how long an outage lasts.
        text: reason of a failure.
        stdout, stderr, code: of a reply.
        factor: of a slowed benchmark.
        write: files of the phone that get a new content when the rule fires.
        id: filled in by the rig.
    """

    on: str
    do: str = "nothing"
    match: str = ""
    skip: int = 0
    times: int | None = 1
    after: int = 0
    seconds_in: float | None = None
    seconds: float = 0.0
    text: str = ""
    stdout: str = ""
    stderr: str = ""
    code: int = 0
    factor: float = 1.0
    write: Mapping[str, str] = field(default_factory=dict)
    id: str = ""


_KNOWN = {one.name for one in fields(Fault)}


def from_mapping(rule: Mapping[str, Any]) -> Fault:
    """A rule from its JSON form; an unknown key is an error."""
    if unknown := set(rule) - _KNOWN:
        raise ValueError(f"unknown keys in a fault rule: {sorted(unknown)}")
    return Fault(**rule)


class Device(Protocol):
    """What a fault can do to the whole phone."""

    def command(self, request: Mapping[str, Any]) -> None:
        """Carry out one of the device-wide actions of `Fault.do`."""


class Faults:
    """The rules of one phone.

    Args:
        folder: the phone's own folder, as seen by this process.
        device: carries out what concerns the whole phone.
        root: what paths in `write` are below, as seen by this process.
    """

    def __init__(self, folder: Path, device: Device, root: Path = Path("/")) -> None:
        self._folder = folder
        self._device = device
        self._root = root

    def rules(self) -> list[Fault]:
        """The rules as they are now."""
        try:
            text = (self._folder / "rules.json").read_text()
        except FileNotFoundError:
            return []
        return [from_mapping(rule) for rule in json.loads(text)]

    def standing(self, event: str) -> Fault | None:
        """The first rule for an event, without counting it."""
        return next((rule for rule in self.rules() if rule.on == event), None)

    def fire(self, event: str, subject: str = "") -> Fault | None:
        """The rule that hits this event, if one does; its files are written."""
        found = [r for r in self.rules() if r.on == event and re.search(r.match, subject)]
        if not found:
            return None
        hit = None
        with self._counts() as counts:
            for rule in found:
                seen = counts.get(rule.id, 0)
                counts[rule.id] = seen + 1
                enough = rule.times is not None and seen >= rule.skip + rule.times
                if hit is None and seen >= rule.skip and not enough:
                    hit = rule
        if hit:
            with (self._folder / "fired.log").open("a") as log:
                log.write(json.dumps([hit.id, hit.on, hit.do, subject]) + "\n")
            if hit.on != "benchmark":  # there they are written when the moment comes
                self.write(hit)
        return hit

    def write(self, fault: Fault) -> None:
        """Put a rule's files in their places."""
        for path, content in fault.write.items():
            replace(self._root / path.lstrip("/"), content)

    def act(self, fault: Fault, stream: Stream | None = None) -> None:
        """Do what a rule says.

        Raises:
            Gone: the stream is not to go on.
        """
        if fault.do in ("nothing", "reply", "no-exit", "fail"):
            return
        if stream and fault.do == "hang":
            stream.wait_ended()
            raise Gone
        if stream and fault.do in ("close", "refuse"):
            stream.close()
            raise Gone
        if stream and fault.do == "garbage":
            stream.connection.send_raw(bytes(range(64)))
            raise Gone
        self._device.command({"do": fault.do, "seconds": fault.seconds})
        if fault.do in ("drop", "unplug", "reboot", "offline"):
            raise Gone

    @contextmanager
    def _counts(self) -> Iterator[dict[str, int]]:
        with _LOCK, (self._folder / "counts.lock").open("a+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            lock.seek(0)
            text = lock.read()
            counts = json.loads(text) if text else {}
            yield counts
            lock.seek(0)
            lock.truncate()
            lock.write(json.dumps(counts))
            lock.flush()


_LOCK = threading.Lock()


def replace(path: Path, content: str, mode: int | None = None) -> None:
    """Give a file a new content at once; its permissions stay where none are given."""
    if mode is None:
        mode = path.stat().st_mode & 0o777 if path.exists() else 0o644
    temporary = path.with_name(f".{path.name}.{threading.get_ident()}.{time.monotonic_ns()}")
    temporary.write_text(content)
    temporary.chmod(mode)
    temporary.rename(path)
