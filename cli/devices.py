"""`mnasnet devices`: the phones that are attached."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import console

if TYPE_CHECKING:
    from mnasnet_deploy.bench.adb import Adb
    from mnasnet_deploy.bench.survey import Attached

__all__ = ["AdbProgram", "devices"]

SCHEMA = "mnasnet.devices/1"
BYTES_PER_MIB = 1 << 20

AdbProgram = Annotated[
    str | None,
    typer.Option(
        "--adb", metavar="PATH", help="The adb program (without: $ADB, then the one on PATH)."
    ),
]


def devices(
    clean: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SERIAL",
            help="Remove all that mnasnet keeps on this phone, and undo what a killed run has "
            "changed (repeatable).",
        ),
    ] = None,
    adb: AdbProgram = None,
    server: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="An adb server on another computer."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print a JSON object.")] = False,
) -> None:
    """List attached phones, and what is wrong with each.

    What is wrong comes with how it is mended. Nothing on the phones is changed. The adb server of
    your system is used as it is, and never ended; a phone that another mnasnet measures on is left
    alone.

    Example:
        mnasnet devices
        mnasnet devices --json
        mnasnet devices --clean 0A021FDD4000XX
    """
    from mnasnet_deploy.bench.adb import find_adb
    from mnasnet_deploy.bench.device_name import parse
    from mnasnet_deploy.bench.survey import survey

    place = parse(f"adb:all@{server}").server if server is not None else None
    serials = [parse(f"adb:{serial}").serial for serial in clean or ()]
    program = find_adb(adb, place)
    if serials:
        cleaned = [_clean(program, serial) for serial in serials]
        if json:
            console.emit_json({"schema": SCHEMA, "cleaned": cleaned})
        return
    with console.progress("asking the phones", None):
        attached = survey(program)
    if json:
        adb_facts = {
            "program": str(program.program),
            "version": program.version,
            "server": str(program.server),
        }
        entries = [_entry(one) for one in attached]
        console.emit_json({"schema": SCHEMA, "adb": adb_facts, "devices": entries})
        return
    if not attached:
        console.say("no phone is attached: plug one in, then type `mnasnet doctor` if it stays so")
        return
    heads = ("serial", "phone", "SoC", "Android", "state", "battery", "temp", "cores", "profile")
    console.out(console.columns([heads, *map(_row, attached)], left=5))
    for one in attached:
        for trouble in one.troubles:
            name = f"{trouble.name}: " if trouble.name.isupper() else ""
            console.out(f"{one.listed.serial}: {name}{trouble.text}")


def _clean(program: "Adb", serial: str) -> dict[str, Any]:
    from mnasnet_deploy.bench.phone_files import PhoneFiles
    from mnasnet_deploy.bench.prepare import restore

    link = program.link(serial)
    with link.exclusive(lambda: console.say(f"waiting for the mnasnet that uses {serial}")):
        left = restore(link)
        freed = PhoneFiles(link).clean()
    for sentence in left:
        console.warn(f"{serial}: {sentence}")
    console.say(f"{serial}: {freed / BYTES_PER_MIB:.1f} MiB removed")
    return {"serial": serial, "removed_bytes": freed, "not_restored": list(left)}


def _row(one: "Attached") -> tuple[str, ...]:
    state = one.state
    battery = heat = release = ""
    if state:
        percent = state.battery.percent
        battery = "" if percent is None else f"{percent:.0f} %"
        celsius = _celsius(one)
        heat = "" if celsius is None else f"{celsius:.0f} °C"
        release = state.props.get("ro.build.version.release", "")
    cells = (
        one.listed.serial, one.name, one.processor, release, _state(one), battery, heat, one.cores,
        one.profile,
    )  # fmt: skip
    return tuple(cell or "-" for cell in cells)


def _state(one: "Attached") -> str:
    if one.listed.state != "device":
        return one.listed.state
    if one.state is None:
        return one.troubles[0].name
    return "ready" if one.ready else "not fit"


def _celsius(one: "Attached") -> float | None:
    """Of the skin; of the battery where the phone does not tell."""
    if one.state is None:
        return None
    skin = one.state.thermal.hottest("skin")
    return one.state.battery.celsius if skin is None else skin


def _entry(one: "Attached") -> dict[str, Any]:
    from mnasnet_deploy.bench.clusters import clusters

    state = one.state
    entry: dict[str, Any] = {
        "serial": one.listed.serial,
        "state": one.listed.state,
        "ready": one.ready,
        "troubles": [
            {"name": trouble.name, "text": trouble.text, "fatal": trouble.fatal}
            for trouble in one.troubles
        ],
        "name": one.name or None,
    }
    if state is None:
        return entry
    return {
        **entry,
        "software": state.is_software,
        "soc": one.processor or None,
        "android": state.props.get("ro.build.version.release"),
        "api": state.api,
        "build": state.props.get("ro.build.fingerprint"),
        "abi": state.props.get("ro.product.cpu.abi"),
        "cores": [
            {
                "cpus": list(cluster.cpus),
                "core": cluster.core,
                "max_mhz": cluster.max_mhz,
                "capacity": cluster.capacity,
            }
            for cluster in clusters(state)
        ],
        "memory_mib": state.memory_mib or None,
        "battery_percent": state.battery.percent,
        "battery_c": state.battery.celsius,
        "skin_c": state.thermal.hottest("skin"),
        "thermal_status": state.thermal.status,
        "profile": one.profile or None,
    }
