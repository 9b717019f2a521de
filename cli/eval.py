"""`mnasnet eval`: how often .tflite files are right."""

import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mnasnet_deploy.errors import InputError, MnasnetError

from . import console, eval_view
from .exported import DEFAULT_MODELS, Named, exported_files
from .results import DEFAULT_FOLDER, ResultsFolder

if TYPE_CHECKING:
    from mnasnet_deploy.evaluate.dataset import DataSet
    from mnasnet_deploy.evaluate.pools import Evaluate
    from mnasnet_deploy.evaluate.run import Evaluation
    from mnasnet_deploy.evaluate.subject import Candidate, Foreign
    from mnasnet_deploy.results.accuracy import Accuracy

__all__ = ["evaluate"]

MAX_JOBS = 256
Way = Literal["official", "timm", "torchvision", "torchvision-232"]
Levels = Literal["raw", "unit", "signed", "imagenet"]
_Failed = dict[str, MnasnetError]
"""Files that give no accuracy, and why."""


def evaluate(
    data: Annotated[
        Path,
        typer.Option(metavar="DIR", help="Images: one folder for each class (or see --labels)."),
    ],
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[FILES]...", help=".tflite files; without any, all in the models folder."
        ),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Lines 'name label' for images in any folders: a number from 0, a synset, or a "
            "class named in the model.",
        ),
    ] = None,
    samples: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="So many of the images only, chosen by the seed."),
    ] = None,
    seed: Annotated[
        int, typer.Option(metavar="N", min=0, help="Of the choice and order of images.")
    ] = 0,
    jobs: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, max=MAX_JOBS, help="Processes (default: one a CPU)."),
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS", help="Spread over the workers of a Dask cluster: tcp://host:8786."
        ),
    ] = None,
    allow_calibration_images: Annotated[
        bool,
        typer.Option(
            "--allow-calibration-images",
            help="Evaluate on images that decided the int8 ranges, too.",
        ),
    ] = False,
    preprocessing: Annotated[
        Way | None,
        typer.Option(help="How photos are cropped and resized, for files of other tools."),
    ] = None,
    levels: Annotated[
        Levels | None,
        typer.Option(
            help="What grey levels become, for files of other tools: raw 0..255, unit 0..1, signed "
            "-1..1, imagenet (mean and std)."
        ),
    ] = None,
    results: ResultsFolder = DEFAULT_FOLDER,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure how often .tflite files are right.

    Top-1 and top-5 with Wilson's 95 % interval, and agreement with the float32 file of the same
    network where it is evaluated along. Photos are prepared as the weights of each file ask for.
    What is done is kept: the same command goes on after Ctrl-C, or adds what is new.

    Example:
        mnasnet eval models/*.tflite --data imagenet/val
        mnasnet eval --data photos --labels photos.txt --samples 1000
    """
    foreign = _foreign(preprocessing, levels)
    if cluster is not None and jobs is not None:
        raise InputError("--jobs is for this machine and --cluster for others: give one of them")
    named = Named(variant=None, multiplier=None, res=None, spec=None, grid=False, schemes=())
    paths = exported_files(files or [], named, DEFAULT_MODELS)

    # From here on files are read: 0.3 s of imports.
    from mnasnet_deploy.evaluate.dataset import find_dataset
    from mnasnet_deploy.evaluate.run import Evaluation, require_uncalibrated

    images = find_dataset(data, labels, samples=samples, seed=seed)
    failed: _Failed = {}
    candidates = list(_candidates(paths, images, foreign, failed))
    if foreign is not None and candidates and all(c.artifact.network for c in candidates):
        raise InputError(
            "--preprocessing and --levels are for files of other tools: these carry their own"
        )
    if not allow_calibration_images:
        require_uncalibrated(candidates, images)
    found: list[Accuracy] = []
    if candidates:
        evaluation = Evaluation(
            candidates=candidates,
            data=images,
            results=results,
            allow_calibration_images=allow_calibration_images,
        )
        with _where(cluster, jobs, len(images.shards)) as mapped:
            _run(evaluation, mapped)
        for path, error in evaluation.failed.items():
            _fail(failed, Path(path), error)
        found = [_store(accuracy, results) for accuracy in evaluation.accuracies()]
    if json:
        errors = {path: str(error) for path, error in failed.items()}
        console.emit_json(eval_view.mapping(found, errors))
    else:
        for accuracy in found:
            console.out(eval_view.text(accuracy))
    _warn(found)
    codes = {error.exit_code for error in failed.values()}
    if codes:
        raise typer.Exit(1 if found or len(codes) > 1 else codes.pop())


def _foreign(preprocessing: Way | None, levels: Levels | None) -> "Foreign | None":
    if preprocessing is None and levels is None:
        return None
    if preprocessing is None or levels is None:
        raise InputError("files of other tools need both --preprocessing and --levels")
    from mnasnet_deploy.evaluate.subject import Foreign

    return Foreign(way=preprocessing, levels=levels)


def _candidates(
    paths: Sequence[Path], data: "DataSet", foreign: "Foreign | None", failed: _Failed
) -> "Iterator[Candidate]":
    """Look at every file; one that is broken, changed or of other classes fails here."""
    from mnasnet_deploy.evaluate.subject import candidate
    from mnasnet_deploy.export import modelfile
    from mnasnet_deploy.export.runtime import run_in_child

    for path in paths:
        try:
            model = modelfile.read(path)
            model.require_intact()
            found = candidate(model, modelfile.artifact(model), data, foreign)
            if model.intact is None:  # nobody vouches for it: it may take the process down
                run_in_child(path)
        except InputError as error:
            _fail(failed, path, error)
            continue
        yield found


@contextlib.contextmanager
def _where(cluster: str | None, jobs: int | None, shards: int) -> "Iterator[Evaluate]":
    from mnasnet_deploy.evaluate.pools import on_cluster, on_this_machine

    if cluster is None:
        yield on_this_machine(min(jobs or os.cpu_count() or 1, shards))
        return
    with on_cluster(cluster) as mapped:
        yield mapped


def _run(evaluation: "Evaluation", mapped: "Evaluate") -> None:
    """Evaluate what is missing, and say how it goes."""
    before, total = evaluation.done, evaluation.total
    files, images = len(evaluation.candidates), len(evaluation.data.images)
    kept = f", {before:,} of {total:,} kept from before" if before else ""
    console.say(
        f"{files} file{'s' * (files != 1)}, {images:,} images of {evaluation.data.name}{kept}"
    )
    start = time.perf_counter()
    try:
        with console.progress("evaluating", total - before) as advance:
            evaluation.run(mapped, advance)
    except KeyboardInterrupt:
        evaluation.recount()
        done = evaluation.done
        for candidate in evaluation.sound():
            share = evaluation.share_so_far(candidate)
            if share is not None and done < total:
                console.say(f"{candidate.path.name}: {eval_view.share(share)} so far")
        console.say(
            f"interrupted: {done:,} of {total:,} evaluated and kept in {evaluation.results}: the "
            "same command goes on from there"
        )
        raise
    seconds, now = time.perf_counter() - start, evaluation.done - before
    if now:
        console.say(f"{now:,} evaluated in {seconds:.1f} s, {now / seconds:.1f} a second")


def _store(accuracy: "Accuracy", results: Path) -> "Accuracy":
    """Keep a record, unless the same finding is there; returns the one that is kept."""
    from mnasnet_deploy.evaluate.run import same_finding
    from mnasnet_deploy.results import store

    for known in reversed(store.load(results).accuracies):
        if same_finding(known, accuracy):
            return known
    store.add(accuracy, results)
    return accuracy


def _warn(found: "Sequence[Accuracy]") -> None:
    for accuracy in found:
        for reason in accuracy.reasons:
            console.warn(f"{accuracy.artifact.file}: {reason}")
        if accuracy.data.unreadable_names:
            names = ", ".join(accuracy.data.unreadable_names)
            more = accuracy.data.unreadable - len(accuracy.data.unreadable_names)
            console.warn(f"unreadable: {names}{f' and {more} more' if more else ''}")


def _fail(failed: _Failed, path: Path, error: MnasnetError) -> None:
    console.say(f"error: {error}")
    failed[str(path)] = error
