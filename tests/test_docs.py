"""The README does what it says: its shell blocks run, its lists are complete, its links lead on."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from softphone.fixtures import need

from mnasnet_deploy import errors
from mnasnet_deploy.cli.main import COMMANDS
from mnasnet_deploy.results import store

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```sh\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)
# These run this very test, for many minutes, or not everywhere: make itself is asked whether it
# knows them.
ONLY_PLANNED = ("make demo-phone", "make test", "make test-fast", "make test-long", "make check",
                "make bench")  # fmt: skip
# What the demo measures with, shorter: its numbers are not looked at.
SHORTER = "--launches 6 --max-launches 6 --runs 5 --min-seconds 0.1 --warmup-seconds 0.1"


def _fenced(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """What a clone of this work tree would hold, in a folder with nothing beside it.

    Its `.venv` is the environment the tests run in, so that nothing is installed.
    """
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("needs a git checkout")
    folder = tmp_path_factory.mktemp("somewhere") / "mnasnet deploy"
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    (folder / ".venv").mkdir()
    (folder / ".venv" / "bin").symlink_to(sysconfig.get_path("scripts"))
    for name in ("pyvenv.cfg", "lib"):  # by which its Python knows what is installed
        if (Path(sys.prefix) / "pyvenv.cfg").exists():
            (folder / ".venv" / name).symlink_to(Path(sys.prefix) / name)
    for stamp in (".base", ".dev", ".extras"):  # in this order: the others depend on the first
        (folder / ".venv" / stamp).touch()
    return folder


@pytest.mark.slow
@pytest.mark.processes
@pytest.mark.skipif(sys.platform == "win32", reason="shell blocks")
@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.splitlines()[0])
def test_a_shell_block_of_the_readme_runs_in_a_clone(clone, block):
    lines = [
        line.replace("make", "make -n", 1) if line in ONLY_PLANNED else line
        for line in block.splitlines()
    ]
    environment = {name: value for name, value in os.environ.items() if "VENV" not in name}
    environment["PATH"] = f"{clone / '.venv' / 'bin'}{os.pathsep}{environment['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "\n".join(lines)],
        cwd=clone,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
    assert done.stdout


@pytest.mark.slow
@pytest.mark.processes
def test_the_demo_on_a_software_phone_measures_and_says_what_it_is(clone):
    need("pip-adb", "namespaces")
    environment = {name: value for name, value in os.environ.items() if "VENV" not in name}
    # A make that runs these tests would have this one tell of the folders it enters and leaves.
    environment = {k: v for k, v in environment.items() if not k.startswith(("MAKE", "MFLAGS"))}
    done = subprocess.run(
        ["make", "demo-phone", f"BIN={sysconfig.get_path('scripts')}", f"QUICK={SHORTER}"],
        cwd=clone, env=environment, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert any(line.startswith("SOFTWARE PHONE: Pixel 8 as ") for line in lines)
    assert lines[-1].startswith("SOFTWARE PHONE: ")
    assert "Pixel 8 (software phone)" in done.stdout
    # A busy computer may make every number invalid, and the table shows none of those.
    shown = "software phone: Pixel 8" in done.stdout
    assert shown or done.stdout.count(" invalid (") == 2, done.stdout
    records = store.load(clone / "build" / "demo-phone" / "results").records
    assert {record.device.kind for record in records} == {"software-phone"}
    assert len(records) == 2
    assert not (clone / "results").is_dir() or all(
        record.device.kind == "host" for record in store.load(clone / "results").records
    )


@pytest.mark.processes  # importing TensorFlow starts one
@pytest.mark.tensorflow
@pytest.mark.slow
@pytest.mark.processes  # importing TensorFlow asks the system what it is
@pytest.mark.parametrize("block", _fenced("python"), ids=lambda block: block.splitlines()[-1])
def test_a_python_block_of_the_readme_runs(block):
    names = {}
    exec(compile(block, "README.md", "exec"), names)
    assert names["model"].output_shape == (None, 10)


def test_the_readme_opens_with_the_two_commands():
    assert BLOCKS[0] == "make demo\nmake test\n"


def test_the_demo_fetches_nothing_but_packages():
    recipe = (ROOT / "Makefile").read_text(encoding="utf-8").partition("\ndemo:")[2]
    exports = [
        line
        for line in recipe.partition("\n\n")[0].splitlines()
        if re.search(r"mnasnet (export|weights|eval)", line)
    ]
    assert exports
    assert all("--weights random" in line for line in exports)


def test_every_command_is_in_the_readme():
    missing = [name for name in COMMANDS if f"mnasnet {name}" not in README]
    assert missing == []


def test_the_exit_codes_in_the_readme_are_the_real_ones():
    section = README.partition("\n## Exit codes\n")[2].partition("\n## ")[0]
    table = dict(re.findall(r"^\| (\d+) \| (.+) \|$", section, flags=re.MULTILINE))
    kinds = [getattr(errors, name) for name in errors.__all__]
    assert set(map(int, table)) == {0, 130, *(kind.exit_code for kind in kinds)}


def test_the_architecture_in_the_readme_is_the_example():
    example = (ROOT / "examples" / "my-net.yaml").read_text(encoding="utf-8")
    assert example in _fenced("yaml")


def test_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("https://") or (ROOT / target).exists(), target


def test_make_help_lists_every_target():
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    phony = re.search(r"^\.PHONY: (.+)$", text, flags=re.MULTILINE)
    assert phony is not None
    documented = re.findall(r"^([a-z-]+):.*## .", text, flags=re.MULTILINE)
    assert sorted(documented) == sorted(phony[1].split())
    named = set(re.findall(r"(?:^|`)make ([a-z-]+)", README, flags=re.MULTILINE))
    assert named <= set(documented)


def test_the_changelog_has_a_place_for_the_next_change():
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(r"^## \[Unreleased\]$|^## \[\d", text, flags=re.MULTILINE)


def test_no_page_ends_in_trailing_blanks_or_tabs():
    for name in ("README.md", "CHANGELOG.md", "examples/photos/README.md"):
        lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
        assert [n for n, line in enumerate(lines, 1) if line != line.rstrip() or "\t" in line] == []
