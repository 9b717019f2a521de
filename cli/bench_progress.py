"""How far a bench is: a bar for one device, a live table for several, nothing in a pipe."""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from . import console
from .bench_view import duration, format_verdict

if TYPE_CHECKING:
    from mnasnet_deploy.bench.fleet import Job, News

__all__ = ["Board", "Progress", "progress_of"]

MS_PER_S = 1000.0


class Progress(Protocol):
    """Shows how far it is."""

    def hear(self, job: "Job", news: "News") -> None:
        """Take one event in."""

    def pause(self) -> None:
        """Make room for lines of text."""


@contextlib.contextmanager
def progress_of(jobs: "Sequence[Job]", *, quiet: bool) -> Iterator[Progress]:
    """What fits the number of devices.

    Args:
        jobs: of all devices.
        quiet: no table, since a program reads the output; a single device keeps its bar.
    """
    if len(jobs) == 1:
        with contextlib.ExitStack() as stack:
            yield _Bar(jobs[0], stack)
        return
    board = Board(jobs)
    if quiet:
        yield board
        return
    with console.live(board.rows) as refresh:
        board.on_change = refresh
        yield board


class _Bar:
    """Two bars one after the other: files tried, then launches made."""

    def __init__(self, job: "Job", stack: contextlib.ExitStack) -> None:
        self._job = job
        self._stack = stack
        self._advance = stack.enter_context(console.progress("trying files", len(job.cells)))

    def pause(self) -> None:
        self._stack.close()

    def hear(self, job: "Job", news: "News") -> None:
        from mnasnet_deploy.bench import campaign, fleet
        from mnasnet_deploy.bench.plan import Candidate

        if isinstance(news, Candidate) or (isinstance(news, campaign.Failure) and news.refused):
            self._advance()
        elif isinstance(news, fleet.Ready):
            self.pause()
            launches = sum(c.cell.settings.launches for c in news.plan.candidates)
            # Drawn only when it moves, so that drawing takes nothing from what is being measured.
            self._advance = self._stack.enter_context(
                console.progress("measuring", launches, still=True)
            )
        elif isinstance(news, campaign.Launched):
            self._advance()
        elif isinstance(news, campaign.Added):
            self._advance(0, added=news.launches)
        elif isinstance(news, fleet.Left):
            self.pause()


@dataclass(slots=True)
class _Row:
    """A device on the board; times in ms."""

    job: "Job"
    state: str = "waiting"
    done: int = 0
    failed: int = 0
    planned_ms: float = 0.0
    done_ms: float = 0.0
    started: float | None = None
    last: str = ""


@dataclass(slots=True)
class Board:
    """All devices at a glance: now measuring, done, time left, last verdict.

    Attributes:
        jobs: a row for each.
        clock: gives seconds.
        on_change: called after each event.
    """

    jobs: "Sequence[Job]"
    clock: Callable[[], float] = time.monotonic
    on_change: Callable[[], None] = lambda: None
    _rows: "dict[str, _Row]" = field(init=False)

    def __post_init__(self) -> None:
        self._rows = {job.device.name: _Row(job) for job in self.jobs}

    def pause(self) -> None:
        """Lines go above the table by themselves."""

    def hear(self, job: "Job", news: "News") -> None:
        """Take one event in."""
        from mnasnet_deploy.bench import campaign, fleet

        row = self._rows[job.device.name]
        if isinstance(news, campaign.Trying):
            row.state = f"trying {news.cell.path.name}"
        elif isinstance(news, campaign.Failure):
            row.failed += 1
        elif isinstance(news, fleet.Ready):
            row.planned_ms = news.plan.least_ms
            row.started = self.clock()
        elif isinstance(news, campaign.Launching):
            row.state = news.cell.path.name
        elif isinstance(news, campaign.Launched):
            row.done_ms += news.candidate.launch_ms
        elif isinstance(news, campaign.Added):
            row.planned_ms += news.ms
        elif isinstance(news, fleet.Finished):
            row.done += 1
            row.last = f"{format_verdict(news.record)} ({news.cell.path.name})"
        elif isinstance(news, fleet.Left):
            row.state = "done" if news.error is None else "STOPPED"
        self.on_change()

    def rows(self) -> list[list[str]]:
        """A head and a row for each device."""
        head = ["device", "now", "done", "left", "last"]
        return [head, *(self._cells(row) for row in self._rows.values())]

    def _cells(self, row: _Row) -> list[str]:
        total = len(row.job.cells)
        done = f"{row.done} of {total}" + (f", {row.failed} failed" if row.failed else "")
        return [row.job.device.name, row.state, done, self._left(row), row.last]

    def _left(self, row: _Row) -> str:
        """The plan's time, corrected by how long what is done really took."""
        if row.state in ("done", "STOPPED"):
            return ""
        if row.started is None or not row.done_ms:
            return f"~{duration(row.planned_ms)}" if row.planned_ms else ""
        slower = (self.clock() - row.started) * MS_PER_S / row.done_ms
        return f"~{duration(max(0.0, row.planned_ms - row.done_ms) * slower)}"
