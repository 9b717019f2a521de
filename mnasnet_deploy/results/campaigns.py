"""Campaigns on disk: what a bench set out to measure, so that another one can go on with it.

    results/campaigns/20261124t035200123-9f86d081.json

The record of a campaign's cell has the id `<campaign>-<number of the cell>`, so whether a cell is
measured is whether that record is there, and no cell can be recorded twice.
"""

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from mnasnet_deploy.errors import InputError
from mnasnet_deploy.results.codec import parse_json
from mnasnet_deploy.results.record import Artifact, DeviceInfo, Record, Settings
from mnasnet_deploy.results.store import Problem, read_limited, read_record, record_path
from mnasnet_deploy.typed_mapping import from_mapping, shorten

__all__ = [
    "SCHEMA",
    "Campaign",
    "CampaignCell",
    "CampaignDevice",
    "LoadedCampaigns",
    "campaign_folder",
    "cells_on",
    "device_hash",
    "load",
    "missing",
    "read_measured",
    "record_id",
    "refuse",
    "write",
]

SCHEMA: Final = "mnasnet.campaign/1"
MAX_BYTES: Final = 64 * 1024 * 1024
_ID = re.compile(r"[0-9a-z]{1,32}-[0-9a-f]{8}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignDevice:
    """A device of a campaign.

    Attributes:
        key_sha256: what it is recognised by, from `device_hash`; no serial can be read from it.
        info: what it was when the campaign started.
        groups: numbers of its cells in the order they are measured; see `bench.plan`.
    """

    key_sha256: str
    info: DeviceInfo
    groups: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignCell:
    """One measurement of a campaign.

    Attributes:
        device: place of its device, from 0.
        artifact: the file.
        settings: how it is measured.
        refused: why the device does not run the file, where it was tried and does not.
    """

    device: int
    artifact: Artifact
    settings: Settings
    refused: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Campaign:
    """What a bench set out to measure.

    Attributes:
        id: from `store.new_id`; records carry it.
        time: UTC start, ISO 8601.
        tool: `mnasnet-deploy 0.1.0`.
        seed: of the order of launches within the groups.
        devices: on which.
        cells: each by its number, from 0.
        external_sha256: of the shared object of the external delegate; empty for none.
        schema: the format.
    """

    id: str
    time: str
    tool: str
    seed: int
    devices: tuple[CampaignDevice, ...]
    cells: tuple[CampaignCell, ...]
    external_sha256: str = ""
    schema: str = SCHEMA


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedCampaigns:
    """What a results folder holds.

    Attributes:
        campaigns: whole ones, oldest first.
        problems: files that are none, by name.
    """

    campaigns: tuple[Campaign, ...] = ()
    problems: tuple[Problem, ...] = ()


def campaign_folder(folder: Path) -> Path:
    """Where the campaigns of a results folder are."""
    return folder / "campaigns"


def record_id(campaign: str, number: int) -> str:
    """Id of the record of a cell: `20261124t035200123-9f86d081-0007`."""
    return f"{campaign}-{number:04d}"


def device_hash(campaign: str, key: str) -> str:
    """What a device is recognised by, from its key (a serial number), salted by the campaign."""
    import hashlib

    return hashlib.sha256(f"{campaign}/{key}".encode()).hexdigest()


def cells_on(campaign: Campaign, device: int) -> tuple[int, ...]:
    """Numbers of the cells of one device."""
    return tuple(n for n, cell in enumerate(campaign.cells) if cell.device == device)


def missing(campaign: Campaign, folder: Path) -> tuple[int, ...]:
    """Numbers of the cells that are still to be measured; none for a finished campaign."""
    return tuple(
        number
        for number, cell in enumerate(campaign.cells)
        if not cell.refused and not record_path(folder, record_id(campaign.id, number)).exists()
    )


def read_measured(campaign: Campaign, folder: Path) -> tuple[dict[int, Record], dict[int, Problem]]:
    """The records of a campaign by number of the cell, and what stands there and is no record."""
    records, problems = {}, {}
    for number in range(len(campaign.cells)):
        path = record_path(folder, record_id(campaign.id, number))
        if path.exists() or path.is_symlink():
            found = read_record(path)
            if isinstance(found, Problem):
                problems[number] = found
            elif isinstance(found, Record):
                records[number] = found
            else:
                problems[number] = Problem(path=path, reason="it is no record of a time")
    return records, problems


def refuse(campaign: Campaign, reasons: Mapping[int, str]) -> Campaign:
    """The campaign, knowing of cells (by number) that their device does not run the file."""
    cells = [
        replace(cell, refused=reasons[number]) if number in reasons else cell
        for number, cell in enumerate(campaign.cells)
    ]
    return replace(campaign, cells=tuple(cells))


def write(campaign: Campaign, folder: Path) -> Path:
    """Put a campaign into a results folder, in place of what stood there under its id.

    Returns:
        The file.

    Raises:
        NotReadyError: the folder cannot be written, or the disk is full.
    """
    from mnasnet_deploy import atomic  # readers of results need no OpenSSL

    path = campaign_folder(folder) / f"{campaign.id}.json"
    atomic.write_text(path, _encode(campaign))
    return path


def load(folder: Path) -> LoadedCampaigns:
    """Read every campaign of a results folder; what is none becomes a problem."""
    inside = campaign_folder(folder)
    try:
        paths = sorted(inside.iterdir())
    except FileNotFoundError:
        return LoadedCampaigns()
    except OSError as error:
        problem = Problem(path=inside, reason=error.strerror or str(error))
        return LoadedCampaigns(problems=(problem,))
    campaigns, problems = [], []
    for path in paths:
        if path.suffix != ".json" or path.name.startswith("."):
            continue
        try:
            campaign = _decode(read_limited(path, MAX_BYTES))
            if campaign.id != path.stem:
                raise InputError(f"it is the campaign {campaign.id} under another name")
        except InputError as error:
            problems.append(Problem(path=path, reason=str(error)))
        else:
            campaigns.append(campaign)
    return LoadedCampaigns(campaigns=tuple(campaigns), problems=tuple(problems))


def _encode(campaign: Campaign) -> str:
    """One cell a line, so that a person can read it."""
    parts = []
    for key, value in asdict(campaign).items():
        if key in ("cells", "devices"):
            lines = ",\n".join(f"    {json.dumps(one, allow_nan=False)}" for one in value)
            parts.append(f'  "{key}": [\n{lines}\n  ]')
        else:
            parts.append(f'  "{key}": {json.dumps(value, allow_nan=False)}')
    return "{\n" + ",\n".join(parts) + "\n}\n"


def _decode(content: bytes) -> Campaign:
    """Read the content of a campaign's file.

    Raises:
        InputError: not JSON, not this format, or numbers that cannot belong together.
    """
    mapping: Any = parse_json(content)
    schema = mapping.get("schema") if isinstance(mapping, Mapping) else None
    if schema != SCHEMA:
        raise InputError(
            f"format {shorten(schema)} is not {SCHEMA!r} (written by another version?)"
        )
    campaign = from_mapping(Campaign, mapping, "campaign")
    if not _ID.fullmatch(campaign.id):
        raise InputError(f"campaign.id is {shorten(campaign.id)}, not an id")
    names = [device.info.name for device in campaign.devices]
    names += [cell.artifact.file for cell in campaign.cells]
    if not all(name.isprintable() for name in names):  # they are shown as they are
        raise InputError("a name in it has control characters")
    for device in campaign.devices:
        if not _SHA256.fullmatch(device.key_sha256):
            raise InputError("campaign.devices.key_sha256 is not 64 hexadecimal digits")
    for cell in campaign.cells:
        if not _SHA256.fullmatch(cell.artifact.sha256):
            raise InputError("campaign.cells.artifact.sha256 is not 64 hexadecimal digits")
    _check_places(campaign.devices, campaign.cells)
    return campaign


def _check_places(devices: Sequence[CampaignDevice], cells: Collection[CampaignCell]) -> None:
    """Raise where the groups of the devices are not exactly the cells."""
    placed = {n: at for at, device in enumerate(devices) for group in device.groups for n in group}
    if placed != {number: cell.device for number, cell in enumerate(cells)}:
        raise InputError("campaign.devices.groups do not hold each cell at its device")
