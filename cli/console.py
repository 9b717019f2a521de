"""Where text leaves the tool: results on standard output, the story on standard error."""

import contextlib
import json
import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from mnasnet_deploy.errors import NotReadyError

__all__ = ["Advance", "columns", "emit_json", "out", "progress", "say", "warn"]


class Advance(Protocol):
    """Moves a progress bar on."""

    def __call__(self, steps: int = 1, *, added: int = 0) -> None:
        """Move on by some steps; `added` steps have turned out to be needed as well."""


def out(text: str) -> None:
    """Write a result line to standard output.

    Raises:
        NotReadyError: it cannot be written (a full disk behind a redirection).
        BrokenPipeError: nobody reads it any more; `main` ends quietly.
    """
    if sys.stdout is None:  # closed by the caller: there is no one to tell
        return
    try:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()  # a reader of a pipe sees each result when it is there
    except BrokenPipeError:
        raise
    except OSError as error:
        raise NotReadyError(f"cannot write the output: {error.strerror or error}") from error


def say(text: str) -> None:
    """Write a line of the story to standard error; a reader that left does not stop the work."""
    if sys.stderr is None:
        return
    with contextlib.suppress(OSError):
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()


def warn(text: str) -> None:
    """Write a warning to standard error."""
    say(f"warning: {text}")


def emit_json(value: Any) -> None:
    """Write one JSON object or list to standard output; errors as in `out`."""
    # ASCII on purpose: readable by a program whatever the terminal's encoding is.
    out(json.dumps(value, indent=2, allow_nan=False))


def columns(rows: Sequence[Sequence[str]], *, left: int = 1) -> str:
    """Align rows of cells with two spaces between; the first `left` columns lean left."""
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    lines = (
        "  ".join(
            cell.ljust(width) if index < left else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ).rstrip()
        for cells in rows
    )
    return "\n".join(lines)


@contextlib.contextmanager
def progress(
    description: str, total: int | None, *, still: bool = False, in_bytes: bool = False
) -> Iterator[Advance]:
    """Show a bar on standard error while something longer than a second runs.

    A terminal gets a bar (without colour where NO_COLOR is set); a pipe or a log gets nothing.

    Args:
        description: what is going on, two or three words.
        total: number of steps, or None where it is not known.
        still: draw only when it moves, so that drawing takes nothing from what is being measured.
        in_bytes: the steps are bytes, shown in larger units.
    """
    if not _draws():
        yield _stand_still
        return
    # Rich costs 70 ms, and only a terminal sees it.
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    text = TextColumn("{task.description}", markup=False)
    bar = Progress(
        text,
        BarColumn(),
        DownloadColumn(binary_units=True) if in_bytes else MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        auto_refresh=not still,
        # Only a terminal shares its screen with the bar; results in a pipe stay in that pipe.
        redirect_stdout=sys.stdout is not None and sys.stdout.isatty(),
    )
    with bar:
        task = bar.add_task(description, total=total)
        steps_in_all = total

        def advance(steps: int = 1, *, added: int = 0) -> None:
            nonlocal steps_in_all
            if added and steps_in_all is not None:
                steps_in_all += added
                bar.update(task, total=steps_in_all)
            bar.update(task, advance=steps, refresh=still)

        yield advance


def _draws() -> bool:
    return sys.stderr is not None and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


def _stand_still(steps: int = 1, *, added: int = 0) -> None:
    """Advance a bar that no one sees."""
