"""Every reason a number is not believed for, alone, and the rule that says when to stop."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnasnet_deploy.bench.statistics import relative_half_width
from mnasnet_deploy.bench.verdict import (
    INVALID_REASONS,
    NOISY_REASONS,
    Evidence,
    estimate,
    judge,
    missing_launches,
)
from mnasnet_deploy.results.record import Conditions, Launch, Summary

CALM = Conditions(time="2026-05-17T00:00:00+00:00", clock_limit_mhz=3000.0, clock_max_mhz=3000.0)
QUIET = [4.50, 4.51, 4.49, 4.50, 4.52, 4.50, 4.51, 4.49, 4.50, 4.51]


def launch(median_ms=4.5, *, first=1.0, spread=0.01, discarded=""):
    """A launch of five runs around a median."""
    low, high = median_ms * (1 - spread), median_ms * (1 + spread)
    return Launch(
        block=0,
        position=0,
        init_ms=10.0,
        first_ms=6.0,
        samples_ms=(median_ms * first, low, median_ms, high, median_ms),
        median_ms=median_ms,
        p95_ms=high,
        discarded=discarded,
    )


def evidence(medians=QUIET, **changes):
    whole = Evidence(
        launches=[launch(value) for value in medians],
        before=CALM,
        after=CALM,
        canary_ms=QUIET,
        canary="canary.tflite",
        others_load=[0.01] * len(medians),
        delegated=True,
    )
    return replace(whole, **changes)


def names(found):
    return [reason.partition(":")[0] for reason in found[1]]


def summarised(median_ms, *, std_ms=0.05, first_run_ms=None):
    """A launch of a program that keeps no samples."""
    summary = Summary(
        runs=50, mean_ms=median_ms, std_ms=std_ms, min_ms=median_ms, max_ms=median_ms,
        first_run_ms=first_run_ms,
    )  # fmt: skip
    return replace(launch(median_ms), samples_ms=(), summary=summary)


def test_a_program_that_keeps_no_samples_is_judged_by_its_summary():
    quiet = [summarised(value, first_run_ms=value) for value in QUIET]
    assert judge(evidence(launches=quiet), 10) == ("valid", ())
    restless = [summarised(value, std_ms=1.0, first_run_ms=6.0) for value in QUIET]
    assert names(judge(evidence(launches=restless), 10)) == ["NOISY-RUNS", "SLOW-FIRST"]


def test_a_wrong_answer_makes_every_number_invalid():
    found = judge(evidence(wrong_output="class 3 where class 17 is right"), 10)
    assert found[0] == "invalid"
    assert names(found) == ["WRONG-OUTPUT"]


def test_a_quiet_measurement_is_valid_without_reasons():
    assert judge(evidence(), 10) == ("valid", ())


def test_a_device_that_says_nothing_of_itself_can_still_be_valid():
    silent = Conditions(time=CALM.time)
    found = judge(evidence(before=silent, after=silent, others_load=[]), 10)
    assert found == ("valid", ())


CAPPED = replace(CALM, clock_limit_mhz=2000.0)
ALONE = {
    "FEW-LAUNCHES": evidence(QUIET[:5]),
    "WIDE-INTERVAL": evidence(
        [4.36, 4.62, 4.38, 4.64, 4.40, 4.60, 4.42, 4.58, 4.46, 4.54], canary_ms=QUIET
    ),
    "OUTLIER-LAUNCH": evidence([*QUIET[:9], 4.7]),
    "TREND": evidence([4.45, 4.46, 4.47, 4.48, 4.49, 4.50, 4.51, 4.52, 4.53, 4.54]),
    "CANARY-DRIFT": evidence(canary_ms=[4.0, 4.0, 4.0, 4.1, 4.1, 4.1]),
    "NOISY-RUNS": evidence(launches=[launch(value, spread=0.3) for value in QUIET]),
    "SLOW-FIRST": evidence(launches=[launch(value, first=1.12) for value in QUIET]),
    "BUSY": evidence(others_load=[0.01] * 4 + [0.2] * 6),
    "CLOCK-CAPPED": evidence(after=CAPPED),
    "NO-DELEGATE": evidence(delegated=False),
    "WRONG-OUTPUT": evidence(wrong_output="class 3 where class 17 is right"),
    "DISCARDED": evidence(launches=[launch(discarded="HUNG (no answer)")] * 4 + [launch()] * 10),
}


@pytest.mark.parametrize("name", ALONE)
def test_one_fault_gives_one_reason(name):
    found = judge(ALONE[name], 10)
    assert names(found) == [name]
    assert found[0] == ("invalid" if name in INVALID_REASONS else "noisy")


def test_launches_far_apart_are_named_for_their_spread():
    spread = evidence([4.0, 4.6, 4.1, 4.5, 4.2, 4.9, 4.3, 4.7, 4.4, 5.3])
    assert "LAUNCH-SPREAD" in names(judge(spread, 10))


def test_launches_in_two_groups_are_named_for_it():
    groups = evidence([4.5, 4.8, 4.5, 4.8, 4.5, 4.8, 4.5, 4.8, 4.5, 4.8])
    assert "BIMODAL" in names(judge(groups, 10))


def test_every_reason_is_tested_and_known():
    assert {*ALONE, "LAUNCH-SPREAD", "BIMODAL"} == {*INVALID_REASONS, *NOISY_REASONS}


def test_every_reason_is_explained_in_the_readme():
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `([A-Z-]+)` \| (invalid|noisy) \|", readme, flags=re.MULTILINE))
    assert rows == {
        **dict.fromkeys(INVALID_REASONS, "invalid"),
        **dict.fromkeys(NOISY_REASONS, "noisy"),
    }


def test_few_launches_say_what_their_interval_covers():
    _, (reason,) = judge(evidence(QUIET[:5]), 5)
    assert "93.8%" in reason


def test_a_clear_trend_that_changes_next_to_nothing_is_no_reason():
    slope = [4.500 + 0.002 * place for place in range(10)]
    assert judge(evidence(slope), 10)[0] == "valid"


def test_a_single_bad_launch_neither_makes_runs_noisy_nor_the_machine_busy():
    one = [launch(value) for value in QUIET[:9]] + [launch(4.5, spread=0.5, first=3)]
    found = judge(evidence(launches=one, others_load=[0.01] * 9 + [0.9]), 10)
    assert found == ("valid", ())


def test_a_voided_launch_counts_for_nothing_but_is_no_reason():
    voided = launch(45.0, discarded="CLOCK-CHANGED (the limit went from 3000 to 2000 MHz)")
    launches = [*(launch(value) for value in QUIET), voided]
    assert judge(evidence(launches=launches), 10) == ("valid", ())
    found = estimate(launches)
    assert found is not None
    assert found.launches == 10
    assert found.high_ms < 5


def test_no_launch_that_counts_gives_no_estimate():
    dead = Launch(block=0, position=0, init_ms=0.0, first_ms=0.0, samples_ms=(), median_ms=0.0,
                  p95_ms=0.0, discarded="CRASHED (signal 11)")  # fmt: skip
    assert estimate([dead]) is None
    verdict, reasons = judge(evidence(launches=[dead]), 1)
    assert verdict == "invalid"
    assert "CRASHED (signal 11)" in reasons[0]


@given(st.lists(st.floats(min_value=1.0, max_value=10.0), min_size=1, max_size=30))
def test_latency_alone_never_makes_a_result_invalid(medians):
    assert judge(evidence(medians), len(medians))[0] != "invalid"


def test_launches_are_added_by_five_until_the_interval_is_narrow():
    wide = [4.0, 5.0] * 5
    assert missing_launches([launch(value) for value in QUIET[:3]], 10, 30) == 7
    assert missing_launches([launch(value) for value in QUIET], 10, 30) == 0
    assert missing_launches([launch(value) for value in wide], 10, 30) == 5
    assert missing_launches([launch(value) for value in wide], 10, 12) == 2
    assert missing_launches([launch(value) for value in wide], 10, 10) == 0


def test_a_voided_launch_is_repeated_and_more_than_a_third_end_it():
    voided = [launch(discarded="HUNG (no answer within 3 s)")]
    assert missing_launches([launch()] * 7 + voided * 3, 10, 30) == 3
    assert missing_launches([launch()] * 7 + voided * 4, 10, 30) == 0
    assert missing_launches(voided, 1, 1) == 0


@given(st.lists(st.floats(min_value=1.0, max_value=2.0), min_size=10, max_size=40))
def test_the_stop_rule_looks_at_the_interval_and_never_passes_the_limit(medians):
    missing = missing_launches([launch(value) for value in medians], 10, 30)
    if relative_half_width(medians) <= 0.01 or len(medians) >= 30:
        assert missing == 0
    else:
        assert 1 <= missing <= 5
        assert len(medians) + missing <= 30
