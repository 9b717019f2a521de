"""One launch on this machine: a fresh process that runs one .tflite file and says what it saw.

`python -m mnasnet_deploy.bench.worker` reads one JSON object from standard input and writes one as
the last line of standard output. The keys of a request:

    mode        "time", or "trial": a few runs and the peak memory
    model       path of the file
    threads     of the interpreter
    delegate    "xnnpack" or "none"
    cpus        logical CPUs to pin to, none for no pinning
    warmup_runs, warmup_ms, runs, min_ms    as in `Settings`; only for "time"
    deadline_s  the process ends itself after this long

An answer holds `refused` (the runtime does not take the file, and why), or `unavailable` (this
machine cannot run any file, and why), or the numbers. A file may also crash the process or hang
it; that is for the parent to see.
"""

import gc
import json
import math
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mnasnet_deploy.bench import system

__all__ = ["main"]

INPUT_SEED = 0
FLOAT_HIGH = 255.0
"""Float inputs are grey levels 0..255, what this tool's files take unless told otherwise."""
MAX_RUNS = 20_000
"""A launch of a file faster than 0.1 ms ends here and not after `min_ms`: its record would grow
beyond what can be stored, and its median would not change."""
TRIAL_RUNS = 5
TRIAL_MS = 500.0
NS_PER_MS = 1e6
KIB_PER_MIB = 1024
BYTES_PER_MIB = 1024**2


def main() -> int:
    """Answer one request."""
    request = json.load(sys.stdin)
    if hasattr(signal, "alarm"):
        # An orphan of a killed parent must not spin on: the default action ends the process even
        # inside the runtime, where no Python code runs.
        signal.alarm(math.ceil(request["deadline_s"]) + 1)
    if request["cpus"]:
        # Before the runtime starts threads: they inherit it.
        system.pin(tuple(request["cpus"]))
    sys.stdout.write(f"{json.dumps(_answer(request))}\n")
    return 0


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    try:
        import numpy as np  # noqa: F401
        from ai_edge_litert import interpreter as _  # noqa: F401
    except ImportError as error:
        return {"unavailable": str(error)}
    try:
        return _trial(request) if request["mode"] == "trial" else _time(request)
    except MemoryError:
        return {"refused": "it needs more memory than there is"}
    except (ValueError, RuntimeError) as error:  # how the runtime says no
        return {"refused": str(error)}


def _time(request: dict[str, Any]) -> dict[str, Any]:
    interpreter, init_ms = _load(request)
    invoke = interpreter.invoke
    # A collection in the middle of a run would be Python's time, not the model's.
    gc.disable()
    first_ms = _timed(invoke)
    _runs(invoke, request["warmup_runs"], request["warmup_ms"])
    before = time.process_time_ns()
    samples = _runs(invoke, request["runs"], request["min_ms"], MAX_RUNS)
    cpu_ms = (time.process_time_ns() - before) / NS_PER_MS / len(samples)
    return {
        "init_ms": init_ms,
        "first_ms": first_ms,
        "samples_ms": samples,
        "cpu_ms": cpu_ms,
        "cpus": sorted(system.allowed_cpus()),
    }


def _trial(request: dict[str, Any]) -> dict[str, Any]:
    empty_mib = _peak_memory_mib()
    interpreter, _ = _load(request)
    first_ms = _timed(interpreter.invoke)
    samples: list[float] = []
    while len(samples) < TRIAL_RUNS and first_ms + sum(samples) < TRIAL_MS:
        samples.append(_timed(interpreter.invoke))
    return {
        "runs_ms": samples or [first_ms],
        "empty_mib": empty_mib,
        "peak_mib": _peak_memory_mib(),
        "partitions": _partitions(interpreter),
    }


def _load(request: dict[str, Any]) -> tuple[Any, float]:
    """Make an interpreter with its input filled; also the time until its tensors stand, in ms."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    resolver = (
        OpResolverType.AUTO
        if request["delegate"] == "xnnpack"
        else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    )
    start = time.perf_counter_ns()
    interpreter = Interpreter(
        model_path=request["model"],
        num_threads=request["threads"],
        experimental_op_resolver_type=resolver,
    )
    interpreter.allocate_tensors()
    init_ms = (time.perf_counter_ns() - start) / NS_PER_MS
    for index, details in enumerate(interpreter.get_input_details()):
        values = _input(details["dtype"], tuple(details["shape"]), INPUT_SEED + index)
        interpreter.set_tensor(details["index"], values)
    return interpreter, init_ms


def _input(dtype: Any, shape: tuple[int, ...], seed: int) -> Any:
    """Values for one input: the same in every launch, over the range of its type.

    Integers wider than 16 bits are mostly indices or counts, where a large value is out of range:
    they are 0, as is everything that is no plain number.
    """
    import numpy as np

    kind = np.dtype(dtype)
    if kind.kind in "OSU":
        raise ValueError("it takes text, and this bench feeds numbers only")
    random = np.random.default_rng(seed)
    if kind.kind == "f":
        return (random.random(shape, np.float32) * np.float32(FLOAT_HIGH)).astype(kind)
    if kind.kind in "iu" and kind.itemsize <= 2:
        limits = np.iinfo(kind)
        return random.integers(limits.min, limits.max, shape, dtype=kind, endpoint=True)
    return np.zeros(shape, kind)


def _runs(
    invoke: Callable[[], None], runs: int, min_ms: float, limit: float = math.inf
) -> list[float]:
    """Run at least this often and, short of a limit of runs, this long; times in ms."""
    samples: list[float] = []
    end = time.perf_counter_ns() + min_ms * NS_PER_MS
    while len(samples) < runs or (len(samples) < limit and time.perf_counter_ns() < end):
        samples.append(_timed(invoke))
    return samples


def _timed(invoke: Callable[[], None]) -> float:
    start = time.perf_counter_ns()
    invoke()
    return (time.perf_counter_ns() - start) / NS_PER_MS


def _partitions(interpreter: Any) -> int | None:
    """How many parts of the graph a delegate took; None where the runtime does not say."""
    try:
        # Not public, but the only way to learn it; a runtime without it is no error.
        nodes = interpreter._get_ops_details()
    except AttributeError:
        return None
    return [node["op_name"] for node in nodes].count("DELEGATE")


def _peak_memory_mib() -> float | None:
    """Peak resident memory of this process so far: Python, the runtime, the file and its tensors.

    Linux's `VmHWM` and not `ru_maxrss`, which there starts at what the parent held when it forked.
    """
    peak_mib = None
    if sys.platform == "linux":
        status = Path("/proc/self/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
        peak_mib = int(line.split()[1]) / KIB_PER_MIB
    elif sys.platform == "darwin":
        import resource

        peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / BYTES_PER_MIB
    return peak_mib


if __name__ == "__main__":
    sys.exit(main())
