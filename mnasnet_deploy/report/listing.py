"""Records as rows: one line each, for a person or for a spreadsheet."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from mnasnet_deploy.report.measured import device_title, format_ms, reason_names
from mnasnet_deploy.report.model import clean
from mnasnet_deploy.results.record import Record

__all__ = ["FIELDS", "SCHEMA", "csv_text", "summarize", "text_rows"]

SCHEMA: Final = "mnasnet.result/1"

FIELDS: Final = (
    "time", "file", "sha256", "network", "multiplier", "resolution", "scheme", "weights",
    "untrained", "synthetic_calibration", "device_kind", "device", "os", "build", "runtime",
    "runtime_sha256", "threads", "delegate", "cpus", "mode", "prepared", "allowed", "ambient_c",
    "imported", "median_ms", "low_ms", "high_ms", "coverage", "launches", "init_ms",
    "first_ms", "peak_memory_mib", "verdict", "reasons", "tool", "campaign", "id",
)  # fmt: skip
"""Of a row, in order."""


def summarize(record: Record) -> dict[str, Any]:
    """One record as a flat row of `FIELDS`; a number that is missing is None.

    `init_ms` and `first_ms` are medians over the launches that count.
    """
    import statistics  # decimal, fractions and random: not for every table

    artifact, device, settings = record.artifact, record.device, record.settings
    estimate = record.estimate
    counted = [launch for launch in record.launches if not launch.discarded]
    return {
        "time": clean(record.time),
        "file": clean(artifact.file),
        "sha256": artifact.sha256,
        "network": clean(artifact.network),
        "multiplier": clean(artifact.multiplier),
        "resolution": artifact.resolution,
        "scheme": clean(artifact.scheme),
        "weights": clean(artifact.weights),
        "untrained": artifact.untrained,
        "synthetic_calibration": artifact.synthetic_calibration,
        "device_kind": device.kind,
        "device": clean(device.name),
        "os": clean(device.os),
        "build": clean(device.build),
        "runtime": clean(device.runtime),
        "runtime_sha256": clean(device.runtime_sha256),
        "threads": settings.threads,
        "delegate": clean(settings.delegate),
        "cpus": " ".join(map(str, settings.cpus)),
        "mode": clean(settings.profile),
        "prepared": settings.prepared,
        "allowed": clean(" ".join(settings.allowed)),
        "ambient_c": settings.ambient_c,
        "imported": record.imported,
        "median_ms": estimate.median_ms if estimate else None,
        "low_ms": estimate.low_ms if estimate else None,
        "high_ms": estimate.high_ms if estimate else None,
        "coverage": estimate.coverage if estimate else None,
        "launches": estimate.launches if estimate else 0,
        "init_ms": statistics.median(x.init_ms for x in counted) if counted else None,
        "first_ms": statistics.median(x.first_ms for x in counted) if counted else None,
        "peak_memory_mib": record.peak_memory_mib,
        "verdict": record.verdict,
        "reasons": clean("; ".join(record.reasons)),
        "tool": clean(record.tool),
        "campaign": clean(record.campaign),
        "id": record.id,
    }


def text_rows(records: Iterable[Record]) -> list[Sequence[str]]:
    """A head and a row for each record, for a terminal."""
    rows: list[Sequence[str]] = [
        ("time", "file", "scheme", "device", "threads", "delegate", "median ms", "verdict", "id")
    ]
    for record in records:
        artifact, estimate = record.artifact, record.estimate
        median = "-"
        if estimate:
            median = format_ms(estimate.median_ms, estimate.low_ms, estimate.high_ms)
        names = ", ".join((*reason_names(record.reasons), *map(clean, record.settings.allowed)))
        rows.append(
            (
                clean(record.time[:19]),
                clean(artifact.file),
                clean(artifact.scheme) or "unknown",
                device_title(record.device.kind, record.device.name),
                str(record.settings.threads),
                clean(record.settings.delegate),
                median,
                f"{record.verdict}: {names}" if names else record.verdict,
                record.id,
            )
        )
    return rows


def csv_text(rows: Iterable[Mapping[str, Any]]) -> str:
    """Rows of `summarize` as CSV with a head, also where there is none."""
    import csv
    import io

    text = io.StringIO()
    writer = csv.DictWriter(text, FIELDS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
