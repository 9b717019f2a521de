"""`mnasnet bench --resume`: exactly what a campaign lacks."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mnasnet_deploy.errors import InputError, MnasnetError

from . import bench_run, bench_view, console

if TYPE_CHECKING:
    from mnasnet_deploy.bench.devices import PhoneOptions
    from mnasnet_deploy.bench.fleet import Job
    from mnasnet_deploy.results.campaigns import Campaign

__all__ = ["resume_campaign"]

ANY_PHONE = "adb:all"


def resume_campaign(
    wanted: str,
    files: Sequence[Path],
    names: Sequence[str],
    options: "PhoneOptions",
    how: bench_run.How,
) -> None:
    """Go on with a campaign.

    Args:
        wanted: its id or the start of it; empty for the newest unfinished.
        files: where models may be, beside the models folder.
        names: of devices; empty for this machine and every phone attached, as the plan needs.
        options: how they are reached.
        how: what is shown, and where things are.

    Raises:
        InputError: there is no such campaign, or another process runs it.
        NotReadyError: the results folder cannot be written.
    """
    from mnasnet_deploy.bench import start
    from mnasnet_deploy.bench.keeper import Keeper
    from mnasnet_deploy.results import campaigns

    loaded = campaigns.load(how.results)
    for problem in loaded.problems:
        console.warn(str(problem))
    campaign = start.choose(loaded.campaigns, how.results, wanted)
    with Keeper(campaign=campaign, folder=how.results) as keeper:
        keeper.hold()
        _require_same_delegate(campaign, options)
        todo = keeper.unfinished()
        measured, _ = campaigns.read_measured(campaign, how.results)
        if not todo:
            _put_back(campaign, (), names, options, how)
            _say_finished(campaign, len(measured), how)
            return
        console.say(
            f"campaign {campaign.id}: {len(todo)} of {len(campaign.cells)} measurements are still "
            "to be made"
        )
        trouble = bench_run.Trouble()
        models = start.find_models(
            [campaign.cells[number].artifact for number in todo],
            [*files, *sorted(how.models.glob("*.tflite"))],
        )
        devices = bench_run.open_devices(names or _needed(campaign, todo), options, trouble)
        rest = start.go_on(campaign, how.results, models, devices, console.warn)
        for name, error in rest.by_file.items():
            trouble.of_file(name, error)
        for name, error in rest.by_device.items():
            trouble.of_device(name, error)
        _put_back(campaign, rest.jobs, names, options, how)
        if not rest.jobs:
            bench_run.give_up(how, trouble)
        bench_run.measure(rest.jobs, keeper, how, trouble)


def _needed(campaign: "Campaign", todo: Sequence[int]) -> list[str]:
    """Names that lead to the devices of the cells; a plan holds no serial."""
    places = {campaign.cells[number].device for number in todo}
    kinds = {campaign.devices[place].info.kind for place in places}
    return ["host"] * ("host" in kinds) + [ANY_PHONE] * bool(kinds - {"host"})


def _put_back(
    campaign: "Campaign",
    jobs: "Sequence[Job]",
    names: Sequence[str],
    options: "PhoneOptions",
    how: bench_run.How,
) -> None:
    """Look after phones that have nothing left to measure: a killed run may have changed them."""
    from mnasnet_deploy.bench import devices
    from mnasnet_deploy.results.campaigns import device_hash

    measuring = {device_hash(campaign.id, job.device.key) for job in jobs}
    done = {one.key_sha256 for one in campaign.devices if one.info.kind != "host"} - measuring
    if how.plan or not done:
        return
    try:
        for device in devices.open_devices(names or [ANY_PHONE], options, _silent):
            if device_hash(campaign.id, device.key) in done:
                device.put_back(console.say)
    except MnasnetError as error:
        console.warn(f"not looked at whether its other phones are as they were: {error}")


def _silent(_: str) -> None:
    """Of phones that are not ready nothing is said: they have nothing to measure."""


def _require_same_delegate(campaign: "Campaign", options: "PhoneOptions") -> None:
    from mnasnet_deploy.bench.start import sha256_of

    path = options.external_delegate
    given = sha256_of(path) if path is not None else ""
    if given == campaign.external_sha256:
        return
    if path is None:
        raise InputError(
            "this campaign has an external delegate: name it, --external-delegate FILE"
        )
    raise InputError(f"--external-delegate {path} is not the file the campaign started with")


def _say_finished(campaign: "Campaign", records: int, how: bench_run.How) -> None:
    refused = sum(1 for cell in campaign.cells if cell.refused)
    text = f"campaign {campaign.id} is finished ({records} record{'s' * (records != 1)}"
    if refused:
        text += f", {refused} refused by their device"
    console.say(f"{text}): nothing to resume")
    if how.json:
        console.emit_json(bench_view.results_mapping([], {}, campaign=campaign.id))
