"""Runs a campaign and tells its story: `mnasnet bench` and `mnasnet bench --resume` end here."""

import contextlib
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import typer

from mnasnet_deploy.errors import InputError, MnasnetError, NotReadyError

from . import bench_view, console

if TYPE_CHECKING:
    from mnasnet_deploy.bench.device import Device
    from mnasnet_deploy.bench.devices import PhoneOptions
    from mnasnet_deploy.bench.fleet import Job, News
    from mnasnet_deploy.bench.keeper import Keeper
    from mnasnet_deploy.bench.plan import Plan

    from .bench_progress import Progress

__all__ = ["How", "Trouble", "give_up", "measure", "open_devices", "resume_command"]

DEFAULT_RESULTS = Path("results")
DEFAULT_MODELS = Path("models")
NOT_READY = NotReadyError.exit_code


@dataclass(frozen=True, slots=True, kw_only=True)
class How:
    """What the command line says about where things are and what is shown.

    Attributes:
        results, models: the folders.
        plan: say what would run, and stop.
        json: print one JSON object at the end and no lines before.
        require_valid: a noisy result is a failure too.
    """

    results: Path
    models: Path
    plan: bool
    json: bool
    require_valid: bool


@dataclass(slots=True, kw_only=True)
class Trouble:
    """What went wrong, told as it happens.

    Attributes:
        files, devices: errors by file and by device.
    """

    files: dict[str, MnasnetError] = field(default_factory=dict)
    devices: dict[str, MnasnetError] = field(default_factory=dict)

    def of_file(self, path: Path | str, error: MnasnetError, device: str = "") -> None:
        """A file gives no number, on a device or on any."""
        console.say(f"error: {f'{device}: ' * bool(device)}{error}")
        self.files[str(path)] = error

    def of_device(self, name: str, error: MnasnetError) -> None:
        """A device gives no numbers, or no more."""
        text = str(error)
        console.say(f"error: {text if text.startswith(name) else f'{name}: {text}'}")
        self.devices[name] = error


def open_devices(names: Sequence[str], options: "PhoneOptions", trouble: Trouble) -> "list[Device]":
    """The devices of these names, each once; one that is not ready does not stop the others."""
    from mnasnet_deploy.bench import devices

    found: dict[str, Device] = {}
    for name in names:
        try:
            for device in devices.open_devices([name], options):
                found.setdefault(device.key, device)
        except InputError:
            raise
        except MnasnetError as error:
            trouble.of_device(name, error)
    return list(found.values())


def measure(jobs: "Sequence[Job]", keeper: "Keeper", how: How, trouble: Trouble) -> None:
    """Run the jobs, show what they give, and end in the exit code they deserve."""
    from mnasnet_deploy.bench import fleet

    from .bench_progress import progress_of

    plans: dict[str, Plan] = {}
    # Whatever ends it: what is kept, and how to go on, is said.
    with _summary(keeper, how), contextlib.ExitStack() as stack:
        shown = stack.enter_context(progress_of(jobs, quiet=how.json))
        events = stack.enter_context(
            contextlib.closing(fleet.run(jobs, None if how.plan else keeper))
        )
        for job, news in events:
            if isinstance(news, fleet.Ready):
                plans[job.device.name] = news.plan
            _tell(job, news, jobs, how, trouble, shown)
            shown.hear(job, news)
    if how.plan:
        _show_plans(jobs, plans, keeper, how, trouble)
    elif how.json:
        console.emit_json(
            bench_view.results_mapping(
                keeper.kept,
                _texts(trouble.files),
                campaign=keeper.campaign.id,
                devices=_texts(trouble.devices),
                unfinished=len(keeper.unfinished()),
            )
        )
    _finish(keeper, any(plan.groups for plan in plans.values()), how, trouble)


def give_up(how: How, trouble: Trouble) -> NoReturn:
    """End where there is nothing to measure, or nothing to measure on."""
    if how.json:
        console.emit_json(
            bench_view.plan_mapping([], _texts(trouble.files), _texts(trouble.devices))
            if how.plan
            else bench_view.results_mapping(
                [], _texts(trouble.files), devices=_texts(trouble.devices)
            )
        )
    raise typer.Exit(_code(trouble, measured=False))


def resume_command(campaign: str, how: How) -> str:
    """What to type to go on."""
    words = ["mnasnet", "bench", "--resume", campaign]
    words += ["--results", str(how.results)] if how.results != DEFAULT_RESULTS else []
    words += ["--models", str(how.models)] if how.models != DEFAULT_MODELS else []
    return shlex.join(words)


def _tell(
    job: "Job",
    news: "News",
    jobs: "Sequence[Job]",
    how: How,
    trouble: Trouble,
    shown: "Progress",
) -> None:
    """Say what a person should know of one event; the progress is not told here."""
    from mnasnet_deploy.bench import campaign, fleet

    several = len(jobs) > 1
    name = job.device.name
    if isinstance(news, fleet.Said):
        console.say(f"{name}: {news.text}" if several else news.text)
    elif isinstance(news, campaign.Failure):
        trouble.of_file(news.cell.path, news.error, name if several else "")
    elif isinstance(news, fleet.Ready) and news.plan.groups and not how.plan:
        shown.pause()
        text = bench_view.plan_text(news.plan, job.info)
        console.say(text if not several else bench_view.short_plan(name, news.plan))
    elif isinstance(news, fleet.Finished) and not how.json:
        console.out(bench_view.record_line(news.record, bench_view.Shown.of(jobs), name))
        for reason in news.record.reasons:
            console.say(f"  {reason}")
    elif isinstance(news, fleet.Left) and news.error is not None:
        trouble.of_device(name, news.error)


@contextlib.contextmanager
def _summary(keeper: "Keeper", how: How) -> Iterator[None]:
    before = keeper.unfinished()
    try:
        yield
    except KeyboardInterrupt:
        console.say(f"interrupted: {_state(keeper, before, how)}")
        raise
    except MnasnetError:
        console.say(f"stopped: {_state(keeper, before, how)}")
        raise
    if keeper.kept:
        count = len(keeper.kept)
        console.say(
            f"{count} record{'s' * (count != 1)} added to {how.results}; see them with "
            "'mnasnet table'"
        )
    if not how.plan and (left := keeper.unfinished()):
        console.say(
            f"{len(left)} of {len(keeper.campaign.cells)} measurements are still to be made: "
            f"'{resume_command(keeper.campaign.id, how)}'"
        )


def _state(keeper: "Keeper", before: Sequence[int], how: How) -> str:
    """What is kept, and how to go on."""
    planned = len(before) or len(keeper.campaign.cells)
    text = f"{len(keeper.kept)} of {planned} measurements are finished and kept"
    if keeper.unfinished():
        text += f"; go on with '{resume_command(keeper.campaign.id, how)}'"
    return text


def _show_plans(
    jobs: "Sequence[Job]", plans: "dict[str, Plan]", keeper: "Keeper", how: How, trouble: Trouble
) -> None:
    ready = [(job, plans[job.device.name]) for job in jobs if job.device.name in plans]
    if how.json:
        console.emit_json(
            bench_view.plan_mapping(ready, _texts(trouble.files), _texts(trouble.devices))
        )
        return
    texts = [bench_view.plan_text(plan, job.info) for job, plan in ready if plan.groups]
    if texts:
        console.out("\n\n".join(texts))


def _finish(keeper: "Keeper", ran: bool, how: How, trouble: Trouble) -> None:
    """End in 0, or in the code that what went wrong deserves."""
    if code := _code(trouble, measured=ran):
        raise typer.Exit(code)
    verdicts = {record.verdict for record, _ in keeper.kept}
    if "invalid" in verdicts or (how.require_valid and verdicts - {"valid"}):
        raise typer.Exit(1)


def _code(trouble: Trouble, *, measured: bool) -> int:
    """The exit code of what went wrong; 0 for nothing.

    A device that is not ready says more about what to do next than a file that does not run.
    """
    devices = {error.exit_code for error in trouble.devices.values()}
    codes = devices | {error.exit_code for error in trouble.files.values()}
    if NOT_READY in devices:
        return NOT_READY
    if not codes:
        return 0
    return codes.pop() if len(codes) == 1 and not measured else 1


def _texts(errors: "dict[str, MnasnetError]") -> dict[str, str]:
    return {name: str(error) for name, error in errors.items()}
