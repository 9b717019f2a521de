"""`mnasnet export`: networks to verified .tflite files."""

import os
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from mnasnet_deploy.errors import InputError
from mnasnet_deploy.results.record import Scheme

from . import console
from .foreign import Asked, NoEma, complete, preprocessing_of
from .networks import (
    Classes,
    Divisor,
    Grid,
    MinDepth,
    Multipliers,
    Resolutions,
    Specs,
    Variants,
    networks,
)
from .published import BaseUrl, Offline, published_weights

if TYPE_CHECKING:
    from mnasnet_deploy.export.images import CalibrationSet
    from mnasnet_deploy.export.pipeline import Outcome, Request
    from mnasnet_deploy.weights.source import Preprocessing

__all__ = ["export"]

SCHEMA = "mnasnet.export/1"
MAX_JOBS = 64


def export(
    variant: Variants = None,
    multiplier: Multipliers = None,
    res: Resolutions = None,
    classes: Classes = None,
    spec: Specs = None,
    grid: Grid = False,
    divisor: Divisor = 8,
    min_depth: MinDepth = None,
    float32: Annotated[bool, typer.Option("--float32", help="Float weights (default).")] = False,
    float16: Annotated[bool, typer.Option("--float16", help="Half the size.")] = False,
    dynamic_int8: Annotated[
        bool, typer.Option("--dynamic-int8", help="int8 weights, float activations.")
    ] = False,
    int8: Annotated[bool, typer.Option("--int8", help="Full integer, calibrated.")] = False,
    weights: Annotated[
        str,
        typer.Option(
            metavar="SOURCE",
            help="auto: official weights if they can be had, else random ones; official; "
            "official:NAME; timm:NAME; torchvision:NAME; random; random:SEED; or a file or folder "
            "of weights of any kind, which says what is not named.",
        ),
    ] = "auto",
    no_ema: NoEma = False,
    allow_other_resolution: Annotated[
        bool,
        typer.Option(
            "--allow-other-resolution",
            help="Take published weights of the nearest resolution where there are none of this.",
        ),
    ] = False,
    offline: Offline = False,
    base_url: BaseUrl = "",
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder the files are written to.")
    ] = Path("models"),
    calibration: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Photos (JPEG, PNG, with subfolders) for the int8 ranges; generated images, "
            "labelled synthetic, where none is named.",
        ),
    ] = None,
    calibration_samples: Annotated[
        int, typer.Option(metavar="N", min=1, max=100_000, help="Use at most so many of them.")
    ] = 100,
    calibration_seed: Annotated[
        int, typer.Option(metavar="N", min=0, max=2**32 - 1, help="Of the choice among them.")
    ] = 0,
    ranges: Annotated[
        str,
        typer.Option(
            metavar="POLICY", help="min-max, or percentile:P over the images' own extremes."
        ),
    ] = "min-max",
    input: Annotated[  # the option's name
        Literal["raw", "normalized"],
        typer.Option(
            help="raw: RGB 0..255, normalisation inside; normalized: the original's contract."
        ),
    ] = "raw",
    io: Annotated[
        Literal["uint8", "int8", "float32"] | None,
        typer.Option(
            help="Element type of an int8 file's ends (default uint8 with raw input, else int8)."
        ),
    ] = None,
    softmax: Annotated[
        bool, typer.Option("--softmax", help="End in probabilities, not logits.")
    ] = False,
    labels: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Class names, one a line (default: ImageNet's where the weights are).",
        ),
    ] = None,
    engine: Annotated[
        Literal["writer", "tensorflow"],
        typer.Option(help="writer: our own; tensorflow: TFLiteConverter, for comparison."),
    ] = "writer",
    verify_images: Annotated[
        int, typer.Option(metavar="N", min=1, max=10_000, help="Check every file on so many.")
    ] = 8,
    suffix: Annotated[
        str, typer.Option(metavar="WORD", help="Behind the file name, to keep recipes apart.")
    ] = "",
    force: Annotated[
        bool, typer.Option("--force", help="Overwrite files made by another recipe.")
    ] = False,
    jobs: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, max=MAX_JOBS, help="Processes (default: one a CPU)."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print a JSON list.")] = False,
) -> None:
    """Write .tflite files of a network, each one verified.

    Options repeat and multiply: two resolutions and two multipliers make four networks. A file is
    written only after it has passed; the same recipe a second time is "up to date".

    Example:
        mnasnet export --variant a1 --multiplier 0.5 --res 160 --int8 --calibration photos/
    """
    if suffix and not _is_word(suffix):
        raise InputError(f"--suffix '{suffix}': use lower-case letters, digits and '-'")
    asked = complete(
        Asked(variant, multiplier, classes, res), weights, averaged=not no_ema, spec=spec, grid=grid
    )
    found = networks(
        variant=asked.variant,
        multiplier=asked.multiplier,
        res=asked.res,
        classes=asked.classes,
        spec=spec,
        divisor=divisor,
        min_depth=min_depth,
        grid=grid,
    )
    wanted: dict[Scheme, bool] = {
        "float32": float32, "float16": float16, "dynamic-int8": dynamic_int8, "int8": int8,
    }  # fmt: skip
    schemes: tuple[Scheme, ...] = tuple(s for s, asked in wanted.items() if asked) or ("float32",)
    if io and "int8" not in schemes:
        raise InputError("--io is for int8 files; add --int8")

    sources = published_weights(
        weights,
        found,
        allow_other_resolution=allow_other_resolution,
        offline=offline,
        base_url=base_url,
    )

    # From here on tensors are needed: 0.2 s of imports.
    from mnasnet_deploy.export.calibrate import parse_policy
    from mnasnet_deploy.export.graph import Options
    from mnasnet_deploy.export.pipeline import Request

    parse_policy(ranges)
    # Only photos are cropped and resized; reading 25 archives for it would take seconds.
    ways = [
        preprocessing_of(source if calibration else "random", averaged=not no_ema)
        for source in sources
    ]
    sets = _calibration(
        {(network.resolution, way) for network, way in zip(found, ways, strict=True)},
        calibration,
        calibration_samples,
        calibration_seed,
        needed="int8" in schemes,
    )
    processes = min(jobs or os.cpu_count() or 1, len(found))
    requests = [
        Request(
            network=network,
            weights=source,
            averaged=not no_ema,
            schemes=schemes,
            options=Options(input=input, io=io, softmax=softmax),
            calibration=sets.get((network.resolution, way)),
            ranges=ranges,
            labels=_labels(labels, network.classes),
            engine=engine,
            out=out,
            suffix=suffix,
            force=force,
            verify_images=verify_images,
            threads=1 if processes > 1 else jobs or os.cpu_count() or 1,
        )
        for network, source, way in zip(found, sources, ways, strict=True)
    ]
    outcomes = _run(requests, processes, quiet=json)
    if json:
        console.emit_json([_entry(outcome) for outcome in outcomes])
    _finish(outcomes)


def _calibration(
    wanted: "Collection[tuple[int, Preprocessing]]",
    folder: Path | None,
    samples: int,
    seed: int,
    *,
    needed: bool,
) -> "dict[tuple[int, Preprocessing], CalibrationSet]":
    """One set of images for each resolution and preprocessing, photos decoded once for each."""
    if not needed:
        if folder is not None:
            console.warn("--calibration is for int8 files; none was asked for")
        return {}
    from mnasnet_deploy.export.images import load_calibrations
    from mnasnet_deploy.export.synthetic import synthetic_calibration

    if folder is None:
        sides = sorted({side for side, _ in wanted})
        made = {side: synthetic_calibration(samples, side, seed) for side in sides}
        return {(side, way): made[side] for side, way in wanted}
    sets = {}
    with console.progress("reading photos", None) as advance:
        for way in dict.fromkeys(way for _, way in wanted):
            sides = sorted(side for side, other in wanted if other == way)
            found = load_calibrations(
                folder, sides, samples=samples, seed=seed, preprocessing=way, progress=advance
            )
            sets.update({(side, way): found[side] for side in sides})
    return sets


def _labels(path: Path | None, classes: int) -> tuple[str, ...] | None:
    if path is None:
        return None
    from mnasnet_deploy.export.labels import read_labels

    return read_labels(path, classes)


def _run(requests: "Sequence[Request]", processes: int, *, quiet: bool) -> "list[Outcome]":
    from mnasnet_deploy.export.pipeline import export_all

    outcomes = []
    told: set[str] = set()
    total = sum(len(request.schemes) for request in requests)
    with console.progress("exporting", total) as advance:
        for outcome in export_all(requests, processes=processes):
            advance()
            outcomes.append(outcome)
            _tell(outcome, told, quiet=quiet)
    return outcomes


def _tell(outcome: "Outcome", told: set[str], *, quiet: bool) -> None:
    """Print one file's line, and what has not been said before."""
    if outcome.status == "failed":
        text = outcome.error
        if text not in told:
            name = outcome.path.name
            console.say(f"error: {text if name in text else f'{name}: {text}'}")
        told.add(text)
        return
    if not quiet:
        console.out(_line(outcome))
        console.out(f"  {outcome.contract}")
    if outcome.untrained and "untrained" not in told:
        told.add("untrained")
        console.warn(
            "these weights were never trained: sizes and times mean something, classes do not"
        )
    for warning in outcome.warnings:
        if warning not in told:
            told.add(warning)
            console.warn(warning)


def _line(outcome: "Outcome") -> str:
    size = f"{outcome.size_bytes / 2**20:.2f} MiB"
    mark = "  UNTRAINED" if outcome.untrained else ""
    line = f"{outcome.path}  {size}  {outcome.status}{mark}"
    found = outcome.verification
    if found is None:
        return line
    agreement = (
        "not meaningful (untrained)" if found.agreement is None else f"{found.agreement:.3f}"
    )
    return (
        f"{line}  cosine {found.cosine:.5f}, max error {found.max_error:.2g} of the largest, "
        f"top-1 agreement {agreement} on {found.images} images"
    )


def _entry(outcome: "Outcome") -> dict[str, Any]:
    from dataclasses import asdict

    return {"schema": SCHEMA, **asdict(outcome), "path": str(outcome.path)}


def _finish(outcomes: "Sequence[Outcome]") -> None:
    """End in 0, in the one code all failures share, or in 1."""
    codes = {outcome.exit_code for outcome in outcomes if outcome.status == "failed"}
    if not codes:
        return
    failed = sum(outcome.status == "failed" for outcome in outcomes)
    if len(outcomes) > 1:
        console.say(f"{failed} of {len(outcomes)} files failed")
    raise typer.Exit(codes.pop() if len(codes) == 1 else 1)


def _is_word(text: str) -> bool:
    return text.isascii() and text.replace("-", "").isalnum() and text == text.lower()
