"""Measure several files on one device: trial, plan, interleaved launches, records as they finish.

Files are measured in groups. A group runs in blocks; each block is one launch of every file, in an
order shuffled anew, so that a drift of the machine meets all files alike. The smallest file of the
group is its canary: it is not shuffled but stands at the start of every block, and in the last one
at its end, so it brackets all blocks. Its launches are its own measurement and, for every other
file of the group, the witness of a drift.
"""

import hashlib
import itertools
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path

from mnasnet_deploy import __version__
from mnasnet_deploy.bench.device import Device, Timing, Trial, launch_ms
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
from mnasnet_deploy.results import store
from mnasnet_deploy.results.record import Artifact, Conditions, DeviceInfo, Launch, Record, Settings

__all__ = ["Candidate", "Cell", "Failure", "Plan", "make_plan", "order", "run", "try_out"]

TOOL = f"mnasnet-deploy {__version__}"
MAX_GROUP = 10
"""Cells interleaved with each other: a record is finished after ten blocks of its group, which for
ten cells takes six minutes, and what an interruption loses stays below that."""
TAIL = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One measurement to make.

    Attributes:
        path: of the file.
        artifact: what the file was when the campaign started.
        settings: how to measure it.
    """

    path: Path
    artifact: Artifact
    settings: Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A cell whose file runs, and what its trial showed."""

    cell: Cell
    trial: Trial


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A cell that gave no record, and why."""

    cell: Cell
    error: MnasnetError


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is going to run.

    Attributes:
        groups: measured one after the other; the first of each is its canary.
        least_ms: how long it takes if no launch is added.
        most_ms: how long it takes if the stop rule goes to its limit everywhere.
    """

    groups: tuple[tuple[Candidate, ...], ...]
    least_ms: float
    most_ms: float

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """All of them, group by group."""
        return tuple(candidate for group in self.groups for candidate in group)


def try_out(device: Device, cells: Iterable[Cell]) -> Iterator[Candidate | Failure]:
    """Run every file once, shortly; one that does not run does not stop the others.

    Raises:
        NotReadyError: the device cannot run anything.
    """
    for cell in cells:
        try:
            yield Candidate(cell=cell, trial=device.trial(cell.path, cell.settings))
        except InputError as error:
            yield Failure(cell=cell, error=error)


def make_plan(candidates: Sequence[Candidate]) -> Plan:
    """Group what is to be measured and estimate the time; neighbours stay together."""
    parts = -(-len(candidates) // MAX_GROUP)
    ends = [len(candidates) * part // parts for part in range(parts + 1)] if parts else [0]
    groups = [candidates[start:end] for start, end in itertools.pairwise(ends)]
    costs = [(launch_ms(c.cell.settings, c.trial), c.cell.settings) for c in candidates]
    return Plan(
        groups=tuple(map(_canary_first, groups)),
        least_ms=sum(cost * settings.launches for cost, settings in costs),
        most_ms=sum(cost * settings.max_launches for cost, settings in costs),
    )


def _canary_first(group: Sequence[Candidate]) -> tuple[Candidate, ...]:
    canary = min(group, key=lambda c: (c.cell.artifact.size_bytes, c.cell.settings.threads))
    return (canary, *(candidate for candidate in group if candidate is not canary))


def order(cells: int, blocks: int, seed: int, first_block: int = 0) -> tuple[tuple[int, ...], ...]:
    """The order of launches: in each block every cell once.

    Args:
        cells: how many; 0 is the canary.
        blocks: how many to lay out.
        seed: the same seed gives the same order on every machine.
        first_block: number of the first of them within the campaign.

    Returns:
        For each block the cells in the order they run: the canary first, in the last block last,
        the others shuffled.
    """
    shuffler = random.Random(f"{seed}/{first_block}")
    laid_out = []
    for block in range(blocks):
        others = list(range(1, cells))
        shuffler.shuffle(others)
        last = block == blocks - 1 > 0
        laid_out.append((*others, 0) if last else (0, *others))
    return tuple(laid_out)


def run(
    device: Device,
    plan: Plan,
    *,
    on_launch: Callable[[], None],
    on_added: Callable[[int], None],
) -> Iterator[Record | Failure]:
    """Measure; give each record as it is finished.

    Args:
        device: where.
        plan: what, from `make_plan`.
        on_launch: called after every launch.
        on_added: called with the number of launches the stop rule adds.

    Raises:
        NotReadyError: the device cannot run anything any more.
    """
    info = device.info()
    campaign = _new_id()
    block = 0
    for group in plan.groups:
        measured = [_Measured(candidate=candidate) for candidate in group]
        canary = measured[0]
        before = device.conditions(canary.settings)
        while not canary.finished:
            slots = _next_slots(measured, block)
            if canary.launches:
                on_added(len(slots))
            for block, place, one in slots:
                _launch(device, one, block, place)
                on_launch()
            block += 1
            after = device.conditions(canary.settings)
            for one in _finish(measured):
                ended = replace(before, facts=one.candidate.trial.facts), _with_load(after, one)
                yield _record(one, canary, info, *ended, campaign)


@dataclass(slots=True, kw_only=True)
class _Measured:
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
    def settings(self) -> Settings:
        return self.candidate.cell.settings

    def missing(self) -> int:
        return missing_launches(self.launches, self.settings.launches, self.settings.max_launches)

    def can_go_on(self) -> bool:
        """Whether it may still run as a canary for the others."""
        return (
            not is_spoilt(self.launches, self.settings.launches)
            and len(counted(self.launches)) < self.settings.max_launches
        )


def _next_slots(measured: Sequence[_Measured], block: int) -> list[tuple[int, int, _Measured]]:
    """Block, place and cell of the launches to make before the stop rule looks again."""
    missing = [one.missing() for one in measured]
    canary = measured[0]
    slots = []
    seed = canary.settings.seed
    for number, line in enumerate(order(len(measured), max(missing), seed, block)):
        wanted = [
            measured[index]
            for index in line
            if number < missing[index] or (index == 0 and canary.can_go_on())
        ]
        slots += [(block + number, place, one) for place, one in enumerate(wanted)]
    return slots


def _launch(device: Device, one: _Measured, block: int, place: int) -> None:
    cell = one.candidate.cell
    timing = device.launch(cell.path, cell.settings, one.candidate.trial)
    median_ms, p95_ms = _middle_and_tail(timing)
    one.launches.append(
        Launch(
            block=block,
            position=place,
            init_ms=timing.init_ms,
            first_ms=timing.first_ms,
            samples_ms=timing.samples_ms,
            median_ms=median_ms,
            p95_ms=p95_ms,
            cpu_ms=timing.cpu_ms,
            discarded=timing.discarded,
            summary=timing.summary,
            facts=timing.facts,
            output=timing.output,
        )
    )
    if timing.others_load is not None and not timing.discarded:
        one.others_load.append(timing.others_load)


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


def _finish(measured: Sequence[_Measured]) -> list[_Measured]:
    """Mark and return the cells that need no more launches; the canary ends with the last."""
    canary, *others = measured
    done = [one for one in others if not one.finished and not one.missing()]
    for one in done:
        one.finished = True
    if all(one.finished for one in others) and not canary.missing():
        canary.finished = True
        done.insert(0, canary)
    return done


def _record(
    one: _Measured,
    canary: _Measured,
    info: DeviceInfo,
    before: Conditions,
    after: Conditions,
    campaign: str,
) -> Record | Failure:
    cell, trial = one.candidate.cell, one.candidate.trial
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
        delegated=trial.delegated,
        wrong_output=trial.wrong_output,
    )
    verdict, reasons = judge(evidence, cell.settings.launches)
    return Record(
        id=_new_id(),
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


def _with_load(after: Conditions, one: _Measured) -> Conditions:
    if not one.others_load:
        return after
    fact = (
        f"other processes used {median(one.others_load):.1%} of all CPUs during the launches "
        f"(median), {max(one.others_load):.1%} at most"
    )
    return replace(after, facts=(*after.facts, fact))


def _new_id() -> str:
    return store.new_id(datetime.now(timezone.utc))


def _sha256(path: Path) -> str:
    """Of the file as it is now; empty where it is gone."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""
