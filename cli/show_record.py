"""`mnasnet show RECORD`: one measurement with its circumstances, and its slowest operators."""

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mnasnet_deploy.errors import InputError
from mnasnet_deploy.results.record import Conditions, Record, Settings, record_to_mapping

from . import console

if TYPE_CHECKING:
    from mnasnet_deploy.results.accuracy import Accuracy
    from mnasnet_deploy.results.codec import AnyRecord
    from mnasnet_deploy.results.record import OperatorTime

__all__ = ["show_record"]

SLOWEST = 15
MS_PER_S = 1000.0


def show_record(named: Path, results: Path, *, operators: bool, json: bool) -> None:
    """Print what a record says.

    Args:
        named: its file, its id, or how the id starts.
        results: folder the id is looked for in.
        operators: print the slowest of them as well.
        json: print the whole record instead.

    Raises:
        InputError: there is no such record, or it holds no operators.
    """
    record = _find(named, results)
    if not isinstance(record, Record):
        _show_accuracy(record, operators=operators, json=json)
        return
    if operators and not record.operators:
        raise InputError(
            f"record {record.id} holds no operators: benchmark_model times them, on phones and "
            "with '--device host --benchmark-binary FILE'"
        )
    if json:
        console.emit_json(record_to_mapping(record))
        return
    _print(_rows(record))
    if operators:
        console.out(f"\n{_operator_text(record.operators)}")


def _print(rows: Sequence[tuple[str, str]]) -> None:
    width = max(len(name) for name, _ in rows)
    console.out("\n".join(f"{name:<{width}}  {value}".rstrip() for name, value in rows))


def _show_accuracy(accuracy: "Accuracy", *, operators: bool, json: bool) -> None:
    from dataclasses import asdict

    from mnasnet_deploy.report.listing import summarize_accuracy

    if operators:
        raise InputError(f"record {accuracy.id} is of an accuracy and holds no operators")
    if json:
        console.emit_json(asdict(accuracy))
        return
    found = summarize_accuracy(accuracy).items()
    _print([(name, str(value)) for name, value in found if value not in (None, "")])


def _find(named: Path, results: Path) -> "AnyRecord":
    from mnasnet_deploy.results import store

    path = named
    if not named.is_file():
        ids = [one.stem for one in (results / "records").glob("*.json")]
        fits = sorted(one for one in ids if one.startswith(str(named)))
        if len(fits) != 1 and str(named) not in fits:
            what = f"{len(fits)} records start with {named}" if fits else f"no record {named}"
            raise InputError(f"{what} in {results}: 'mnasnet results list' shows their ids")
        path = store.record_path(results, str(named) if str(named) in fits else fits[0])
    found = store.read_record(path)
    if isinstance(found, store.Problem):
        raise InputError(f"{path} is no record: {found.reason}")
    return found


def _rows(record: Record) -> list[tuple[str, str]]:
    from mnasnet_deploy.report.measured import device_title, format_ms
    from mnasnet_deploy.report.model import clean

    artifact, device, estimate = record.artifact, record.device, record.estimate
    number = "no result"
    if estimate is not None:
        shown = format_ms(estimate.median_ms, estimate.low_ms, estimate.high_ms)
        count = f"{estimate.launches} launch{'es' * (estimate.launches != 1)}"
        number = f"{shown} ms, {estimate.coverage:.1%} interval of {count}"
    good = [launch for launch in record.launches if not launch.discarded]
    rows = [
        ("record", record.id),
        ("file", f"{artifact.file}, {artifact.size_bytes:,} bytes, sha256 {artifact.sha256[:16]}"),
        ("device", ", ".join(filter(None, (device_title(device.kind, device.name),
                                           device.cpu * (device.cpu != device.name),
                                           device.os, device.build)))),
        ("run by", f"{device.runtime}" + (f", sha256 {device.runtime_sha256[:16]}"
                                          if device.runtime_sha256 else "")),
        ("how", _how(record.settings)),
        ("latency", number),
        ("verdict", record.verdict),
        *(("", reason) for reason in record.reasons),
    ]  # fmt: skip
    if record.settings.allowed:
        rows.append(("let through", ", ".join(record.settings.allowed)))
    if good:
        init_ms = statistics.median(launch.init_ms for launch in good)
        first_ms = statistics.median(launch.first_ms for launch in good)
        rows.append(("start", f"{init_ms:.4g} ms to set up, first inference {first_ms:.4g} ms"))
    if record.peak_memory_mib is not None:
        rows.append(("memory", f"{record.peak_memory_mib:.1f} MiB at the peak"))
    void = [launch.discarded for launch in record.launches if launch.discarded]
    rows += [("void launch", reason) for reason in void]
    rows += [("before", _state(record.before)), ("after", _state(record.after))]
    rows += [("fact", fact) for fact in (*record.before.facts, *record.after.facts)]
    rows.append(("campaign", record.campaign))
    if record.command:
        rows.append(("command", record.command))
    rows.append(("made by", record.tool + ", imported from logs" * record.imported))
    return [(name, clean(value)) for name, value in rows]


def _how(settings: Settings) -> str:
    parts = [
        f"{settings.threads} thread{'s' * (settings.threads != 1)}",
        "no delegate" if settings.delegate == "none" else settings.delegate,
    ]
    if settings.cpus:
        parts.append(f"on CPU {', '.join(map(str, settings.cpus))}")
    if settings.profile not in ("", "host"):
        parts.append(f"{settings.profile} mode")
    if settings.prepared:
        parts.append("prepared")
    if settings.ambient_c is not None:
        parts.append(f"in a room of {settings.ambient_c:g} C")
    parts.append(
        f"{settings.runs} runs and {settings.min_ms / MS_PER_S:g} s at least, after "
        f"{settings.warmup_runs} and {settings.warmup_ms / MS_PER_S:g} s"
    )
    return ", ".join(parts)


def _state(state: Conditions) -> str:
    known = [state.time]
    if state.clock_limit_mhz is not None:
        of = f" of {state.clock_max_mhz:.0f}" if state.clock_max_mhz is not None else ""
        known.append(f"clock up to {state.clock_limit_mhz:.0f}{of} MHz")
    if state.governor:
        known.append(f"governor {state.governor}")
    if state.temperature_c is not None:
        known.append(f"{state.temperature_c:.1f} C")
    if state.thermal_status is not None:
        known.append(f"thermal status {state.thermal_status}")
    if state.battery_percent is not None:
        known.append(f"battery {state.battery_percent:.0f} %")
    if state.load is not None:
        known.append(f"load {state.load:.0%}")
    return ", ".join(known)


def _operator_text(operators: "Sequence[OperatorTime]") -> str:
    from mnasnet_deploy.report.model import clean

    slowest = sorted(operators, key=lambda one: one.mean_ms, reverse=True)[:SLOWEST]
    rows = [
        ("operator", "kind", "mean ms", "share"),
        *((clean(one.name), clean(one.kind), f"{one.mean_ms:.4f}", f"{one.share:.1%}")
          for one in slowest),
    ]  # fmt: skip
    rest = len(operators) - len(slowest)
    share = 1 - sum(one.share for one in slowest)
    text = console.columns(rows, left=2)
    return f"{text}\n{rest} more take {max(0.0, share):.1%}" if rest else text
