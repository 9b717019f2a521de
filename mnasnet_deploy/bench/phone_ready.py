"""A phone is made ready for a measurement, kept ready, and left as it was found."""

import time
from collections.abc import Callable, Sequence
from typing import Final

from mnasnet_deploy.bench import cooling, gates, prepare
from mnasnet_deploy.bench.adb_link import Link
from mnasnet_deploy.bench.android_state import PhoneState, preflight, read_preflight
from mnasnet_deploy.bench.device import Say
from mnasnet_deploy.bench.devices import PhoneOptions
from mnasnet_deploy.bench.phone_profile import PhoneProfile, differences, load, match
from mnasnet_deploy.bench.quick_state import Quick
from mnasnet_deploy.results.record import Settings

__all__ = ["BUSY_WINDOW_S", "Readiness"]

BUSY_WINDOW_S: Final = 0.5
STATE_S: Final = 30.0
POLL_S: Final = 5.0
TELL_EVERY_S: Final = 60.0
CALM_S: Final = 30.0
"""Waking a phone makes it busy for some seconds."""
SETTLE_S: Final = gates.SETTLED_S + 60.0
WAITED_FOR: Final = ("BUSY", "THROTTLED", "WARM")
"""Gates that time may open: they refuse only where waiting did not help."""


class Readiness:
    """What keeps one phone fit to measure on.

    Args:
        link: to the phone.
        options: of the command line.
        pause: waits so many seconds, or ends the wait by raising.
    """

    def __init__(self, link: Link, options: PhoneOptions, pause: Callable[[float], None]) -> None:
        self._link = link
        self._options = options
        self._pause = pause
        self._settings: Sequence[Settings] = ()
        self._baseline_c: float | None = None
        self.boot_id = ""
        """Of the start during which the phone was made ready."""
        self.notes: list[str] = []
        """To be told when the phone is made ready."""
        self.say: Say = _silent

    def state(self, busy_window_s: float = 0.0) -> PhoneState:
        """What the phone says of itself now.

        Raises:
            PhoneError: it cannot be asked.
        """
        done = self._link.shell(preflight(busy_window_s), deadline_s=STATE_S)
        return read_preflight(done.out)

    def mend(self) -> None:
        """Put back what a run that was cut off left changed."""
        if left := prepare.pending(self._link):
            self.say(f"a run that was cut off left changed: {'; '.join(left)}; undone")
            self.restore()

    def make(self, settings: Sequence[Settings]) -> None:
        """Check the gates, change what is to be changed, let it cool down, check again.

        Raises:
            InputError: there is no such profile.
            PhoneError: the phone cannot be measured on like this.
        """
        self._settings = settings
        first = settings[0]
        cpus = sorted({cpu for one in settings for cpu in one.cpus})
        state = self.state()  # whether it is busy is looked at when it is awake
        over_wifi = ":" in self._link.serial
        changes = prepare.changes(state, first.profile, first.prepared, over_wifi, cpus)  # type: ignore[arg-type]
        profile = self._profile(state)
        unlike = differences(profile, state) if profile else ()
        for line in (*self.notes, *prepare.left_out(state, first.prepared, over_wifi), *unlike):
            self.say(line)
        stock = profile.stock_governors if profile else ()
        found = gates.check(state, cpus, ambient_c=first.ambient_c, stock=stock)
        # What is about to be mended or may pass refuses nothing yet.
        gates.refuse(found, {*first.allowed, *prepare.mended(changes), *WAITED_FOR})
        if changes:
            self.say(f"changed until the end: {'; '.join(change.what for change in changes)}")
            prepare.apply(self._link, changes)
        self._baseline_c = None
        self._wait_until_cool(first, None)
        state, left = self._wait_until_calm(cpus, stock, CALM_S)
        gates.refuse(left, first.allowed)
        for gate in left:
            self.say(f"{gate.name}: {gate.message}")
        self.boot_id = state.boot_id
        self._baseline_c = state.thermal.hottest("skin")

    def make_again(self) -> None:
        """Make a phone ready that has started anew.

        Raises:
            PhoneError: it cannot be measured on.
        """
        self.restore()
        self._wait_until_calm((), (), SETTLE_S)
        self.make(self._settings)

    def cool_down(self, settings: Settings, last: Quick | None) -> None:
        """Wait until the phone is as cool as before the first launch.

        Args:
            settings: of the next launch.
            last: state after the last one; None before the first.

        Raises:
            PhoneError: it stays warm.
        """
        if last is not None:
            self._wait_until_cool(settings, last)

    def restore(self) -> None:
        """Put back what was changed; harmless where nothing was.

        Raises:
            PhoneError: the phone does not do it, or is gone.
        """
        for line in prepare.restore(self._link):
            self.say(line)

    # -- inside

    def _profile(self, state: PhoneState) -> PhoneProfile | None:
        """What is known of such phones; the phone itself is believed where it differs."""
        if self._options.profile:
            return load(self._options.profile)
        profile = match(state)
        if profile is None:
            self.say("no profile fits it, so nothing tells whether its governor is its own")
        return profile

    def _wait_until_cool(self, settings: Settings, last: Quick | None) -> None:
        told_s: float | None = None

        def read() -> cooling.Heat:
            nonlocal last
            state, last = last or self.state(), None
            return cooling.heat(state, settings.cpus, forced=settings.profile != "stock")

        def tell(heat: cooling.Heat) -> None:
            nonlocal told_s
            if told_s is None or time.monotonic() - told_s >= TELL_EVERY_S:
                told_s = time.monotonic()
                self.say(f"waiting for it to cool down ({heat})")

        cooling.wait_until_cool(
            read,
            baseline_c=self._baseline_c,
            patience_s=self._options.cool_s,
            allowed=settings.allowed,
            on_wait=tell,
            sleep=self._pause,
        )

    def _wait_until_calm(
        self, cpus: Sequence[int], stock: Sequence[str], patience_s: float
    ) -> tuple[PhoneState, tuple[gates.Gate, ...]]:
        """The state as soon as the phone is not busy, or at the end of the patience.

        Returns:
            The state, and the gates that do not hold in it.
        """
        first = self._settings[0]
        end = time.monotonic() + patience_s
        while True:
            state = self.state(BUSY_WINDOW_S)
            found = gates.check(
                state,
                cpus,
                ambient_c=first.ambient_c,
                stock=stock,
                forced=first.profile != "stock",
            )
            busy = any(gate.name == "BUSY" for gate in found) and "BUSY" not in first.allowed
            if not busy or time.monotonic() >= end:
                return state, found
            self._pause(POLL_S)


def _silent(_: str) -> None:
    pass
