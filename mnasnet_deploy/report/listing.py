"""Records as rows: one line each, for a person or for a spreadsheet."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from mnasnet_deploy.report.accuracy import format_share
from mnasnet_deploy.report.measured import device_title, format_ms, reason_names
from mnasnet_deploy.report.model import clean
from mnasnet_deploy.results.accuracy import Accuracy
from mnasnet_deploy.results.record import Record

__all__ = [
    "ACCURACY_FIELDS",
    "ACCURACY_SCHEMA",
    "FIELDS",
    "SCHEMA",
    "accuracy_rows",
    "csv_text",
    "summarize",
    "summarize_accuracy",
    "text_rows",
]

SCHEMA: Final = "mnasnet.result/1"
ACCURACY_SCHEMA: Final = "mnasnet.accuracy-result/1"

FIELDS: Final = (
    "time", "file", "sha256", "network", "multiplier", "resolution", "scheme", "weights",
    "untrained", "synthetic_calibration", "device_kind", "device", "os", "build", "runtime",
    "runtime_sha256", "threads", "delegate", "cpus", "mode", "prepared", "allowed", "ambient_c",
    "imported", "median_ms", "low_ms", "high_ms", "coverage", "launches", "init_ms",
    "first_ms", "peak_memory_mib", "verdict", "reasons", "tool", "campaign", "id",
)  # fmt: skip
"""Of a latency's row, in order."""
ACCURACY_FIELDS: Final = (
    "time", "file", "sha256", "network", "multiplier", "resolution", "scheme", "weights",
    "untrained", "synthetic_calibration", "data", "data_sha256", "images", "unreadable", "labels",
    "preprocessing", "top1_percent", "top1_low", "top1_high", "top5_percent", "top5_low",
    "top5_high", "published_top1", "published_top5", "published_source", "float32_file",
    "float32_same_percent", "only_this", "only_float32", "p_value", "runtime", "machines",
    "cpu_ms", "reasons", "tool", "id",
)  # fmt: skip
"""Of an accuracy's row, in order."""


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


def summarize_accuracy(accuracy: Accuracy) -> dict[str, Any]:
    """One accuracy as a flat row of `ACCURACY_FIELDS`; a number that is missing is None."""
    artifact, data = accuracy.artifact, accuracy.data
    published, agreement = accuracy.published, accuracy.agreement
    return {
        "time": clean(accuracy.time),
        "file": clean(artifact.file),
        "sha256": artifact.sha256,
        "network": clean(artifact.network),
        "multiplier": clean(artifact.multiplier),
        "resolution": artifact.resolution,
        "scheme": clean(artifact.scheme),
        "weights": clean(artifact.weights),
        "untrained": artifact.untrained,
        "synthetic_calibration": artifact.synthetic_calibration,
        "data": clean(data.name),
        "data_sha256": data.digest,
        "images": data.images,
        "unreadable": data.unreadable,
        "labels": data.labels,
        "preprocessing": clean(accuracy.preprocessing),
        "top1_percent": accuracy.top1.percent,
        "top1_low": accuracy.top1.low,
        "top1_high": accuracy.top1.high,
        "top5_percent": accuracy.top5.percent,
        "top5_low": accuracy.top5.low,
        "top5_high": accuracy.top5.high,
        "published_top1": published.top1 if published else None,
        "published_top5": published.top5 if published else None,
        "published_source": clean(published.source) if published else "",
        "float32_file": clean(agreement.file) if agreement else "",
        "float32_same_percent": agreement.same_percent if agreement else None,
        "only_this": agreement.only_this if agreement else None,
        "only_float32": agreement.only_other if agreement else None,
        "p_value": agreement.p_value if agreement else None,
        "runtime": clean(accuracy.runtime),
        "machines": clean("; ".join(accuracy.machines)),
        "cpu_ms": accuracy.cpu_ms,
        "reasons": clean("; ".join(accuracy.reasons)),
        "tool": clean(accuracy.tool),
        "id": accuracy.id,
    }


def accuracy_rows(accuracies: Iterable[Accuracy]) -> list[Sequence[str]]:
    """A head and a row for each accuracy, for a terminal."""
    rows: list[Sequence[str]] = [
        ("time", "file", "scheme", "images", "top-1 %", "top-5 %", "published", "reasons", "id")
    ]
    for accuracy in accuracies:
        published = accuracy.published
        rows.append(
            (
                clean(accuracy.time[:19]),
                clean(accuracy.artifact.file),
                clean(accuracy.artifact.scheme) or "unknown",
                f"{accuracy.data.images:,} of {clean(accuracy.data.name)}",
                format_share(accuracy.top1),
                format_share(accuracy.top5),
                f"{published.top1:.1f}" if published else "-",
                ", ".join(reason_names(accuracy.reasons)) or "-",
                accuracy.id,
            )
        )
    return rows


def csv_text(rows: Iterable[Mapping[str, Any]], head: Sequence[str] = FIELDS) -> str:
    """Rows of one kind as CSV with a head, also where there is none."""
    import csv
    import io

    text = io.StringIO()
    writer = csv.DictWriter(text, head, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
