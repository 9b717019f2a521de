"""When to stop measuring, and whether the number can be believed, with named reasons.

Latency alone never makes a result invalid: that is for rules about the state of the machine.
Sources of the thresholds: MLPerf (inference_policies, audit guidelines), pyperf (`_cli.py`
format_checks, `_bench.py` required_nprocesses), hyperfine (outliers); where none is named, the
limit is this project's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from mnasnet_deploy.bench.statistics import (
    drift,
    is_bimodal,
    median,
    median_absolute_deviation,
    median_interval,
    relative_half_width,
    trend,
    variation,
)
from mnasnet_deploy.results.record import Conditions, Estimate, Launch, Verdict

__all__ = ["INVALID_REASONS", "NOISY_REASONS", "Evidence", "estimate", "judge", "missing_launches"]

TARGET_HALF_WIDTH = 0.01
"""Launches are added until the interval is this narrow: pyperf asks for "< 1 % variation"."""
ADDED_LAUNCHES = 5
MATERIAL = 0.02
"""MLPerf's audit guidelines call 2 % "materially different"."""
FEWEST_LAUNCHES = 6
"""Below this no order-statistic interval reaches 95 %."""
MAX_LAUNCH_VARIATION = 0.05
TREND_P = 0.01
MODE_GAP = 0.05
OUTLIER_DEVIATIONS = 10.0
"""Median absolute deviations; hyperfine takes 14.8, the same up to the factor for a normal."""
MAX_RUN_VARIATION = 0.10
"""pyperf: "the standard deviation is 10 % of the mean"."""
MAX_FIRST = 1.1
MAX_OTHERS_LOAD = 0.10
MAX_DISCARDED = 1 / 3

INVALID_REASONS: Final = ("DISCARDED", "NO-DELEGATE", "WRONG-OUTPUT")
NOISY_REASONS: Final = (
    "FEW-LAUNCHES",
    "WIDE-INTERVAL",
    "LAUNCH-SPREAD",
    "BIMODAL",
    "OUTLIER-LAUNCH",
    "TREND",
    "CANARY-DRIFT",
    "NOISY-RUNS",
    "SLOW-FIRST",
    "BUSY",
    "CLOCK-CAPPED",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """All that a verdict is made from.

    Attributes:
        launches: in the order they ran, discarded ones too.
        before, after: state of the device.
        canary_ms: launch medians of the canary in the order they ran; see `campaign`.
        canary: name of its file.
        others_load: of the launches, share of all CPUs other processes used; empty where unknown.
        delegated: whether the delegate asked for took any operator.
        wrong_output: how the answer differs from what the file says elsewhere; empty if it is right
            or was not looked at.
    """

    launches: Sequence[Launch]
    before: Conditions
    after: Conditions
    canary_ms: Sequence[float]
    canary: str
    others_load: Sequence[float]
    delegated: bool
    wrong_output: str = ""


def counted(launches: Sequence[Launch]) -> list[Launch]:
    """The launches no state rule voids."""
    return [launch for launch in launches if not launch.discarded]


def estimate(launches: Sequence[Launch]) -> Estimate | None:
    """Median over launches of the launch median, with its interval; None where none counts."""
    medians = [launch.median_ms for launch in counted(launches)]
    if not medians:
        return None
    interval = median_interval(medians)
    return Estimate(
        median_ms=median(medians),
        low_ms=interval.low,
        high_ms=interval.high,
        coverage=interval.coverage,
        launches=len(medians),
    )


def is_spoilt(launches: Sequence[Launch], asked: int) -> bool:
    """Whether too many launches were discarded for the rest to count."""
    return len(launches) - len(counted(launches)) > asked * MAX_DISCARDED


def missing_launches(launches: Sequence[Launch], asked: int, limit: int) -> int:
    """The stop rule: how many launches to add now; 0 for none.

    Launches that a state rule voided are repeated until `asked` count. Then five are added at a
    time until the half-width of the interval is 1 % of the median or `limit` launches count.
    """
    if is_spoilt(launches, asked):
        return 0
    medians = [launch.median_ms for launch in counted(launches)]
    if len(medians) < asked:
        return asked - len(medians)
    if relative_half_width(medians) <= TARGET_HALF_WIDTH:
        return 0
    return max(0, min(ADDED_LAUNCHES, limit - len(medians)))


def judge(evidence: Evidence, asked: int) -> tuple[Verdict, tuple[str, ...]]:
    """The verdict and its reasons, each starting with its name.

    Args:
        evidence: what was measured, and under which circumstances.
        asked: launches the settings ask for.
    """
    reasons = _invalid(evidence, asked)
    if reasons:
        return "invalid", tuple(reasons)
    good = counted(evidence.launches)
    reasons = _spread([launch.median_ms for launch in good]) + _runs(good) + _machine(evidence)
    return ("noisy" if reasons else "valid"), tuple(reasons)


def _invalid(evidence: Evidence, asked: int) -> list[str]:
    reasons = []
    discarded = [launch.discarded for launch in evidence.launches if launch.discarded]
    if is_spoilt(evidence.launches, asked) or len(discarded) == len(evidence.launches):
        kinds = ", ".join(dict.fromkeys(discarded))
        reasons.append(f"DISCARDED: {len(discarded)} of {len(evidence.launches)} launches: {kinds}")
    if not evidence.delegated:
        reasons.append(
            "NO-DELEGATE: XNNPACK took no operator of this file; measure it with --no-xnnpack"
        )
    if evidence.wrong_output:
        reasons.append(f"WRONG-OUTPUT: {evidence.wrong_output}")
    return reasons


def _spread(medians: Sequence[float]) -> list[str]:
    """Reasons in how the launches lie."""
    reasons = []
    middle = median(medians)
    if len(medians) < FEWEST_LAUNCHES:
        coverage = median_interval(medians).coverage
        reasons.append(
            f"FEW-LAUNCHES: the range of {len(medians)} covers the median with {coverage:.1%}, "
            f"{FEWEST_LAUNCHES} launches reach 95%"
        )
    if (width := relative_half_width(medians)) > MATERIAL:
        reasons.append(
            f"WIDE-INTERVAL: the interval is +-{width:.1%} of the median, over {MATERIAL:.0%}"
        )
    if (spread := variation(medians)) > MAX_LAUNCH_VARIATION:
        reasons.append(
            f"LAUNCH-SPREAD: launches vary by {spread:.1%} (standard deviation over mean), over "
            f"{MAX_LAUNCH_VARIATION:.0%}"
        )
    if is_bimodal(medians, MODE_GAP):
        reasons.append(
            f"BIMODAL: launches fall into two groups more than {MODE_GAP:.0%} of the median apart"
        )
    # A far outlier of very quiet launches can still be nothing that matters.
    limit = max(OUTLIER_DEVIATIONS * median_absolute_deviation(medians), MATERIAL * middle)
    if far := [value for value in medians if abs(value - middle) > limit]:
        worst = max(far, key=lambda value: abs(value - middle))
        reasons.append(
            f"OUTLIER-LAUNCH: {len(far)} of {len(medians)} launches lie far off, the worst by "
            f"{worst / middle - 1:+.1%}"
        )
    change = drift(medians)
    if trend(medians).p_value < TREND_P and abs(change) > TARGET_HALF_WIDTH:
        reasons.append(
            f"TREND: launches went steadily {change:+.1%} from the first third to the last"
        )
    return reasons


def _runs(launches: Sequence[Launch]) -> list[str]:
    """Reasons within the launches; a single bad one does not move a median of launches."""
    reasons = []
    spread = median([_variation(launch) for launch in launches])
    if spread > MAX_RUN_VARIATION:
        reasons.append(
            f"NOISY-RUNS: within a launch runs vary by {spread:.0%} (standard deviation over "
            f"mean), over {MAX_RUN_VARIATION:.0%}"
        )
    firsts = [first / launch.median_ms for launch in launches if (first := _first_run_ms(launch))]
    if firsts and (first := median(firsts)) > MAX_FIRST:
        reasons.append(
            f"SLOW-FIRST: the first measured run takes {first:.2f} times the median, the warm-up "
            "was too short"
        )
    return reasons


def _variation(launch: Launch) -> float:
    """Standard deviation of the measured runs over their mean."""
    if launch.summary is None:
        return variation(launch.samples_ms)
    return launch.summary.std_ms / launch.summary.mean_ms if launch.summary.mean_ms else 0.0


def _first_run_ms(launch: Launch) -> float | None:
    """The first measured run; None where the program does not say."""
    return launch.summary.first_run_ms if launch.summary else launch.samples_ms[0]


def _machine(evidence: Evidence) -> list[str]:
    """Reasons outside the launches."""
    reasons = []
    change = drift(evidence.canary_ms)
    if len(evidence.canary_ms) >= FEWEST_LAUNCHES and abs(change) > MATERIAL:
        reasons.append(
            f"CANARY-DRIFT: the canary {evidence.canary} went {change:+.1%} from start to end"
        )
    if evidence.others_load and (load := median(evidence.others_load)) > MAX_OTHERS_LOAD:
        reasons.append(
            f"BUSY: other processes used {load:.0%} of all CPUs, over {MAX_OTHERS_LOAD:.0%}"
        )
    for state in (evidence.before, evidence.after):
        limit, most = state.clock_limit_mhz, state.clock_max_mhz
        if limit is not None and most is not None and limit < most:
            reasons.append(f"CLOCK-CAPPED: the CPUs may run at {limit:.0f} of {most:.0f} MHz only")
            break
    return reasons
