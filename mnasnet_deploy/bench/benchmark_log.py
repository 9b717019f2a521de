"""What an output of `benchmark_model` says: numbers, what really ran, and whether to believe it.

Reads the TFLite tool from TensorFlow 1.12 to LiteRT 2.x and the LiteRT tool, from files, pasted
excerpts, logcat and phones. Patterns are searched anywhere in a line, since prefixes differ by
version and by the way a log was taken. Formats: tflite/tools/benchmark/benchmark_model.cc and
litert/tools/benchmark_litert_model.h of google-ai-edge/LiteRT, and TensorFlow's releases.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

__all__ = ["Delegation", "Reading", "Stage", "read_output"]

US_PER_MS: Final = 1e3
AGREEMENT: Final = 1e-4
"""Summary and statistics print the same average with six digits."""

_NUMBER = r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?"
_COUNT = re.compile(
    rf"\bcount=(?P<count>\d+)(?: first=(?P<first>\d+))?"
    rf"(?: curr=(?P<curr>\d+)(?P<same>\(all same\))?)?"
    rf"(?: min=(?P<min>\d+) max=(?P<max>\d+) avg=(?P<avg>{_NUMBER}) std=(?P<std>\d+))?"
    rf"(?: p5=(?P<p5>\d+) median=(?P<median>\d+) p95=(?P<p95>\d+))?\s*$"
)
_SUMMARY = re.compile(
    rf"Inference timings in us: Init: (?P<init>\d+), First inference: (?P<first>\d+), "
    rf"Warmup \(avg\): (?P<warmup>{_NUMBER}), Inference \(avg\): (?P<avg>{_NUMBER})\s*$"
)
_OLD_SUMMARY = re.compile(
    rf"Average inference timings in us: Warmup: (?P<warmup>{_NUMBER}), Init: (?P<init>\d+), "
    rf"(?:no stats|Inference): (?P<avg>{_NUMBER})\s*$"
)
_MEMORY = re.compile(
    rf"(?:Peak memory footprint|Memory footprint delta from the start of the tool) \(MB\): "
    rf"init=(?P<init>{_NUMBER}) overall=(?P<overall>{_NUMBER})\s*$"
)
_SESSION = re.compile(rf"Initialized session in (?P<ms>{_NUMBER})ms\.?\s*$")
_STAGE = re.compile(r"Running benchmark for (?:at least )?(?P<runs>\d+) iterations")
_UNCONSUMED = re.compile(r"Unconsumed cmdline flags:\s*(?P<flags>\S.*?)\s*$")
_REPLACED = re.compile(
    r"Replacing (?P<taken>\d+)(?: out of (?P<all>\d+))? node\(s\) with delegate "
    r"\((?P<name>\w+)\) node, yielding (?P<partitions>\d+) partitions"
)
_APPLIED = re.compile(
    r"(?:Explicitly applied|Applied) (?P<name>\w+) delegate(?:, and the model graph will be "
    r"(?P<how>completely|partially) executed)?(?:.*w/ (?P<kernels>\d+) delegate kernels)?"
)
_NOT_RUN = re.compile(r"Though (?P<name>\w+) delegate is explicitly applied")
_UNSUPPORTED = re.compile(r"\b(?P<name>GPU|NNAPI) acceleration is unsupported on this platform")
_NO_HEXAGON = re.compile(r"Could not create Hexagon delegate")
_NOT_APPLIED = re.compile(r"Failed to apply (?P<name>\w+) delegate")
_CREATED = re.compile(r"Created TensorFlow Lite XNNPACK delegate for CPU")

# The LiteRT tool's block. Its own milliseconds have two decimals; `count=` lines are finer.
_BLOCK: Final = {
    "init": re.compile(rf"Model initialization:\s+(?P<ms>{_NUMBER}) ms"),
    "first": re.compile(rf"(?:Warmup \(first\)|First inference):\s+(?P<ms>{_NUMBER}) ms"),
    "warmup": re.compile(rf"Warmup \(avg\):\s+(?P<ms>{_NUMBER}) ms \((?P<runs>\d+) runs\)"),
    "avg": re.compile(rf"Inference \(avg\):\s+(?P<ms>{_NUMBER}) ms \((?P<runs>\d+) runs\)"),
    "min": re.compile(rf"Inference \(min\):\s+(?P<ms>{_NUMBER}) ms"),
    "max": re.compile(rf"Inference \(max\):\s+(?P<ms>{_NUMBER}) ms"),
    "std": re.compile(rf"Inference \(std\):\s+(?P<ms>{_NUMBER})(?:\s|$)"),
    "p5": re.compile(rf"Inference \(p5\):\s+(?P<ms>{_NUMBER}) ms"),
    "median": re.compile(rf"Inference \(median\):\s+(?P<ms>{_NUMBER}) ms"),
    "p95": re.compile(rf"Inference \(p95\):\s+(?P<ms>{_NUMBER}) ms"),
    "memory_init": re.compile(rf"Init footprint:\s+(?P<ms>{_NUMBER}) MB"),
    "memory_overall": re.compile(rf"Overall footprint:\s+(?P<ms>{_NUMBER}) MB"),
}
_BLOCK_START = "BENCHMARK RESULTS"
_DELEGATE_NAMES: Final = {
    "TfLiteXNNPackDelegate": "XNNPACK",
    "TfLiteGpuDelegateV2": "GPU",
    "TfLiteGpuDelegate": "GPU",
    "LITERT_CL": "GPU",
    "TfLiteNnapiDelegate": "NNAPI",
    "TfLiteHexagonDelegate": "Hexagon",
    "TfLiteCoreMlDelegate": "COREML",
    "DispatchDelegate": "NPU",
}

_ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_LOGCAT = re.compile(r"^\d\d-\d\d \d\d:\d\d:\d\d\.\d+ +\d+ +\d+ [VDIWEF] \S+ *: ?")
_LEVEL = re.compile(r"^(?P<level>INFO|VERBOSE|WARN|WARNING|ERROR|FATAL): ")
_SOURCE = re.compile(r"^\[[^\]\s]+:\d+\] ?")

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
class Stage:
    """A `count=` line, in ms. None where it does not say."""

    runs: int
    first_ms: float | None
    min_ms: float | None
    max_ms: float | None
    average_ms: float | None
    std_ms: float | None
    p5_ms: float | None
    median_ms: float | None
    p95_ms: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Delegation:
    """What executed the graph.

    Attributes:
        name: XNNPACK, GPU, NNAPI, ...: the delegate that executes nodes; None where the built-in
            kernels do, or the output does not say.
        coverage: full; partial; none (it was applied and takes nothing); implicit (the runtime
            applied it by itself); None where the output does not say.
        nodes, of_nodes: it took so many of so many; None where unsaid.
        kernels: number of delegated parts; None where unsaid.
        refused: delegates that were asked for and do not run, in order.
    """

    name: str | None = None
    coverage: Literal["full", "partial", "none", "implicit"] | None = None
    nodes: int | None = None
    of_nodes: int | None = None
    kernels: int | None = None
    refused: tuple[str, ...] = ()


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
    delegation: Delegation = Delegation()
    tool: Literal["tflite", "litert"] | None = None
    asked_runs: int | None = None
    unknown_flags: str = ""
    warnings: tuple[str, ...] = ()


@dataclass(slots=True)
class _Line:
    text: str
    level: str


@dataclass(slots=True)
class _Found:
    """What the lines said, as they were read."""

    stages: list[tuple[int, Stage]] = field(default_factory=list)
    stage: int = 0
    asked: int | None = None
    summary: dict[str, float] | None = None
    session_ms: float | None = None
    memory: tuple[float, float] | None = None
    block: dict[str, tuple[float, int | None]] = field(default_factory=dict)
    in_block: bool = False


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
    lines = [_strip(raw) for raw in re.split(r"\r\n|\r|\n", output)]
    # A last line without an end may be cut: its numbers may lack digits.
    cut = lines.pop().text if not output.endswith(("\n", "\r")) and lines else ""
    whole = [*lines]
    if cut and _is_whole(cut, whole):
        whole.append(_strip(cut))
    found = _Found()
    for line in whole:
        _collect(line.text, found)
    delegation = _delegation([line.text for line in whole])
    return _judge(whole, cut, found, delegation, exit_code)


def _strip(raw: str) -> _Line:
    """A line without terminal codes, logcat's head, level and place in the source."""
    text = _LOGCAT.sub("", _ANSI.sub("", raw).strip())
    level = ""
    if match := _LEVEL.match(text):
        level = match["level"]
        text = text[match.end() :]
    return _Line(_SOURCE.sub("", text).strip(), level)


def _is_whole(text: str, before: Sequence[_Line]) -> bool:
    """Whether an unended last line can be trusted: it ends as such a line has to."""
    if not before and (_SUMMARY.search(text) or _OLD_SUMMARY.search(text)):
        return True  # a pasted line
    return not re.search(r"[0-9=.(a-z]$", text) or bool(_FATAL_LINE.search(text))


def _collect(text: str, found: _Found) -> None:
    """Take the numbers of one line."""
    if match := _STAGE.search(text):
        found.stage += 1
        found.asked = int(match["runs"])
        return
    if match := _COUNT.search(text):
        profile = "Timings (microseconds)" in text or "Memory (bytes)" in text
        if not profile and (stage := _stage(match)):
            found.stages.append((found.stage, stage))
        return
    if match := _SUMMARY.search(text) or _OLD_SUMMARY.search(text):
        # Some ports print it twice; both copies are equal.
        found.summary = found.summary or {k: float(v) for k, v in match.groupdict().items()}
        return
    if match := _SESSION.search(text):
        found.session_ms = float(match["ms"])
    elif match := _MEMORY.search(text):
        found.memory = (float(match["init"]), float(match["overall"]))
    elif _BLOCK_START in text:
        found.in_block = True
    elif found.in_block:
        for name, pattern in _BLOCK.items():
            if match := pattern.search(text):
                runs = match.groupdict().get("runs")
                found.block.setdefault(name, (float(match["ms"]), int(runs) if runs else None))


def _stage(match: "re.Match[str]") -> Stage | None:
    runs = int(match["count"])
    if match["curr"] is None and runs > 0:
        return None  # cut off
    values: dict[str, float | None] = {
        name: None if match[name] is None else float(match[name]) / US_PER_MS
        for name in ("first", "min", "max", "avg", "std", "p5", "median", "p95")
    }
    if values["avg"] is None and runs > 0:
        if runs > 1 and not match["same"]:
            return None  # several runs that differ have a mean
        same = float(match["curr"]) / US_PER_MS
        for name in ("first", "min", "max", "avg"):
            values[name] = same
        values["std"] = 0.0
    return Stage(
        runs=runs,
        first_ms=values["first"],
        min_ms=values["min"],
        max_ms=values["max"],
        average_ms=values["avg"],
        std_ms=values["std"],
        p5_ms=values["p5"],
        median_ms=values["median"],
        p95_ms=values["p95"],
    )


def _delegation(lines: Iterable[str]) -> Delegation:
    """Which delegate executes nodes, from the lines of the tool and of the runtime."""
    name: str | None = None
    coverage: Literal["full", "partial", "none", "implicit"] | None = None
    nodes = of_nodes = kernels = None
    implicit = False
    refused: list[str] = []
    for text in lines:
        if match := _APPLIED.search(text):
            name = match["name"]
            if match["how"]:
                coverage = "full" if match["how"] == "completely" else "partial"
            kernels = int(match["kernels"]) if match["kernels"] else kernels
        elif match := _NOT_RUN.search(text):
            refused.append(match["name"])
            coverage = coverage or "none"
        elif match := _UNSUPPORTED.search(text) or _NOT_APPLIED.search(text):
            refused.append(match["name"])
        elif _NO_HEXAGON.search(text):
            refused.append("Hexagon")
        elif match := _REPLACED.search(text):
            nodes = int(match["taken"])
            of_nodes = int(match["all"]) if match["all"] else None
            by = _DELEGATE_NAMES.get(match["name"], match["name"])
            implicit = implicit or by == "XNNPACK"
            if by != "XNNPACK" and name is None and nodes:
                name = by
                coverage = "full" if nodes == of_nodes else "partial" if of_nodes else None
        elif _CREATED.search(text):
            implicit = True
        elif match := re.search(r"Created (\d+) GPU delegate kernels", text):
            kernels = int(match[1])
    if name is None and implicit and not refused:
        name, coverage = "XNNPACK", "implicit"
    elif name is None and implicit and "XNNPACK" not in refused:
        name, coverage = "XNNPACK", coverage or "implicit"
    return Delegation(
        name=name,
        coverage=coverage,
        nodes=nodes,
        of_nodes=of_nodes,
        kernels=kernels,
        refused=tuple(dict.fromkeys(refused)),
    )


def _judge(
    lines: Sequence[_Line],
    cut: str,
    found: _Found,
    delegation: Delegation,
    exit_code: int | None,
) -> Reading:
    """Put the numbers together and decide whether they are a result."""
    warmup, timed = _two_stages(found)
    numbers = _numbers(found, warmup, timed)
    failed = any(_FAILED.match(line.text) for line in lines)
    died = any(_is_death(line.text) for line in lines)
    average = numbers["inference_avg_ms"]
    problem = None
    if exit_code not in (None, 0):
        problem = f"exit code {exit_code}"
    elif failed:
        problem = "Benchmarking failed."
    elif average is None or not (found.summary or found.block or (warmup and timed)):
        problem = "no result in the output"
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
        error_summary=None if ok else _summary_of_error(lines, cut) or problem,
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


def _two_stages(found: _Found) -> tuple[Stage | None, Stage | None]:
    """Warm-up and measured stage."""
    if found.stage == 0:  # an excerpt: the last statistics are the measured ones
        warmup = found.stages[-2][1] if len(found.stages) > 1 else None
        return warmup, found.stages[-1][1] if found.stages else None
    by_stage = dict(found.stages)
    return by_stage.get(1), by_stage.get(2)


def _numbers(
    found: _Found, warmup: Stage | None, timed: Stage | None
) -> dict[str, float | None]:
    """Every number, the finest source first; times in ms."""
    summary = found.summary or {}

    def of_summary(name: str) -> float | None:
        return summary[name] / US_PER_MS if name in summary else None

    def of_block(name: str) -> float | None:
        return found.block[name][0] if name in found.block else None

    def first(*values: float | None) -> float | None:
        return next((value for value in values if value is not None), None)

    memory = found.memory or (of_block("memory_init"), of_block("memory_overall"))
    block_runs = found.block["avg"][1] if "avg" in found.block else None
    return {
        "init_ms": first(of_summary("init"), found.session_ms, of_block("init")),
        "first_inference_ms": first(
            of_summary("first"), warmup.first_ms if warmup else None, of_block("first")
        ),
        "warmup_avg_ms": first(
            of_summary("warmup"), warmup.average_ms if warmup else None, of_block("warmup")
        ),
        "inference_avg_ms": first(
            of_summary("avg"), timed.average_ms if timed else None, of_block("avg")
        ),
        "runs": first(timed.runs if timed else None, block_runs),
        "min_ms": first(timed.min_ms if timed else None, of_block("min")),
        "max_ms": first(timed.max_ms if timed else None, of_block("max")),
        "std_ms": first(timed.std_ms if timed else None, of_block("std")),
        "median_ms": first(timed.median_ms if timed else None, of_block("median")),
        "p5_ms": first(timed.p5_ms if timed else None, of_block("p5")),
        "p95_ms": first(timed.p95_ms if timed else None, of_block("p95")),
        "memory_init_mib": memory[0],
        "memory_overall_mib": memory[1],
    }


def _is_death(text: str) -> bool:
    return bool(_FATAL_LINE.search(text)) and not text.startswith("WARNING: linker")


def _summary_of_error(lines: Sequence[_Line], cut: str) -> str | None:
    """The line that says best what went wrong."""
    errors = [
        line.text
        for line in lines
        if line.text
        and (line.level in ("ERROR", "FATAL") or _OF_THE_TOOL.match(line.text))
        and not _SOFT.match(line.text)
    ]
    causes = [text for text in errors if not _CONSEQUENCE.match(text)]
    deaths = [line.text for line in lines if _is_death(line.text)]
    rest = [line.text for line in lines if line.text] + ([cut] if cut else [])
    for found in (causes, deaths, errors, rest[-1:]):
        if found:
            return found[0]
    return None


def _tool(lines: Sequence[_Line], found: _Found) -> Literal["tflite", "litert"] | None:
    if found.block or any("Loading model from:" in line.text for line in lines):
        return "litert"
    if found.summary or any("Loaded model" in line.text for line in lines):
        return "tflite"
    return None
