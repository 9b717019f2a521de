"""`benchmark_model` on a device: what is pushed, how it is called, what its output is worth."""

import hashlib
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Protocol

from mnasnet_deploy.bench.adb_words import explain_program
from mnasnet_deploy.bench.answer import Question, difference, question
from mnasnet_deploy.bench.bench_timing import (
    ending,
    partial_delegation,
    timing_of,
    took_nothing,
)
from mnasnet_deploy.bench.benchmark_log import Reading, read_output
from mnasnet_deploy.bench.benchmark_model import Request, Tool, arguments, shell_words
from mnasnet_deploy.bench.benchmark_operators import read_operators
from mnasnet_deploy.bench.device import Timing, Trial
from mnasnet_deploy.bench.layer_names import with_layer_names
from mnasnet_deploy.errors import ModelFileError, NoAnswerError, NotReadyError
from mnasnet_deploy.export import modelfile
from mnasnet_deploy.results.record import Artifact, OperatorTime, Settings

__all__ = ["Programs", "Ran", "Runner", "Shelf"]

MS_PER_S: Final = 1e3
TRIAL_RUNS: Final = 3
OPERATOR_RUNS: Final = 10
MAX_MS: Final = 600_000.0
"""A stage of a launch starts no run after this; the deadline of the call comes first."""
_CHECK_FLAGS: Final = ("input_layer", "output_filepath")
STARTED: Final = "STARTING!"
"""The first line of every version; without it the phone did not start the program."""


class Shelf(Protocol):
    """Where files lie that the program reads and writes: `PhoneFiles`, or this computer's own."""

    def ensure(self, local: Path, sha256: str, name: str, *, executable: bool = False) -> str:
        """Have a file there; gives its path there."""

    def scratch(self, name: str) -> str:
        """Path for something that is written and read once."""


class Ran(Protocol):
    """What a run gave: `phone_run.Run`, or this computer's own."""

    @property
    def code(self) -> int:
        """Exit code; 128 + n where signal n ended it."""

    @property
    def output(self) -> str:
        """All that the program printed, standard error included."""

    @property
    def cpus(self) -> tuple[int, ...] | None:
        """That it was allowed to run on; None where nothing says."""

    @property
    def answer(self) -> bytes:
        """Bytes of its output file; empty where none was asked for or written."""


class Runner(Protocol):
    """Runs a program on the device's CPUs of the settings: `AndroidPhone`, `HostBinary`."""

    def __call__(
        self, words: tuple[str, ...], settings: Settings, deadline_s: float, *, answer: str = ""
    ) -> Ran:
        """Once; `answer` is a file to bring back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pushed:
    """A model on the phone.

    Attributes:
        path: where.
        model: what it is.
        asked: the question it is asked; None where none can be.
        question: where its bytes are on the phone; empty where there are none.
    """

    path: str
    model: modelfile.ModelFile
    asked: Question | None
    question: str


class Programs:
    """`benchmark_model` and models on one phone.

    Args:
        files: of the phone.
        program: of this computer, with its sha256.
        external: shared object of the external delegate; None for no such delegate.
        external_options: handed to it.
        patience_s: how long a first run may take.
        phone: its name, for errors.
    """

    def __init__(
        self,
        files: Shelf,
        program: tuple[Path, str],
        *,
        external: Path | None,
        external_options: str,
        patience_s: float,
        phone: str,
    ) -> None:
        self._files = files
        self._phone = phone
        self._patience_s = patience_s
        self._external_options = external_options
        path, sha256 = program
        self._program = files.ensure(path, sha256, "benchmark_model", executable=True)
        self._external = ""
        if external is not None:
            digest = hashlib.sha256(external.read_bytes()).hexdigest()
            self._external = files.ensure(external, digest, external.name)
        self._tool: Tool = "tflite"
        self._pushed: dict[Path, _Pushed] = {}

    def artifact(self, model: Path) -> Artifact:
        """What a file is."""
        return modelfile.artifact(self._push(model).model)

    def words(self, model: Path, settings: Settings) -> tuple[str, ...]:
        """The program and its arguments for one launch."""
        return self._words(self._request(self._push(model), settings))

    def timing(self, run: Ran, settings: Settings) -> Timing:
        """A launch's run as numbers, or why it is void."""
        timing = timing_of(
            read_output(run.output, exit_code=run.code), run.code, settings, run.output
        )
        if not timing.discarded and run.cpus is not None and run.cpus != tuple(settings.cpus):
            return replace(timing, discarded=f"UNPINNED (it could use the CPUs {list(run.cpus)})")
        return timing

    def trial(self, model: Path, settings: Settings, run: Runner) -> Trial:
        """Run a file shortly: is its answer right, how much memory, which operators.

        Raises:
            ModelFileError: the program refuses the file, crashes on it or does not come back.
            PhoneError: the program does not start on this phone.
        """
        pushed = self._push(model)
        start = time.perf_counter()
        got, reading = self._short(pushed, settings, run, check=True)
        wall_ms = (time.perf_counter() - start) * MS_PER_S
        run_ms = reading.inference_avg_ms or 0.0
        facts = [self._delegation_fact(reading, settings)]
        wrong = ""
        if why := self._unchecked(pushed, reading):
            facts.append(f"its answer was not checked: {why}")
        elif pushed.asked:
            wrong = difference(pushed.asked, got.answer, settings.delegate)
            facts.append("its answer to a fixed image was compared with this computer's")
        if reading.memory_overall_mib is not None:
            facts.append(
                "peak memory is what the program grew by, as it says itself; of a run of its own"
            )
        return Trial(
            overhead_ms=max(0.0, wall_ms - (TRIAL_RUNS + 1) * run_ms),
            run_ms=run_ms,
            peak_memory_mib=reading.memory_overall_mib,
            delegated=not took_nothing(reading, settings.delegate),
            partial=partial_delegation(reading, settings.delegate),
            facts=tuple(fact for fact in facts if fact),
            wrong_output=wrong,
            operators=self._operators(pushed, settings, run),
            command=shell_words(self.words(model, settings)),
        )

    # -- inside

    def _short(
        self, pushed: _Pushed, settings: Settings, run: Runner, *, check: bool
    ) -> tuple[Ran, Reading]:
        """One short run; with LiteRT's own program its flags are learnt on the way."""
        request = replace(
            self._request(pushed, settings),
            warmup_runs=1,
            warmup_ms=0.0,
            runs=TRIAL_RUNS,
            min_ms=0.0,
            peak_memory=True,
        )
        answer = ""
        if check and pushed.asked and self._tool == "tflite":
            answer = self._files.scratch("answer")
            request = replace(
                request,
                inputs={pushed.asked.input_name: pushed.question},
                input_shapes={pushed.asked.input_name: pushed.asked.input_shape},
                output=answer,
            )
        try:
            got = run(self._words(request), settings, self._patience_s, answer=answer)
        except NoAnswerError as error:
            raise ModelFileError(
                f"{pushed.model.path.name} did not come back on {self._phone} ({error}); leave it "
                "out, or wait longer with --timeout"
            ) from None
        reading = read_output(got.output, exit_code=got.code)
        if reading.tool == "litert" and self._tool == "tflite":
            self._tool = "litert"
            return self._short(pushed, settings, run, check=False)
        if not reading.ok:
            self._refuse(pushed, got, reading)
        return got, reading

    def _refuse(self, pushed: _Pushed, got: Ran, reading: Reading) -> None:
        """Raise the error of a run that gave no numbers."""
        why = explain_program(got.output)
        if why and STARTED not in got.output:
            raise why.error(self._phone, f"benchmark_model does not start on {self._phone}")
        raise ModelFileError(
            f"{pushed.model.path.name} does not run on {self._phone} "
            f"({ending(got.code, reading)}); leave it out, or choose another --delegate or "
            "--benchmark-binary"
        )

    def _operators(
        self, pushed: _Pushed, settings: Settings, run: Runner
    ) -> tuple[OperatorTime, ...]:
        """Times of every operator, by a run of their own; empty where the program gives none."""
        request = replace(
            self._request(pushed, settings),
            warmup_runs=1,
            warmup_ms=0.0,
            runs=OPERATOR_RUNS,
            min_ms=0.0,
            operators=True,
        )
        got = run(self._words(request), settings, self._patience_s)
        if got.code != 0:
            return ()
        return with_layer_names(read_operators(got.output), pushed.model.operators)

    def _request(self, pushed: _Pushed, settings: Settings) -> Request:
        return Request(
            graph=pushed.path,
            threads=settings.threads,
            delegate=settings.delegate,  # type: ignore[arg-type]
            warmup_runs=settings.warmup_runs,
            warmup_ms=settings.warmup_ms,
            runs=settings.runs,
            min_ms=settings.min_ms,
            max_ms=MAX_MS,
            external_path=self._external,
            external_options=self._external_options,
        )

    def _words(self, request: Request) -> tuple[str, ...]:
        return (self._program, *arguments(request, self._tool))

    def _push(self, path: Path) -> _Pushed:
        """Have a file and its question on the phone; nothing is pushed that is there."""
        if path not in self._pushed:
            model = modelfile.read(path)
            asked = question(model)
            remote = self._files.ensure(path, model.sha256, path.name)
            self._pushed[path] = _Pushed(
                path=remote,
                model=model,
                asked=asked,
                question=self._push_question(asked) if asked else "",
            )
        return self._pushed[path]

    def _push_question(self, asked: Question) -> str:
        digest = hashlib.sha256(asked.stored).hexdigest()
        with tempfile.TemporaryDirectory() as folder:
            local = Path(folder) / "image.bin"
            try:
                local.write_bytes(asked.stored)
            except OSError as error:
                raise NotReadyError(
                    f"cannot write into {folder}: {error.strerror or error} (make room there, or "
                    "choose another folder with TMPDIR)"
                ) from error
            return self._files.ensure(local, digest, local.name)

    def _unchecked(self, pushed: _Pushed, reading: Reading) -> str:
        """Why an answer says nothing; empty where it does."""
        if pushed.asked is None:
            return "its input or output is of a kind that is not compared"
        if self._tool == "litert":
            return "LiteRT's own program reads no input"
        if any(flag in reading.unknown_flags for flag in _CHECK_FLAGS):
            return f"the program does not know {reading.unknown_flags}"
        return ""

    def _delegation_fact(self, reading: Reading, settings: Settings) -> str:
        """What was asked for, and what ran how much of the graph."""
        found = reading.delegation
        asked = f"asked for {settings.delegate}"
        if found.name is None:
            return f"{asked}; no delegate is known to have run"
        how: Mapping[str | None, str] = {
            "full": " all of the graph", "partial": " part of the graph", "none": " nothing",
        }  # fmt: skip
        nodes = f", {found.nodes} of {found.of_nodes} nodes" if found.of_nodes else ""
        return f"{asked}; {found.name} ran{how.get(found.coverage, '')}{nodes}"
