"""The `mnasnet` command: its list of commands, and the one boundary where errors become exit codes.

Only the module of the command that runs is imported, so that the tool starts quickly however many
commands there are. Each command's module imports at its top only Typer, `errors`, `arch` and
the standard library; NumPy and everything heavier are imported inside the command.
"""

import contextlib
import importlib
import os
import sys
import traceback
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from mnasnet_deploy import __version__
from mnasnet_deploy.errors import MnasnetError, NotReadyError

from . import console
from .start import INTERRUPTED

__all__ = ["COMMANDS", "build_app", "main"]

# One line each, in the order of a day's work: where the function (or the group) is, and the first
# sentence of its help. A command stands here when it works.
COMMANDS = {
    "variants": ("variants:variants", "List the published architectures with their sizes."),
    "show": (
        "show:show",
        "Show a network's layers, a .tflite file, or a record.",
    ),
    "export": ("export:export", "Write .tflite files of a network, each one verified."),
    "classify": ("classify:classify", "Name what is on photos."),
    "bench": ("bench:bench", "Measure how long .tflite files take."),
    "log": ("log:log", "Read saved outputs of benchmark_model."),
    "devices": ("devices:devices", "List attached phones, and what is wrong with each."),
    "doctor": ("doctor:doctor", "Check all that phones need, and say what to type next."),
    "benchmark-binary": (
        "benchmark_binary:app",
        "Get benchmark_model, which times models on phones.",
    ),
    "eval": ("eval:evaluate", "Measure how often .tflite files are right."),
    "table": ("table:table", "Show the published grid with all that was measured."),
    "results": ("results:app", "List and export the measurements on disk."),
    "weights": ("weights:app", "List and fetch published weights, make files of weights."),
}

COMPLETES = "_MNASNET_COMPLETE"


class _Command(TyperCommand):
    """A command whose help keeps the lines of its examples, and whose options may lack a value.

    Typer would join the lines. An option with its metavar in brackets (`--resume [ID]`) may stand
    without a value, which is then empty; a parser of Typer's own has none of these.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        optional = {
            option
            for parameter in self.params
            if parameter.param_type_name == "option" and (parameter.metavar or "").startswith("[")
            for option in parameter.opts
        }
        found = []
        for place, word in enumerate(args):
            alone = place + 1 == len(args) or args[place + 1].startswith("-")
            bare = word in optional and alone
            found.append(f"{word}=" if bare else word)
        return super().parse_args(ctx, found)

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


def _show_version(wanted: bool) -> None:
    if wanted:
        console.out(f"mnasnet {__version__}")
        raise typer.Exit


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


def build_app(only: str | None = None) -> typer.Typer:
    """Make the Typer application.

    Args:
        only: the command whose module is imported, the others being names in a list; None imports
            them all.
    """
    # Plain help, not Rich's: 2 ms over `import typer` against 71, and it reads the same in a pipe.
    app = typer.Typer(
        name="mnasnet",
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_root)
    for name, (place, sentence) in COMMANDS.items():
        if only not in (None, name):
            app.command(name, help=sentence)(_not_loaded)
            continue
        module, _, attribute = place.partition(":")
        found = getattr(importlib.import_module(f".{module}", __package__), attribute)
        if isinstance(found, typer.Typer):
            for command in found.registered_commands:
                command.cls = _Command
            app.add_typer(found, name=name, no_args_is_help=True)
        else:
            app.command(name, cls=_Command)(found)
    return app


def _not_loaded() -> None:
    raise AssertionError("a command that is only listed was run")


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
    # No option of `mnasnet` itself takes a value, so the first word is the command; where there is
    # none, names and sentences are enough for the help. A shell that completes names it elsewhere.
    first = next((word for word in arguments if not word.startswith("-")), "")
    app = build_app(None if COMPLETES in os.environ else first)
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
