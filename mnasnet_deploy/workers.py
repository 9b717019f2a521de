"""A pool of processes of our own: how its workers begin, when they end. Standard library only."""

import contextlib
import itertools
import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.process import BaseProcess
from queue import SimpleQueue
from typing import Final, TypeVar

__all__ = ["each_in_pool"]

_Task = TypeVar("_Task")
_Result = TypeVar("_Result")
STOPPED: Final = 128 + 15
"""Exit code of a worker that was told to stop."""
AGAIN_S: Final = 0.1


def each_in_pool(
    function: Callable[[_Task], _Result], tasks: Iterable[_Task], processes: int
) -> Iterator[tuple[_Task, "Future[_Result]"]]:
    """Map a function over tasks in processes of their own; each as it comes, in no order.

    Tasks are taken when there is room for one, one ahead of the processes: few enough in flight
    that what they carry is not all copied at once. Where the caller stops (Ctrl-C too), the workers
    are stopped; where it is killed, they end by themselves.

    Args:
        function: importable by name.
        tasks: what it takes, one by one.
        processes: how many at once.

    Yields:
        A task and its future, which is done: `result()` gives the value or raises, and raises
        BrokenProcessPool for all that is left when a worker was killed.
    """
    # A spawned process starts clean: forking one that holds threads and locks of LiteRT may hang.
    context = multiprocessing.get_context("spawn")
    waiting: dict[Future[_Result], _Task] = {}
    finished: SimpleQueue[Future[_Result]] = SimpleQueue()
    rest = iter(tasks)
    with _interrupts_held():
        pool = ProcessPoolExecutor(processes, mp_context=context, initializer=_start_worker)
    try:
        while True:
            for task in itertools.islice(rest, processes + 1 - len(waiting)):
                with _interrupts_held():
                    future = _submit(pool, function, task)
                    waiting[future] = task
                    future.add_done_callback(finished.put)
            if not waiting:
                break
            # Not `futures.wait`, which takes the locks of all of them while it may be interrupted.
            future = finished.get()
            yield waiting.pop(future), future
    except BaseException:  # Ctrl-C, or the caller stopped reading
        with _interrupts_held():
            pool.shutdown(wait=False, cancel_futures=True)
        _stop_all(multiprocessing.active_children())
        raise
    with _interrupts_held():
        pool.shutdown()


@contextlib.contextmanager
def _interrupts_held() -> Iterator[None]:
    """Put Ctrl-C off for a moment in which locks of the pool are taken.

    An interrupt between taking one and giving it back would leave it taken for ever, and the pool's
    thread, which everything waits for at the end, would wait for it.
    """
    if threading.current_thread() is not threading.main_thread():  # only that one is interrupted
        yield
        return
    held: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: held.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if held:
            signal.raise_signal(signal.SIGINT)


def _submit(
    pool: ProcessPoolExecutor, function: Callable[[_Task], _Result], task: _Task
) -> "Future[_Result]":
    """Hand a task over; a pool that broke before gives a future that says so, as later ones do."""
    try:
        return pool.submit(_work, function, task)
    except BrokenProcessPool as error:
        broken: Future[_Result] = Future()
        broken.set_exception(error)
        return broken


def _stop_all(workers: Iterable[BaseProcess]) -> None:
    """Tell workers to stop until they are gone.

    More than once: a signal that comes just before a worker waits for a lock is noticed when it has
    the lock, and whoever has it may be gone.
    """
    left = {worker.sentinel: worker for worker in workers}
    while left:
        for worker in left.values():
            with contextlib.suppress(OSError):  # it has just gone
                worker.terminate()
        for gone in multiprocessing.connection.wait(list(left), AGAIN_S):
            del left[gone]  # type: ignore[arg-type]


class _Worker:
    """A process of the pool: whether it is at a task, and cleaning up after one."""

    busy = False
    stopping = False


def _start_worker() -> None:
    """Leave Ctrl-C to the parent; when it says stop, clean up and go; go where it is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if os.name == "posix":
        signal.signal(signal.SIGTERM, _stop)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _stop(*_: object) -> None:
    """Clean up after a task that is begun; between tasks there is nothing to clean up.

    There the pool's own code runs: an exception might leave a lock of its queues taken, and the
    other workers, which share it, would wait for ever.
    """
    if not _Worker.busy:
        os._exit(STOPPED)
    if not _Worker.stopping:  # a second stop does not disturb the cleaning up
        _Worker.stopping = True
        sys.exit(STOPPED)


def _work(function: Callable[[_Task], _Result], task: _Task) -> _Result:
    """Do one task in a worker; the pool itself takes a stop for a result like any other."""
    try:
        try:
            _Worker.busy = True
            return function(task)
        finally:
            _Worker.busy = False
    except SystemExit:
        os._exit(STOPPED)


def _end_with_parent() -> None:
    """Without this a worker whose parent was killed waits for its next task for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
