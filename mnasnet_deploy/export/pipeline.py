"""Many networks to many files: recipes, verification, sidecars, processes.

A file appears under its name only when it is whole, verified, and known to be wanted. One that
fails does not stop the others.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from mnasnet_deploy import atomic
from mnasnet_deploy.arch.network import Network
from mnasnet_deploy.errors import InputError, MnasnetError, ModelFileError, VerificationError
from mnasnet_deploy.export import modelfile
from mnasnet_deploy.export.build import Builder, Built
from mnasnet_deploy.export.facts import Engine, Facts
from mnasnet_deploy.export.graph import Options
from mnasnet_deploy.export.images import CalibrationSet
from mnasnet_deploy.export.naming import file_name
from mnasnet_deploy.export.synthetic import verification_images
from mnasnet_deploy.export.verify import Verification, verify
from mnasnet_deploy.results.record import Scheme
from mnasnet_deploy.weights.choice import load_weights
from mnasnet_deploy.workers import each_in_pool

__all__ = ["SIDECAR_SCHEMA", "Outcome", "Request", "export_all", "export_network"]

SIDECAR_SCHEMA: Final = "mnasnet.sidecar/1"

_FLOAT_ONLY = frozenset({"QUANTIZE", "DEQUANTIZE"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to export of one network.

    Attributes:
        network: which.
        weights: what stands behind --weights.
        averaged: take moving averages where there are any.
        schemes: the files wanted.
        options: their two ends.
        calibration: images for int8, None where it is not among the schemes.
        ranges: `min-max` or `percentile:P`.
        labels: class names of the user's own, or None.
        engine: `writer` or `tensorflow`.
        out: folder.
        suffix: of the file names, to keep two recipes apart.
        force: overwrite files of another recipe.
        verify_images: how many images every file is checked with.
        threads: for calibration.
    """

    network: Network
    weights: str
    schemes: tuple[Scheme, ...]
    options: Options
    calibration: CalibrationSet | None
    ranges: str = "min-max"
    labels: tuple[str, ...] | None = None
    engine: Engine = "writer"
    out: Path
    suffix: str = ""
    force: bool = False
    verify_images: int = 8
    threads: int = 1
    averaged: bool = True

    def target(self, scheme: Scheme) -> Path:
        """Where a scheme's file goes."""
        network = self.network
        return self.out / file_name(
            network.name, network.multiplier, network.resolution, scheme, self.suffix
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one file.

    Attributes:
        path: where it lies, or would.
        scheme: of the file.
        status: `written`, `up to date` or `failed`.
        size_bytes: of the file.
        contract: the "feed ...; read ..." line.
        verification: None where nothing was written.
        untrained: the weights were never trained.
        warnings: what to know before using it.
        error: why it failed.
        exit_code: of that error, else 0.
    """

    path: Path
    scheme: Scheme
    status: Literal["written", "up to date", "failed"]
    size_bytes: int = 0
    contract: str = ""
    verification: Verification | None = None
    untrained: bool = False
    warnings: tuple[str, ...] = ()
    error: str = ""
    exit_code: int = 0


def export_network(request: Request, advance: Callable[[], None] = lambda: None) -> list[Outcome]:
    """Export all schemes of one network; errors become outcomes.

    Args:
        request: what to export.
        advance: called after every calibration image.
    """
    try:
        builder = Builder(
            request.network,
            load_weights(request.weights, request.network, averaged=request.averaged),
            request.options,
            calibration=request.calibration,
            ranges=request.ranges,
            labels=request.labels,
            engine=request.engine,
            threads=request.threads,
            advance=advance,
        )
    except MnasnetError as error:
        return [_failed(request, scheme, error) for scheme in request.schemes]
    check = _Check(builder, request.verify_images)
    outcomes = []
    for scheme in request.schemes:
        try:
            outcomes.append(_export(request, scheme, builder, check))
        except MnasnetError as error:
            outcomes.append(_failed(request, scheme, error))
    return outcomes


def export_all(
    requests: Sequence[Request],
    *,
    processes: int = 1,
    advance: Callable[[], None] = lambda: None,
) -> Iterator[Outcome]:
    """Export many networks, yielding each file's outcome as it comes.

    Args:
        requests: one for each network.
        processes: how many networks at once; 1 stays in this process.
        advance: called after every calibration image, with one process only.
    """
    processes = min(processes, len(requests))
    if processes <= 1:
        for request in requests:
            yield from export_network(request, advance)
        return
    for request, future in each_in_pool(export_network, requests, processes):
        yield from _collect(future, request)


class _Check:
    """Verification images and their float32 logits, made once for all schemes of a network."""

    def __init__(self, builder: Builder, images: int) -> None:
        self.builder = builder
        self.images = images

    @cached_property
    def pixels(self) -> npt.NDArray[np.uint8]:
        """The package's own, or the user's photos for weights of the user's own.

        A network that knows only digits says nothing steady of landscapes, and its int8 ranges are
        not meant for them.
        """
        photos, source = self.builder.calibration, self.builder.weights.source
        if photos and not photos.synthetic and source.trained and source.dataset != "imagenet-1k":
            spread = np.linspace(0, len(photos.pixels) - 1, min(self.images, len(photos.pixels)))
            chosen: npt.NDArray[np.uint8] = photos.pixels[np.unique(spread.round().astype(int))]
            return chosen
        return verification_images(self.builder.network.resolution, self.images)

    @cached_property
    def logits(self) -> npt.NDArray[np.float32]:
        return self.builder.reference(self.pixels)

    def __call__(self, path: Path, built: Built) -> Verification:
        facts = built.facts
        try:
            return verify(
                path,
                facts.contract,
                facts.scheme,
                self.pixels,
                self.logits,
                trained=facts.weights.trained,
            )
        except VerificationError as error:
            where = self.builder.departure(built, self.pixels)
            raise VerificationError(
                f"{error}; {where}. Nothing was written: try more calibration photos, "
                "--ranges percentile:95 or another scheme"
            ) from error
        except ModelFileError as error:  # our own file: not the user's input
            raise VerificationError(f"{error}. Nothing was written") from error


def _export(request: Request, scheme: Scheme, builder: Builder, check: _Check) -> Outcome:
    target = request.target(scheme)
    recipe = builder.recipe(scheme)
    known = _existing(target, recipe, force=request.force)
    if known is not None and known.facts is not None:
        return _done(target, known.facts, known.size_bytes)
    built = builder.build(scheme)
    with atomic.staged(target, (built.data,)) as temporary:
        model = modelfile.read(temporary)
        if scheme == "int8":
            _require_integer(model)
        verification = check(temporary, built)
    sidecar = {
        "schema": SIDECAR_SCHEMA,
        "file": target.name,
        "sha256": model.sha256,
        "size_bytes": model.size_bytes,
        "facts": asdict(built.facts),
        "contract": built.facts.contract.line(),
        "calibration": _calibration_list(request.calibration) if scheme == "int8" else None,
        "verification": asdict(verification),
    }
    atomic.write_text(target.with_suffix(".json"), json.dumps(sidecar, indent=2) + "\n")
    return _done(target, built.facts, model.size_bytes, verification)


def _done(
    target: Path, facts: Facts, size_bytes: int, verification: Verification | None = None
) -> Outcome:
    """The outcome of a file that is there: written now, where it was verified now."""
    return Outcome(
        path=target,
        scheme=facts.scheme,
        status="up to date" if verification is None else "written",
        size_bytes=size_bytes,
        contract=facts.contract.line(),
        verification=verification,
        untrained=facts.untrained,
        warnings=_warnings(facts),
    )


def _existing(target: Path, recipe: str, *, force: bool) -> modelfile.ModelFile | None:
    """The file that is already there and is what is wanted, or None where one must be made.

    Raises:
        InputError: another file has the name, and may not be overwritten.
    """
    if not target.exists() or force:
        return None
    try:
        known = modelfile.read(target)
    except ModelFileError:
        known = None
    if known is not None and known.intact and known.facts and known.facts.recipe == recipe:
        # Killed between file and sidecar: the same bytes are made again, with their sidecar.
        return known if _sidecar_sha256(target) == known.sha256 else None
    raise InputError(
        f"{target} exists and was made by another recipe: use --force to overwrite it, --suffix "
        "to write beside it, or another --out"
    )


def _sidecar_sha256(target: Path) -> str | None:
    try:
        sidecar = json.loads(target.with_suffix(".json").read_text(encoding="utf-8"))
        sha256: str | None = sidecar.get("sha256")
    except (OSError, ValueError, AttributeError, RecursionError):
        return None
    return sha256


def _require_integer(model: modelfile.ModelFile) -> None:
    """Raise where an int8 file computes anything in float."""
    floats = [
        operator.kind
        for operator in model.operators
        if operator.output_type.startswith("FLOAT") and operator.kind not in _FLOAT_ONLY
    ]
    if floats:
        raise VerificationError(
            f"it is not full integer: {', '.join(sorted(set(floats)))} would run in float. "
            "Nothing was written"
        )


def _failed(request: Request, scheme: Scheme, error: MnasnetError) -> Outcome:
    return Outcome(
        path=request.target(scheme),
        scheme=scheme,
        status="failed",
        error=str(error),
        exit_code=error.exit_code,
    )


def _warnings(facts: Facts) -> tuple[str, ...]:
    notes = tuple(f"{facts.weights.label}: {note}" for note in facts.weights.notes)
    return notes + (facts.calibration.warnings if facts.calibration else ())


def _calibration_list(calibration: CalibrationSet | None) -> dict[str, object] | None:
    if calibration is None:
        return None
    return {
        "images": [asdict(image) for image in calibration.images],
        "skipped": [asdict(image) for image in calibration.skipped],
    }


def _collect(future: Future[list[Outcome]], request: Request) -> list[Outcome]:
    try:
        return future.result()
    except BrokenProcessPool:
        error = MnasnetError("a worker process was killed (out of memory?); try --jobs 1")
        return [_failed(request, scheme, error) for scheme in request.schemes]
