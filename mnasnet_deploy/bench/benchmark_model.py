"""How to ask `benchmark_model` for a measurement: settings to arguments, for both programs.

A flag the program does not know only makes it warn, so what is not expressible is refused here.
Source: tflite/tools/benchmark and litert/tools of google-ai-edge/LiteRT, and TensorFlow's releases.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from mnasnet_deploy.errors import InputError

__all__ = ["Delegate", "Request", "Tool", "arguments", "program_of", "shell_words"]

Tool = Literal["tflite", "litert"]
Delegate = Literal["xnnpack", "none", "gpu", "nnapi", "external"]

MS_PER_S: Final = 1e3
_ASKS_FOR: Final[Mapping[Delegate, str]] = {
    "xnnpack": "XNNPACK",
    "gpu": "GPU",
    "nnapi": "NNAPI",
    "external": "EXTERNAL",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One run of the program.

    Attributes:
        graph: path of the model where the program runs.
        threads: of the interpreter.
        delegate: what is to execute the graph; `none` for the built-in kernels.
        warmup_runs, warmup_ms: at least this many runs and at least this long, not measured.
        runs, min_ms: at least this many measured runs and at least this long.
        max_ms: no new run is started after this, in each of the two stages.
        inputs: file with the raw bytes, by name of the input tensor.
        input_shapes: of the same tensors.
        output: file that the outputs of the last run are written to; empty for none.
        operators: time every operator (disturbs the times).
        peak_memory: sample the memory (disturbs the times).
        full_delegation: fail where anything is left to the CPU.
        external_path: shared object of the external delegate.
        external_options: its options.
    """

    graph: str
    threads: int = 1
    delegate: Delegate = "xnnpack"
    warmup_runs: int = 5
    warmup_ms: float = 1000.0
    runs: int = 50
    min_ms: float = 2000.0
    max_ms: float = 150_000.0
    inputs: Mapping[str, str] = field(default_factory=dict)
    input_shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    output: str = ""
    operators: bool = False
    peak_memory: bool = False
    full_delegation: bool = False
    external_path: str = ""
    external_options: str = ""


def arguments(request: Request, tool: Tool = "tflite") -> tuple[str, ...]:
    """What stands behind the program's name, one string for each argument, unquoted.

    Raises:
        InputError: the program has no flags for it, or a value cannot be written as one.
    """
    if re.match(r"(?:fd|pipe|buffer):", request.graph):
        # The program takes these words for something that is no file.
        raise InputError(f"'{request.graph}' is no name for a model file here; rename it")
    found = [
        f"--graph={request.graph}",
        f"--num_threads={request.threads}",
        f"--warmup_runs={request.warmup_runs}",
        f"--warmup_min_secs={_seconds(request.warmup_ms)}",
        f"--num_runs={request.runs}",
        f"--min_secs={_seconds(request.min_ms)}",
        f"--max_secs={_seconds(request.max_ms)}",
    ]
    if request.peak_memory:
        found.append("--report_peak_memory_footprint=true")
    found += _for_litert(request) if tool == "litert" else _for_tflite(request)
    return tuple(found)


def program_of(delegate: Delegate) -> str | None:
    """The name under which an output reports this delegate; None for the built-in kernels."""
    return _ASKS_FOR.get(delegate)


def shell_words(words: tuple[str, ...]) -> str:
    """One line for a POSIX shell; adb joins its arguments with spaces and quotes nothing."""
    import shlex

    return " ".join(map(shlex.quote, words))


def _for_tflite(request: Request) -> list[str]:
    # "Not given" differs from "false": the runtime then applies XNNPACK by itself.
    found = [f"--use_xnnpack={'true' if request.delegate == 'xnnpack' else 'false'}"]
    if request.delegate == "gpu":
        found.append("--use_gpu=true")
    elif request.delegate == "nnapi":
        found.append("--use_nnapi=true")
    elif request.delegate == "external":
        if not request.external_path:
            raise InputError("the external delegate needs the path of its shared object")
        found.append(f"--external_delegate_path={request.external_path}")
        if request.external_options:
            found.append(f"--external_delegate_options={request.external_options}")
    if request.full_delegation:
        found.append("--require_full_delegation=true")
    if request.operators:
        found.append("--enable_op_profiling=true")
    if request.inputs:
        names = list(request.inputs)
        if list(request.input_shapes) != names:
            raise InputError("inputs from files need the shape of each of them, in the same order")
        for word in (*names, *request.inputs.values()):
            if "," in word:
                raise InputError(f"'{word}' has a comma, which separates inputs there; rename it")
        shapes = ":".join(",".join(map(str, shape)) for shape in request.input_shapes.values())
        files = ",".join(f"{_escape(n)}:{_escape(path)}" for n, path in request.inputs.items())
        found += [
            f"--input_layer={','.join(names)}",
            f"--input_layer_shape={shapes}",
            f"--input_layer_value_files={files}",
        ]
    if request.output:
        found.append(f"--output_filepath={request.output}")
    return found


def _for_litert(request: Request) -> list[str]:
    if request.inputs or request.output:
        raise InputError(
            "LiteRT's own benchmark_model reads no inputs and writes no outputs; use TensorFlow "
            "Lite's program to check what a model answers"
        )
    if request.delegate == "gpu":
        found = ["--use_gpu=true"]
    elif request.delegate == "xnnpack":
        found = ["--use_cpu=true"]
    else:
        raise InputError(
            f"LiteRT's own benchmark_model cannot run '{request.delegate}'; it knows xnnpack and "
            "gpu (TensorFlow Lite's program knows more)"
        )
    if request.full_delegation and request.delegate == "gpu":
        # Together with the CPU, which is on by default, it refuses to start.
        found += ["--use_cpu=false", "--require_full_delegation=true"]
    if request.operators:
        found.append("--use_profiler=true")
    return found


def _escape(text: str) -> str:
    """A colon within a name; the help text says backslash, the code wants two colons."""
    return text.replace(":", "::")


def _seconds(ms: float) -> str:
    return f"{ms / MS_PER_S:g}"
