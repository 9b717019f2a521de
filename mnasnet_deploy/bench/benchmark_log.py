"""What an output of `benchmark_model` says: numbers, what really ran, and whether to believe it.

Reads the TFLite tool from TensorFlow 1.12 to LiteRT 2.x and the LiteRT tool, from files, pasted
excerpts, logcat and phones. Patterns are searched anywhere in a line, since prefixes differ by
version and by the way a log was taken. Formats: tflite/tools/benchmark/benchmark_model.cc and
litert/tools/benchmark_litert_model.h of google-ai-edge/LiteRT, and TensorFlow's releases.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from mnasnet_deploy.bench.benchmark_delegates import Delegation, delegation_of
from mnasnet_deploy.bench.benchmark_lines import (
    Found,
    Line,
    collect,
    is_result_line,
    numbers_of,
    strip_line,
    two_stages,
)

__all__ = ["Reading", "read_output"]

NO_RESULT: Final = "no result in the output"
FAILED: Final = "Benchmarking failed."
AGREEMENT: Final = 1e-4
"""Summary and statistics print the same average with six digits."""

_UNCONSUMED = re.compile(r"Unconsumed cmdline flags:\s*(?P<flags>\S.*?)\s*$")
# Lines at ERROR level that do not end a run: the GPU delegate tells what it leaves to the CPU.
_SOFT = re.compile(
    r"^(?:Following operations are not supported by GPU delegate|\w+: Operation is not supported|"
    r"Can not open OpenCL library|Falling back to OpenGL|\d+ operations will run on the GPU|"
    r"No operations will run on the GPU|Not all|First \d+ operations will run)"
)
_CONSEQUENCE = re.compile(
    r"^(?:Restored original execution plan|Failed to apply \w+ delegate|Benchmarking failed)"
)
_FATAL_LINE = re.compile(
    r"^(?:Segmentation fault|Aborted|Killed|Illegal instruction|Bus error|Floating point exception)"
    r"\b|CANNOT LINK EXECUTABLE|not executable: \d+-bit ELF|: inaccessible or not found|"
    r"/sh: .*: (?:not found|can't execute|Permission denied)|: Permission denied$|"
    r"^(?:adb: )?(?:error: )?(?:device '.*' not found|no devices/emulators found|"
    r"device unauthorized|device offline|more than one device)|^taskset: |"
    r"^terminate called|^libc\+\+abi"
)
_OF_THE_TOOL = re.compile(
    r"^(?:Failed to (?:load|mmap|initialize|construct|parse|allocate|set thread|read|compile|"
    r"create|get|apply)\b|Didn't find op|Encountered unresolved custom op|Registration failed|"
    r"Select TensorFlow op|Regular TensorFlow ops|Please specify the name|Could not open|"
    r"Signature (?:not|key is)|Inputs mismatch|Input tensor #|The size of .* is \d+|"
    r"Disallowed CPU fallback|Model provided has model identifier|Node number \d+ .* failed to|"
    r"NN API returned error|TfLiteGpuDelegate (?:Init|Prepare)|Cannot find the corresponding|"
    r"The number of items in|Output mode|Compiled model is null|Requesting full delegation|"
    r"Run failed|hexagon_nn_config failed)"
)

_FAILED = re.compile(r"^Benchmarking failed\.?$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One output. Times in ms, memory in MiB; None where it does not say.

    Attributes:
        ok: the run ended well and gives a result.
        error_summary: the line that says best what went wrong; None where nothing did.
        init_ms: from nothing to allocated tensors.
        first_inference_ms: the first of the warm-up.
        warmup_avg_ms, inference_avg_ms: means of the two stages.
        runs: of the measured stage, and with it min_ms to p95_ms.
        memory_init_mib, memory_overall_mib: growth of the peak resident memory.
        delegate: name of `delegation`.
        delegation: what executed the graph.
        tool: which program wrote it; None where it does not show.
        asked_runs: least number of measured runs asked for.
        unknown_flags: arguments the program did not know: the run is not what was asked.
        warnings: what else keeps the numbers from being what was asked.
    """

    ok: bool
    error_summary: str | None = None
    init_ms: float | None = None
    first_inference_ms: float | None = None
    warmup_avg_ms: float | None = None
    inference_avg_ms: float | None = None
    runs: int | None = None
    min_ms: float | None = None
    max_ms: float | None = None
    std_ms: float | None = None
    median_ms: float | None = None
    p5_ms: float | None = None
    p95_ms: float | None = None
    memory_init_mib: float | None = None
    memory_overall_mib: float | None = None
    delegate: str | None = None
    delegation: Delegation
    tool: Literal["tflite", "litert"] | None = None
    asked_runs: int | None = None
    unknown_flags: str = ""
    warnings: tuple[str, ...] = ()


def read_output(output: str | bytes, *, exit_code: int | None = None) -> Reading:
    """Read what a run of `benchmark_model` printed, standard error merged in.

    Args:
        output: all of it, in any line ending; undecodable bytes do not matter.
        exit_code: of the program, where known; anything but 0 is a failed run.

    Returns:
        The numbers, also those of a failed run where it got that far.
    """
    if isinstance(output, bytes):
        output = output.decode("utf-8", errors="replace")
    lines = [strip_line(raw) for raw in re.split(r"\r\n|\r|\n", output)]
    # A last line without an end may be cut and lack digits: it only tells of errors.
    cut = lines.pop().text
    whole = [*lines, strip_line(cut)] if _FATAL_LINE.search(cut) else lines
    found = Found()
    for line in whole:
        collect(line.text, found)
    delegation = delegation_of([line.text for line in whole])
    return _judge(whole, cut, found, delegation, exit_code)


def _judge(
    lines: Sequence[Line],
    cut: str,
    found: Found,
    delegation: Delegation,
    exit_code: int | None,
) -> Reading:
    """Put the numbers together and decide whether they are a result."""
    warmup, timed = two_stages(found)
    numbers = numbers_of(found, warmup, timed)
    failed = any(_FAILED.match(line.text) for line in lines)
    died = any(_is_death(line.text) for line in lines)
    average = numbers["inference_avg_ms"]
    problem = None
    if exit_code not in (None, 0):
        problem = f"exit code {exit_code}"
    elif failed:
        problem = FAILED
    elif average is None or not (found.summary or found.block or (warmup and timed)):
        problem = NO_RESULT
        if is_result_line(cut):
            problem = "its last line may be cut off: no line end follows"
    elif died:
        problem = "it ended in an error"
    elif numbers["runs"] == 0:
        problem = "nothing was run"
    elif (
        found.summary
        and timed
        and timed.average_ms is not None
        and abs(timed.average_ms - average) > AGREEMENT * average
    ):
        problem = "its summary and its statistics disagree"
    unknown = next((m["flags"] for line in lines if (m := _UNCONSUMED.search(line.text))), "")
    ok = problem is None
    if not ok and not (found.summary or found.block):
        for name in ("runs", "min_ms", "max_ms", "std_ms", "median_ms", "p5_ms", "p95_ms"):
            numbers[name] = None
    runs = numbers["runs"]
    warnings = []
    if unknown:
        warnings.append(f"the program does not know {unknown}")
    warnings += [f"{name} was asked for and did not run" for name in delegation.refused]
    if ok and runs is not None and found.stage >= 2 and found.asked and runs < found.asked:
        warnings.append(f"{int(runs)} runs instead of {found.asked}: the time ran out")
    return Reading(
        ok=ok,
        error_summary=None if problem is None else _error_summary(lines, cut, problem),
        init_ms=numbers["init_ms"],
        first_inference_ms=numbers["first_inference_ms"],
        warmup_avg_ms=numbers["warmup_avg_ms"],
        inference_avg_ms=average,
        runs=None if runs is None else int(runs),
        min_ms=numbers["min_ms"],
        max_ms=numbers["max_ms"],
        std_ms=numbers["std_ms"],
        median_ms=numbers["median_ms"],
        p5_ms=numbers["p5_ms"],
        p95_ms=numbers["p95_ms"],
        memory_init_mib=numbers["memory_init_mib"],
        memory_overall_mib=numbers["memory_overall_mib"],
        delegate=delegation.name,
        delegation=delegation,
        tool=_tool(lines, found),
        asked_runs=found.asked if found.stage >= 2 else None,
        unknown_flags=unknown,
        warnings=tuple(warnings),
    )


def _is_death(text: str) -> bool:
    return bool(_FATAL_LINE.search(text)) and not text.startswith("WARNING: linker")


def _error_summary(lines: Sequence[Line], cut: str, problem: str) -> str:
    """The line that says best what went wrong, else what we found wrong."""
    errors = [
        line.text
        for line in lines
        if line.text
        and (line.level in ("ERROR", "FATAL") or _OF_THE_TOOL.match(line.text))
        and not _SOFT.match(line.text)
    ]
    causes = [text for text in errors if not _CONSEQUENCE.match(text)]
    deaths = [line.text for line in lines if _is_death(line.text)]
    for found in (causes, deaths, errors):
        if found:
            return found[0]
    last = next((text for text in (cut, *(line.text for line in reversed(lines))) if text), "")
    if last and (problem in (NO_RESULT, FAILED) or problem.startswith("exit code")):
        return f"{problem}; the last line is '{last.strip()[:200]}'"
    return problem


def _tool(lines: Sequence[Line], found: Found) -> Literal["tflite", "litert"] | None:
    if found.block or any("Loading model from:" in line.text for line in lines):
        return "litert"
    if found.summary or any("Loaded model" in line.text for line in lines):
        return "tflite"
    return None
