"""`mnasnet log`: saved outputs of benchmark_model, read."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mnasnet_deploy.errors import InputError

from . import console

if TYPE_CHECKING:
    from mnasnet_deploy.bench.benchmark_log import Reading

__all__ = ["log"]

SCHEMA = "mnasnet.log/1"
MAX_BYTES = 64 * 1024**2
FIELDS = (
    "init_ms", "first_inference_ms", "warmup_avg_ms", "inference_avg_ms", "runs", "min_ms",
    "max_ms", "std_ms", "median_ms", "p5_ms", "p95_ms", "memory_init_mib", "memory_overall_mib",
    "delegate", "ok", "error_summary",
)  # fmt: skip


def log(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="Saved outputs; - is standard input.")
    ],
    operators: Annotated[
        bool, typer.Option("--ops", help="Give the operators of a profiled run, too.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print a JSON list.")] = False,
) -> None:
    """Read saved outputs of benchmark_model.

    Gives the numbers, what really ran, and whether there is a result at all. Takes the outputs of
    TensorFlow Lite's program since 1.12 and of LiteRT's own, also from logcat and from pages they
    were pasted into. Exits with 1 where an output holds no result.

    Example:
        mnasnet log run.log --json
    """
    from mnasnet_deploy.bench.benchmark_log import read_output
    from mnasnet_deploy.bench.benchmark_operators import read_operators

    entries = []
    for file in files:
        content = _content(file)
        reading = read_output(content)
        entry = _entry(file, reading)
        if operators:
            found = read_operators(content.decode("utf-8", errors="replace"))
            entry["operators"] = [
                {"kind": one.kind, "name": one.name, "average_ms": one.average_ms,
                 "share": one.share, "calls": one.calls}
                for one in found
            ]  # fmt: skip
        entries.append(entry)
    if json:
        console.emit_json(entries)
    else:
        for entry in entries:
            _print(entry)
    if not all(entry["ok"] for entry in entries):
        raise typer.Exit(1)


def _content(file: Path) -> bytes:
    import sys

    try:
        if str(file) == "-":
            content = sys.stdin.buffer.read(MAX_BYTES + 1)
        else:
            with file.open("rb") as opened:
                content = opened.read(MAX_BYTES + 1)
    except OSError as error:
        raise InputError(f"cannot read {file}: {error.strerror or error}") from error
    if len(content) > MAX_BYTES:
        raise InputError(f"{file} is larger than 64 MiB; give the output of one run")
    return content


def _entry(file: Path, reading: "Reading") -> dict[str, Any]:
    ran = reading.delegation
    return {
        "schema": SCHEMA,
        "file": file.name,
        **{name: getattr(reading, name) for name in FIELDS},
        "tool": reading.tool,
        "delegate_coverage": ran.coverage,
        "delegate_nodes": ran.nodes,
        "delegate_of_nodes": ran.of_nodes,
        "warnings": list(reading.warnings),
    }


def _print(entry: dict[str, Any]) -> None:
    if not entry["ok"]:
        console.out(f"{entry['file']}: no result: {entry['error_summary']}")
    else:
        parts = [f"inference {_ms(entry['inference_avg_ms'])} (mean)"]
        if entry["median_ms"] is not None:
            parts.append(f"median {_ms(entry['median_ms'])}")
        if entry["min_ms"] is not None:
            parts.append(f"{_ms(entry['min_ms'])} to {_ms(entry['max_ms'])}")
        if entry["runs"] is not None:
            parts.append(f"{entry['runs']} runs")
        if entry["init_ms"] is not None:
            parts.append(f"init {_ms(entry['init_ms'])}")
        if entry["memory_overall_mib"] is not None:
            parts.append(f"memory {entry['memory_overall_mib']:.1f} MiB")
        parts.append(_what_ran(entry))
        console.out(f"{entry['file']}: {', '.join(parts)}")
    for one in entry.get("operators", ()):
        console.out(
            f"  {one['average_ms']:9.3f} ms {one['share']:6.1%}  {one['kind']}  {one['name']}"
        )
    for warning in entry["warnings"]:
        console.warn(f"{entry['file']}: {warning}")


def _what_ran(entry: dict[str, Any]) -> str:
    if entry["delegate"] is None:
        return "delegate not said"
    if entry["delegate_of_nodes"]:
        part = f"{entry['delegate_nodes']} of {entry['delegate_of_nodes']} nodes"
        return f"{entry['delegate']} ran {part}"
    coverage = entry["delegate_coverage"]
    name = str(entry["delegate"])
    return f"{name} ({coverage})" if coverage else name


def _ms(value: float) -> str:
    return f"{value:.4g} ms"
