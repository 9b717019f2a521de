"""`mnasnet bench`: how long .tflite files take on this machine."""

import contextlib
import re
import secrets
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mnasnet_deploy.errors import InputError, MnasnetError, NotReadyError
from mnasnet_deploy.results.record import Record, Scheme, Settings

from . import bench_view, console
from .exported import DEFAULT_MODELS, Named, exported_files
from .networks import Grid, Multipliers, Resolutions, Specs, Variants

if TYPE_CHECKING:
    from mnasnet_deploy.bench.campaign import Candidate, Cell, Plan
    from mnasnet_deploy.bench.host import Host

__all__ = ["bench"]

DEVICES = ("host",)
LOCK = "mnasnet-bench"
MAX_RUNS = 20_000
MAX_LAUNCHES = 100
MAX_SECONDS = 3600.0
MAX_THREADS = 256
MS_PER_S = 1000.0


def bench(
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[FILES]...",
            help=".tflite files; without any, those the options name, or all in the models folder.",
        ),
    ] = None,
    variant: Variants = None,
    multiplier: Multipliers = None,
    res: Resolutions = None,
    spec: Specs = None,
    grid: Grid = False,
    float32: Annotated[bool, typer.Option("--float32", help="The float32 files.")] = False,
    float16: Annotated[bool, typer.Option("--float16", help="The float16 files.")] = False,
    dynamic_int8: Annotated[
        bool, typer.Option("--dynamic-int8", help="The dynamic-int8 files.")
    ] = False,
    int8: Annotated[
        bool,
        typer.Option("--int8", help="The int8 files (no scheme named: all that are there)."),
    ] = False,
    models: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder the exported files are in.")
    ] = DEFAULT_MODELS,
    device: Annotated[
        str, typer.Option(metavar="NAME", help="What to measure on: host, this machine.")
    ] = "host",
    launches: Annotated[
        int,
        typer.Option(
            metavar="N", min=1, max=MAX_LAUNCHES, help="Fresh processes for each file, at least."
        ),
    ] = 10,
    max_launches: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=1,
            max=MAX_LAUNCHES,
            help="Stop adding launches here, even where the interval is wider than 1 %.",
        ),
    ] = 30,
    runs: Annotated[
        int,
        typer.Option(
            metavar="N", min=1, max=MAX_RUNS, help="Measured inferences of a launch, at least."
        ),
    ] = 50,
    min_seconds: Annotated[
        float, typer.Option(metavar="S", help="Measure a launch for so long, at least.")
    ] = 2.0,
    warmup_runs: Annotated[
        int, typer.Option(metavar="N", min=0, max=MAX_RUNS, help="Inferences before measuring.")
    ] = 5,
    warmup_seconds: Annotated[
        float, typer.Option(metavar="S", help="Warm up for so long, at least.")
    ] = 1.0,
    threads: Annotated[
        list[int] | None,
        typer.Option(
            metavar="N",
            min=1,
            max=MAX_THREADS,
            help="Threads of the interpreter (repeatable; default 1).",
        ),
    ] = None,
    cpus: Annotated[
        str | None,
        typer.Option(metavar="LIST", help="Pin to these logical CPUs, such as 0,2-3 (Linux)."),
    ] = None,
    no_xnnpack: Annotated[
        bool, typer.Option("--no-xnnpack", help="Run the built-in kernels, without XNNPACK.")
    ] = False,
    seed: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=0, max=2**32 - 1, help="Of the order of launches (default: drawn)."
        ),
    ] = None,
    timeout: Annotated[
        float,
        typer.Option(metavar="S", help="Give a process up that takes so much longer than planned."),
    ] = 120.0,
    plan: Annotated[
        bool, typer.Option("--plan", help="Print what would run and how long it takes, and stop.")
    ] = False,
    results: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder the records are added to.")
    ] = Path("results"),
    require_valid: Annotated[
        bool, typer.Option("--require-valid", help="Exit with 1 where a result is noisy, too.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure how long .tflite files take.

    A launch is a fresh process: warm-up, then timed inferences. The number is the median over
    launches, with an interval and a verdict; launches of several files are interleaved. One record
    for each file is added to the results folder as soon as it is finished.

    Example:
        mnasnet bench models/*.tflite
        mnasnet bench --variant a1 --multiplier 0.5 --res 160 --int8
    """
    if device not in DEVICES:
        raise InputError(f"unknown device '{device}' (this version measures on: host)")
    settings = Settings(
        profile=device,
        threads=1,
        delegate="none" if no_xnnpack else "xnnpack",
        cpus=_cpus(cpus),
        warmup_runs=warmup_runs,
        warmup_ms=_seconds("--warmup-seconds", warmup_seconds) * MS_PER_S,
        runs=runs,
        min_ms=_seconds("--min-seconds", min_seconds) * MS_PER_S,
        launches=launches,
        max_launches=max(launches, max_launches),
        seed=secrets.randbits(32) if seed is None else seed,
    )
    schemes: dict[Scheme, bool] = {
        "float32": float32, "float16": float16, "dynamic-int8": dynamic_int8, "int8": int8,
    }  # fmt: skip
    named = Named(
        variant=variant,
        multiplier=multiplier,
        res=res,
        spec=spec,
        grid=grid,
        schemes=[scheme for scheme, wanted in schemes.items() if wanted],
    )
    paths = exported_files(files or [], named, models)

    # From here on files are read: 0.2 s of imports.
    from mnasnet_deploy.bench import campaign, system
    from mnasnet_deploy.bench.host import Host

    system.check_cpus(settings.cpus)
    host = Host(patience_s=_seconds("--timeout", timeout))
    info = host.info()
    failed: _Failed = {}
    records: list[tuple[Record, Path]] = []
    cells = _cells(paths, [replace(settings, threads=n) for n in threads or [1]], failed)
    with contextlib.ExitStack() as stack:
        if not plan:
            stack.enter_context(system.exclusive(LOCK, _say_waiting))
        found = campaign.make_plan(_candidates(host, cells, failed))
        if found.groups and not plan:
            _require_writable(results)
            console.say(bench_view.plan_text(found, info))
            records = _measure(host, found, failed, results, quiet=json)
    if json:
        errors = {file: str(error) for file, error in failed.items()}
        console.emit_json(
            bench_view.plan_mapping(found, info, errors)
            if plan
            else bench_view.results_mapping(records, errors)
        )
    elif plan and found.groups:
        console.out(bench_view.plan_text(found, info))
    _finish(found, [record for record, _ in records], failed, require_valid=require_valid)


_Failed = dict[str, MnasnetError]
"""Files that give no number, and why."""


def _cells(paths: Iterable[Path], settings: Sequence[Settings], failed: _Failed) -> "list[Cell]":
    """Look at every file without running it; one that is broken or changed fails here."""
    from mnasnet_deploy.bench.campaign import Cell
    from mnasnet_deploy.export import modelfile

    cells = []
    for path in paths:
        try:
            model = modelfile.read(path)
            model.require_intact()
        except InputError as error:
            _fail(failed, path, error)
            continue
        if model.intact is None:
            console.warn(f"{path.name}: no checksum in it, cannot tell whether it is intact")
        made = modelfile.artifact(model)
        cells += [Cell(path=path, artifact=made, settings=one) for one in settings]
    return cells


def _candidates(host: "Host", cells: "Sequence[Cell]", failed: _Failed) -> "list[Candidate]":
    """Run every file once; what does not run fails here."""
    from mnasnet_deploy.bench import campaign

    candidates = []
    with console.progress("trying files", len(cells)) as advance:
        for outcome in campaign.try_out(host, cells):
            advance()
            if isinstance(outcome, campaign.Failure):
                _fail(failed, outcome.cell.path, outcome.error)
            else:
                candidates.append(outcome)
    return candidates


def _measure(
    host: "Host", plan: "Plan", failed: _Failed, results: Path, *, quiet: bool
) -> list[tuple[Record, Path]]:
    """Run the plan; store, then show, each record as it is finished."""
    from mnasnet_deploy.bench import campaign
    from mnasnet_deploy.results import store

    cells = [candidate.cell for candidate in plan.candidates]
    width = max(len(cell.path.name) for cell in cells)
    several = len({cell.settings.threads for cell in cells}) > 1
    launches = sum(cell.settings.launches for cell in cells)
    records: list[tuple[Record, Path]] = []
    try:
        with console.progress("measuring", launches, still=True) as advance:
            for outcome in campaign.run(
                host, plan, on_launch=advance, on_added=lambda added: advance(0, added=added)
            ):
                if isinstance(outcome, campaign.Failure):
                    _fail(failed, outcome.cell.path, outcome.error)
                    continue
                records.append((outcome, store.add(outcome, results)))
                if quiet:
                    continue
                console.out(bench_view.record_line(outcome, width, with_threads=several))
                for reason in outcome.reasons:
                    console.say(f"  {reason}")
    except KeyboardInterrupt:
        console.say(
            f"interrupted: {len(records)} of {len(cells)} measurements are finished and kept"
        )
        raise
    if records:
        console.say(f"{len(records)} records added to {results}; see them with 'mnasnet table'")
    return records


def _require_writable(results: Path) -> None:
    """Raise NotReadyError now and not after minutes of measuring."""
    folder = results / "records"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise NotReadyError(
            f"cannot write records into {folder}: {error.strerror or error} (choose another folder "
            "with --results)"
        ) from error


def _fail(failed: _Failed, path: Path, error: MnasnetError) -> None:
    console.say(f"error: {error}")
    failed[str(path)] = error


def _finish(
    plan: "Plan", records: Sequence[Record], failed: _Failed, *, require_valid: bool
) -> None:
    """End in 0, in 1, or where no file runs in the code their errors share."""
    codes = {error.exit_code for error in failed.values()}
    if codes and not plan.groups:
        raise typer.Exit(codes.pop() if len(codes) == 1 else 1)
    verdicts = {record.verdict for record in records}
    if codes or "invalid" in verdicts or (require_valid and verdicts - {"valid"}):
        raise typer.Exit(1)


def _seconds(option: str, value: float) -> float:
    if not 0 <= value <= MAX_SECONDS:  # also false for NaN
        raise InputError(f"{option} {value:g}: give seconds from 0 to {MAX_SECONDS:g}")
    return value


def _cpus(text: str | None) -> tuple[int, ...]:
    """`0,2-3` as CPU numbers in order, each once."""
    found: set[int] = set()
    for part in text.split(",") if text is not None else ():
        match = re.fullmatch(r"\s*(\d{1,4})(?:-(\d{1,4}))?\s*", part, re.ASCII)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if first > last:
            raise InputError(f"--cpus '{text}': give CPU numbers and ranges, such as 0,2-3")
        found.update(range(first, last + 1))
    return tuple(sorted(found))


def _say_waiting() -> None:
    console.say("another bench is running on this machine; waiting for it to end")
