"""`mnasnet table`: the published grid with what was measured next to it."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mnasnet_deploy.errors import InputError

from . import console
from .results import DEFAULT_FOLDER, ResultsFolder, load_results

if TYPE_CHECKING:
    from mnasnet_deploy.results.codec import AnyRecord
    from mnasnet_deploy.results.files import Files

__all__ = ["table"]

DEFAULT_NETWORK = "mnasnet-a1"
DEFAULT_MODELS = Path("models")
LINT_SCHEMA = "mnasnet.lint/1"
MAX_README_BYTES = 16 * 1024 * 1024

Format = Literal["text", "md", "csv", "json"]


def table(
    network: Annotated[
        str | None,
        typer.Option(
            "--variant",
            "--network",
            metavar="NAME",
            autocompletion=lambda: _variants(),
            help="Whose published rows to show (default a1; mobilenet-v2 has some too).",
        ),
    ] = None,
    form: Annotated[
        Format, typer.Option("--format", help="How to print it (default text).")
    ] = "text",
    json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
    results: ResultsFolder = DEFAULT_FOLDER,
    models: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder the measured files are in.")
    ] = DEFAULT_MODELS,
    write: Annotated[
        Path | None,
        typer.Option(
            metavar="README",
            help="Put the table between its markers, and the records it uses into docs/results "
            "beside it.",
        ),
    ] = None,
    check: Annotated[
        Path | None,
        typer.Option(
            metavar="README", help="Fail if the table there is not what docs/results makes."
        ),
    ] = None,
    lint: Annotated[
        bool, typer.Option("--lint", help="Report what the published grid contradicts itself in.")
    ] = False,
) -> None:
    """Show the published grid with all that was measured.

    One column for each device, scheme, number of threads and delegate, and one for each set of
    images, scheme and weights; a number is shown as a file's only when it was measured on the bytes
    the file has now.

    Example:
        mnasnet table
        mnasnet table --variant mobilenet-v2 --format md
        mnasnet table --write README.md
        mnasnet table --lint
    """
    if sum((write is not None, check is not None, lint)) > 1:
        raise InputError("--write, --check and --lint exclude each other")
    if (write or check) and (network or json or form != "text"):
        raise InputError(
            "--write and --check take the network from the marker in the document and write "
            "Markdown: leave out --variant, --format and --json"
        )
    name = _network_name(network)
    if lint:
        _lint(name, as_json=json or form == "json")
    elif check:
        _check(check, results)
    elif write:
        _write(write, results, models)
    else:
        _show(name, "json" if json else form, results, models)


def _variants() -> list[str]:
    from mnasnet_deploy.arch.variants import VARIANTS

    return list(VARIANTS)


def _network_name(text: str | None) -> str:
    if text is None:
        return DEFAULT_NETWORK
    from mnasnet_deploy.arch.variants import find_variant  # 10 ms: it reads all the specs

    return find_variant(text).spec.name


def _show(network: str, form: Format, results: Path, models: Path) -> None:
    from mnasnet_deploy.report import render
    from mnasnet_deploy.report.grid import build_table

    records = load_results(results).everything
    files = _scan(models, records)
    made = build_table(network, records, files)
    if form == "json":
        console.emit_json(render.table_to_mapping(made))
        return
    renderers = {"text": render.plain, "md": render.markdown, "csv": render.csv_text}
    if made.parts:
        console.out(renderers[form](made).rstrip("\n"))
    else:
        console.say(f"nothing is published about {network}, and nothing is measured yet")
    if not records:
        console.say(f"no measurements in {results}: 'mnasnet bench' and 'mnasnet eval' make them")
    elif not files.complete:
        console.say(f"no folder {models}: numbers are of the files as they were measured last")


def _scan(models: Path, records: "Iterable[AnyRecord]") -> "Files":
    """Look at the model files; a folder that was named must be there."""
    from mnasnet_deploy.results import files

    if models != DEFAULT_MODELS and not models.is_dir():
        raise InputError(f"no folder {models}: give --models the folder of the .tflite files")
    found, problems = files.scan(models, records)
    for problem in problems:
        console.warn(str(problem))
    return found


def _write(document: Path, results: Path, models: Path) -> None:
    from mnasnet_deploy import atomic
    from mnasnet_deploy.report import readme
    from mnasnet_deploy.results import files, store

    document = document.resolve()  # a link to a README stays a link
    before = _read(document)
    measured = load_results(results).everything
    kept, notes = _kept(document)
    plan = readme.plan(
        before, measured=measured, files=_scan(models, measured), kept=kept, notes=notes
    )
    folder = _docs(document)
    # In this order: whatever is killed on the way leaves a document that --check calls stale.
    for record in plan.add:
        store.add(record, folder)
    if plan.notes != notes:
        atomic.write_text(folder / files.NOTES_NAME, files.render_notes(plan.notes))
    if plan.document != before:
        atomic.write_bytes(document, plan.document)
    state = "is up to date" if plan.document == before else "has a new table"
    console.say(
        f"{document.name} {state}: numbers of {_count(plan.shown)}, {_count(len(plan.add))} added "
        "to docs/results"
    )


def _check(document: Path, results: Path) -> None:
    from mnasnet_deploy.report import readme

    if results != DEFAULT_FOLDER:
        raise InputError("--check works from docs/results beside the document: leave out --results")
    kept, notes = _kept(document.resolve())
    shown = readme.check(_read(document), kept=kept, notes=notes, name=str(document))
    console.say(f"{document}: the table is what docs/results makes, numbers of {_count(shown)}")


def _kept(document: Path) -> "tuple[tuple[AnyRecord, ...], dict[str, str]]":
    """The records and notes beside a document."""
    from mnasnet_deploy.results import files, store

    loaded = store.load(_docs(document))
    notes, problem = files.read_notes(_docs(document))
    for found in (*loaded.problems, *((problem,) if problem else ())):
        console.warn(str(found))
    return loaded.everything, notes


def _docs(document: Path) -> Path:
    return document.parent / "docs" / "results"


def _read(document: Path) -> bytes:
    from mnasnet_deploy.results.store import read_limited

    try:
        return read_limited(document, MAX_README_BYTES)
    except InputError as error:
        raise InputError(f"{document}: {error}") from None


def _lint(network: str, *, as_json: bool) -> None:
    from mnasnet_deploy.report.lint import lint

    findings = lint(network)
    if as_json:
        console.emit_json(
            {
                "schema": LINT_SCHEMA,
                "network": network,
                "findings": [
                    {
                        "name": finding.name,
                        "message": finding.message,
                        "source": finding.source,
                        "cells": [
                            {"resolution": resolution, "multiplier": multiplier, "column": column}
                            for resolution, multiplier, column in finding.cells
                        ],
                        "numbers": finding.numbers,
                    }
                    for finding in findings
                ],
            }
        )
        return
    for finding in findings:
        console.out(f"{finding.name}: {finding.message} [{finding.source}]")
    console.say(f"{network}: {len(findings)} findings in what is published")


def _count(records: int) -> str:
    return f"{records} record{'s' * (records != 1)}"
