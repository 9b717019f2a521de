"""Intervals that cover, trends that are there, and neither changed by the order of the values."""

import itertools
import math
import random
import statistics as standard

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnasnet_deploy.bench.statistics import (
    CONFIDENCE,
    drift,
    is_bimodal,
    median,
    median_absolute_deviation,
    median_interval,
    quantile,
    relative_half_width,
    trend,
    variation,
)

times = st.floats(min_value=1e-3, max_value=1e4)
samples = st.lists(times, min_size=1, max_size=40)


@given(samples)
def test_the_interval_contains_the_median_and_is_made_of_values(values):
    interval = median_interval(values)
    assert interval.low <= median(values) <= interval.high
    assert {interval.low, interval.high} <= set(values)


@given(samples, st.randoms(use_true_random=False))
def test_the_order_of_the_values_changes_nothing(values, shuffler):
    shuffled = list(values)
    shuffler.shuffle(shuffled)
    assert median_interval(shuffled) == median_interval(values)
    assert median(shuffled) == median(values)
    assert median_absolute_deviation(shuffled) == median_absolute_deviation(values)
    assert variation(shuffled) == variation(values)
    assert is_bimodal(shuffled, 0.05) == is_bimodal(values, 0.05)


# As tabulated in textbooks on order statistics: count, rank of the lower end, coverage.
TABLE = [
    (5, 1, 0.9375),
    (6, 1, 0.96875),
    (8, 1, 0.9921875),
    (9, 2, 0.9609375),
    (10, 2, 0.978515625),
    (12, 3, 0.96142578125),
    (15, 4, 0.96484375),
]


@pytest.mark.parametrize(("count", "rank", "coverage"), TABLE)
def test_the_interval_is_the_tabulated_one(count, rank, coverage):
    interval = median_interval([float(value) for value in range(1, count + 1)])
    assert (interval.low, interval.high) == (rank, count + 1 - rank)
    assert interval.coverage == coverage


@pytest.mark.parametrize("count", range(1, 13))
def test_the_coverage_is_that_of_counting_every_case(count):
    """Each value lies above or below the true median like a fair coin."""
    interval = median_interval([float(value) for value in range(1, count + 1)])
    rank = int(interval.low)
    covered = sum(
        rank <= sum(below) <= count - rank for below in itertools.product((0, 1), repeat=count)
    )
    assert interval.coverage == covered / 2**count


@pytest.mark.parametrize("count", [*range(6, 41), 200])
def test_six_values_or_more_reach_the_confidence_and_no_narrower_pair_does(count):
    interval = median_interval(range(count))
    assert interval.coverage >= CONFIDENCE
    rank = int(interval.low) + 1
    inner = 1 - 2 * sum(math.comb(count, below) for below in range(rank + 1)) / 2**count
    assert inner < CONFIDENCE


@pytest.mark.parametrize("count", range(1, 6))
def test_five_values_or_fewer_give_their_range_and_say_what_it_is_worth(count):
    interval = median_interval([float(value) for value in range(count)])
    assert (interval.low, interval.high) == (0, count - 1)
    assert interval.coverage < CONFIDENCE


@given(samples)
def test_the_median_is_the_standard_librarys(values):
    assert median(values) == pytest.approx(standard.median(values), rel=1e-12)


@given(st.lists(times, min_size=2, max_size=40))
def test_quantiles_and_variation_are_the_standard_librarys(values):
    expected = standard.quantiles(values, n=20, method="inclusive")
    assert quantile(values, 0.95) == pytest.approx(expected[18], rel=1e-9)
    ratio = standard.stdev(values) / standard.mean(values)
    assert variation(values) == pytest.approx(ratio, rel=1e-9, abs=1e-12)


@given(samples, st.floats(min_value=0.01, max_value=100))
def test_relative_measures_do_not_depend_on_the_unit(values, factor):
    scaled = [value * factor for value in values]
    for measure in (relative_half_width, variation, drift):
        assert measure(scaled) == pytest.approx(measure(values), rel=1e-6, abs=1e-9)


def test_nothing_is_no_sample():
    for measure in (median, median_interval):
        with pytest.raises(ValueError, match="no values"):
            measure([])
    with pytest.raises(ValueError, match="a share"):
        quantile([1.0], 1.5)
    assert variation([3.0]) == 0
    assert drift([3.0]) == 0


@given(st.lists(times, min_size=3, max_size=40))
def test_a_trend_turns_its_sign_with_the_order(values):
    forward, backward = trend(values), trend(values[::-1])
    assert -1 <= forward.rho <= 1
    assert 0 < forward.p_value <= 1
    assert backward.rho == pytest.approx(-forward.rho, abs=1e-9)
    assert backward.p_value == pytest.approx(forward.p_value, rel=1e-6)


@pytest.mark.parametrize("count", [3, 4, 5, 6, 10])
def test_a_perfect_order_is_no_more_certain_than_its_chance(count):
    found = trend(range(count))
    assert found.rho == 1
    assert found.p_value == pytest.approx(2 / math.factorial(count))


def test_equal_values_have_no_trend():
    assert trend([2.0] * 10).p_value == 1
    assert trend([2.0, 1.0]).p_value == 1


# Student's t: the two-sided 5 % and 1 % points of printed tables, by degrees of freedom.
@pytest.mark.parametrize(
    ("freedom", "chance", "point"),
    [(4, 0.05, 2.776), (5, 0.05, 2.571), (8, 0.05, 2.306), (8, 0.01, 3.355), (13, 0.05, 2.160),
     (28, 0.05, 2.048), (28, 0.01, 2.763)],
)  # fmt: skip
def test_the_p_value_follows_students_t(freedom, chance, point):
    """Of all orders of n values, those whose t passes the tabulated point have p below chance."""
    count = freedom + 2
    shuffler = random.Random(5)
    for _ in range(300):
        values = list(range(count))
        shuffler.shuffle(values)
        found = trend(values)
        t = abs(found.rho) * math.sqrt(freedom / max(1e-12, 1 - found.rho**2))
        if abs(t - point) > 2e-3:
            assert (found.p_value < chance) == (t > point)


def test_a_trend_is_claimed_by_chance_as_rarely_as_it_says():
    shuffler = random.Random(3)
    values = list(range(10))
    alarms = 0
    for _ in range(5000):
        shuffler.shuffle(values)
        alarms += trend(values).p_value < 0.01
    assert 0.005 < alarms / 5000 < 0.02


def test_two_groups_need_two_on_each_side_and_a_gap():
    assert is_bimodal([1.00, 1.01, 1.02, 1.10, 1.11], 0.05)
    assert not is_bimodal([1.00, 1.01, 1.02, 1.03, 1.11], 0.05)
    assert not is_bimodal([1.00, 1.02, 1.04, 1.06, 1.08], 0.05)
    assert not is_bimodal([1.0, 2.0, 3.0], 0.05)


def test_drift_compares_the_thirds_at_the_ends():
    assert drift([1.0, 1.0, 5.0, 5.0, 1.1, 1.1]) == pytest.approx(0.1)
    assert drift([2.0, 1.0]) == pytest.approx(-0.5)
