"""What is measured in which order, and how long that takes.

Files are measured in groups. A group runs in blocks; each block is one launch of every file, in an
order shuffled anew, so that a drift of the machine meets all files alike. The smallest file of the
group is its canary: it is not shuffled but stands at the start of every block, and in the last one
at its end, so it brackets all blocks. Its launches are its own measurement and, for every other
file of the group, the witness of a drift.
"""

import itertools
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mnasnet_deploy.bench.device import Trial, launch_ms
from mnasnet_deploy.results.record import Artifact, Settings

__all__ = ["Candidate", "Cell", "Plan", "arrange", "make_plan", "order"]

MAX_GROUP = 10
"""Cells interleaved with each other: a record is finished after ten blocks of its group, which for
ten cells takes six minutes, and what an interruption loses stays below that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One measurement to make.

    Attributes:
        number: within its campaign.
        path: of the file.
        artifact: what the file was when the campaign started.
        settings: how to measure it.
    """

    number: int
    path: Path
    artifact: Artifact
    settings: Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A cell whose file runs, and what its trial showed."""

    cell: Cell
    trial: Trial

    @property
    def launch_ms(self) -> float:
        """How long one launch of it takes."""
        return launch_ms(self.cell.settings, self.trial)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is going to run on one device.

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


def arrange(cells: Sequence[Cell]) -> tuple[tuple[Cell, ...], ...]:
    """Group cells, as evenly as can be; neighbours stay together, the canary comes first."""
    parts = -(-len(cells) // MAX_GROUP)
    ends = [len(cells) * part // parts for part in range(parts + 1)] if parts else [0]
    return tuple(_canary_first(cells[start:end]) for start, end in itertools.pairwise(ends))


def make_plan(groups: Iterable[Sequence[Cell]], trials: Iterable[Candidate]) -> Plan:
    """Plan the cells of the groups that ran.

    Args:
        groups: from `arrange`.
        trials: of the cells that are measured; the rest of a group goes on without the others, and
            the smallest of the rest is its canary.
    """
    tried = {candidate.cell.number: candidate for candidate in trials}
    kept = [[cell for cell in group if cell.number in tried] for group in groups]
    found = tuple(
        tuple(tried[cell.number] for cell in _canary_first(cells)) for cells in kept if cells
    )
    costs = [(c.launch_ms, c.cell.settings) for group in found for c in group]
    return Plan(
        groups=found,
        least_ms=sum(cost * settings.launches for cost, settings in costs),
        most_ms=sum(cost * settings.max_launches for cost, settings in costs),
    )


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


def _canary_first(group: Sequence[Cell]) -> tuple[Cell, ...]:
    canary = min(group, key=lambda cell: (cell.artifact.size_bytes, cell.settings.threads))
    return (canary, *(cell for cell in group if cell is not canary))
