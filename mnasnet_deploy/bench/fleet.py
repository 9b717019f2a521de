"""Several devices at once: one thread of control each, their events in one stream.

What goes wrong on one device ends that device only. What goes wrong with the results (a full disk)
ends all of them, and so does Ctrl-C, which is a KeyboardInterrupt in the thread that listens.
"""

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mnasnet_deploy.bench import campaign
from mnasnet_deploy.bench.campaign import Event, Failure, Measured
from mnasnet_deploy.bench.device import Device, Say, StoppedError
from mnasnet_deploy.bench.keeper import Keeper
from mnasnet_deploy.bench.plan import Candidate, Cell, Plan, make_plan
from mnasnet_deploy.errors import MnasnetError
from mnasnet_deploy.results.record import DeviceInfo, Record

__all__ = ["Finished", "Job", "Left", "News", "Ready", "Said", "run"]

WAIT_S = 0.5
"""Listening wakes up this often, so that Ctrl-C is heard on every system."""
RESTORE_S = 60.0
"""How long a device may take to leave a phone as it was found."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What one device has to do.

    Attributes:
        device: which.
        info: what it is.
        groups: its cells, from `plan.arrange`.
        first_block: above all blocks the campaign has on it already.
    """

    device: Device
    info: DeviceInfo
    groups: tuple[tuple[Cell, ...], ...]
    first_block: int = 0

    @property
    def cells(self) -> tuple[Cell, ...]:
        """All of them, group by group."""
        return tuple(cell for group in self.groups for cell in group)


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """The device has something to tell."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """Every file was tried."""

    plan: Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A record is on disk."""

    cell: Cell
    record: Record
    path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """The device is done, and left as it was found.

    Attributes:
        error: why it ended early; None where it did all it could.
    """

    error: MnasnetError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Broken:
    """A thread ended in what no device is to blame for."""

    error: BaseException


News = Event | Said | Ready | Finished | Left


def run(
    jobs: Sequence[Job],
    keeper: Keeper | None,
    last_words: Callable[[Job, Said], None] = lambda job, said: None,
) -> Generator[tuple[Job, News], None, None]:
    """Do all jobs at once; give what happens as it happens, each device's events in order.

    Closing the iterator, or a KeyboardInterrupt while it waits, stops all devices.

    Args:
        jobs: one for each device.
        keeper: where records go; None to try the files and plan only.
        last_words: gets what devices that were stopped had to tell, such as what is not put back.

    Raises:
        NotReadyError: results cannot be written any more.
        MnasnetError: other results stand under a record's id.
    """
    news: queue.SimpleQueue[tuple[Job, News | _Broken]] = queue.SimpleQueue()
    # Daemons: a second Ctrl-C while phones are restored ends the process.
    threads = [
        threading.Thread(target=_control, args=(job, keeper, news), daemon=True, name=f"device-{n}")
        for n, job in enumerate(jobs)
    ]
    try:
        for thread in threads:
            thread.start()
        left = 0
        while left < len(jobs):
            try:
                job, one = news.get(timeout=WAIT_S)
            except queue.Empty:
                continue
            if isinstance(one, _Broken):
                raise one.error
            left += isinstance(one, Left)
            yield job, one
    finally:
        _stop(jobs, threads)
        with contextlib.suppress(queue.Empty):
            while True:
                job, one = news.get_nowait()
                if isinstance(one, Said):
                    last_words(job, one)


def _stop(jobs: Sequence[Job], threads: Sequence[threading.Thread]) -> None:
    running = [
        (job, thread) for job, thread in zip(jobs, threads, strict=True) if thread.is_alive()
    ]
    for job, _ in running:
        job.device.stop()
    ends = time.monotonic() + RESTORE_S
    for _, thread in running:
        thread.join(max(0.0, ends - time.monotonic()))


def _control(
    job: Job, keeper: Keeper | None, news: queue.SimpleQueue[tuple[Job, News | _Broken]]
) -> None:
    """Drive one device; the thread's whole life."""

    def tell(one: News | _Broken) -> None:
        news.put((job, one))

    try:
        with contextlib.closing(_steps(job, keeper, lambda text: tell(Said(text=text)))) as steps:
            for step in steps:
                tell(step)
        tell(Left())
    except _KeepingError as error:
        tell(_Broken(error=error.cause))
    except MnasnetError as error:
        tell(Left(error=error))
    except StoppedError:
        tell(Left())
    except BaseException as error:  # a bug: its traceback belongs to the user
        tell(_Broken(error=error))


class _KeepingError(Exception):
    """The results cannot be kept: not the device's failure."""

    def __init__(self, cause: MnasnetError) -> None:
        super().__init__(str(cause))
        self.cause = cause


@contextlib.contextmanager
def _keeping() -> Iterator[None]:
    try:
        yield
    except MnasnetError as error:
        raise _KeepingError(error) from error


def _steps(job: Job, keeper: Keeper | None, say: Say) -> Generator[News, None, None]:
    with job.device.session([cell.settings for cell in job.cells], say):
        candidates = []
        for outcome in campaign.try_out(job.device, job.cells):
            if isinstance(outcome, Candidate):
                candidates.append(outcome)
                if keeper:
                    with _keeping():
                        keeper.begin()
            elif isinstance(outcome, Failure) and keeper:
                with _keeping():
                    keeper.refuse(outcome.cell.number, str(outcome.error))
            yield outcome
        plan = make_plan(job.groups, candidates)
        yield Ready(plan=plan)
        if keeper is None:
            return
        for event in campaign.run(
            job.device,
            plan,
            campaign=keeper.campaign.id,
            info=job.info,
            first_block=job.first_block,
        ):
            if isinstance(event, Measured):
                with _keeping():
                    path = keeper.keep(event.record)
                yield Finished(cell=event.cell, record=event.record, path=path)
            else:
                yield event
