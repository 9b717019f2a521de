"""`mnasnet bench`: how long .tflite files take, on this machine and on phones."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mnasnet_deploy.errors import InputError, MnasnetError
from mnasnet_deploy.results.record import Artifact, Scheme, Settings

from . import bench_run, console
from .bench_options import (
    HOST,
    AdbOption,
    Allow,
    Ambient,
    BenchmarkBinary,
    Cluster,
    CoolDown,
    Cpus,
    Delegates,
    Devices,
    ExternalDelegate,
    Launches,
    MinSeconds,
    ModeOption,
    MostLaunches,
    PlanOption,
    Prepare,
    ProfileOption,
    RequireValid,
    Results,
    Resume,
    Runs,
    Seed,
    Threads,
    Timeout,
    WarmupRuns,
    WarmupSeconds,
    again,
    every_settings,
    phone_options,
    require_compatible,
)
from .exported import DEFAULT_MODELS, Named, exported_files
from .networks import Grid, Multipliers, Resolutions, Specs, Variants

if TYPE_CHECKING:
    from mnasnet_deploy.bench.device import Device
    from mnasnet_deploy.bench.devices import PhoneOptions
    from mnasnet_deploy.bench.start import Ask

__all__ = ["bench"]

DEFAULT_RESULTS = Path("results")


def bench(
    context: typer.Context,
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
    device: Devices = None,
    threads: Threads = None,
    delegate: Delegates = None,
    launches: Launches = 10,
    max_launches: MostLaunches = 30,
    runs: Runs = 50,
    min_seconds: MinSeconds = 2.0,
    warmup_runs: WarmupRuns = 5,
    warmup_seconds: WarmupSeconds = 1.0,
    cpus: Cpus = None,
    cluster: Cluster = None,
    mode: ModeOption = "stock",
    prepare: Prepare = False,
    allow: Allow = None,
    ambient: Ambient = None,
    profile: ProfileOption = None,
    benchmark_binary: BenchmarkBinary = None,
    external_delegate: ExternalDelegate = None,
    adb: AdbOption = None,
    seed: Seed = None,
    timeout: Timeout = 120.0,
    cool_down: CoolDown = 600.0,
    resume: Resume = None,
    plan: PlanOption = False,
    results: Results = DEFAULT_RESULTS,
    require_valid: RequireValid = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure how long .tflite files take.

    A launch is a fresh process: warm-up, then timed inferences. The number is the median over
    launches, with an interval and a verdict; launches of several files are interleaved. One record
    for each file is added to the results folder as soon as it is finished. Several devices measure
    at once. A campaign that was interrupted goes on with --resume.

    Example:
        mnasnet bench models/*.tflite
        mnasnet bench --variant a1 --multiplier 0.5 --res 160 --int8
        mnasnet bench --resume
    """
    how = bench_run.How(
        results=results, models=models, plan=plan, json=json, require_valid=require_valid,
        again=again(
            device or (), benchmark_binary=benchmark_binary, external_delegate=external_delegate,
            adb=adb, profile=profile,
        ),
    )  # fmt: skip
    if resume is not None:
        require_compatible(context)
        from .bench_resume import resume_campaign

        options = phone_options(
            names=device or (), delegates=None, cpus=None, cluster=None, profile=profile, adb=adb,
            benchmark_binary=benchmark_binary, external_delegate=external_delegate,
            timeout=timeout, cool_down=cool_down,
        )  # fmt: skip
        resume_campaign(resume, files or (), device or (), options, how)
        return
    names = list(dict.fromkeys(device or [HOST]))
    settings = every_settings(
        launches=launches, max_launches=max_launches, runs=runs, min_seconds=min_seconds,
        warmup_runs=warmup_runs, warmup_seconds=warmup_seconds, threads=threads,
        delegates=delegate, cpus=cpus, mode=mode, prepare=prepare, allow=allow, ambient=ambient,
        seed=seed,
    )  # fmt: skip
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
    options = phone_options(
        names=names, delegates=delegate or (), cpus=cpus, cluster=cluster, profile=profile,
        adb=adb, benchmark_binary=benchmark_binary, external_delegate=external_delegate,
        timeout=timeout, cool_down=cool_down,
    )  # fmt: skip
    paths = exported_files(files or [], named, models)
    _start(paths, names, settings, options, how)


def _start(
    paths: Iterable[Path],
    names: Sequence[str],
    settings: Sequence[Settings],
    options: "PhoneOptions",
    how: bench_run.How,
) -> None:
    """Look at the files and the devices, and measure."""
    # From here on files are read: 0.2 s of imports.
    from mnasnet_deploy.bench import start
    from mnasnet_deploy.bench.keeper import Keeper

    trouble = bench_run.Trouble()
    asked = _ask(bench_run.open_devices(names, options, trouble), settings, trouble)
    found = _look_at(paths, trouble)
    external = start.sha256_of(options.external_delegate) if options.external_delegate else ""
    if not (asked and found):
        bench_run.give_up(how, trouble)
    campaign, jobs = start.start(found, asked, seed=settings[0].seed, external=external)
    with Keeper(campaign=campaign, folder=how.results) as keeper:
        bench_run.measure(jobs, keeper, how, trouble)


def _ask(
    devices: "Sequence[Device]", settings: Sequence[Settings], trouble: bench_run.Trouble
) -> "list[Ask]":
    """Ask every device; one that is not ready does not stop the others.

    Raises:
        InputError: a device cannot measure so; nothing has been measured, so nothing is lost.
    """
    from mnasnet_deploy.bench import start

    asked = []
    for device in devices:
        try:
            asked.append(start.ask(device, settings))
        except InputError:
            raise
        except MnasnetError as error:
            trouble.of_device(device.name, error)
    return asked


def _look_at(paths: Iterable[Path], trouble: bench_run.Trouble) -> list[tuple[Path, Artifact]]:
    """Look at every file without running it; one that is broken or changed fails here."""
    from mnasnet_deploy.export import modelfile

    found = []
    for path in paths:
        try:
            model = modelfile.read(path)
            model.require_intact()
        except InputError as error:
            trouble.of_file(path, error)
            continue
        if model.intact is None:
            console.warn(f"{path.name}: no checksum in it, cannot tell whether it is intact")
        found.append((path, modelfile.artifact(model)))
    return found
