"""Intervals and tests against published worked examples, and their laws."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnasnet_deploy.evaluate.statistics import EXACT_LIMIT, mcnemar, wilson


@pytest.mark.parametrize(
    ("correct", "total", "low", "high"),
    [
        # R. G. Newcombe, "Two-sided confidence intervals for the single proportion", Statistics in
        # Medicine 17 (1998), table I, method 3 (score, no continuity correction).
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilsons_interval_is_newcombes(correct, total, low, high):
    assert wilson(correct, total) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))


def test_fifty_thousand_images_give_four_tenths_of_a_point():
    low, high = wilson(34_050, 50_000)
    assert 100 * (high - low) / 2 == pytest.approx(0.41, abs=0.005)


@given(st.integers(1, 10**6).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_an_interval_holds_its_share_and_mirrors(counts):
    correct, total = counts
    low, high = wilson(correct, total)
    assert 0 <= low <= correct / total + 1e-12
    assert correct / total - 1e-12 <= high <= 1
    other = wilson(total - correct, total)
    assert (low, high) == (pytest.approx(1 - other[1], abs=1e-9), pytest.approx(1 - other[0]))


@given(st.integers(1, 10**4).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_ends_of_an_interval_solve_wilsons_equation(counts):
    correct, total = counts
    share = correct / total
    for end in wilson(correct, total):
        # |share - p| = z * sqrt(p (1 - p) / n): what the interval is defined by.
        assert abs(share - end) == pytest.approx(
            1.959963984540054 * math.sqrt(max(0.0, end * (1 - end)) / total), abs=1e-7
        )


@pytest.mark.parametrize(("correct", "total"), [(-1, 5), (6, 5), (0, 0)])
def test_impossible_counts_are_no_share(correct, total):
    with pytest.raises(ValueError, match="no share"):
        wilson(correct, total)


@pytest.mark.parametrize(
    ("first", "second", "p"),
    [
        (0, 0, 1.0),
        (5, 5, 1.0),
        (1, 9, 2 * 11 / 1024),  # 1 + 10 of the 1024 ways ten coins fall, on either side
        (0, 5, 2 / 32),
        # A. Agresti, "Categorical data analysis" (1990), table 10.1: 86 against 150 changed their
        # mind; chi squared is 17.36 without correction and 16.82 with: 3.1e-05 and 4.1e-05.
        (86, 150, 3.7e-05),
    ],
)
def test_mcnemars_test_by_hand(first, second, p):
    assert mcnemar(first, second) == pytest.approx(p, rel=0.03)
    assert mcnemar(second, first) == mcnemar(first, second)


def test_many_pairs_are_tested_with_the_continuity_correction():
    # (|700 - 800| - 1)^2 / 1500 = 6.534; the tail of chi squared with one degree is 0.010582.
    assert mcnemar(700, 800) == pytest.approx(0.010582, rel=1e-3)
    assert mcnemar(10**6, 10**6) == 1.0


def test_where_the_two_ways_meet_they_agree():
    few, many = (EXACT_LIMIT // 2 - 40, EXACT_LIMIT // 2 + 40), (EXACT_LIMIT // 2 - 39, 540 + 1)
    assert sum(few) == EXACT_LIMIT
    assert mcnemar(*few) == pytest.approx(mcnemar(*many), rel=0.08)


@given(st.integers(0, 499), st.integers(0, 499))
def test_a_p_value_falls_as_the_counts_part(first, second):
    first, second = sorted((first, second))
    assert 0 < mcnemar(first, second + 1) <= mcnemar(first, second) <= 1


def test_negative_counts_are_refused():
    with pytest.raises(ValueError, match="no counts"):
        mcnemar(-1, 2)
