"""Waiting until a phone is cool: by its temperature, not by a clock.

A timer waits too long for a cold phone and too short for a hot one. The phone's own temperature
before the first launch is what it is to come back to.
"""

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final

from mnasnet_deploy.bench.android_state import PhoneState
from mnasnet_deploy.bench.gates import WARM_C, throttling
from mnasnet_deploy.bench.quick_state import Quick
from mnasnet_deploy.errors import PhoneError

__all__ = ["PATIENCE_S", "Cooled", "Heat", "heat", "wait_until_cool"]

POLL_S: Final = 5.0
PATIENCE_S: Final = 600.0
OVER_BASELINE_C: Final = 1.0
COOL_C: Final = 33.0
"""Of the skin: below this a phone that gets no cooler is as cool as its place lets it be."""
SETTLED_C: Final = 0.1
SETTLED_S: Final = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Heat:
    """How warm a phone is; None where it does not say.

    Attributes:
        skin_c: hottest sensor of the skin.
        battery_c: of the battery.
        throttled: signs of throttling, in words; empty for none.
    """

    skin_c: float | None
    battery_c: float | None
    throttled: str

    def __str__(self) -> str:
        parts = [
            "" if self.skin_c is None else f"skin {self.skin_c:.1f} °C",
            "" if self.battery_c is None else f"battery {self.battery_c:.1f} °C",
            self.throttled,
        ]
        return ", ".join(part for part in parts if part) or "it does not say how warm it is"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cooled:
    """A wait that ended well.

    Attributes:
        waited_s: how long.
        before: the first reading.
        after: the last one.
    """

    waited_s: float
    before: Heat
    after: Heat


def heat(state: PhoneState | Quick, cpus: Collection[int], *, forced: bool = False) -> Heat:
    """How warm a phone is.

    Args:
        state: of the phone.
        cpus: that are measured on.
        forced: the clocks are fixed or locked for the measurement.
    """
    if isinstance(state, Quick):
        signs = throttling(state.thermal, (), state.closing, cpus, forced)
    else:
        signs = throttling(state.thermal, state.cooling, state.policies, cpus, forced)
    return Heat(
        skin_c=state.thermal.hottest("skin"),
        battery_c=state.battery.celsius,
        throttled=", ".join(signs),
    )


def wait_until_cool(
    read: Callable[[], Heat],
    *,
    baseline_c: float | None = None,
    patience_s: float = PATIENCE_S,
    poll_s: float = POLL_S,
    allowed: Collection[str] = (),
    on_wait: Callable[[Heat], None] | None = None,
    sleep: Callable[[float], None] = time.sleep,
    now: Callable[[], float] = time.monotonic,
) -> Cooled:
    """Wait until nothing is throttled, the battery is not warm, and the skin has cooled down.

    The skin has when it is within 1 °C of the baseline, or at 33 °C or below and falls by less than
    0.1 °C in 15 s. A phone that is cool at the first reading is not waited for.

    Args:
        read: asks the phone.
        baseline_c: of the skin before the first launch; None where unknown: then 33 °C.
        patience_s: how long to wait at most.
        poll_s: time between two readings.
        allowed: gates let through by name: `THROTTLED` and `WARM` are not waited for.
        on_wait: called with each reading that is too warm.
        sleep: waits so many seconds.
        now: seconds on a clock that never goes back.

    Raises:
        PhoneError: it is still too warm.
    """
    start = now()
    limit_c = COOL_C if baseline_c is None else baseline_c + OVER_BASELINE_C
    history: list[tuple[float, float]] = []
    first: Heat | None = None
    while True:
        seen = read()
        first = first or seen
        waited_s = now() - start
        if seen.skin_c is not None:
            history.append((waited_s, seen.skin_c))
        if _is_cool(seen, limit_c, history, allowed):
            return Cooled(waited_s=waited_s, before=first, after=seen)
        if waited_s >= patience_s:
            raise PhoneError(
                f"the phone did not cool down within {patience_s / 60:.0f} min ({seen}); take it "
                "out of its case, put it in a cooler place, then type 'mnasnet bench --resume'"
            )
        if on_wait:
            on_wait(seen)
        sleep(poll_s)


def _is_cool(
    seen: Heat,
    limit_c: float,
    history: list[tuple[float, float]],
    allowed: Collection[str],
) -> bool:
    if seen.throttled and "THROTTLED" not in allowed:
        return False
    if "WARM" in allowed:
        return True
    if seen.battery_c is not None and seen.battery_c > WARM_C:
        return False
    if seen.skin_c is None or seen.skin_c <= limit_c:
        return True
    return seen.skin_c <= COOL_C and _settled(history)


def _settled(history: list[tuple[float, float]]) -> bool:
    """Whether the skin has stopped to cool, over the last 15 s."""
    end_s, end_c = history[-1]
    earlier = [celsius for time_s, celsius in history if end_s - time_s >= SETTLED_S]
    return bool(earlier) and earlier[-1] - end_c < SETTLED_C
