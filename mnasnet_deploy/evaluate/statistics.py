"""How far counts of right and wrong can be trusted. Standard library only."""

import math
from typing import Final

__all__ = ["CONFIDENCE", "EXACT_LIMIT", "mcnemar", "wilson"]

CONFIDENCE: Final = 0.95
# The two-sided 95 % quantile of the normal distribution.
_Z: Final = 1.959963984540054
EXACT_LIMIT: Final = 1000
"""Up to so many discordant pairs McNemar's test is exact; beyond, the two agree to three digits."""


def wilson(correct: int, total: int) -> tuple[float, float]:
    """The Wilson score interval of a share, 95 %, without continuity correction.

    E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22
    (1927). It stays within 0 and 1, and covers as promised for small counts too.

    Args:
        correct: 0 to `total`.
        total: 1 or more.

    Returns:
        Both ends, 0 to 1.

    Raises:
        ValueError: counts that cannot be.
    """
    if not 0 <= correct <= total or total < 1:
        raise ValueError(f"{correct} of {total} is no share")
    share, square = correct / total, _Z * _Z / total
    centre = (share + square / 2) / (1 + square)
    half = _Z / (1 + square) * math.sqrt((share * (1 - share) + square / 4) / total)
    # At the ends the formula is exact and only its rounding is not.
    low = 0.0 if correct == 0 else max(0.0, centre - half)
    high = 1.0 if correct == total else min(1.0, centre + half)
    return low, high


def mcnemar(only_first: int, only_second: int) -> float:
    """Probability of so unequal a pair of discordant counts where both are equally likely.

    Q. McNemar, "Note on the sampling error of the difference between correlated proportions or
    percentages", Psychometrika 12 (1947). Two-sided; exact (binomial) up to `EXACT_LIMIT`
    discordant pairs, beyond with A. L. Edwards' continuity correction.

    Args:
        only_first: images that only the first file gets right.
        only_second: images that only the second gets right.

    Raises:
        ValueError: a count below 0.
    """
    if min(only_first, only_second) < 0:
        raise ValueError(f"{only_first} and {only_second} are no counts")
    discordant = only_first + only_second
    if discordant == 0:
        return 1.0
    if discordant > EXACT_LIMIT:
        distance = max(0, abs(only_first - only_second) - 1)
        return math.erfc(math.sqrt(distance * distance / discordant / 2))
    tail = sum(math.comb(discordant, k) for k in range(min(only_first, only_second) + 1))
    # Whole numbers: their quotient is right to the last digit, at any size.
    return min(1.0, float(2 * tail / (1 << discordant)))
