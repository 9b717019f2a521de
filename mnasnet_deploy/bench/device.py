"""What a campaign asks of a device, and what it gets."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from mnasnet_deploy.results.record import Conditions, DeviceInfo, OperatorTime, Settings, Summary

__all__ = ["Device", "Timing", "Trial", "launch_ms"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A first short run of a file, in a process of its own; its times only make the plan.

    Attributes:
        overhead_ms: of one process run, everything but warm-up and measured runs.
        run_ms: one inference after the first.
        peak_memory_mib: peak resident memory of the whole process, None where unknown.
        delegated: whether the delegate asked for took any operator; True where none was asked for
            or the runtime does not say.
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
    """Something that runs .tflite files and tells how long they take."""

    def info(self) -> DeviceInfo:
        """What it is."""

    def conditions(self, settings: Settings) -> Conditions:
        """State it is in now, of the CPUs the settings use."""

    def trial(self, model: Path, settings: Settings) -> Trial:
        """Run a file once, shortly.

        Raises:
            ModelFileError: the runtime refuses the file, crashes on it or does not come back.
            NotReadyError: the device cannot run anything.
        """

    def launch(self, model: Path, settings: Settings, trial: Trial) -> Timing:
        """Run a file in a fresh process and time it.

        A process that ends badly is a discarded `Timing`, not an error.

        Raises:
            NotReadyError: the device cannot run anything.
        """


def launch_ms(settings: Settings, trial: Trial) -> float:
    """How long one launch is going to take, from the speed the trial showed."""
    warmup = max(settings.warmup_ms, settings.warmup_runs * trial.run_ms)
    measured = max(settings.min_ms, settings.runs * trial.run_ms)
    return trial.overhead_ms + warmup + measured
