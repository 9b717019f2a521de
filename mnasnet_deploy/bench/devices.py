"""From the names of devices on the command line to devices."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from mnasnet_deploy.bench.device import Device
from mnasnet_deploy.bench.device_name import DeviceName, parse
from mnasnet_deploy.bench.host import PATIENCE_S, Host

__all__ = ["PhoneOptions", "open_devices"]

COOL_S = 600.0


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
        cluster: cores to use by name (`fast`, `middle`, `little`); empty to go by the threads.
        patience_s: how long a process may take beyond what is known of it.
        cool_s: how long a warm phone may take to cool down, each time.
    """

    benchmark_binary: Path | None = None
    external_delegate: Path | None = None
    external_options: str = ""
    adb: Path | None = None
    profile: str = ""
    cluster: str = ""
    patience_s: float = PATIENCE_S
    cool_s: float = COOL_S


def open_devices(
    names: Iterable[str], options: PhoneOptions, say: Callable[[str], None]
) -> list[Device]:
    """The devices of these names, each once.

    Args:
        names: as `device_name.parse` reads them.
        options: for all of them.
        say: gets a line for each phone of `adb:all` that is not ready.

    Raises:
        InputError: a name that is none.
        NotReadyError: adb, or the phone that was named, cannot be used.
    """
    opened: dict[str, Device] = {}
    for name in map(parse, names):
        for device in _phones(name, options, say) if name.kind == "adb" else _hosts(options):
            opened.setdefault(device.key, device)
    return list(opened.values())


def _hosts(options: PhoneOptions) -> list[Device]:
    if options.benchmark_binary is None:
        return [Host(patience_s=options.patience_s)]
    from mnasnet_deploy.bench.host_binary import HostBinary

    return [
        HostBinary(
            options.benchmark_binary,
            external=options.external_delegate,
            external_options=options.external_options,
            patience_s=options.patience_s,
        )
    ]


def _phones(name: DeviceName, options: PhoneOptions, say: Callable[[str], None]) -> list[Device]:
    from mnasnet_deploy.bench.adb import find_adb
    from mnasnet_deploy.bench.android import AndroidPhone

    adb = find_adb(str(options.adb) if options.adb else None, name.server)
    return [AndroidPhone(link, options) for link in adb.links(name, say)]
