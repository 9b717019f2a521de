"""Where a published page contradicts itself, its network and others' measurements: by computing.

The values are data (`mnasnet_deploy.arch.published` and `claims`); nothing here knows which of them
is wrong.
"""

import math
from collections.abc import Callable, Iterator, Sequence

from mnasnet_deploy.arch.claims import (
    ACCURACY_CHECKS,
    PRINTED_HEADERS,
    SPEED_CLAIMS,
    WORK_CLAIMS,
    AccuracyCheck,
    SpeedClaim,
    WorkClaim,
)
from mnasnet_deploy.arch.counts import Counts, count_network
from mnasnet_deploy.arch.network import build_network
from mnasnet_deploy.arch.published import PublishedRow, published_rows
from mnasnet_deploy.arch.variants import find_variant
from mnasnet_deploy.report.contradictions import Finding, contradictions, place

__all__ = ["lint"]

# Two evaluations of one network on the same 50,000 images differ by rounding and preprocessing;
# beyond this many standard errors they are not the same result.
_NOT_REPRODUCED = 3.0


def lint(network: str) -> tuple[Finding, ...]:
    """Everything found about one published network; nothing for one that is not published."""
    rows = published_rows(network)
    findings = [*_surplus_cells(rows, PRINTED_HEADERS.get(network, ())), *contradictions(rows)]
    findings += _counts(rows)
    for work in WORK_CLAIMS:
        if work.network == network:
            findings += _work_claim(work, rows)
    for speed in SPEED_CLAIMS:
        if speed.network == network:
            findings += _speed_claim(speed, rows, published_rows(speed.other))
    for check in ACCURACY_CHECKS:
        if check.network == network:
            findings += _accuracy_check(check, rows)
    return tuple(findings)


def _surplus_cells(rows: Sequence[PublishedRow], headers: Sequence[str]) -> Iterator[Finding]:
    if not rows or not headers:
        return
    cells = {len(row.cells) for row in rows}
    if cells == {len(headers)}:
        return
    repeated = [
        headers[index]
        for index, earlier, later in _column_pairs(list(rows[0].cells))
        if _share_equal(rows, earlier, later) > 0.9
    ]
    because = f" ('{repeated[0]}' stands twice)" if repeated else ""
    yield Finding(
        name="CELLS_UNDER_HEADERS",
        message=f"each of the {len(rows)} rows has {_join(cells)} cells under {len(headers)} "
        f"headers{because}",
        source=rows[0].source,
        numbers={"cells": max(cells), "headers": len(headers)},
    )


# What a column may mean, the usual meaning first: counts of a network and the gammas and betas of
# its batch norms -> the value.
_Convention = dict[str, Callable[[Counts, int], float]]
_PARAMS: _Convention = {
    "count the gamma and beta of batch norm": lambda counts, _: counts.params,
    "leave out the gamma and beta of batch norm": lambda counts, norms: counts.params - norms,
}
_MULTI_ADDS: _Convention = {
    "are what the TFLite converter counts": lambda counts, _: counts.multi_adds,
    "are multiply-accumulates only": lambda counts, _: counts.macs,
}
_MACS = dict(reversed(_MULTI_ADDS.items()))


def _counts(rows: Sequence[PublishedRow]) -> Iterator[Finding]:
    """Recount each row; a whole column that one convention explains is one finding or none."""
    if not rows:
        return
    spec = find_variant(rows[0].network).spec
    recounted = []
    for row in rows:
        network = build_network(spec, multiplier=row.multiplier, resolution=row.resolution)
        norms = sum(2 * layer.output_shape[-1] for layer in network.layers if layer.batch_norm)
        recounted.append((row, count_network(network), norms))
    yield from _column("params_m", "parameters", recounted, _PARAMS)
    if "multi_adds_m" in rows[0].cells:
        yield from _column("multi_adds_m", "multi-adds", recounted, _MULTI_ADDS)
    else:
        yield from _column("macs_m", "MACs", recounted, _MACS)


def _column(
    column: str,
    meaning: str,
    recounted: list[tuple[PublishedRow, Counts, int]],
    conventions: _Convention,
) -> Iterator[Finding]:
    best: list[tuple[PublishedRow, float]] | None = None
    usual = next(iter(conventions))
    for convention, count in conventions.items():
        for cut in (False, True):
            wrong = [
                (row, count(counts, norms))
                for row, counts, norms in recounted
                if not _prints_as(count(counts, norms), row.cells[column], cut=cut)
            ]
            if not wrong:
                said = [convention] * (convention != usual) + ["are cut off, not rounded"] * cut
                if said:
                    yield Finding(
                        name="COUNTED_OTHERWISE",
                        message=f"all {len(recounted)} values of {meaning} {' and '.join(said)}",
                        source=recounted[0][0].source,
                    )
                return
            if best is None or len(wrong) < len(best):
                best = wrong
    for row, counted in best or ():
        yield Finding(
            name="COUNT_DIFFERS",
            message=f"{place(row)}: {row.cells[column]} M {meaning} are printed, "
            f"{counted / 1e6:.3f} M are counted",
            source=row.source,
            cells=((row.resolution, row.multiplier, column),),
            numbers={"printed_m": float(row.cells[column]), "counted_m": round(counted / 1e6, 3)},
        )


def _work_claim(claim: WorkClaim, rows: Sequence[PublishedRow]) -> Iterator[Finding]:
    """Prose and table may each be right and still differ: they count differently."""
    tabled = [row.work_m for row in rows if (row.multiplier, row.resolution) == (1.0, 224)]
    if not tabled or round(tabled[0]) == claim.work_m:
        return
    counts = count_network(build_network(find_variant(claim.network).spec))
    macs, multi_adds = counts.macs / 1e6, counts.multi_adds / 1e6
    agree = round(macs) == claim.work_m and round(multi_adds, 1) == tabled[0]
    yield Finding(
        name="TWO_CONVENTIONS",
        message=f"the text says '{claim.quote}', the table {tabled[0]:g} M: "
        + (
            f"both are right, in two conventions: {macs:.2f} M multiply-accumulates of "
            f"convolutions and the classifier, {multi_adds:.2f} M as the TFLite converter counts"
            if agree
            else f"counted are {macs:.2f} M multiply-accumulates and {multi_adds:.2f} M as the "
            "TFLite converter counts"
        ),
        source=claim.source,
        numbers={
            "text_m": claim.work_m,
            "table_m": tabled[0],
            "macs_m": round(macs, 3),
            "multi_adds_m": round(multi_adds, 3),
        },
    )


def _speed_claim(
    claim: SpeedClaim, rows: Sequence[PublishedRow], others: Sequence[PublishedRow]
) -> Iterator[Finding]:
    lower = 100 * (1 - 1 / claim.factor)
    if abs(lower - claim.lower_percent) < 1:
        return
    factor = 1 / (1 - claim.lower_percent / 100)
    message = (
        f"'{claim.quote}': {claim.factor:g}x is {lower:.0f} % lower, and {claim.lower_percent:g} % "
        f"lower would be {factor:.2f}x"
    )
    numbers = {
        "factor": claim.factor,
        "lower_percent": claim.lower_percent,
        "lower_percent_of_factor": round(lower, 1),
        "factor_of_lower_percent": round(factor, 2),
    }
    own = [r for r in rows if (r.multiplier, r.resolution) == (claim.multiplier, claim.resolution)]
    if own and others:
        equal = min(others, key=lambda row: abs(row.top1 - own[0].top1))
        ratio = equal.pixel1_ms / own[0].pixel1_ms
        message += (
            f"; the grids say {own[0].pixel1_ms:g} ms against the {equal.pixel1_ms:g} ms of "
            f"{equal.network} {place(equal)}, nearest in top-1: {ratio:.2f}x, "
            f"{100 * (1 - 1 / ratio):.0f} % lower"
        )
        numbers |= {"factor_of_grids": round(ratio, 2)}
    yield Finding(name="SPEED_CLAIM", message=message, source=claim.source, numbers=numbers)


def _accuracy_check(check: AccuracyCheck, rows: Sequence[PublishedRow]) -> Iterator[Finding]:
    for row in rows:
        if (row.multiplier, row.resolution) != (check.multiplier, check.resolution):
            continue
        share = row.top1 / 100
        error = 100 * math.sqrt(share * (1 - share) / check.images)
        if abs(row.top1 - check.top1) <= _NOT_REPRODUCED * error:
            continue
        yield Finding(
            name="NOT_REPRODUCED",
            message=f"{place(row)}: top-1 {row.top1:g} % is printed, {check.top1:g} % was "
            f"measured with the published weights on {check.images:,} images ({check.source}): "
            f"{abs(row.top1 - check.top1) / error:.0f} standard errors apart",
            source=check.source,
            cells=((row.resolution, row.multiplier, "top1"),),
            numbers={"printed": row.top1, "measured": check.top1},
        )


def _prints_as(count: float, printed: str, *, cut: bool) -> bool:
    """Whether a count in units gives the printed number of millions, rounded or cut off."""
    scale = 10.0 ** len(printed.partition(".")[2])
    scaled = count / 1e6 * scale
    wanted = float(printed) * scale
    return math.floor(scaled) == round(wanted) if cut else abs(scaled - wanted) <= 0.5 + 1e-9


def _column_pairs(columns: Sequence[str]) -> Iterator[tuple[int, str, str]]:
    for index, earlier in enumerate(columns):
        for later in columns[index + 1 :]:
            yield index, earlier, later


def _share_equal(rows: Sequence[PublishedRow], first: str, second: str) -> float:
    def same(row: PublishedRow) -> bool:
        try:
            values = [float(row.cells[column]) for column in (first, second)]
        except ValueError:
            return False
        return values[0] == values[1]

    return sum(map(same, rows)) / len(rows)


def _join(numbers: set[int]) -> str:
    return " or ".join(map(str, sorted(numbers)))
