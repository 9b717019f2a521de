"""What `mnasnet bench` shows: the plan, a line for each record, and both as JSON."""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnasnet_deploy.results.record import DeviceInfo, Record, Settings

from . import console

if TYPE_CHECKING:
    from mnasnet_deploy.bench.fleet import Job
    from mnasnet_deploy.bench.plan import Plan

__all__ = [
    "SCHEMA",
    "Shown",
    "duration",
    "format_verdict",
    "plan_mapping",
    "plan_text",
    "record_line",
    "results_mapping",
    "short_plan",
]

SCHEMA = "mnasnet.bench/1"
PLAN_SCHEMA = "mnasnet.bench-plan/1"
MS_PER_S = 1000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What the line of a record says beside file, number and verdict: what differs.

    Attributes:
        file, device: width of the column; 0 for no column.
        threads, delegate: whether to say it.
    """

    file: int
    device: int
    threads: bool
    delegate: bool

    @classmethod
    def of(cls, jobs: "Sequence[Job]") -> "Shown":
        """What differs between the records of these jobs."""
        cells = [cell for job in jobs for cell in job.cells]
        return cls(
            file=max(len(cell.artifact.file) for cell in cells),
            device=max(len(job.device.name) for job in jobs) if len(jobs) > 1 else 0,
            threads=len({cell.settings.threads for cell in cells}) > 1,
            delegate=len({cell.settings.delegate for cell in cells}) > 1,
        )


def record_line(record: Record, shown: Shown, device: str) -> str:
    """One record: `name.tflite  4.52 ms [4.50, 4.55]  valid`.

    Args:
        record: what to show.
        shown: what beside.
        device: its name.
    """
    from mnasnet_deploy.report.measured import format_ms

    estimate, settings = record.estimate, record.settings
    number = "no result"
    if estimate is not None:
        text = format_ms(estimate.median_ms, estimate.low_ms, estimate.high_ms)
        median, _, interval = text.partition(" ")
        number = f"{median} ms {interval}"
    parts = [device.ljust(shown.device)] if shown.device else []
    parts.append(record.artifact.file.ljust(shown.file))
    if shown.threads:
        parts.append(f"{settings.threads} thread{'s' * (settings.threads != 1)}")
    if shown.delegate:
        parts.append("no delegate" if settings.delegate == "none" else settings.delegate)
    parts += [number, format_verdict(record)]
    parts += settings.allowed
    if record.artifact.untrained:
        parts.append("untrained weights")
    return "  ".join(parts)


def format_verdict(record: Record) -> str:
    """The verdict with the names of its reasons: `noisy (BUSY)`."""
    from mnasnet_deploy.report.measured import reason_names

    names = f" ({', '.join(reason_names(record.reasons))})" if record.reasons else ""
    return f"{record.verdict}{names}"


def plan_text(plan: "Plan", info: DeviceInfo) -> str:
    """What is going to run, on what, and how long that takes; of a plan that is not empty."""
    rows = [["file", "threads", "delegate", "one run", "launches"]]
    for candidate in plan.candidates:
        cell = candidate.cell
        rows.append(
            [
                cell.path.name,
                str(cell.settings.threads),
                cell.settings.delegate,
                f"~{candidate.trial.run_ms:.3g} ms",
                _launches(cell.settings),
            ]
        )
    every = [candidate.cell.settings for candidate in plan.candidates]
    head = f"{info.name} ({info.cores} CPUs, {info.os}), {info.runtime}, order by seed "
    head += str(every[0].seed) + "".join(f", {text}" for text in _forced(every))
    return "\n".join([head, console.columns(rows), _takes(plan)])


def short_plan(device: str, plan: "Plan") -> str:
    """One line of one device among several; of a plan that is not empty."""
    count = len(plan.candidates)
    return f"{device}: {count} measurement{'s' * (count != 1)}, {_takes(plan)}"


def _takes(plan: "Plan") -> str:
    text = f"takes {duration(plan.least_ms)}"
    if plan.most_ms > plan.least_ms:
        text += f", or up to {duration(plan.most_ms)} where intervals stay wider than 1 %"
    return text


def _forced(every: "Sequence[Settings]") -> list[str]:
    """What a reader of the plan must know of how it is measured."""
    texts = []
    first = every[0]
    if first.profile not in ("host", "stock"):
        texts.append(f"mode {first.profile}")
    if first.prepared:
        texts.append("prepared")
    for cpus in dict.fromkeys(settings.cpus for settings in every):
        threads = {settings.threads for settings in every if settings.cpus == cpus}
        if cpus:
            of = f" ({', '.join(map(str, sorted(threads)))} threads)"
            several = len({settings.cpus for settings in every}) > 1
            texts.append(f"on CPU {', '.join(map(str, cpus))}{of * several}")
    if first.allowed:
        texts.append(f"let through: {', '.join(first.allowed)}")
    return texts


def plan_mapping(
    plans: "Sequence[tuple[Job, Plan]]", failed: Mapping[str, str], devices: Mapping[str, str]
) -> dict[str, Any]:
    """What would run as JSON data; devices measure at once, so the longest decides.

    Args:
        plans: of each device.
        failed: error by file.
        devices: error by device.
    """
    return {
        "schema": PLAN_SCHEMA,
        "least_s": max((plan.least_ms for _, plan in plans), default=0.0) / MS_PER_S,
        "most_s": max((plan.most_ms for _, plan in plans), default=0.0) / MS_PER_S,
        "devices": [
            {
                "device": job.device.name,
                "device_kind": job.info.kind,
                "device_name": job.info.name,
                "runtime": job.info.runtime,
                "least_s": plan.least_ms / MS_PER_S,
                "most_s": plan.most_ms / MS_PER_S,
            }
            for job, plan in plans
        ],
        "measurements": [
            {
                "file": candidate.cell.path.name,
                "device": job.device.name,
                "group": number,
                "canary": candidate is group[0],
                "trial_run_ms": candidate.trial.run_ms,
                **asdict(candidate.cell.settings),
            }
            for job, plan in plans
            for number, group in enumerate(plan.groups)
            for candidate in group
        ],
        "failed": dict(failed),
        "failed_devices": dict(devices),
    }


def results_mapping(
    records: Iterable[tuple[Record, Path]],
    failed: Mapping[str, str],
    *,
    campaign: str = "",
    devices: Mapping[str, str] | None = None,
    unfinished: int = 0,
) -> dict[str, Any]:
    """Records, without their samples but with the files that hold them, as JSON data.

    Args:
        records: each with its file.
        failed: error by file.
        campaign: id of theirs.
        devices: error by device.
        unfinished: how many measurements `--resume` would make.
    """
    return {
        "schema": SCHEMA,
        "campaign": campaign,
        "results": [_entry(record, path) for record, path in records],
        "failed": dict(failed),
        "failed_devices": dict(devices or {}),
        "unfinished": unfinished,
    }


def _entry(record: Record, path: Path) -> dict[str, Any]:
    good = [launch for launch in record.launches if not launch.discarded]
    return {
        "id": record.id,
        "record": str(path),
        **asdict(record.artifact),
        "device_kind": record.device.kind,
        "device": record.device.name,
        "runtime": record.device.runtime,
        "threads": record.settings.threads,
        "delegate": record.settings.delegate,
        "cpus": record.settings.cpus,
        "mode": record.settings.profile,
        "prepared": record.settings.prepared,
        "allowed": record.settings.allowed,
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
