"""This computer as a device: every launch is a fresh process running `bench/worker.py`."""

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from mnasnet_deploy.bench import conditions, system
from mnasnet_deploy.bench.conditions import CpuTimes
from mnasnet_deploy.bench.device import Say, Timing, Trial, launch_ms
from mnasnet_deploy.bench.processes import Processes
from mnasnet_deploy.errors import InputError, ModelFileError, NotReadyError
from mnasnet_deploy.processor import ROOT
from mnasnet_deploy.results.record import Conditions, DeviceInfo, Settings

__all__ = ["LOCK", "PATIENCE_S", "Host", "HostState", "host_settings"]

LOCK = "mnasnet-bench"
"""Of this machine: one bench on it at a time."""
DELEGATES = ("xnnpack", "none")

PATIENCE_S = 120.0
"""A file whose first inferences take longer than this counts as hanging."""
SLOWER_THAN_TRIAL = 3.0
"""How much slower than its trial promised a launch may be before it counts as hanging."""
MS_PER_S = 1e3
MAX_DETAIL = 200

_WORKER = "mnasnet_deploy.bench.worker"
# There the child finds the same package as this process, and nothing of the user's folder.
_IMPORT_FOLDER = Path(__file__).resolve().parents[2]
_Problem = Literal["CRASHED", "HUNG", "REFUSED"]
_IN_WORDS: dict[_Problem, tuple[str, str]] = {
    "CRASHED": ("crashed the runtime", "leave it out or export it again"),
    "HUNG": ("did not come back from the runtime", "leave it out, or wait longer with --timeout"),
    "REFUSED": ("is refused by the runtime", "leave it out or export it again"),
}


class _ProcessError(Exception):
    """A process run that gave no numbers, by name, with the detail."""

    def __init__(self, problem: _Problem, detail: str) -> None:
        super().__init__(f"{problem} ({detail})")
        self.problem: _Problem = problem
        self.detail = detail


@dataclass(frozen=True, slots=True, kw_only=True)
class HostState:
    """What is read on both sides of a launch.

    Attributes:
        clock_limit_mhz: what the governor allows the CPUs used.
        all_cpus: time they spent.
        children_s: processor time of what this process started.
    """

    clock_limit_mhz: float | None
    all_cpus: CpuTimes | None
    children_s: float | None

    def voids(self, after: "HostState") -> str:
        """The rule by which a launch between the two is void; empty for none."""
        if self.clock_limit_mhz == after.clock_limit_mhz:
            return ""
        return (
            f"CLOCK-CHANGED (the limit went from {self.clock_limit_mhz} to "
            f"{after.clock_limit_mhz} MHz)"
        )

    def others_load(self, after: "HostState") -> float | None:
        """Share of all CPUs that went to other processes, steal by a hypervisor included."""
        if not (self.all_cpus and after.all_cpus):
            return None
        if self.children_s is None or after.children_s is None:
            return None
        total_s = after.all_cpus.total_s - self.all_cpus.total_s
        busy_s = after.all_cpus.busy_s - self.all_cpus.busy_s
        if total_s <= 0:
            return None
        # Clock ticks of 10 ms on one side, exact times on the other: clip what rounding leaves.
        return min(1.0, max(0.0, (busy_s - (after.children_s - self.children_s)) / total_s))


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """Runs files with LiteRT on this computer.

    Attributes:
        patience_s: how long a process may take beyond what is known of it.
        load_window_s: how long `conditions` watches the load.
        root: folder that holds `proc` and `sys`.
        processes: starts the launches.
    """

    patience_s: float = PATIENCE_S
    load_window_s: float = conditions.LOAD_WINDOW_S
    root: Path = ROOT
    processes: Processes = field(default_factory=Processes)

    @property
    def name(self) -> str:
        """Always `host`."""
        return "host"

    @property
    def key(self) -> str:
        """Always `host`: which computer it is, `info` says."""
        return "host"

    def settle(self, settings: Settings) -> Settings:
        """The settings, of the profile `host`.

        Raises:
            InputError: a delegate or CPUs that are not here.
        """
        if settings.delegate not in DELEGATES:
            raise InputError(
                f"LiteRT on this computer runs with {' or '.join(DELEGATES)}, not with "
                f"{settings.delegate}: give --benchmark-binary a program that does"
            )
        return host_settings(settings)

    def put_back(self, say: Say) -> None:
        """Nothing is changed on this computer."""

    @contextlib.contextmanager
    def session(self, settings: Sequence[Settings], say: Say) -> Iterator[None]:
        """Wait until no other bench runs on this machine, and keep others waiting."""
        waiting = "another bench is running on this machine; waiting for it to end"
        with system.exclusive(LOCK, lambda: say(waiting), self.processes.pause):
            yield

    def stop(self) -> None:
        """End the launch that runs."""
        self.processes.stop()

    def info(self) -> DeviceInfo:
        """What this computer is.

        Raises:
            NotReadyError: the runtime is not installed.
        """
        return conditions.device_info(self.root)

    def conditions(self, settings: Settings) -> Conditions:
        """State of the CPUs the settings use; idles for `load_window_s`.

        Raises:
            StoppedError: `stop` was called.
        """
        self.processes.check()
        return conditions.read_conditions(_cpus(settings), self.root, self.load_window_s)

    def trial(self, model: Path, settings: Settings) -> Trial:
        """Run a file a few times, and see how much memory the process takes at its peak.

        Raises:
            ModelFileError: the runtime refuses the file, crashes on it or does not come back.
            NotReadyError: the runtime does not run here.
            StoppedError: `stop` was called.
        """
        start = time.perf_counter()
        try:
            answer = self._ask("trial", model, settings, self.patience_s)
        except _ProcessError as failure:
            what, advice = _IN_WORDS[failure.problem]
            raise ModelFileError(f"{model.name} {what} ({failure.detail}); {advice}") from None
        wall_ms = (time.perf_counter() - start) * MS_PER_S
        runs_ms, partitions = answer["runs_ms"], answer["partitions"]
        facts = []
        if answer["empty_mib"] is not None:
            facts.append(
                f"peak memory is of the whole process; it held {answer['empty_mib']:.0f} MiB "
                "before the file was loaded"
            )
        if settings.delegate == "xnnpack" and partitions is not None:
            facts.append(f"XNNPACK took {partitions} part{'s' * (partitions != 1)} of the graph")
        return Trial(
            overhead_ms=wall_ms - sum(runs_ms),
            run_ms=min(runs_ms),
            peak_memory_mib=answer["peak_mib"],
            delegated=settings.delegate == "none" or partitions != 0,
            facts=tuple(facts),
        )

    def launch(self, model: Path, settings: Settings, trial: Trial) -> Timing:
        """Time a file in a fresh process, and hold the state of the machine against it.

        Raises:
            NotReadyError: the runtime does not run here.
            StoppedError: `stop` was called.
        """
        deadline_s = self.patience_s + SLOWER_THAN_TRIAL * launch_ms(settings, trial) / MS_PER_S
        before = self.state(settings)
        try:
            answer = self._ask("time", model, settings, deadline_s)
        except _ProcessError as failure:
            return Timing(init_ms=0.0, first_ms=0.0, samples_ms=(), discarded=str(failure))
        after = self.state(settings)
        discarded = ""
        if settings.cpus and answer["cpus"] != sorted(settings.cpus):
            discarded = f"UNPINNED (it ended on the CPUs {answer['cpus']})"
        else:
            discarded = before.voids(after)
        return Timing(
            init_ms=answer["init_ms"],
            first_ms=answer["first_ms"],
            samples_ms=tuple(answer["samples_ms"]),
            cpu_ms=answer["cpu_ms"],
            others_load=before.others_load(after),
            discarded=discarded,
        )

    def state(self, settings: Settings) -> HostState:
        """Of the CPUs the settings use, for both sides of a launch."""
        return HostState(
            clock_limit_mhz=conditions.clock_limit_mhz(_cpus(settings), self.root),
            all_cpus=conditions.cpu_times(self.root),
            children_s=system.children_cpu_s(),
        )

    def _ask(self, mode: str, model: Path, settings: Settings, deadline_s: float) -> dict[str, Any]:
        """Start a worker with a request and wait for its answer.

        Raises:
            _ProcessError: there is no answer, or it is a refusal.
            NotReadyError: no process can be started, or none can load the runtime.
        """
        request = {
            "mode": mode,
            "model": str(model.resolve()),
            "threads": settings.threads,
            "delegate": settings.delegate,
            "cpus": settings.cpus,
            "warmup_runs": settings.warmup_runs,
            "warmup_ms": settings.warmup_ms,
            "runs": settings.runs,
            "min_ms": settings.min_ms,
            "deadline_s": deadline_s,
        }
        try:
            done = self.processes.run(
                [sys.executable, "-m", _WORKER],
                given=json.dumps(request).encode(),
                deadline_s=deadline_s,
                cwd=_IMPORT_FOLDER,
            )
        except subprocess.TimeoutExpired:
            raise _ProcessError("HUNG", f"no answer within {deadline_s:.0f} s") from None
        except OSError as error:
            raise NotReadyError(f"cannot start a process: {error.strerror or error}") from error
        if done.code != 0:
            said = done.err.decode(errors="replace")
            raise _ProcessError("CRASHED", _ending(done.code, said))
        # The runtime may write to standard output, too; the answer is the last line.
        answer: dict[str, Any] = json.loads(done.out.splitlines()[-1])
        if reason := answer.get("unavailable"):
            raise NotReadyError(
                f"the runtime does not run on this machine ({_one_line(reason)}); reinstall it: "
                f"'pip install --force-reinstall {conditions.RUNTIME}'"
            )
        if "refused" in answer:
            raise _ProcessError("REFUSED", _one_line(answer["refused"]))
        return answer


def host_settings(settings: Settings) -> Settings:
    """Settings as this computer measures them, with whatever runs the models.

    Raises:
        InputError: CPUs that are not here, or something is to be forced that only phones have.
    """
    if settings.profile not in ("stock", "host"):
        raise InputError(f"--mode {settings.profile} is for phones: leave it out with host")
    if settings.prepared:
        raise InputError("--prepare is for phones: leave it out with host")
    if settings.allowed:
        raise InputError("--allow is for phones: leave it out with host")
    system.check_cpus(settings.cpus)
    return replace(settings, profile="host")


def _cpus(settings: Settings) -> tuple[int, ...]:
    return settings.cpus or tuple(system.allowed_cpus())


def _ending(code: int, errors: str) -> str:
    """How a process ended, with the last thing it said."""
    ending = f"signal {-code}" if code < 0 else f"exit code {code}"
    said = [line for line in errors.splitlines() if line.strip() and not line.startswith("INFO:")]
    return f"{ending}: {_one_line(said[-1])}" if said else ending


def _one_line(text: str) -> str:
    joined = " ".join(text.split())
    return joined if len(joined) <= MAX_DETAIL else f"{joined[: MAX_DETAIL - 3]}..."
