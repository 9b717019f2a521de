"""What `mnasnet bench` shows: the plan, a line for each record, and both as JSON."""

import math
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnasnet_deploy.results.record import DeviceInfo, Record, Settings

from . import console

if TYPE_CHECKING:
    from mnasnet_deploy.bench.campaign import Plan

__all__ = ["SCHEMA", "plan_mapping", "plan_text", "record_line", "results_mapping"]

SCHEMA = "mnasnet.bench/1"
PLAN_SCHEMA = "mnasnet.bench-plan/1"
MS_PER_S = 1000.0


def record_line(record: Record, width: int, *, with_threads: bool) -> str:
    """One record: `name.tflite  4.52 ms [4.50, 4.55]  valid`.

    Args:
        record: what to show.
        width: of the column of file names.
        with_threads: say the number of threads, where records differ in it.
    """
    from mnasnet_deploy.report.measured import format_ms, reason_names

    estimate, threads = record.estimate, record.settings.threads
    number = "no result"
    if estimate is not None:
        shown = format_ms(estimate.median_ms, estimate.low_ms, estimate.high_ms)
        median, _, interval = shown.partition(" ")
        number = f"{median} ms {interval}"
    names = f" ({', '.join(reason_names(record.reasons))})" if record.reasons else ""
    parts = [record.artifact.file.ljust(width)]
    if with_threads:
        parts.append(f"{threads} thread{'s' * (threads != 1)}")
    parts += [number, f"{record.verdict}{names}"]
    if record.artifact.untrained:
        parts.append("untrained weights")
    return "  ".join(parts)


def plan_text(plan: "Plan", info: DeviceInfo) -> str:
    """What is going to run, on what, and how long that takes."""
    rows = [["file", "threads", "one run", "launches"]]
    for candidate in plan.candidates:
        cell = candidate.cell
        rows.append(
            [
                cell.path.name,
                str(cell.settings.threads),
                f"~{candidate.trial.run_ms:.3g} ms",
                _launches(cell.settings),
            ]
        )
    settings = plan.candidates[0].cell.settings
    pinned = f", on CPU {', '.join(map(str, settings.cpus))}" if settings.cpus else ""
    head = (
        f"{info.name} ({info.cores} CPUs, {info.os}), {info.runtime}, delegate "
        f"{settings.delegate}{pinned}, order by seed {settings.seed}"
    )
    end = f"takes {duration(plan.least_ms)}"
    if plan.most_ms > plan.least_ms:
        end += f", or up to {duration(plan.most_ms)} where intervals stay wider than 1 %"
    return "\n".join([head, console.columns(rows), end])


def plan_mapping(plan: "Plan", info: DeviceInfo, failed: Mapping[str, str]) -> dict[str, Any]:
    """The plan as JSON data.

    Args:
        plan: what would run.
        info: on what.
        failed: error by file.
    """
    return {
        "schema": PLAN_SCHEMA,
        "device": info.name,
        "runtime": info.runtime,
        "least_s": plan.least_ms / MS_PER_S,
        "most_s": plan.most_ms / MS_PER_S,
        "measurements": [
            {
                "file": candidate.cell.path.name,
                "group": number,
                "canary": candidate is group[0],
                "trial_run_ms": candidate.trial.run_ms,
                **asdict(candidate.cell.settings),
            }
            for number, group in enumerate(plan.groups)
            for candidate in group
        ],
        "failed": dict(failed),
    }


def results_mapping(
    records: Iterable[tuple[Record, Path]], failed: Mapping[str, str]
) -> dict[str, Any]:
    """Records, without their samples but with the files that hold them, as JSON data.

    Args:
        records: each with its file.
        failed: error by file.
    """
    return {
        "schema": SCHEMA,
        "results": [_entry(record, path) for record, path in records],
        "failed": dict(failed),
    }


def _entry(record: Record, path: Path) -> dict[str, Any]:
    good = [launch for launch in record.launches if not launch.discarded]
    return {
        "id": record.id,
        "record": str(path),
        **asdict(record.artifact),
        "device": record.device.name,
        "runtime": record.device.runtime,
        "threads": record.settings.threads,
        "delegate": record.settings.delegate,
        "cpus": record.settings.cpus,
        "estimate": asdict(record.estimate) if record.estimate else None,
        "init_ms": statistics.median(launch.init_ms for launch in good) if good else None,
        "first_ms": statistics.median(launch.first_ms for launch in good) if good else None,
        "peak_memory_mib": record.peak_memory_mib,
        "verdict": record.verdict,
        "reasons": record.reasons,
    }


def _launches(settings: Settings) -> str:
    least, most = settings.launches, settings.max_launches
    return str(least) if least == most else f"{least} to {most}"


def duration(ms: float) -> str:
    """A time in words, rounded up: `45 s`, `1 min 05 s`, `2 h 05 min`."""
    seconds = math.ceil(ms / MS_PER_S)
    if seconds < 60:
        return f"{seconds} s"
    minutes, seconds = divmod(seconds, 60)
    if minutes < 60:
        return f"{minutes} min {seconds:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"
