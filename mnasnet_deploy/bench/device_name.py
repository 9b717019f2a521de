"""How a device is named on the command line: `host`, `adb`, `adb:SERIAL[@HOST:PORT]`, `adb:all`."""

import re
from dataclasses import dataclass

from mnasnet_deploy.errors import InputError

__all__ = ["DeviceName", "parse"]

# What adb itself makes serials of, on USB and on a network. Nothing in it means anything to a
# shell, and the first letter is not that of an option.
_SERIAL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]*|\[[0-9A-Fa-f:.]+\]:[0-9]+")
_SERVER = re.compile(r"(?P<host>[A-Za-z0-9][A-Za-z0-9.-]*|\[[0-9A-Fa-f:.]+\]):(?P<port>[0-9]+)")
_FORMS = "host, adb, adb:SERIAL, adb:SERIAL@HOST:PORT or adb:all"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceName:
    """A device as it was asked for.

    Attributes:
        kind: `host` or `adb`.
        serial: of the phone; empty for the only one attached, and where all are meant.
        everything: every phone that is attached.
        server: host and port of the adb server where it is not the usual one.
    """

    kind: str
    serial: str = ""
    everything: bool = False
    server: tuple[str, int] | None = None

    def __str__(self) -> str:
        if self.kind == "host":
            return "host"
        text = f"adb:{'all' if self.everything else self.serial}".removesuffix(":")
        if self.server is None:
            return text
        host, port = self.server
        return f"{text}@{f'[{host}]' if ':' in host else host}:{port}"


def parse(text: str) -> DeviceName:
    """Read a device's name.

    Raises:
        InputError: it is none, or its serial has characters that no serial has.
    """
    if text == "host":
        return DeviceName(kind="host")
    kind, colon, rest = text.partition(":")
    if kind != "adb" or (colon and not rest):
        raise InputError(f"no device is called {text!r}: name {_FORMS}")
    serial, at, place = rest.partition("@")
    server = _server(place) if at else None
    if serial == "all":
        return DeviceName(kind="adb", everything=True, server=server)
    if serial and not _SERIAL.fullmatch(serial):
        raise InputError(
            f"{serial!r} cannot be the serial of a phone: see `mnasnet devices` for those attached"
        )
    return DeviceName(kind="adb", serial=serial, server=server)


def _server(place: str) -> tuple[str, int]:
    found = _SERVER.fullmatch(place)
    port = int(found["port"]) if found else 0
    if not found or not 1 <= port <= 65535:
        raise InputError(f"{place!r} names no adb server: give its HOST:PORT, as in pi.local:5037")
    return found["host"].strip("[]"), port
