"""`mnasnet doctor`: everything a measurement on a phone needs."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from . import console
from .devices import AdbProgram
from .exported import DEFAULT_MODELS
from .results import DEFAULT_FOLDER

__all__ = ["doctor"]

SCHEMA = "mnasnet.doctor/1"
NOT_READY = 3
MARKS = {True: "ok", False: "WRONG", None: "note"}


def doctor(
    models: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder the exported files are in.")
    ] = DEFAULT_MODELS,
    results: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder the measurements go to.")
    ] = DEFAULT_FOLDER,
    adb: AdbProgram = None,
    benchmark_binary: Annotated[
        Path | None,
        typer.Option(
            "--benchmark-binary",
            metavar="PATH",
            help="The program that times models (without: the fetched one).",
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print a JSON object.")] = False,
) -> None:
    """Check all that phones need, and say what to type next.

    Exit code 0 where a phone can be measured on now, 3 where something is missing.

    Example:
        mnasnet doctor
    """
    from mnasnet_deploy.bench.checkup import examine

    with console.progress("looking", None):
        found = examine(models=models, results=results, adb=adb, benchmark_binary=benchmark_binary)
    if json:
        steps = [asdict(step) for step in found.steps]
        console.emit_json({"schema": SCHEMA, "ok": found.ok, "steps": steps, "next": found.command})
    else:
        rows = [(MARKS[step.ok], step.name, step.text) for step in found.steps]
        console.out(console.columns(rows, left=3))
        console.out(f"next: {found.command}")
    if not found.ok:
        raise typer.Exit(NOT_READY)
