"""A phone as a device: every launch is a fresh process of `benchmark_model`, started through adb.

Files are pushed once and stay on the phone, by their contents. A launch is one round trip: state,
run, state, output. What a lost cable, a restart or a hang leaves behind is a discarded launch with
its reason; only a phone that does not come back ends the campaign.
"""

import contextlib
import secrets
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Final

from mnasnet_deploy.bench import gates
from mnasnet_deploy.bench.adb_link import Link
from mnasnet_deploy.bench.android_record import device_info, phone_name, to_conditions
from mnasnet_deploy.bench.android_state import PhoneState
from mnasnet_deploy.bench.benchmark_binary import find_binary
from mnasnet_deploy.bench.clusters import check_cpus, choose, choose_from, ranges
from mnasnet_deploy.bench.device import Say, StoppedError, Timing, Trial, launch_ms
from mnasnet_deploy.bench.devices import PhoneOptions
from mnasnet_deploy.bench.phone_files import PhoneFiles
from mnasnet_deploy.bench.phone_profile import implausible, match
from mnasnet_deploy.bench.phone_programs import Programs
from mnasnet_deploy.bench.phone_ready import BUSY_WINDOW_S, Readiness
from mnasnet_deploy.bench.phone_run import Run, read_run, run_script
from mnasnet_deploy.bench.quick_state import Quick, clock_facts, load, voids
from mnasnet_deploy.bench.system import InUseError
from mnasnet_deploy.errors import LinkLostError, NoAnswerError, PhoneError
from mnasnet_deploy.results.record import Conditions, DeviceInfo, Settings

__all__ = ["AndroidPhone"]

BACK_S: Final = 60.0
"""How long a phone that went away is waited for: a restart takes about that."""
NNAPI_DEPRECATED_API: Final = 35
"""developer.android.com/ndk/guides/neuralnetworks/migration-guide: Android 15."""
ANSWER_S: Final = 15.0
SLOWER_THAN_TRIAL: Final = 3.0
MS_PER_S: Final = 1e3


class AndroidPhone:
    """A phone on adb.

    Args:
        link: the way to it.
        options: what runs on it, and how.
    """

    def __init__(self, link: Link, options: PhoneOptions) -> None:
        self._link = link
        self._options = options
        self._files = PhoneFiles(link)
        self._stopped = threading.Event()
        self._leaving = False
        self._lock = threading.Lock()
        self._pushed: Programs | None = None
        self._known: PhoneState | None = None
        self._last: Quick | None = None
        self._silent = False
        self._ready = Readiness(link, options, self._pause)
        self._say: Say = _silent

    @property
    def name(self) -> str:
        """`Pixel 8 - adb:SERIAL`; without the model until the phone was asked."""
        head = f"{phone_name(self._known)} - " if self._known else ""
        return f"{head}adb:{self._link.serial}"

    @property
    def key(self) -> str:
        """Its serial number."""
        return self._link.serial

    def info(self) -> DeviceInfo:
        """What the phone is, and the program that runs on it."""
        _, sha256 = self._program()
        return device_info(self._asked(), f"benchmark_model {sha256[:12]}", sha256)

    def settle(self, settings: Settings) -> Settings:
        """Choose CPUs of one design for the threads, where none were named."""
        state = self._asked()
        gates.check_names(settings.allowed)
        cpus = settings.cpus
        if not cpus and self._options.cluster:
            cpus = choose_from(state, self._options.cluster, settings.threads)
        elif not cpus:
            cpus = choose(state, settings.threads)
        if mixed := check_cpus(state, cpus):
            self._ready.notes.append(mixed)
        return replace(settings, cpus=cpus)

    @contextlib.contextmanager
    def session(self, settings: Sequence[Settings], say: Say) -> Iterator[None]:
        """Have the phone alone, clean it up, make it ready, and leave it as it was found."""
        self._say = self._ready.say = say
        waiting = "another bench uses this phone; waiting for it to end"
        with self._link.exclusive(lambda: say(waiting), self._pause):
            self._mend()
            try:
                with self._until_stopped():
                    self._ready.make(settings)
                yield
            finally:
                self._leave()

    def put_back(self, say: Say) -> None:
        """Undo what a run that was cut off left changed, unless another bench has the phone."""
        self._say = self._ready.say = say
        with contextlib.suppress(InUseError), self._link.exclusive():
            self._mend()

    def _mend(self) -> None:
        with self._until_stopped():
            self._files.sweep()
            self._ready.mend()

    def conditions(self, settings: Settings) -> Conditions:
        """Everything the phone says of its state now."""
        with self._until_stopped():
            state = self._ready.state(BUSY_WINDOW_S)
            now = datetime.now(timezone.utc).isoformat(timespec="seconds")
            return to_conditions(state, settings.cpus, now)

    def trial(self, model: Path, settings: Settings) -> Trial:
        """Push a file, see whether its answer is right, and how it spends its time.

        Once it may lose the phone on the way.
        """
        with self._until_stopped():
            try:
                found = self._programs().trial(model, settings, self._run)
            except LinkLostError as error:
                self._say(self._come_back(error))
                found = self._programs().trial(model, settings, self._run)
            doubts = tuple(self._doubts(model, settings, found))
            for doubt in doubts:
                self._say(f"{model.name}: {doubt}")
            return replace(found, facts=(*found.facts, *doubts))

    def launch(self, model: Path, settings: Settings, trial: Trial) -> Timing:
        """Time a file in a fresh process, with the state of the phone on both sides."""
        expected_s = launch_ms(settings, trial) / MS_PER_S
        deadline_s = self._options.patience_s + SLOWER_THAN_TRIAL * expected_s
        with self._until_stopped():
            try:
                self._ready.cool_down(settings, self._last)
                programs = self._programs()
                run = self._run(programs.words(model, settings), settings, deadline_s)
            except LinkLostError as error:
                return _void(self._come_back(error))
            except NoAnswerError:
                self._still_there()
                return _void(f"HUNG (no end within {deadline_s:.0f} s)")
            timing = programs.timing(run, settings)
            state_rule = voids(
                run.before, run.after, settings.cpus, settings.profile, settings.allowed
            )
            spent = load(run.before, run.after, settings.cpus)
            facts = [*timing.facts, *clock_facts(run.before, run.after, settings.cpus)]
            if spent:
                facts.append(f"CPU {ranges(settings.cpus)} in use {spent.used:.0%} of the launch")
            return replace(
                timing,
                # The state first: it may be the reason why the program failed.
                discarded=state_rule or timing.discarded,
                others_load=spent.others if spent else None,
                facts=tuple(facts),
            )

    def stop(self) -> None:
        """End what runs on the phone; leaving the session still restores it."""
        self._stopped.set()
        with self._lock:
            if not self._leaving:
                self._link.abort()

    def _leave(self) -> None:
        """Put everything back; a phone that is gone is put back by the next run."""
        with self._lock:  # from here on `stop` cuts nothing short
            self._leaving = True
        try:
            if self._silent:
                # One answer is asked for shortly; each command would wait for its own deadline.
                self._link.wait_back(0.0)
            self._files.sweep()
            self._ready.restore()
        except PhoneError as error:
            self._say(f"not put back as it was ({error}); the next run on it does that")
        finally:
            self._leaving = False

    # -- while it measures

    def _programs(self) -> Programs:
        """What is pushed in this session."""
        if self._pushed is None:
            self._pushed = Programs(
                self._files,
                self._program(),
                external=self._options.external_delegate,
                external_options=self._options.external_options,
                patience_s=self._options.patience_s,
                phone=self.name,
            )
        return self._pushed

    def _run(
        self, words: tuple[str, ...], settings: Settings, deadline_s: float, *, answer: str = ""
    ) -> Run:
        """Run a program on the CPUs of the settings.

        Raises:
            LinkLostError: the connection broke; whether it ran to its end is not known.
            NoAnswerError: the deadline passed.
        """
        self._check()
        tag = secrets.token_hex(8)
        folder = self._files.scratch("")
        done = self._link.shell(
            run_script(words, settings.cpus, folder, tag, answer), deadline_s=deadline_s
        )
        run = read_run(done.out, tag)
        self._last = run.after
        return run

    def _come_back(self, error: LinkLostError) -> str:
        """Wait for a phone that went away; returns the rule that voids what ran.

        Raises:
            LinkLostError: it did not come back.
            PhoneError: it came back unfit to measure on.
        """
        self._say(f"{error}; waiting {BACK_S:.0f} s for it")
        start = time.monotonic()
        self._link.wait_back(BACK_S, self._pause)
        self._files.sweep()
        away_s = time.monotonic() - start
        if self._ready.state().boot_id == self._ready.boot_id:
            return f"DISCONNECTED (the phone was away for {away_s:.0f} s)"
        self._say("it started anew; going on when it has settled")
        self._last = None
        self._ready.make_again()
        return "REBOOTED (the phone started anew)"

    def _still_there(self) -> None:
        """Look whether the phone answers after a command that did not end.

        Raises:
            LinkLostError: it does not.
        """
        self._silent = True
        self._link.wait_back(ANSWER_S, self._pause)
        self._silent = False
        self._files.sweep()

    def _doubts(self, model: Path, settings: Settings, trial: Trial) -> Iterator[str]:
        """What makes one look twice at a number, although nothing is wrong by any rule."""
        state = self._asked()
        if settings.delegate == "nnapi" and (state.api or 0) >= NNAPI_DEPRECATED_API:
            yield "NNAPI is deprecated since Android 15 and may run on the CPU; try --delegate gpu"
        profile = match(state)
        if profile is None or state.is_software or settings.delegate != "xnnpack":
            return
        made = self._programs().artifact(model)
        far = implausible(
            profile,
            network=made.network,
            multiplier=made.multiplier,
            resolution=made.resolution,
            scheme=made.scheme,
            threads=settings.threads,
            ms=trial.run_ms,
        )
        if far:
            yield f"{far}: see what else runs on it"

    # -- asking

    def _asked(self) -> PhoneState:
        """What the phone said of itself when it was first asked."""
        if self._known is None:
            self._known = self._ready.state()
        return self._known

    def _program(self) -> tuple[Path, str]:
        abi = self._asked().props.get("ro.product.cpu.abi", "")
        return find_binary(self._options.benchmark_binary, abi)

    # -- being stopped

    def _check(self) -> None:
        if self._stopped.is_set():
            raise StoppedError

    def _pause(self, seconds: float) -> None:
        if self._stopped.wait(seconds):
            raise StoppedError

    @contextlib.contextmanager
    def _until_stopped(self) -> Iterator[None]:
        """What `stop` cuts short ends as StoppedError, whatever it ended as."""
        self._check()
        try:
            yield
        except (KeyboardInterrupt, PhoneError):
            self._check()
            raise
        self._check()


def _void(rule: str) -> Timing:
    return Timing(init_ms=0.0, first_ms=0.0, discarded=rule)


def _silent(_: str) -> None:
    pass
