"""From the names of devices on the command line to devices."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from mnasnet_deploy.bench.device import Device
from mnasnet_deploy.bench.host import PATIENCE_S, Host
from mnasnet_deploy.errors import InputError

__all__ = ["PhoneOptions", "open_devices"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PhoneOptions:
    """How devices are reached and what runs on them; what a number depends on is in `Settings`.

    Attributes:
        benchmark_binary: the program that runs the models; None for LiteRT on this computer, and
            on phones for the one that is cached.
        external_delegate: shared object of the external delegate.
        external_options: handed to it.
        adb: the adb program; None for $ADB, then PATH.
        profile: name or file of the phone's profile; empty for the one that fits the phone.
        cluster: cores to use by name (`fast`, `mid`, `little`); empty to go by the threads.
        patience_s: how long a process may take beyond what is known of it.
    """

    benchmark_binary: Path | None = None
    external_delegate: Path | None = None
    external_options: str = ""
    adb: Path | None = None
    profile: str = ""
    cluster: str = ""
    patience_s: float = PATIENCE_S


def open_devices(names: Iterable[str], options: PhoneOptions) -> list[Device]:
    """The devices of these names, each once.

    Args:
        names: `host`.
        options: for all of them.

    Raises:
        InputError: a name that is none.
    """
    opened: dict[str, Device] = {}
    for name in names:
        if name != "host":
            raise InputError(f"unknown device '{name}' (this version measures on: host)")
        device = Host(patience_s=options.patience_s)
        opened.setdefault(device.key, device)
    return list(opened.values())
