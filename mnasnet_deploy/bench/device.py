"""What a campaign asks of a device, and what it gets."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from mnasnet_deploy.results.record import Conditions, DeviceInfo, OperatorTime, Settings, Summary

__all__ = ["Device", "Say", "StoppedError", "Timing", "Trial", "launch_ms"]

Say = Callable[[str], None]
"""Tells the user one line of the story."""


class StoppedError(Exception):
    """The device was told to stop, by Ctrl-C; nobody's failure, so not a `MnasnetError`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A first short run of a file, in a process of its own; its times only make the plan.

    Attributes:
        overhead_ms: of one process run, everything but warm-up and measured runs.
        run_ms: one inference after the first.
        peak_memory_mib: peak resident memory of the whole process, None where unknown.
        delegated: whether the delegate asked for took any operator; True where none was asked for
            or the runtime does not say.
        partial: what the delegate asked for left to the CPU, in words (`GPU ran 60 of 64 nodes`);
            empty where it took all, or where the runtime does not say.
        facts: what else it showed, in words.
        wrong_output: how its answer to a fixed image differs from the one the file gives on this
            computer; empty if it is right or was not looked at.
        operators: of a run that timed each of them; empty where there was none.
        command: how the program is called in a launch; empty on the host.
    """

    overhead_ms: float
    run_ms: float
    peak_memory_mib: float | None
    delegated: bool
    partial: str = ""
    facts: tuple[str, ...] = ()
    wrong_output: str = ""
    operators: tuple[OperatorTime, ...] = ()
    command: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """What one launch gave. Times in ms.

    Attributes:
        init_ms: loading the file, delegate and tensors.
        first_ms: first inference.
        samples_ms: every measured run in order; empty where the process did not get that far or
            keeps none.
        summary: of the measured runs, where there are no samples.
        cpu_ms: processor time of one run, mean over the samples; None where unknown.
        others_load: share of all CPUs that other processes used meanwhile, 0 to 1; None where
            unknown.
        discarded: the state rule that voids the launch, starting with its name in capitals, or
            empty. Never decided by the latency.
        facts: about this launch, in words.
        output: all that the program printed; empty on the host.
    """

    init_ms: float
    first_ms: float
    samples_ms: tuple[float, ...] = ()
    summary: Summary | None = None
    cpu_ms: float | None = None
    others_load: float | None = None
    discarded: str = ""
    facts: tuple[str, ...] = ()
    output: str = ""


class Device(Protocol):
    """Something that runs .tflite files and tells how long they take.

    One thread of control uses a device, in this order: `info`, `settle` and `put_back` at any time;
    then `session`, and only within it `trial`, `conditions` and `launch`. `stop` comes from another
    thread. Child processes start in a session of their own, so that the Ctrl-C of a terminal
    reaches this process alone.
    """

    @property
    def name(self) -> str:
        """As a person tells it from the other devices here: `Pixel 8 - adb:SERIAL`, `host`.

        Shown while measuring and never stored.
        """

    @property
    def key(self) -> str:
        """What it is recognised by when a campaign goes on; stored only as a salted hash."""

    def info(self) -> DeviceInfo:
        """What it is.

        Raises:
            NotReadyError: it cannot be asked.
        """

    def settle(self, settings: Settings) -> Settings:
        """The settings as this device is going to measure them, its CPUs chosen.

        Raises:
            InputError: it cannot measure so; the message says what it can.
            NotReadyError: it cannot be asked.
        """

    def session(self, settings: Sequence[Settings], say: Say) -> AbstractContextManager[None]:
        """Make it ready for these settings, and leave it as it was found on every way out.

        Args:
            settings: all that are going to be measured.
            say: told what is changed, and what keeps it waiting.

        Raises:
            NotReadyError: it cannot be made ready, or a gate refuses it.
            StoppedError: `stop` was called.
        """

    def put_back(self, say: Say) -> None:
        """Undo what a run that was cut off left changed, unless another bench has the device.

        Raises:
            NotReadyError: it cannot be reached, or does not do it.
        """

    def conditions(self, settings: Settings) -> Conditions:
        """State it is in now, of the CPUs the settings use.

        Raises:
            NotReadyError: it cannot be asked any more.
            StoppedError: `stop` was called.
        """

    def trial(self, model: Path, settings: Settings) -> Trial:
        """Run a file once, shortly.

        Raises:
            ModelFileError: the runtime refuses the file, crashes on it or does not come back.
            NotReadyError: the device cannot run anything.
            StoppedError: `stop` was called.
        """

    def launch(self, model: Path, settings: Settings, trial: Trial) -> Timing:
        """Run a file in a fresh process and time it.

        A process that ends badly is a discarded `Timing`, not an error.

        Raises:
            NotReadyError: the device cannot run anything any more.
            StoppedError: `stop` was called.
        """

    def stop(self) -> None:
        """End what runs on it now, within a second, and refuse whatever is asked from now on.

        Comes from another thread, at any time and more than once. The call that is under way, and
        every one after it, raises StoppedError; leaving `session` still restores.
        """


def launch_ms(settings: Settings, trial: Trial) -> float:
    """How long one launch is going to take, from the speed the trial showed."""
    warmup = max(settings.warmup_ms, settings.warmup_runs * trial.run_ms)
    measured = max(settings.min_ms, settings.runs * trial.run_ms)
    return trial.overhead_ms + warmup + measured
