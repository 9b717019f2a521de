"""Where the values of one grid contradict each other: found by computing, from the grid alone.

Nothing here knows which cell is wrong; the rules look at any grid of the same form.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from mnasnet_deploy.arch.published import PublishedRow

__all__ = ["Finding", "GridCell", "contradictions", "place"]

GridCell = tuple[int, float, str]
"""Resolution, multiplier and column of a published value."""

_COLUMNS = {"top1": "top-1", "top5": "top-5", "work_m": "work", "pixel1_ms": "latency"}
_UNITS = {"top1": " %", "top5": " %", "work_m": " M", "pixel1_ms": " ms"}

# A latency is out of line when it departs from what its row and its column say by more than this
# many standard deviations (estimated from the median residual), its rounding allowed for.
_OUT_OF_LINE = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One contradiction.

    Attributes:
        name: of the rule, in capitals.
        message: what stands against what.
        source: where the printed values stand.
        cells: the published values it is about, where it is about single ones.
        numbers: the values compared, by meaning.
    """

    name: str
    message: str
    source: str
    cells: tuple[GridCell, ...] = ()
    numbers: dict[str, float] = field(default_factory=dict)


def contradictions(rows: Sequence[PublishedRow]) -> tuple[Finding, ...]:
    """What the values of a grid say against each other; cheap enough to flag cells of a table."""
    return (*_repeated_column(rows), *_not_monotonic(rows), *_out_of_line(rows))


def place(row: PublishedRow) -> str:
    """A row in words: `0.35 @160`."""
    return f"{row.cells['multiplier']} @{row.resolution}"


def _repeated_column(rows: Sequence[PublishedRow]) -> Iterator[Finding]:
    for row in rows:
        second = row.top1_repeated
        if second is None or second == row.top1:
            continue
        expected = _expected_top1(row, rows)
        verdict = "its neighbours cannot tell which is right"
        numbers = {"top1": row.top1, "top1_repeated": second}
        if expected:
            near = {
                how: min((row.top1, second), key=lambda printed: abs(printed - value))
                for how, value in expected.items()
            }
            said = ", ".join(f"{how} says {value:.1f}" for how, value in expected.items())
            fits = set(near.values())
            verdict = f"{said}: {fits.pop():g} fits" if len(fits) == 1 else f"{said}: no majority"
            numbers |= {f"expected from {how}": round(v, 2) for how, v in expected.items()}
        yield Finding(
            name="REPEATED_COLUMN",
            message=f"{place(row)}: top-1 is {row.top1:g} in its column and {second:g} in its "
            f"repetition; {verdict}",
            source=row.source,
            cells=((row.resolution, row.multiplier, "top1"),),
            numbers=numbers,
        )


def _expected_top1(row: PublishedRow, rows: Sequence[PublishedRow]) -> dict[str, float]:
    """What other rows say about the top-1 of one row, by two ways that share nothing with it."""
    others = [other for other in rows if other is not row]
    by_size = [(o.resolution, o.top1) for o in others if o.multiplier == row.multiplier]
    ways = {
        "the line through the input sizes around it": _between(by_size, row.resolution),
        "the line through the rows around its top-5": _between(
            [(other.top5, other.top1) for other in others], row.top5
        ),
    }
    return {how: value for how, value in ways.items() if value is not None}


def _not_monotonic(rows: Sequence[PublishedRow]) -> Iterator[Finding]:
    """A bigger input or a wider network is never less accurate, less work or faster."""
    for small, large in _steps(rows):
        for column, meaning in _COLUMNS.items():
            low, high = getattr(small, column), getattr(large, column)
            if high >= low:
                continue
            unit = _UNITS[column]
            yield Finding(
                name="NOT_MONOTONIC",
                message=f"{meaning} falls from {low:g}{unit} at {place(small)} to {high:g}{unit} "
                f"at {place(large)}, though the second is the bigger network",
                source=large.source,
                cells=((large.resolution, large.multiplier, column),),
                numbers={"smaller network": low, "bigger network": high},
            )


def _out_of_line(rows: Sequence[PublishedRow]) -> Iterator[Finding]:
    """Latencies that their row and column do not explain (median polish of the logarithms)."""
    residuals = _polish({(r.resolution, r.multiplier): math.log(r.pixel1_ms) for r in rows})
    free = [abs(residual) for residual in residuals.values() if residual]
    if len(free) < 8:  # too few to know how far values usually stray
        return
    deviation = max(_median(free) * 1.4826, 0.005)
    for row in rows:
        residual = residuals[row.resolution, row.multiplier]
        rounding = _half_digit(row.cells["pixel1_ms"]) / row.pixel1_ms
        if abs(residual) - rounding <= _OUT_OF_LINE * deviation:
            continue
        expected = row.pixel1_ms / math.exp(residual)
        yield Finding(
            name="OUT_OF_LINE",
            message=f"{place(row)}: {row.pixel1_ms:g} ms where its row and column say "
            f"{expected:.1f} ms{_step_text(row, rows)}; looks like noise",
            source=row.source,
            cells=((row.resolution, row.multiplier, "pixel1_ms"),),
            numbers={"pixel1_ms": row.pixel1_ms, "expected_ms": round(expected, 2)},
        )


def _step_text(row: PublishedRow, rows: Sequence[PublishedRow]) -> str:
    """How the step to the next wider network compares with the same step at other input sizes."""
    wider = [r for r in rows if r.resolution == row.resolution and r.multiplier > row.multiplier]
    if not wider:
        return ""
    following = min(wider, key=lambda other: other.multiplier)
    times = {(r.resolution, r.multiplier): r.pixel1_ms for r in rows}
    shares = [
        times[r.resolution, row.multiplier] / r.pixel1_ms
        for r in rows
        if r.multiplier == following.multiplier
        and r is not following
        and (r.resolution, row.multiplier) in times
    ]
    if not shares:
        return ""
    return (
        f" ({row.pixel1_ms / following.pixel1_ms:.2f} of the {following.pixel1_ms:g} ms at "
        f"{place(following)}; at other sizes {min(shares):.2f} to {max(shares):.2f})"
    )


def _steps(rows: Sequence[PublishedRow]) -> Iterator[tuple[PublishedRow, PublishedRow]]:
    """Neighbours that differ in one thing, the smaller first."""
    for row in rows:
        larger = [
            r for r in rows if r.multiplier == row.multiplier and r.resolution > row.resolution
        ]
        wider = [
            r for r in rows if r.resolution == row.resolution and r.multiplier > row.multiplier
        ]
        if larger:
            yield row, min(larger, key=lambda other: other.resolution)
        if wider:
            yield row, min(wider, key=lambda other: other.multiplier)


def _polish(values: dict[tuple[int, float], float]) -> dict[tuple[int, float], float]:
    """Take the median out of rows and columns in turn; what is left is what neither explains."""
    residuals = dict(values)
    for _ in range(20):
        for axis in (0, 1):
            for label in {key[axis] for key in residuals}:
                line = [key for key in residuals if key[axis] == label]
                middle = _median(residuals[key] for key in line)
                for key in line:
                    residuals[key] -= middle
    return residuals


def _median(values: Iterable[float]) -> float:
    # `statistics` imports decimal, fractions and random: 10 ms on every table.
    ordered = sorted(values)
    middle = len(ordered) // 2
    if len(ordered) % 2:
        return ordered[middle]
    return (ordered[middle - 1] + ordered[middle]) / 2


def _between(points: Sequence[tuple[float, float]], x: float) -> float | None:
    """The line between the nearest points on both sides; None at an edge."""
    below = max((point for point in points if point[0] <= x), default=None)
    above = min((point for point in points if point[0] >= x), default=None)
    if below is None or above is None:
        return None
    if below[0] == above[0]:
        return (below[1] + above[1]) / 2
    return below[1] + (x - below[0]) / (above[0] - below[0]) * (above[1] - below[1])


def _half_digit(printed: str) -> float:
    return 0.5 * 10.0 ** -len(printed.partition(".")[2])
