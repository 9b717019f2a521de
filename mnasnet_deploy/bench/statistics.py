"""What a handful of launches says about a latency. Standard library only.

The unit is the launch, one process run reduced to its median: runs within a process share its
memory layout and are no independent samples (Kalibera and Jones, ISMM 2013; pyperf).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = [
    "CONFIDENCE",
    "Interval",
    "Trend",
    "drift",
    "is_bimodal",
    "median",
    "median_absolute_deviation",
    "median_interval",
    "quantile",
    "relative_half_width",
    "trend",
    "variation",
]

CONFIDENCE = 0.95
"""Of the interval of the median; Hoefler and Belli, SC'15, advise intervals of the median."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """An interval of the median.

    Attributes:
        low, high: two of the values.
        coverage: probability that the interval covers the true median, exact for any continuous
            distribution; below `CONFIDENCE` where there are too few values to reach it.
    """

    low: float
    high: float
    coverage: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Trend:
    """Rank correlation of values with their order.

    Attributes:
        rho: Spearman's, -1 to 1.
        p_value: of a rho this far from 0 when there is no trend, two-sided.
    """

    rho: float
    p_value: float


def median(values: Sequence[float]) -> float:
    """Middle value, or the mean of the two middle ones."""
    return quantile(values, 0.5)


def quantile(values: Sequence[float], share: float) -> float:
    """Value below which a share (0 to 1) of the values lies, linear between two of them.

    Raises:
        ValueError: no values, or a share outside 0 to 1.
    """
    if not values:
        raise ValueError("no values")
    if not 0 <= share <= 1:
        raise ValueError(f"a share of {share}")
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    weight = place - below
    # So written, a weight of 0.5 between equal values gives that value to the last bit.
    return ordered[below] + weight * (ordered[above] - ordered[below])


def median_interval(values: Sequence[float], confidence: float = CONFIDENCE) -> Interval:
    """Distribution-free interval of the median between two order statistics.

    The narrowest symmetric pair [x_r, x_(n+1-r)] that covers with at least `confidence`: x2..x9
    (97.9 %) for 10 values, x1..x6 (96.9 %) for 6. Five values or fewer cannot reach 95 %; then it
    is the whole range, and `coverage` says how much that is worth.

    Raises:
        ValueError: no values.
    """
    if not values:
        raise ValueError("no values")
    ordered = sorted(values)
    count = len(ordered)
    rank, coverage = 1, _coverage(count, 1)
    while (next_coverage := _coverage(count, rank + 1)) >= confidence:
        rank, coverage = rank + 1, next_coverage
    return Interval(low=ordered[rank - 1], high=ordered[count - rank], coverage=coverage)


def _coverage(count: int, rank: int) -> float:
    """Probability that x_rank..x_(count+1-rank) covers the median: exact binomial."""
    if 2 * rank > count + 1:
        return 0.0
    outside = sum(math.comb(count, below) for below in range(rank))
    # In whole numbers up to the division: floats would lose the tails of many launches.
    every = 1 << count
    return max(0, every - 2 * outside) / every


def relative_half_width(values: Sequence[float]) -> float:
    """Half the width of the median's interval, as a share of the median."""
    interval = median_interval(values)
    return (interval.high - interval.low) / 2 / median(values)


def variation(values: Sequence[float]) -> float:
    """Coefficient of variation: sample standard deviation over mean; 0 for one value."""
    if len(values) < 2:
        return 0.0
    mean = math.fsum(values) / len(values)
    squares = math.fsum((value - mean) * (value - mean) for value in values)
    return math.sqrt(squares / (len(values) - 1)) / mean


def median_absolute_deviation(values: Sequence[float]) -> float:
    """Median distance from the median, unscaled."""
    middle = median(values)
    return median([abs(value - middle) for value in values])


def drift(values: Sequence[float]) -> float:
    """Relative change from the first third of the values to the last, by their medians.

    0 for fewer than two values. A third is at least one value.
    """
    if len(values) < 2:
        return 0.0
    third = max(1, len(values) // 3)
    return median(values[-third:]) / median(values[:third]) - 1


def trend(values: Sequence[float]) -> Trend:
    """Spearman's rank correlation of values with their order, ties at their mean rank.

    The p-value is Student's t with n - 2 degrees of freedom, and never below 2 / n!, the chance
    of a perfect order: for a few values the t distribution alone would claim certainty.
    """
    count = len(values)
    if count < 3:
        return Trend(rho=0.0, p_value=1.0)
    ranks = _ranks(values)
    middle = (count + 1) / 2
    spread = math.fsum((rank - middle) ** 2 for rank in ranks)
    if spread == 0:
        return Trend(rho=0.0, p_value=1.0)
    places = count * (count**2 - 1) / 12
    product = math.fsum((rank - middle) * (place + 1 - middle) for place, rank in enumerate(ranks))
    rho = max(-1.0, min(1.0, product / math.sqrt(spread * places)))
    rest = 1 - rho**2
    chance = _student(rho * math.sqrt((count - 2) / rest), count - 2) if rest > 0 else 0.0
    return Trend(rho=rho, p_value=max(chance, 2 / math.factorial(count)))


def _ranks(values: Sequence[float]) -> list[float]:
    """Rank from 1 of every value, ties at their mean."""
    order = sorted(range(len(values)), key=values.__getitem__)
    ranks = [0.0] * len(values)
    start = 0
    while start < len(order):
        end = start
        while end + 1 < len(order) and values[order[end + 1]] == values[order[start]]:
            end += 1
        for place in order[start : end + 1]:
            ranks[place] = (start + end) / 2 + 1
        start = end + 1
    return ranks


def _student(t: float, freedom: int) -> float:
    """Two-sided tail of Student's t for whole degrees of freedom.

    Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.3 and 26.7.4.
    """
    angle = math.atan(abs(t) / math.sqrt(freedom))
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = freedom % 2
    term, total = (cosine, 0.0) if odd else (1.0, 0.0)
    for step in range(odd, freedom - 1, 2):
        total += term
        term *= cosine**2 * (step + 1) / (step + 2)
    inside = 2 / math.pi * (angle + sine * total) if odd else sine * total
    return min(1.0, max(0.0, 1 - inside))


def is_bimodal(values: Sequence[float], gap: float) -> bool:
    """Whether values fall into two groups, at least two on each side of a gap.

    Args:
        values: any order.
        gap: as a share of the median.
    """
    ordered = sorted(values)
    limit = gap * median(ordered)
    return any(ordered[place] - ordered[place - 1] > limit for place in range(2, len(ordered) - 1))
