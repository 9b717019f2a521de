"""Runs a campaign and tells its story: `mnasnet bench` and `mnasnet bench --resume` end here."""

import contextlib
import shlex
from collections.abc import Iterable, Iterator, Sequence
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
    from mnasnet_deploy.results.record import Record

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
        again: options that have to be given again with `--resume`.
    """

    results: Path
    models: Path
    plan: bool
    json: bool
    require_valid: bool
    again: tuple[str, ...] = ()


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
            for device in devices.open_devices([name], options, console.say):
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
    story = _Story(jobs=jobs, keeper=keeper, how=how, trouble=trouble)
    # Whatever ends it: what is kept, and how to go on, is said.
    with story.to_the_end(), contextlib.ExitStack() as stack:
        shown = stack.enter_context(progress_of(jobs, quiet=how.json))
        events = stack.enter_context(
            contextlib.closing(fleet.run(jobs, None if how.plan else keeper, story.tell))
        )
        for job, news in events:
            if isinstance(news, fleet.Ready):
                plans[job.device.name] = news.plan
                shown.pause()
            story.tell(job, news)
            shown.hear(job, news)
    if how.plan:
        _show_plans(jobs, plans, how, trouble)
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


def resume_command(campaign: str, files: Iterable[Path], how: How) -> str:
    """What to type to go on with a campaign of these files."""
    paths = dict.fromkeys(files)
    folders = {path.parent for path in paths}
    one = next(iter(folders)) if len(folders) == 1 else how.models
    words = ["mnasnet", "bench"]
    words += [str(path) for path in paths] if len(folders) > 1 else []
    words += ["--resume", campaign]
    return shlex.join([*words, *_places(how.results, one), *how.again])


def _places(results: Path, models: Path) -> list[str]:
    """The options that say where things are, where that is not the usual place."""
    words = ["--results", str(results)] if results != DEFAULT_RESULTS else []
    return words + (["--models", str(models)] if models != DEFAULT_MODELS else [])


@dataclass(slots=True, kw_only=True)
class _Story:
    """Tells what a person should know of a campaign; how far it is, the progress shows."""

    jobs: "Sequence[Job]"
    keeper: "Keeper"
    how: How
    trouble: Trouble
    _told: set[str] = field(default_factory=set)

    def tell(self, job: "Job", news: "News") -> None:
        """Take one event in."""
        from mnasnet_deploy.bench import campaign, fleet

        several, name = len(self.jobs) > 1, job.device.name
        if isinstance(news, fleet.Said):
            named = news.text.startswith(name)
            console.say(f"{name}: {news.text}" if several and not named else news.text)
        elif isinstance(news, campaign.Failure):
            self.trouble.of_file(news.cell.path, news.error, name if several else "")
        elif isinstance(news, fleet.Ready) and news.plan.groups and not self.how.plan:
            console.say(
                bench_view.short_plan(name, news.plan)
                if several
                else bench_view.plan_text(news.plan, job.info)
            )
        elif isinstance(news, fleet.Finished):
            self._show(news.record)
        elif isinstance(news, fleet.Left) and news.error is not None:
            self.trouble.of_device(name, news.error)

    @contextlib.contextmanager
    def to_the_end(self) -> Iterator[None]:
        """Say what is kept and how to go on, however it ends."""
        planned = len(self.keeper.unfinished()) or len(self.keeper.campaign.cells)
        try:
            yield
        except (KeyboardInterrupt, MnasnetError) as end:
            # Records may be on disk of which no event was heard any more.
            for record, _ in self.keeper.kept:
                self._show(record)
            how = "interrupted" if isinstance(end, KeyboardInterrupt) else "stopped"
            text = f"{len(self.keeper.kept)} of {planned} measurements are finished and kept"
            if self.keeper.unfinished():
                text += f"; go on with '{self._resume()}'"
            console.say(f"{how}: {text}")
            raise
        if count := len(self.keeper.kept):
            console.say(
                f"{count} record{'s' * (count != 1)} added to {self.how.results}; see them with "
                f"'{shlex.join(['mnasnet', 'table', *_places(self.how.results, self.how.models)])}'"
            )
        if not self.how.plan and (left := self.keeper.unfinished()):
            console.say(
                f"{len(left)} of {len(self.keeper.campaign.cells)} measurements are still to be "
                f"made: '{self._resume()}'"
            )

    def _resume(self) -> str:
        files = [cell.path for job in self.jobs for cell in job.cells]
        return resume_command(self.keeper.campaign.id, files, self.how)

    def _show(self, record: "Record") -> None:
        if self.how.json or record.id in self._told:
            return
        self._told.add(record.id)
        number = int(record.id.rpartition("-")[2])
        job = next(job for job in self.jobs for cell in job.cells if cell.number == number)
        console.out(bench_view.record_line(record, bench_view.Shown.of(self.jobs), job.device.name))
        for reason in record.reasons:
            console.say(f"  {reason}")


def _show_plans(
    jobs: "Sequence[Job]", plans: "dict[str, Plan]", how: How, trouble: Trouble
) -> None:
    ready = [(job, plans[job.device.name]) for job in jobs if job.device.name in plans]
    if how.json:
        console.emit_json(
            bench_view.plan_mapping(ready, _texts(trouble.files), _texts(trouble.devices))
        )
        return
    texts = [
        f"{job.device.name}: " * (len(jobs) > 1) + bench_view.plan_text(plan, job.info)
        for job, plan in ready
        if plan.groups
    ]
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
