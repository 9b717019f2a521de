"""Lines of `benchmark_model`: what they are, without their prefixes, and the numbers in them."""

import re
from dataclasses import dataclass, field
from typing import Final

__all__ = [
    "Found",
    "Line",
    "Stage",
    "collect",
    "is_result_line",
    "numbers_of",
    "strip_line",
    "two_stages",
]

US_PER_MS: Final = 1e3

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

_ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_LOGCAT = re.compile(r"^\d\d-\d\d \d\d:\d\d:\d\d\.\d+ +\d+ +\d+ [VDIWEF] \S+ *: ?")
_LEVEL = re.compile(r"^(?P<level>INFO|VERBOSE|WARN|WARNING|ERROR|FATAL): ")
_SOURCE = re.compile(r"^\[[^\]\s]+:\d+\] ?")


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


@dataclass(slots=True)
class Line:
    """A line without its prefixes, and its level (`ERROR`), empty where it has none."""

    text: str
    level: str


@dataclass(slots=True)
class Found:
    """What the lines said, as they were read."""

    stages: list[tuple[int, Stage]] = field(default_factory=list)
    stage: int = 0
    asked: int | None = None
    summary: dict[str, float] | None = None
    session_ms: float | None = None
    memory: tuple[float, float] | None = None
    block: dict[str, tuple[float, int | None]] = field(default_factory=dict)
    in_block: bool = False


def strip_line(raw: str) -> Line:
    """A line without terminal codes, logcat's head, level and place in the source."""
    text = _LOGCAT.sub("", _ANSI.sub("", raw).strip())
    level = ""
    if match := _LEVEL.match(text):
        level = match["level"]
        text = text[match.end() :]
    return Line(_SOURCE.sub("", text).strip(), level)


def is_result_line(text: str) -> bool:
    """Whether it is a whole summary."""
    return bool(_SUMMARY.search(text) or _OLD_SUMMARY.search(text))


def collect(text: str, found: Found) -> None:
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


def two_stages(found: Found) -> tuple[Stage | None, Stage | None]:
    """Warm-up and measured stage."""
    if found.stage == 0:  # an excerpt: the last statistics are the measured ones
        warmup = found.stages[-2][1] if len(found.stages) > 1 else None
        return warmup, found.stages[-1][1] if found.stages else None
    by_stage = dict(found.stages)
    return by_stage.get(1), by_stage.get(2)


def numbers_of(found: Found, warmup: Stage | None, timed: Stage | None) -> dict[str, float | None]:
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
