"""Measure several files on one device: trial, interleaved launches, records as they finish.

Everything that happens is an event; who listens keeps the records and draws the progress.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from mnasnet_deploy import __version__
from mnasnet_deploy.bench.device import Device, Timing
from mnasnet_deploy.bench.plan import Candidate, Cell, Plan, order
from mnasnet_deploy.bench.statistics import median, quantile
from mnasnet_deploy.bench.verdict import (
    Evidence,
    counted,
    estimate,
    is_spoilt,
    judge,
    missing_launches,
)
from mnasnet_deploy.errors import InputError, MnasnetError, ModelFileError
from mnasnet_deploy.results.campaigns import record_id
from mnasnet_deploy.results.record import Conditions, DeviceInfo, Launch, Record, Settings

__all__ = [
    "TOOL",
    "Added",
    "Event",
    "Failure",
    "Launched",
    "Launching",
    "Measured",
    "Trying",
    "run",
    "to_launch",
    "try_out",
]

TOOL = f"mnasnet-deploy {__version__}"
TAIL = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Trying:
    """A file is run for the first time now."""

    cell: Cell


@dataclass(frozen=True, slots=True, kw_only=True)
class Launching:
    """A launch begins."""

    cell: Cell


@dataclass(frozen=True, slots=True, kw_only=True)
class Launched:
    """A launch has ended."""

    candidate: Candidate


@dataclass(frozen=True, slots=True, kw_only=True)
class Added:
    """The stop rule adds launches.

    Attributes:
        launches: how many.
        ms: how long they take.
    """

    launches: int
    ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A cell is finished."""

    cell: Cell
    record: Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A cell that gives no record, and why.

    Attributes:
        cell: which.
        error: what to tell.
        refused: the device does not run the file at all, so that trying again gives nothing.
    """

    cell: Cell
    error: MnasnetError
    refused: bool = False


Event = Trying | Candidate | Launching | Launched | Added | Measured | Failure


def try_out(device: Device, cells: Iterable[Cell]) -> Iterator[Trying | Candidate | Failure]:
    """Run every file once, shortly; one that does not run does not stop the others.

    Raises:
        NotReadyError: the device cannot run anything.
        StoppedError: it was told to stop.
    """
    for cell in cells:
        yield Trying(cell=cell)
        try:
            yield Candidate(cell=cell, trial=device.trial(cell.path, cell.settings))
        except InputError as error:
            yield Failure(cell=cell, error=error, refused=True)


def run(
    device: Device, plan: Plan, *, campaign: str, info: DeviceInfo, first_block: int = 0
) -> Iterator[Event]:
    """Measure; give each record as it is finished.

    Args:
        device: where.
        plan: what, from `make_plan`.
        campaign: id the records belong to.
        info: of the device.
        first_block: above all blocks that the campaign has on the device already.

    Raises:
        NotReadyError: the device cannot run anything any more.
        StoppedError: it was told to stop.
    """
    block = first_block
    for group in plan.groups:
        cells = [_InWork(candidate=candidate) for candidate in group]
        canary = cells[0]
        before = device.conditions(canary.settings)
        while not canary.finished:
            slots = _next_slots(cells, block)
            if canary.launches:
                yield Added(
                    launches=len(slots), ms=sum(one.candidate.launch_ms for *_, one in slots)
                )
            for block, place, one in slots:
                yield Launching(cell=one.cell)
                _launch(device, one, block, place)
                yield Launched(candidate=one.candidate)
            block += 1
            after = device.conditions(canary.settings)
            for one in _finish(cells):
                ended = replace(before, facts=one.candidate.trial.facts), _with_load(after, one)
                yield _record(one, canary, info, *ended, campaign)


@dataclass(slots=True, kw_only=True)
class _InWork:
    """A cell while it is measured.

    Attributes:
        candidate: what it is.
        launches: so far, discarded ones too.
        others_load: of the launches that count, where known.
        finished: its record is given out.
    """

    candidate: Candidate
    launches: list[Launch] = field(default_factory=list)
    others_load: list[float] = field(default_factory=list)
    finished: bool = False

    @property
    def cell(self) -> Cell:
        return self.candidate.cell

    @property
    def settings(self) -> Settings:
        return self.cell.settings

    def missing(self) -> int:
        return missing_launches(self.launches, self.settings.launches, self.settings.max_launches)

    def can_go_on(self) -> bool:
        """Whether it may still run as a canary for the others."""
        return (
            not is_spoilt(self.launches, self.settings.launches)
            and len(counted(self.launches)) < self.settings.max_launches
        )


def _next_slots(cells: Sequence[_InWork], block: int) -> list[tuple[int, int, _InWork]]:
    """Block, place and cell of the launches to make before the stop rule looks again."""
    missing = [one.missing() for one in cells]
    canary = cells[0]
    slots = []
    seed = canary.settings.seed
    for number, line in enumerate(order(len(cells), max(missing), seed, block)):
        wanted = [
            cells[index]
            for index in line
            if number < missing[index] or (index == 0 and canary.can_go_on())
        ]
        slots += [(block + number, place, one) for place, one in enumerate(wanted)]
    return slots


def _launch(device: Device, one: _InWork, block: int, place: int) -> None:
    timing = device.launch(one.cell.path, one.settings, one.candidate.trial)
    launch = to_launch(timing, block=block, position=place)
    one.launches.append(launch)
    if timing.others_load is not None and not launch.discarded:
        one.others_load.append(timing.others_load)


def to_launch(timing: Timing, *, block: int, position: int) -> Launch:
    """What a launch gave, at its place in the campaign."""
    median_ms, p95_ms = _middle_and_tail(timing)
    discarded = timing.discarded
    if not discarded and median_ms <= 0:
        discarded = "NO-TIME (it says its runs took no time)"
    return Launch(
        block=block,
        position=position,
        init_ms=timing.init_ms,
        first_ms=timing.first_ms,
        samples_ms=timing.samples_ms,
        median_ms=median_ms,
        p95_ms=p95_ms,
        cpu_ms=timing.cpu_ms,
        discarded=discarded,
        summary=timing.summary,
        facts=timing.facts,
        output=timing.output,
    )


def _middle_and_tail(timing: Timing) -> tuple[float, float]:
    """Median and 95th percentile of the measured runs in ms; 0 where there are none."""
    samples, summary = timing.samples_ms, timing.summary
    if samples:
        return median(samples), quantile(samples, TAIL)
    if summary is None:
        return 0.0, 0.0
    # Programs before TensorFlow 2.19 print neither; mean and longest are what comes nearest.
    middle = summary.mean_ms if summary.median_ms is None else summary.median_ms
    return middle, summary.max_ms if summary.p95_ms is None else summary.p95_ms


def _finish(cells: Sequence[_InWork]) -> list[_InWork]:
    """Mark and return the cells that need no more launches; the canary ends with the last."""
    canary, *others = cells
    done = [one for one in others if not one.finished and not one.missing()]
    for one in done:
        one.finished = True
    if all(one.finished for one in others) and not canary.missing():
        canary.finished = True
        done.insert(0, canary)
    return done


def _record(
    one: _InWork,
    canary: _InWork,
    info: DeviceInfo,
    before: Conditions,
    after: Conditions,
    campaign: str,
) -> Measured | Failure:
    cell, trial = one.cell, one.candidate.trial
    if _sha256(cell.path) != cell.artifact.sha256:
        return Failure(
            cell=cell,
            error=ModelFileError(
                f"{cell.path.name} changed while it was measured; measure it again"
            ),
        )
    evidence = Evidence(
        launches=one.launches,
        before=before,
        after=after,
        canary_ms=[launch.median_ms for launch in counted(canary.launches)],
        canary=canary.candidate.cell.artifact.file,
        others_load=one.others_load,
        delegate=cell.settings.delegate,
        delegated=trial.delegated,
        partial=trial.partial,
        wrong_output=trial.wrong_output,
    )
    verdict, reasons = judge(evidence, cell.settings.launches)
    record = Record(
        id=record_id(campaign, cell.number),
        time=after.time,
        tool=TOOL,
        campaign=campaign,
        artifact=cell.artifact,
        device=info,
        settings=cell.settings,
        before=before,
        after=after,
        launches=tuple(one.launches),
        estimate=estimate(one.launches),
        peak_memory_mib=trial.peak_memory_mib,
        verdict=verdict,
        reasons=reasons,
        operators=trial.operators,
        command=trial.command,
    )
    return Measured(cell=cell, record=record)


def _with_load(after: Conditions, one: _InWork) -> Conditions:
    if not one.others_load:
        return after
    fact = (
        f"other processes used {median(one.others_load):.1%} of all CPUs during the launches "
        f"(median), {max(one.others_load):.1%} at most"
    )
    return replace(after, facts=(*after.facts, fact))


def _sha256(path: Path) -> str:
    """Of the file as it is now; empty where it is gone."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""
