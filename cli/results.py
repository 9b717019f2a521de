"""`mnasnet results`: every measurement on disk, one line each."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mnasnet_deploy.errors import InputError

from . import console

if TYPE_CHECKING:
    from mnasnet_deploy.results.store import Loaded

__all__ = ["ResultsFolder", "app", "load_results"]

DEFAULT_FOLDER = Path("results")

ResultsFolder = Annotated[Path, typer.Option("--results", metavar="DIR", help="Folder of results.")]

app = typer.Typer(help="List and export the measurements on disk.")


@app.callback()
def _group() -> None:
    """List and export the measurements on disk."""


@app.command("list")
def list_results(
    results: ResultsFolder = DEFAULT_FOLDER,
    json: Annotated[bool, typer.Option("--json", help="Print a JSON list.")] = False,
) -> None:
    """List every record, latencies and then accuracies, oldest first.

    Example:
        mnasnet results list
        mnasnet results list --results docs/results --json
    """
    from mnasnet_deploy.report import listing

    found = load_results(results)
    if json:
        console.emit_json(
            [{"schema": listing.SCHEMA, **listing.summarize(r)} for r in found.records]
            + [
                {"schema": listing.ACCURACY_SCHEMA, **listing.summarize_accuracy(a)}
                for a in found.accuracies
            ]
        )
        return
    tables = []
    if found.records:
        tables.append(listing.text_rows(found.records))
    if found.accuracies:
        tables.append(listing.accuracy_rows(found.accuracies))
    if tables:
        console.out("\n\n".join(console.columns(rows, left=len(rows[0])) for rows in tables))
    else:
        console.say(f"no records in {results}: 'mnasnet bench' and 'mnasnet eval' make them")


@app.command("export")
def export_results(
    to: Annotated[
        Literal["csv"], typer.Argument(metavar="FORMAT", help="csv: one line per record.")
    ],
    results: ResultsFolder = DEFAULT_FOLDER,
    accuracy: Annotated[
        bool, typer.Option("--accuracy", help="The accuracies instead of the latencies.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write here instead of standard output.")
    ] = None,
) -> None:
    """Export every record of a kind as a table for other programs.

    Example:
        mnasnet results export csv --out results.csv
        mnasnet results export csv --accuracy
    """
    from mnasnet_deploy.report import listing

    found = load_results(results)
    if accuracy:
        rows = [listing.summarize_accuracy(record) for record in found.accuracies]
        text = listing.csv_text(rows, listing.ACCURACY_FIELDS)
    else:
        rows = [listing.summarize(record) for record in found.records]
        text = listing.csv_text(rows)
    if out is None:
        console.out(text.rstrip("\n"))
        return
    from mnasnet_deploy import atomic

    atomic.write_text(out, text)
    console.say(f"{out}: {len(rows)} record{'s' * (len(rows) != 1)}")


def load_results(folder: Path) -> "Loaded":
    """Read a results folder; files that are no records become warnings.

    Raises:
        InputError: the folder was named and is not there.
    """
    from mnasnet_deploy.results import store

    if folder != DEFAULT_FOLDER and not folder.exists():
        raise InputError(f"no folder {folder}: 'mnasnet bench --results {folder}' makes one")
    loaded = store.load(folder)
    for problem in loaded.problems:
        console.warn(str(problem))
    return loaded
