"""A pool of processes of our own: how its workers begin, when they end. Standard library only."""

import itertools
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

__all__ = ["each_in_pool"]

_Task = TypeVar("_Task")
_Result = TypeVar("_Result")


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
    with ProcessPoolExecutor(processes, mp_context=context, initializer=_start_worker) as pool:
        waiting: dict[Future[_Result], _Task] = {}
        rest = iter(tasks)
        try:
            while True:
                for task in itertools.islice(rest, processes + 1 - len(waiting)):
                    waiting[_submit(pool, function, task)] = task
                if not waiting:
                    return
                done, _ = wait(waiting, return_when=FIRST_COMPLETED)
                for future in done:
                    yield waiting.pop(future), future
        except BaseException:  # Ctrl-C, or the caller stopped reading
            pool.shutdown(wait=False, cancel_futures=True)
            for child in multiprocessing.active_children():
                child.terminate()
            raise


def _submit(
    pool: ProcessPoolExecutor, function: Callable[[_Task], _Result], task: _Task
) -> "Future[_Result]":
    """Hand a task over; a pool that broke before gives a future that says so, as later ones do."""
    try:
        return pool.submit(function, task)
    except BrokenProcessPool as error:
        broken: Future[_Result] = Future()
        broken.set_exception(error)
        return broken


def _start_worker() -> None:
    """Leave Ctrl-C to the parent; when it says stop, clean up and go; go where it is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if os.name == "posix":
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Without this a worker whose parent was killed waits for its next task for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
