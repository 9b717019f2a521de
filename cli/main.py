"""The `mnasnet` command: its list of commands, and the one boundary where errors become exit codes.

Each command's module imports at its top only Typer, `errors`, `arch` and the standard library;
NumPy and everything heavier are imported inside the command.
"""

import contextlib
import os
import sys
import traceback
from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from mnasnet_deploy import __version__
from mnasnet_deploy.errors import MnasnetError, NotReadyError

from . import classify, console, export, show, variants, weights

__all__ = ["app", "main"]

INTERRUPTED = 130


class _Command(TyperCommand):
    """A command whose examples are printed as they are written; Typer would join their lines."""

    def format_help_text(self, ctx: Any, formatter: Any) -> None:
        formatter.write_paragraph()
        with formatter.indentation():
            for index, paragraph in enumerate((self.help or "").split("\n\n")):
                if index:
                    formatter.write_paragraph()
                if not paragraph.startswith("Example"):
                    formatter.write_text(paragraph)
                    continue
                for line in paragraph.splitlines():
                    formatter.write(f"{'':{formatter.current_indent}}{line}\n")


# Plain help, not Rich's: 2 ms over `import typer` against 71, and it reads the same in a pipe.
app = typer.Typer(
    name="mnasnet",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        console.out(f"mnasnet {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version."),
    ] = False,
    debug: Annotated[
        bool,
        typer.Option("--debug", help="Print the traceback of an error too (anywhere on the line)."),
    ] = False,
) -> None:
    """Build, quantize, export and measure MnasNet for phones."""


def _command(name: str, function: Callable[..., None]) -> None:
    app.command(name, cls=_Command)(function)


def _group(name: str, group: typer.Typer) -> None:
    for command in group.registered_commands:
        command.cls = _Command
    group.info.no_args_is_help = True
    app.add_typer(group, name=name)


# One line each, in the order of a day's work; a command is registered when it works.
_command("variants", variants.variants)
_command("show", show.show)
_command("export", export.export)
_command("classify", classify.classify)
_group("weights", weights.app)


def main(argv: list[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: what stands behind `mnasnet`; the process's own arguments where None.

    Returns:
        The exit code: 0 done, 1 a step failed, 2 wrong input, 3 the machine, the disk or the phone
        is not ready, 130 Ctrl-C. Errors that are not `MnasnetError` are bugs and are raised.
    """
    arguments = sys.argv[1:] if argv is None else list(argv)
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"] or ["--help"]
    with contextlib.suppress(AttributeError):
        # A file name that the terminal's encoding does not know is shown, not a crash.
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        code = _run(arguments)
        _flush()
    except BrokenPipeError:  # `| head` has seen enough
        _silence()
        return 0
    except KeyboardInterrupt:
        console.say("interrupted")
        return INTERRUPTED
    except MnasnetError as error:
        if debug:
            console.say(traceback.format_exc().rstrip())
        console.say(f"error: {_one_line(str(error))}")
        code = error.exit_code
        if isinstance(error, NotReadyError):
            _silence_if_stuck()
    except typer.TyperException as error:
        if debug:
            console.say(traceback.format_exc().rstrip())
        console.say(_usage_line(error))
        code = error.exit_code
    return code


def _run(arguments: list[str]) -> int:
    """Hand over to Typer; return what the command ends in."""
    command = typer.main.get_command(app)
    try:
        ended = command.main(arguments, prog_name="mnasnet", standalone_mode=False)
    except SystemExit as end:
        # Typer turns a closed pipe into exit code 1; to us it is no failure.
        if isinstance(end.__context__, BrokenPipeError):
            raise end.__context__ from None
        raise
    return ended if isinstance(ended, int) else 0


def _usage_line(error: typer.TyperException) -> str:
    message = error.format_message()
    if "\n" in message:  # a group without a command: the message is its help
        return message
    context = getattr(error, "ctx", None)
    path = context.command_path if context else "mnasnet"
    text = message[:1].lower() + message[1:].rstrip(".")
    return f"error: {_one_line(text)} (see '{path} --help')"


def _one_line(text: str) -> str:
    return "; ".join(line.strip() for line in text.splitlines() if line.strip())


def _flush() -> None:
    if sys.stdout is None:
        return
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise NotReadyError(f"cannot write the output: {error.strerror or error}") from error


def _silence_if_stuck() -> None:
    """Drop what standard output will not take, so that the interpreter does not fail on it too."""
    try:
        _flush()
    except (NotReadyError, BrokenPipeError):
        _silence()


def _silence() -> None:
    with contextlib.suppress(OSError, ValueError):
        sink = os.open(os.devnull, os.O_WRONLY)
        os.dup2(sink, sys.stdout.fileno())
        os.close(sink)
