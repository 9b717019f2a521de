"""What `mnasnet eval` shows."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mnasnet_deploy.results.accuracy import Accuracy, Agreement, Share

__all__ = ["mapping", "share", "text"]

SCHEMA = "mnasnet.evaluation-results/1"
MANY_LABELS = 5
"""With no more classes than this the first five hold the right one always."""


def text(accuracy: "Accuracy") -> str:
    """A file's accuracy beside the published one, then how it agrees with float32."""
    images = f"on {accuracy.data.images:,}"
    published = accuracy.published
    top1 = f"measured {share(accuracy.top1)} {images}"
    top5 = f"measured {share(accuracy.top5)}"
    if published is not None:
        top1 = f"published {published.top1:.1f}, {top1}"
        if published.top5 is not None:
            top5 = f"published {published.top5:.1f}, {top5}"
    lines = [f"{accuracy.artifact.file}: top-1 {top1}"]
    if accuracy.artifact.classes > MANY_LABELS or not accuracy.artifact.classes:
        lines[0] += f"; top-5 {top5}"
    if accuracy.agreement is not None:
        lines.append(f"  {_agreement(accuracy.agreement)}")
    return "\n".join(lines)


def share(value: "Share") -> str:
    """In percent with its interval."""
    from mnasnet_deploy.report.accuracy import format_share

    return format_share(value)


def mapping(found: "Sequence[Accuracy]", errors: Mapping[str, str]) -> dict[str, Any]:
    """For JSON: the records as they are stored, and why other files gave none."""
    return {
        "schema": SCHEMA,
        "accuracies": [asdict(accuracy) for accuracy in found],
        "errors": dict(errors),
    }


def _agreement(agreement: "Agreement") -> str:
    noise = "inside the noise" if agreement.p_value >= 0.05 else "beyond the noise"
    return (
        f"same first class as float32 on {agreement.same_percent:.1f} %; right here only: "
        f"{agreement.only_this:,}, there only: {agreement.only_other:,} (McNemar p = "
        f"{agreement.p_value:.2g}, {noise})"
    )
