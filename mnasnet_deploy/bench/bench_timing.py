"""What an output of `benchmark_model` is worth as a launch: numbers, or the reason it is void."""

import contextlib
import signal
from typing import Final

from mnasnet_deploy.bench.benchmark_log import Reading
from mnasnet_deploy.bench.benchmark_model import program_of
from mnasnet_deploy.bench.device import Timing
from mnasnet_deploy.results.record import Settings, Summary

__all__ = ["ending", "partial_delegation", "timing_of", "took_nothing"]

MAX_DETAIL: Final = 200
SIGNALS: Final = 128
"""A shell reports the end by signal n as exit code 128 + n."""


def timing_of(reading: Reading, code: int, settings: Settings, output: str) -> Timing:
    """One run of the program as a launch.

    Args:
        reading: of its output.
        code: its exit code; 128 + n where signal n ended it.
        settings: what was asked for.
        output: all that it printed, kept with the launch.
    """
    mean_ms = reading.inference_avg_ms
    summary = None
    if reading.ok and mean_ms is not None:
        summary = Summary(
            runs=reading.runs or 0,
            mean_ms=mean_ms,
            std_ms=reading.std_ms or 0.0,
            min_ms=mean_ms if reading.min_ms is None else reading.min_ms,
            max_ms=mean_ms if reading.max_ms is None else reading.max_ms,
            median_ms=reading.median_ms,
            p5_ms=reading.p5_ms,
            p95_ms=reading.p95_ms,
        )
    facts = []
    if summary and summary.median_ms is None:
        facts.append("the program prints no median; its mean takes the place")
    return Timing(
        init_ms=reading.init_ms or 0.0,
        first_ms=reading.first_inference_ms or 0.0,
        summary=summary,
        discarded=_discarded(reading, code, settings),
        facts=tuple(facts),
        output=output,
    )


def took_nothing(reading: Reading, delegate: str) -> bool:
    """Whether the delegate that was asked for is known to have executed nothing."""
    wanted = program_of(delegate)
    return wanted is not None and (
        wanted in reading.delegation.refused or reading.delegation.coverage == "none"
    )


def partial_delegation(reading: Reading, delegate: str) -> str:
    """What an accelerator left to the CPU, in words; empty where it took all or nothing is known.

    XNNPACK runs on the CPU itself, so what it leaves there is no other column.
    """
    found = reading.delegation
    if delegate in ("xnnpack", "none") or found.coverage != "partial":
        return ""
    nodes = f"{found.nodes} of {found.of_nodes} nodes" if found.of_nodes else "part of the graph"
    return f"{found.name} ran {nodes}"


def ending(code: int, reading: Reading) -> str:
    """How a run ended, with the line that says best why."""
    name = f"exit code {code}"
    if code > SIGNALS:
        with contextlib.suppress(ValueError):  # no signal of that number
            name = f"{name}, {signal.Signals(code - SIGNALS).name}"
    said = " ".join((reading.error_summary or "").split())[:MAX_DETAIL]
    return f"{name}: {said}" if said and said != f"exit code {code}" else name


def _discarded(reading: Reading, code: int, settings: Settings) -> str:
    if code > SIGNALS:
        return f"CRASHED ({ending(code, reading)})"
    if not reading.ok:
        return f"FAILED ({ending(code, reading)})"
    if reading.unknown_flags:
        return f"NOT-AS-ASKED (the program does not know {reading.unknown_flags})"
    if took_nothing(reading, settings.delegate):
        return f"NO-DELEGATE ({settings.delegate} executed nothing)"
    if reading.runs is not None and reading.runs < settings.runs:
        return f"SHORT ({reading.runs} runs of {settings.runs})"
    return ""
