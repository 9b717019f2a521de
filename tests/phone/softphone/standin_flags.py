"""The flags of `benchmark_model`, by kind of tool, and how it reads and echoes them."""

from collections.abc import Sequence
from dataclasses import dataclass

Value = bool | int | float | str

_COMMON: list[tuple[str, Value, str]] = [
    ("num_runs", 50, "Min num runs"),
    ("min_secs", 1.0, "Min runs duration (seconds)"),
    ("max_secs", 150.0, "Max runs duration (seconds)"),
    ("run_delay", -1.0, "Inter-run delay (seconds)"),
    ("run_frequency", -1.0, "Number of prorated runs per second"),
    ("num_threads", -1, "Num threads"),
    ("use_caching", False, "Use caching"),
    ("benchmark_name", "", "Benchmark name"),
    ("output_prefix", "", "Output prefix"),
    ("warmup_runs", 1, "Min warmup runs"),
    ("warmup_min_secs", 0.5, "Min warmup runs duration (seconds)"),
    ("verbose", False, ""),
    ("dry_run", False, "Run w/o invoking kernels"),
    ("report_peak_memory_footprint", False, "Report the peak memory footprint"),
    ("memory_footprint_check_interval_ms", 50, "Memory footprint check interval (ms)"),
    ("graph", "", "Graph"),
]
_TFLITE: list[tuple[str, Value, str]] = [
    ("signature_to_run_for", "", "Signature to run"),
    ("input_layer", "", "Input layers"),
    ("input_layer_shape", "", "Input shapes"),
    ("input_layer_value_range", "", "Input value ranges"),
    ("input_layer_value_files", "", "Input value files"),
    ("allow_fp16", False, "Allow fp16"),
    ("require_full_delegation", False, "Require full delegation"),
    ("enable_op_profiling", False, "Enable op profiling"),
    ("op_profiling_output_mode", "stdout", "Op profiling output mode."),
    ("op_profiling_output_file", "", "Op profiling output file."),
    ("profiling_output_csv_file", "", "CSV File to export profiling data to"),
    ("max_profiling_buffer_entries", 1024, "Max initial profiling buffer entries"),
    ("output_filepath", "", "File path to export outputs layer to"),
    ("use_xnnpack", False, "Use xnnpack"),
    ("xnnpack_force_fp16", False, "Force fp16 in XNNPACK"),
    ("use_gpu", False, "Use gpu"),
    ("gpu_precision_loss_allowed", True, "Allow lower precision in gpu"),
    ("gpu_experimental_enable_quant", True, "Enable running quant models in gpu"),
    ("gpu_inference_for_sustained_speed", False, "Prefer maximizing the throughput in gpu"),
    ("gpu_backend", "", "GPU backend"),
    ("use_nnapi", False, "Use NNAPI"),
    ("nnapi_execution_preference", "", "NNAPI execution preference"),
    ("nnapi_accelerator_name", "", "NNAPI accelerator name"),
    ("disable_nnapi_cpu", True, "Disable NNAPI cpu"),
    ("nnapi_allow_fp16", False, "Allow fp16 in NNAPI"),
    ("external_delegate_path", "", "External delegate path"),
    ("external_delegate_options", "", "External delegate options"),
    ("max_delegated_partitions", 0, "Max number of delegated partitions"),
    ("min_nodes_per_partition", 0, "Min nodes per partition"),
]
_LITERT: list[tuple[str, Value, str]] = [
    ("signature_to_run_for", "", "Signature to run"),
    ("use_cpu", True, "Use CPU"),
    ("use_gpu", False, "Use GPU"),
    ("use_npu", False, "Use NPU"),
    ("require_full_delegation", False, "Require full delegation"),
    ("use_profiler", False, "Use profiler"),
    ("gpu_backend", "", "GPU backend"),
    ("input_layer_value_range", "", "Input value ranges"),
]
_NEWER_THAN_2_3 = {
    "dry_run", "verbose", "run_frequency", "report_peak_memory_footprint",
    "memory_footprint_check_interval_ms", "signature_to_run_for", "op_profiling_output_mode",
    "op_profiling_output_file", "output_filepath", "gpu_backend", "xnnpack_force_fp16",
}  # fmt: skip


class BadFlag(Exception):
    """A value that does not fit its flag."""


@dataclass(frozen=True)
class Flags:
    """What was given.

    Attributes:
        values: of every flag the tool knows.
        given: names of those on the command line.
        unconsumed: arguments that are none of its flags, in order.
        labels: how the tool calls them.
        copies: names of flags given more than once.
    """

    values: dict[str, Value]
    given: frozenset[str]
    unconsumed: list[str]
    labels: dict[str, str]

    def number(self, name: str) -> float:
        """A numeric value."""
        return float(self.values[name])

    def text(self, name: str) -> str:
        """A string, empty where the tool has no such flag."""
        return str(self.values.get(name, ""))

    def on(self, name: str) -> bool:
        """A bool, false where the tool has no such flag."""
        return bool(self.values.get(name, False))


def parse(form: str, arguments: Sequence[str]) -> Flags:
    """Read arguments as the tool of a version does.

    Raises:
        BadFlag: a value is none.
    """
    known = [*_COMMON, *(_LITERT if form == "litert" else _TFLITE)]
    if form == "tf-2.3":
        known = [one for one in known if one[0] not in _NEWER_THAN_2_3]
    values = {name: default for name, default, _ in known}
    if form == "tf-2.3":
        values["num_threads"] = 1
    given: set[str] = set()
    unconsumed = []
    for argument in arguments:
        name, equals, text = argument.removeprefix("--").partition("=")
        # The first copy wins; the second is one flag too many.
        if not argument.startswith("--") or not equals or name not in values or name in given:
            unconsumed.append(argument)
            continue
        values[name] = _convert(values[name], text, name, argument)
        given.add(name)
    return Flags(values, frozenset(given), unconsumed, {name: label for name, _, label in known})


def _convert(default: Value, text: str, name: str, argument: str) -> Value:
    if isinstance(default, bool):
        if text not in ("true", "false", "1", "0"):
            raise BadFlag(f"Failed to parse flag '{name}' against argv '{argument}'")
        return text in ("true", "1")
    if isinstance(default, str):
        return text
    try:
        return type(default)(text)
    except ValueError as error:
        raise BadFlag(f"Failed to parse flag '{name}' against argv '{argument}'") from error
