"""Where shards are evaluated: in this process, in processes of this machine, on a Dask cluster.

All three map the same function over the same tasks; results come in no order.
"""

import contextlib
import re
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from mnasnet_deploy.errors import InputError, MnasnetError, NotReadyError
from mnasnet_deploy.evaluate.shard import ShardResult, Task, evaluate_shard
from mnasnet_deploy.workers import each_in_pool

__all__ = ["Evaluate", "on_cluster", "on_this_machine"]

Evaluate = Callable[[Iterable[Task]], Iterator[ShardResult]]
"""Takes tasks one by one, as there is room for them."""

CONNECT_TIMEOUT_S = 10
_ADDRESS = re.compile(r"([a-z]+://)?[^\s/]+:\d{1,5}", re.ASCII)
# Enough in flight that a worker never waits for its next task.
TASKS_A_THREAD = 2


def on_this_machine(jobs: int) -> Evaluate:
    """So many processes at once; 1 is this one."""
    if jobs == 1:
        return lambda tasks: map(evaluate_shard, tasks)
    return lambda tasks: _in_processes(tasks, jobs)


def _in_processes(tasks: Iterable[Task], jobs: int) -> Iterator[ShardResult]:
    for _, future in each_in_pool(evaluate_shard, tasks, jobs):
        try:
            yield future.result()
        except BrokenProcessPool:
            raise MnasnetError(
                "a worker process was killed (out of memory?): what is done is kept, the same "
                "command goes on from there; try fewer --jobs"
            ) from None


@contextlib.contextmanager
def on_cluster(address: str) -> Iterator[Evaluate]:
    """The workers of a Dask cluster, which see files and images under the same paths.

    A shard whose worker dies runs again on another.

    Args:
        address: of its scheduler, `tcp://host:8786`.

    Raises:
        InputError: `distributed` is not installed, or this is no address.
        NotReadyError: nobody answers there, or no worker is connected.
    """
    if not _ADDRESS.fullmatch(address):
        raise InputError(
            f"--cluster {address}: no address of a scheduler (such as tcp://host:8786)"
        )
    try:
        from distributed import Client
    except ImportError:
        raise InputError(
            "--cluster needs Dask: pip install 'mnasnet-deploy[cluster]', on the workers too"
        ) from None
    try:
        client = Client(address, timeout=CONNECT_TIMEOUT_S, set_as_default=False)
    except (OSError, TimeoutError) as error:
        raise NotReadyError(
            f"no Dask scheduler answers at {address} ({str(error).splitlines()[0]}): start one "
            "with 'dask scheduler' and name its tcp:// address"
        ) from error
    except (ValueError, TypeError) as error:
        raise InputError(f"--cluster {address}: {error} (such as tcp://host:8786)") from error
    with client:
        threads = sum(client.nthreads().values())
        if threads == 0:
            raise NotReadyError(
                f"no worker is connected to {address}: start some with 'dask worker {address}'"
            )
        yield lambda tasks: _on_workers(client, tasks, TASKS_A_THREAD * threads)


def _on_workers(client: Any, tasks: Iterable[Task], in_flight: int) -> Iterator[ShardResult]:
    from distributed import KilledWorker, as_completed

    rest = iter(tasks)
    futures = as_completed(loop=client.loop)
    waiting = 0

    def fill() -> int:
        added = 0
        while waiting + added < in_flight and (task := next(rest, None)) is not None:
            # Not `pure`: a shard that failed on a broken machine is not remembered as failed.
            futures.add(client.submit(evaluate_shard, task, pure=False))
            added += 1
        return added

    waiting += fill()
    while waiting:
        future = next(futures)
        waiting -= 1
        try:
            result: ShardResult = future.result()
        except KilledWorker as error:
            raise MnasnetError(
                f"several workers died over one shard ({str(error).splitlines()[0]}): what is done "
                "is kept, the same command goes on from there"
            ) from None
        except OSError as error:
            raise NotReadyError(f"the cluster is gone ({error}): what is done is kept") from error
        yield result
        waiting += fill()
