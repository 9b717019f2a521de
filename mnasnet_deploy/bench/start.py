"""How a campaign starts, and how it goes on: from files and devices to jobs."""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

from mnasnet_deploy.bench.campaign import TOOL
from mnasnet_deploy.bench.device import Device
from mnasnet_deploy.bench.fleet import Job
from mnasnet_deploy.bench.plan import Cell, arrange
from mnasnet_deploy.errors import InputError, MnasnetError, ModelFileError, NotReadyError
from mnasnet_deploy.results import campaigns, store
from mnasnet_deploy.results.campaigns import Campaign, CampaignCell, CampaignDevice
from mnasnet_deploy.results.record import Artifact, DeviceInfo, Settings

__all__ = ["Ask", "Remaining", "ask", "choose", "find_models", "go_on", "sha256_of", "start"]

_SAME = {"kind": "is", "name": "is", "build": "has the system", "runtime": "runs models with",
         "runtime_sha256": "runs them with the program"}  # fmt: skip
"""What makes two numbers of one device numbers of two devices, and how to say it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A device that answered, with what it is going to measure.

    Attributes:
        device: which.
        info: what it is.
        settings: as it measures them.
    """

    device: Device
    info: DeviceInfo
    settings: tuple[Settings, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Remaining:
    """What is left of a campaign.

    Attributes:
        campaign: which.
        jobs: what can be measured now.
        by_file: why a file's measurements cannot be made now.
        by_device: the same of devices.
    """

    campaign: Campaign
    jobs: tuple[Job, ...]
    by_file: Mapping[str, MnasnetError]
    by_device: Mapping[str, MnasnetError]


def ask(device: Device, settings: Iterable[Settings]) -> Ask:
    """Ask a device what it is, and for its way of measuring.

    Raises:
        InputError: it cannot measure so.
        NotReadyError: it cannot be asked.
    """
    info = device.info()
    settled = tuple(dict.fromkeys(device.settle(one) for one in settings))
    return Ask(device=device, info=info, settings=settled)


def start(
    files: Sequence[tuple[Path, Artifact]], asked: Sequence[Ask], *, seed: int, external: str = ""
) -> tuple[Campaign, tuple[Job, ...]]:
    """A new campaign: every file on every device with all its settings.

    Args:
        files: with what they are.
        asked: at least one device.
        seed: of the order of launches.
        external: sha256 of the shared object of the external delegate.
    """
    now = datetime.now(timezone.utc)
    identity = store.new_id(now)
    cells: list[CampaignCell] = []
    devices: list[CampaignDevice] = []
    jobs: list[Job] = []
    for place, one in enumerate(asked):
        own = []
        for path, artifact in files:
            for settings in one.settings:
                own.append(Cell(number=len(cells), path=path, artifact=artifact, settings=settings))
                cells.append(CampaignCell(device=place, artifact=artifact, settings=settings))
        groups = arrange(own)
        jobs.append(Job(device=one.device, info=one.info, groups=groups))
        devices.append(
            CampaignDevice(
                key_sha256=campaigns.device_hash(identity, one.device.key),
                info=one.info,
                groups=tuple(tuple(cell.number for cell in group) for group in groups),
            )
        )
    campaign = Campaign(
        id=identity,
        time=now.isoformat(timespec="milliseconds"),
        tool=TOOL,
        seed=seed,
        devices=tuple(devices),
        cells=tuple(cells),
        external_sha256=external,
    )
    return campaign, tuple(jobs)


def choose(found: Sequence[Campaign], folder: Path, wanted: str) -> Campaign:
    """The campaign to go on with.

    Args:
        found: of the results folder, oldest first.
        folder: the results folder.
        wanted: an id or the start of one; empty for the newest that is unfinished, or where all
            are finished for the newest.

    Raises:
        InputError: there is none, or the start fits several.
    """
    if not found:
        raise InputError(f"no campaign in {folder} to go on with: 'mnasnet bench' starts one")
    if not wanted:
        unfinished = [one for one in found if campaigns.missing(one, folder)]
        return (unfinished or found)[-1]
    fits = [one for one in found if one.id.startswith(wanted)]
    if len(fits) != 1:
        many = f"{len(fits)} campaigns start so" if fits else "no such campaign"
        raise InputError(
            f"--resume {wanted}: {many} in {folder} (the newest is {found[-1].id}; name files "
            "before --resume)"
        )
    return fits[0]


def find_models(artifacts: Iterable[Artifact], paths: Iterable[Path]) -> dict[str, Path]:
    """Where the bytes of a campaign's files are now, by their sha256.

    Args:
        artifacts: wanted.
        paths: files to look at; what cannot be read or has another size is passed over.
    """
    wanted = {artifact.sha256 for artifact in artifacts}
    sizes = {artifact.size_bytes for artifact in artifacts}
    found: dict[str, Path] = {}
    for path in paths:
        try:
            if path.is_file() and path.stat().st_size in sizes:
                sha256 = sha256_of(path)
                if sha256 in wanted:
                    found.setdefault(sha256, path)
        except OSError:
            continue
    return found


def sha256_of(path: Path) -> str:
    """Of a file's bytes; errors as of `open`."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def go_on(
    campaign: Campaign,
    folder: Path,
    models: Mapping[str, Path],
    devices: Sequence[Device],
    say_problem: Callable[[str], None],
) -> Remaining:
    """Exactly the cells of a campaign that have no record, as far as they can be measured now.

    Args:
        campaign: which; held by the caller.
        folder: the results folder.
        models: from `find_models`.
        devices: those at hand.
        say_problem: told of files that stand under a record's name and are none.
    """
    todo = set(campaigns.missing(campaign, folder))
    measured, problems = campaigns.read_measured(campaign, folder)
    for problem in problems.values():
        say_problem(f"{problem}; move it away and its measurement is made with the next --resume")
    by_file: dict[str, MnasnetError] = {}
    by_device: dict[str, MnasnetError] = {}
    jobs = []
    at_hand = {campaigns.device_hash(campaign.id, device.key): device for device in devices}
    for place, planned in enumerate(campaign.devices):
        own = [number for number in campaigns.cells_on(campaign, place) if number in todo]
        cells = {}
        for number in own:
            cell = campaign.cells[number]
            path = models.get(cell.artifact.sha256)
            if path is None:
                by_file[cell.artifact.file] = _gone(cell.artifact)
                continue
            cells[number] = Cell(
                number=number, path=path, artifact=cell.artifact, settings=cell.settings
            )
        if not cells:
            continue
        try:
            device = _at_hand(at_hand.get(planned.key_sha256), planned)
            info = _unchanged(device, planned.info)
        except MnasnetError as error:
            # Two phones of one model are two lines.
            again = f" ({place + 1})" * (planned.info.name in by_device)
            by_device[f"{planned.info.name}{again}"] = error
            continue
        groups = [[cells[n] for n in group if n in cells] for group in planned.groups]
        blocks = [
            launch.block
            for number in campaigns.cells_on(campaign, place)
            if number in measured
            for launch in measured[number].launches
        ]
        jobs.append(
            Job(
                device=device,
                info=info,
                groups=tuple(tuple(group) for group in groups if group),
                first_block=max(blocks, default=-1) + 1,
            )
        )
    return Remaining(campaign=campaign, jobs=tuple(jobs), by_file=by_file, by_device=by_device)


def _gone(artifact: Artifact) -> ModelFileError:
    return ModelFileError(
        f"{artifact.file} changed since the campaign started, or is gone (sha256 "
        f"{artifact.sha256[:16]}): put it back and resume again, or start a new campaign"
    )


def _at_hand(device: Device | None, planned: CampaignDevice) -> Device:
    if device is None:
        raise NotReadyError(
            f"{planned.info.name} of the campaign is not attached: attach it, or name it with "
            "--device, and resume again"
        )
    return device


def _unchanged(device: Device, planned: DeviceInfo) -> DeviceInfo:
    """What the device is now, if its numbers still belong with those of the campaign.

    Raises:
        InputError: they do not.
        NotReadyError: it cannot be asked.
    """
    now = device.info()
    for name, words in _SAME.items():
        was, found = getattr(planned, name), getattr(now, name)
        if was != found:
            raise InputError(
                f"{device.name} {words} {found or 'nothing'} now, the campaign had {was or 'none'}:"
                " set it up as it was, or start a new campaign"
            )
    return replace(planned, memory_mib=now.memory_mib)
