"""The boundary: what ends in which exit code, and the one line a person reads."""

import io
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
import typer

from mnasnet_deploy import __version__, errors
from mnasnet_deploy.cli import console, main

MNASNET = Path(sysconfig.get_path("scripts")) / "mnasnet"
EVERY_ERROR = [getattr(errors, name) for name in errors.__all__]


@pytest.fixture
def failing(monkeypatch):
    """`failing(function)` adds a command `fail` that calls it, for this test."""

    def add(function):
        def with_fail(only):
            app = build(only)

            @app.command("fail")
            def fail() -> None:
                """Fail."""
                function()

            return app

        build = main.build_app
        monkeypatch.setattr(main, "build_app", with_fail)

    return add


def _raiser(error, cause=None):
    def run():
        raise error from cause

    return run


def test_without_arguments_the_help_is_shown(mnasnet):
    run = mnasnet()
    assert run.code == 0
    assert run.out == mnasnet("--help").out
    assert "Usage: mnasnet" in run.out
    assert run.err == ""


def test_the_version_is_the_packages(mnasnet):
    assert mnasnet("--version").out == f"mnasnet {__version__}\n"


@pytest.mark.parametrize("kind", EVERY_ERROR, ids=lambda kind: kind.__name__)
def test_every_error_is_one_line_and_its_own_exit_code(mnasnet, failing, kind):
    failing(_raiser(kind("this failed: so do that"), OSError("the reason")))
    run = mnasnet("fail")
    assert run.code == kind.exit_code
    assert run.out == ""
    assert run.err == "error: this failed: so do that\n"


def test_a_message_of_several_lines_becomes_one(mnasnet, failing):
    failing(_raiser(errors.InputError("one\n  two\n\nthree\n")))
    assert mnasnet("fail").err == "error: one; two; three\n"


@pytest.mark.parametrize("arguments", [("--debug", "fail"), ("fail", "--debug")])
def test_debug_adds_the_traceback_with_its_cause(mnasnet, failing, arguments):
    failing(_raiser(errors.InputError("wrong"), OSError("the reason")))
    run = mnasnet(*arguments)
    assert run.code == 2
    assert "OSError: the reason" in run.err
    assert "Traceback" in run.err
    assert run.err.endswith("error: wrong\n")


def test_a_bug_stays_a_traceback(mnasnet, failing):
    failing(_raiser(ZeroDivisionError("a bug")))
    with pytest.raises(ZeroDivisionError):
        mnasnet("fail")


def test_ctrl_c_ends_in_130(mnasnet, failing):
    failing(_raiser(KeyboardInterrupt()))
    run = mnasnet("fail")
    assert run.code == 130
    assert "Traceback" not in run.err


@pytest.mark.processes
def test_ctrl_c_before_anything_is_loaded_is_no_traceback(tmp_path):
    (tmp_path / "typer.py").write_text("raise KeyboardInterrupt")
    run = subprocess.run(
        [MNASNET, "--version"], env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (run.returncode, run.stdout, run.stderr) == (130, "", "interrupted\n")


@pytest.mark.processes
@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_ctrl_c_after_everything_is_done_changes_nothing():
    program = (
        "import os, signal, sys; from mnasnet_deploy.cli.start import start; code = start();"
        "os.kill(os.getpid(), signal.SIGINT); sys.exit(code)"
    )
    run = subprocess.run(
        [sys.executable, "-c", program, "--version"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (run.returncode, run.stderr) == (0, "")


def test_a_command_may_choose_its_exit_code(mnasnet, failing):
    failing(_raiser(typer.Exit(1)))
    assert mnasnet("fail").code == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["vriants"], "did you mean 'variants'"),
        (["shw"], "did you mean 'show'"),
        (["show", "--multiplie", "1"], "--multiplier"),
        (["show", "--res"], "--res"),
        (["show", "--res", "big"], "'big' is not a valid int"),
        (["show", "--classes", "1.5"], "'1.5' is not a valid int"),
        (["variants", "extra"], "extra"),
        (["--nonsense"], "--nonsense"),
    ],
)
def test_wrong_usage_is_one_line_that_helps(mnasnet, arguments, said):
    run = mnasnet(*arguments)
    assert run.code == 2
    assert run.out == ""
    assert run.err.startswith("error: ")
    assert run.err.count("\n") == 1
    assert said.lower() in run.err.lower()
    assert "--help')" in run.err


def test_the_exit_codes_are_the_documented_ones():
    assert {kind.__name__: kind.exit_code for kind in EVERY_ERROR} == {
        "MnasnetError": 1,
        "InputError": 2,
        "SpecError": 2,
        "WeightsError": 2,
        "ImageError": 2,
        "ModelFileError": 2,
        "VerificationError": 1,
        "StaleError": 1,
        "NotReadyError": 3,
        "PhoneError": 3,
        "LinkLostError": 3,
        "NoAnswerError": 3,
    }


@pytest.mark.processes
@pytest.mark.skipif(sys.platform == "win32", reason="pipes end otherwise")
@pytest.mark.parametrize("arguments", [["--help"], ["variants"], ["show", "--json"]], ids=str)
def test_a_reader_that_has_left_is_no_error(tmp_path, arguments):
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [MNASNET, *arguments],
        stdout=writing,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
        check=False,
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.processes
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("arguments", [["variants"], ["show", "--json"]], ids=str)
def test_a_full_disk_behind_standard_output_is_not_ready(tmp_path, arguments):
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [MNASNET, *arguments], stdout=full, stderr=subprocess.PIPE, cwd=tmp_path, check=False
        )
    assert done.returncode == 3
    assert done.stderr.decode().startswith("error: cannot write the output: ")
    assert done.stderr.count(b"\n") == 1


@pytest.mark.processes
@pytest.mark.skipif(sys.platform == "win32", reason="closes descriptors in a shell")
@pytest.mark.parametrize("closing", ["2>&-", ">&-", ">&- 2>&-"])
@pytest.mark.parametrize("arguments", ["variants", "show --res 1"])
@pytest.mark.slow
def test_closed_streams_are_no_bug(tmp_path, closing, arguments):
    done = subprocess.run(
        f"'{MNASNET}' {arguments} {closing}",
        shell=True,
        capture_output=True,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == (2 if "--res" in arguments else 0)
    assert b"Traceback" not in done.stderr


@pytest.mark.processes
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
@pytest.mark.slow
def test_completion_knows_commands_and_variants(tmp_path, shell):
    def complete(line, word):
        environment = {
            **os.environ,
            "_MNASNET_COMPLETE": f"complete_{shell}",
            "_TYPER_COMPLETE_ARGS": line,
            "_TYPER_COMPLETE_FISH_ACTION": "get-args",
            "COMP_WORDS": line,
            "COMP_CWORD": str(word),
        }
        done = subprocess.run(
            [MNASNET], env=environment, capture_output=True, text=True, cwd=tmp_path, check=True
        )
        return done.stdout

    assert "variants" in complete("mnasnet v", 1)
    assert "mobilenet-v2" in complete("mnasnet show --variant mo", 3)


def test_main_reads_the_arguments_of_the_process(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["mnasnet", "--version"])
    assert main.main() == 0
    assert capsys.readouterr().out.startswith("mnasnet ")


def test_columns_lean_left_then_right():
    text = console.columns([("a", "b", "c"), ("aaa", "bbb", ""), ("a", "b", "ccc")], left=1)
    assert text == "a      b    c\naaa  bbb\na      b  ccc"


def test_the_story_goes_on_when_nobody_listens(monkeypatch):
    class Gone(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stderr", Gone())
    console.say("text")
    console.warn("text")


def test_progress_is_silent_away_from_a_terminal(capsys):
    with console.progress("working", 3) as advance:
        advance()
        advance(2)
    assert capsys.readouterr() == ("", "")


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
@pytest.mark.parametrize("no_color", [True, False])
def test_progress_is_drawn_on_a_terminal_and_honours_no_color(monkeypatch, no_color):
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    if no_color:
        monkeypatch.setenv("NO_COLOR", "1")
    ours, theirs = os.openpty()
    with os.fdopen(theirs, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        with console.progress("exporting [x]", 3) as advance:
            advance()
            console.say("a line between")
            advance(2)
    drawn = b""
    os.set_blocking(ours, False)
    while chunk := _read(ours):
        drawn += chunk
    os.close(ours)
    assert b"exporting [x]" in drawn
    assert b"a line between" in drawn
    assert (b"\x1b[38;" in drawn) is not no_color


def _read(descriptor):
    try:
        return os.read(descriptor, 65536)
    except OSError:  # the other end is closed, or nothing is left
        return b""
