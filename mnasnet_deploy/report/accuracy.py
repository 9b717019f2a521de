"""Measured accuracies of a table: which column one belongs to, which one a cell shows."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

from mnasnet_deploy.report.measured import (
    ABSENT,
    SCHEME_ORDER,
    SYNTHETIC,
    UNTRAINED,
    Now,
    reason_names,
)
from mnasnet_deploy.report.model import Cell, Column, Legend, Part, clean
from mnasnet_deploy.results.accuracy import Accuracy, Share

__all__ = [
    "AccuracySetup",
    "accuracy_cell",
    "accuracy_column",
    "accuracy_legend",
    "accuracy_order",
    "accuracy_setup",
    "format_share",
]

CALIBRATED, UNREADABLE, ONE_CLASS, FOREIGN = "c", "n", "1", "f"
NOT_EVALUATED = "not evaluated"
CHANGED = "file changed since evaluated"
_DIGEST = 8
_MARKS = {
    UNTRAINED: ("UNTRAINED", "untrained weights: time and size only, classes mean nothing"),
    SYNTHETIC: ("SYNTHETIC-CALIBRATION", "int8 ranges calibrated on generated images"),
    CALIBRATED: ("CALIBRATION-IMAGES", "evaluated on images that decided its int8 ranges, too"),
    UNREADABLE: ("UNREADABLE", "some images could not be read and count nowhere"),
    ONE_CLASS: ("ONE-CLASS", "it answers the same class to nearly every image"),
    FOREIGN: ("FOREIGN", "a file of another tool, fed as its user said"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class AccuracySetup:
    """What must be equal for two accuracies to stand in one column.

    Attributes:
        data: name of the image folder.
        digest: of its images.
        weights: who published them, or their own name.
        scheme: of the file; empty for a foreign one.
    """

    data: str
    digest: str
    weights: str
    scheme: str


def accuracy_setup(accuracy: Accuracy) -> AccuracySetup:
    """The column an accuracy belongs to."""
    return AccuracySetup(
        data=clean(accuracy.data.name),
        digest=accuracy.data.digest[:_DIGEST],
        weights=clean(accuracy.publisher or accuracy.artifact.weights),
        scheme=clean(accuracy.artifact.scheme),
    )


def accuracy_order(setup: AccuracySetup) -> tuple[object, ...]:
    """One data set's columns together, schemes as exported."""
    known = setup.scheme in SCHEME_ORDER
    place = SCHEME_ORDER.index(setup.scheme) if known else len(SCHEME_ORDER)
    return (setup.data, setup.digest, setup.weights, place, setup.scheme)


def accuracy_column(setup: AccuracySetup) -> Column:
    """The head of a setup's column."""
    weights = f"weights {setup.weights}" if setup.weights else "unknown weights"
    facts = {field.name: getattr(setup, field.name) for field in fields(setup)}
    return Column(
        key="/".join(("top1", *filter(None, facts.values()))),
        title="Top-1",
        details=(
            f"{setup.scheme or 'unknown scheme'}, {weights}",
            f"images {setup.data} {setup.digest}",
            "measured, %",
        ),
        kind="measured",
        unit="%",
        facts=facts,
    )


def accuracy_cell(setup: AccuracySetup, accuracies: Sequence[Accuracy], now: Now | None) -> Cell:
    """The newest accuracy, or why there is none.

    Args:
        setup: the column.
        accuracies: of one file name, oldest first, of any setup.
        now: the bytes that name means; None where nothing is known of it.
    """
    here = [accuracy for accuracy in accuracies if accuracy_setup(accuracy) == setup]
    if not here or now is None:
        return Cell(kind="missing", text=NOT_EVALUATED)
    same = [accuracy for accuracy in here if accuracy.artifact.sha256 == now.sha256]
    if not same:
        return Cell(kind="missing", text=CHANGED, record=here[-1].id)
    found = same[-1]
    text = f"{format_share(found.top1)} on {found.data.images:,}"
    if found.published is not None and found.publisher != "official":
        # The published column beside it is of the original's weights.
        text += f" ({clean(found.publisher)} says {found.published.top1:.1f})"
    names = reason_names(found.reasons)
    marks = [mark for mark, (name, _) in _MARKS.items() if name in names]
    return Cell(
        kind="measured",
        text=text,
        value=found.top1.percent,
        low=found.top1.low,
        high=found.top1.high,
        marks=(*marks, *((ABSENT,) if now.absent else ())),
        reasons=tuple(map(clean, found.reasons)),
        record=found.id,
    )


def accuracy_legend(parts: Sequence[Part], accuracies: Sequence[Accuracy]) -> Iterator[Legend]:
    """Explain what occurs in the columns of accuracies.

    Args:
        parts: the table's.
        accuracies: at least those the table shows.
    """
    ids = {accuracy.id for accuracy in accuracies}
    cells = [c for part in parts for row in part.rows for c in row.cells if c.record in ids]
    if not cells:
        return
    yield Legend(
        mark="measured, %",
        meaning="share of images whose first class is right, with Wilson's 95 % interval; newest "
        "evaluation of the file's present bytes",
    )
    marks = {mark for cell in cells for mark in cell.marks}
    for mark, (_, meaning) in _MARKS.items():
        if mark in marks:
            yield Legend(mark=mark, meaning=meaning)
    if ABSENT in marks:
        yield Legend(mark=ABSENT, meaning="the file is not here; of the last bytes it had")


def format_share(share: Share) -> str:
    """A share and its interval in percent: `68.1 ± 0.4`, or `98.0 [95.1, 99.2]` where it leans.

    One decimal, or two where one would hide that the interval has a width.
    """
    below, above = share.percent - share.low, share.high - share.percent
    decimals = 1 if max(below, above) >= 0.1 else 2
    if f"{below:.{decimals}f}" == f"{above:.{decimals}f}":
        return f"{share.percent:.{decimals}f} ± {above:.{decimals}f}"
    low, high = f"{share.low:.{decimals}f}", f"{share.high:.{decimals}f}"
    return f"{share.percent:.{decimals}f} [{low}, {high}]"
