"""Numbers somebody took by hand with `benchmark_model`, as a record that says so."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from typing import Final, TypeVar

from mnasnet_deploy.bench.bench_timing import partial_delegation, timing_of, took_nothing
from mnasnet_deploy.bench.benchmark_log import Reading, read_output
from mnasnet_deploy.bench.benchmark_operators import read_operators
from mnasnet_deploy.bench.campaign import TOOL, to_launch
from mnasnet_deploy.bench.layer_names import with_layer_names
from mnasnet_deploy.bench.verdict import Evidence, counted, estimate, judge
from mnasnet_deploy.errors import InputError
from mnasnet_deploy.export.modelfile import ModelFile, artifact
from mnasnet_deploy.results import store
from mnasnet_deploy.results.record import Conditions, DeviceInfo, Record, Settings

__all__ = ["import_logs"]

_Value = TypeVar("_Value", int, str)

_RAN: Final[Mapping[str, str]] = {"XNNPACK": "xnnpack", "GPU": "gpu", "NNAPI": "nnapi"}
"""Delegates by the name an output gives them; any other is an external one."""


def import_logs(
    logs: Mapping[str, bytes],
    model: ModelFile,
    *,
    device: str,
    threads: int | None = None,
    delegate: str | None = None,
) -> Record:
    """Make one record of the outputs of one or several runs, each one a launch.

    Args:
        logs: the outputs by name.
        model: the file they are of.
        device: name of what they were taken on.
        threads: of the interpreter, for outputs that do not say.
        delegate: what executed the network, for outputs that do not say.

    Returns:
        A record that is `noisy` at best.

    Raises:
        InputError: an output holds no result, they are not alike, or do not say what is needed.
    """
    readings = {name: read_output(content) for name, content in logs.items()}
    for name, reading in readings.items():
        if not reading.ok:
            raise InputError(f"{name} holds no result to import: {reading.error_summary}")
    threads = _one("threads", threads, {name: one.threads for name, one in readings.items()})
    delegate = _one("delegate", delegate, {name: _ran(one) for name, one in readings.items()})
    every = list(readings.values())
    settings = Settings(
        profile="",
        threads=threads,
        delegate=delegate,
        cpus=(),
        warmup_runs=0,
        warmup_ms=0.0,
        runs=min(one.runs or 1 for one in every),
        min_ms=0.0,
        launches=len(every),
        max_launches=len(every),
        seed=0,
    )
    texts = {name: content.decode(errors="replace") for name, content in logs.items()}
    launches = [
        to_launch(timing_of(reading, 0, settings, texts[name]), block=block, position=0)
        for block, (name, reading) in enumerate(readings.items())
    ]
    profiles = [rows for text in texts.values() if (rows := read_operators(text))]
    now = datetime.now(timezone.utc)
    facts = (f"imported from {', '.join(logs)}", "how it was warmed up is not known")
    state = Conditions(time=now.isoformat(timespec="milliseconds"), facts=facts)
    evidence = Evidence(
        launches=launches,
        before=state,
        after=state,
        canary_ms=[launch.median_ms for launch in counted(launches)],
        canary=model.path.name,
        others_load=(),
        delegate=delegate,
        delegated=not any(took_nothing(one, delegate) for one in every),
        partial=next((p for one in every if (p := partial_delegation(one, delegate))), ""),
        profiled=bool(profiles),
        imported=True,
    )
    verdict, reasons = judge(evidence, len(every))
    identity = store.new_id(now)
    memory = [one.memory_overall_mib for one in every if one.memory_overall_mib is not None]
    return Record(
        id=identity,
        time=state.time,
        tool=TOOL,
        campaign=identity,
        artifact=artifact(model),
        device=_device(device, every),
        settings=settings,
        before=state,
        after=replace(state, facts=()),
        launches=tuple(launches),
        estimate=estimate(launches),
        peak_memory_mib=max(memory, default=None),
        verdict=verdict,
        reasons=reasons,
        operators=with_layer_names(profiles[0], model.operators) if profiles else (),
        imported=True,
    )


def _device(name: str, readings: Sequence[Reading]) -> DeviceInfo:
    tools = {reading.tool for reading in readings}
    program = "LiteRT's benchmark_model" if tools == {"litert"} else "benchmark_model"
    return DeviceInfo(
        kind="android",
        name=name,
        os="",
        cpu="",
        cores=0,
        memory_mib=0,
        runtime=f"{program} (imported log)",
    )


def _ran(reading: Reading) -> str | None:
    """The delegate an output says has run; None where it does not say."""
    name = reading.delegate
    return None if name is None else _RAN.get(name, "external")


def _one(what: str, given: _Value | None, said: Mapping[str, _Value | None]) -> _Value:
    """The value all outputs share.

    Raises:
        InputError: they differ among each other or from what is given, or nothing says it.
    """
    known = {"the command line": given, **said}
    found = next((value for value in known.values() if value is not None), None)
    if found is None:
        raise InputError(f"{next(iter(said))} does not say its {what}: give --{what}")
    for name, value in known.items():
        if value is not None and value != found:
            raise InputError(
                f"{name} says {what} {value}, not {found}: import what was taken alike, each in a "
                "record of its own"
            )
    return found
