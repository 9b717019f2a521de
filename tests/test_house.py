"""The rules of the house, held by reading the code and by starting fresh interpreters.

errors < arch, results.record < weights < export < bench, evaluate < report < cli
"""

import ast
import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import typer
from typer.core import TyperGroup

from mnasnet_deploy import errors
from mnasnet_deploy.cli.main import COMMANDS as LISTED
from mnasnet_deploy.cli.main import build_app

ROOT = Path(__file__).parents[1]
PACKAGE = "mnasnet_deploy"

_BASE = {"errors", "atomic"}
_PLAIN = {*_BASE, "strict_yaml", "typed_mapping", "arch", "results.record"}
# What each room may import, by name of room or of a single module in it. `results` is the data and
# its store: everything that measures writes it, everything that reports reads it.
MAY_IMPORT = {
    "__init__": set(),
    "errors": set(),
    "atomic": {"errors"},
    "locking": set(),
    "processor": set(),
    "workers": set(),
    "strict_yaml": {"errors"},
    "arch": {"errors", "arch"},
    "typed_mapping": {"errors"},
    "results.record": {"errors", "typed_mapping", "results"},
    "results": {*_BASE, "typed_mapping", "results"},
    "profiles": set(),
    "weights": {*_PLAIN, "locking", "weights"},
    "export": {*_PLAIN, "workers", "weights", "export"},
    "bench": {
        *_PLAIN,
        "locking",
        "processor",
        "results",
        "weights",
        "export",
        "bench",
        "profiles",
    },
    "evaluate": {*_PLAIN, "processor", "workers", "results", "weights", "export", "evaluate"},
    "report": {*_BASE, "arch", "results", "report"},
}
# A command's module is read on every start of the tool.
LIGHT = {"typer", PACKAGE, f"{PACKAGE}.errors", f"{PACKAGE}.results.record"}
HEAVY = (
    "numpy", "tensorflow", "keras", "ai_edge_litert", "matplotlib", "rich", "PIL", "simplejpeg",
    "safetensors", "flatbuffers", "yaml", "pydantic",
)  # fmt: skip


def _modules() -> Iterator[tuple[str, Path]]:
    """Every module that is installed, by its installed name."""
    for folder, name in (
        (ROOT / PACKAGE, PACKAGE),
        (ROOT / "cli", f"{PACKAGE}.cli"),
        (ROOT / "profiles", f"{PACKAGE}.profiles"),
    ):
        for path in sorted(folder.rglob("*.py")):
            yield ".".join([name, *path.relative_to(folder).with_suffix("").parts]), path


MODULES = dict(_modules())
LIBRARY = {name: path for name, path in MODULES.items() if not name.startswith(f"{PACKAGE}.cli")}


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _imports(name: str, nodes: list[ast.stmt] | None = None) -> set[str]:
    """Full names of everything a module imports, inside functions too unless nodes are given."""
    tree = _tree(MODULES[name])
    found = set()
    for node in ast.walk(tree) if nodes is None else nodes:
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = importlib.util.resolve_name("." * node.level + base, name.rpartition(".")[0])
            for alias in node.names:
                full = f"{base}.{alias.name}"
                found.add(full if full in MODULES or f"{full}.__init__" in MODULES else base)
    return found


def _matches(full: str, allowed: set[str]) -> bool:
    inner = full.removeprefix(f"{PACKAGE}.")
    return any(inner == room or inner.startswith(f"{room}.") for room in allowed)


def _room(name: str) -> str:
    inner = name.removeprefix(f"{PACKAGE}.")
    return inner if inner in MAY_IMPORT else inner.partition(".")[0]


@pytest.mark.parametrize("name", LIBRARY)
def test_imports_point_one_way(name):
    allowed = MAY_IMPORT[_room(name)]
    ours = {full for full in _imports(name) if full == PACKAGE or full.startswith(f"{PACKAGE}.")}
    wrong = {full for full in ours if full != PACKAGE and not _matches(full, allowed)}
    assert not wrong, f"{name} may import {sorted(allowed)}, not {sorted(wrong)}"


def test_the_map_of_rooms_refuses_what_it_should():
    assert not _matches(f"{PACKAGE}.export.writer", MAY_IMPORT["report"])
    assert not _matches(f"{PACKAGE}.results.store", MAY_IMPORT["export"])
    assert _matches(f"{PACKAGE}.results.record", MAY_IMPORT["export"])
    assert f"{PACKAGE}.console" not in _imports(f"{PACKAGE}.cli.show")
    assert f"{PACKAGE}.cli.console" in _imports(f"{PACKAGE}.cli.show")


def _third_party(name: str) -> set[str]:
    heads = {full.partition(".")[0] for full in _imports(name)}
    return heads - sys.stdlib_module_names - {PACKAGE}


@pytest.mark.parametrize("name", [name for name in LIBRARY if _room(name) == "arch"])
def test_arch_stands_on_the_standard_library_alone(name):
    assert _third_party(name) == set()


@pytest.mark.parametrize("name", [n for n in LIBRARY if _room(n) in ("results", "report")])
def test_results_and_report_need_no_third_party(name):
    assert _third_party(name) == set()


@pytest.mark.parametrize("name", LIBRARY)
def test_the_library_neither_prints_nor_knows_the_command_line(name):
    assert not _third_party(name) & {"typer", "rich", "click"}
    printed = [
        node.lineno
        for node in ast.walk(_tree(MODULES[name]))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "print"
    ]
    assert printed == []


@pytest.mark.parametrize("name", [name for name in MODULES if name not in LIBRARY])
def test_a_module_of_the_command_line_is_light(name):
    top = [
        node for node in _tree(MODULES[name]).body if isinstance(node, (ast.Import, ast.ImportFrom))
    ]
    wrong = {
        full
        for full in _imports(name, top)
        if full not in LIGHT
        and not full.startswith((f"{PACKAGE}.arch", f"{PACKAGE}.cli", "typer."))
        and full.partition(".")[0] not in sys.stdlib_module_names
    }
    assert not wrong, f"import {sorted(wrong)} inside the function that needs it"


def test_tensorflow_is_imported_in_at_most_two_modules():
    users = [name for name in MODULES if _third_party(name) & {"tensorflow", "keras"}]
    assert len(users) <= 2, users


@pytest.mark.parametrize("path", MODULES.values(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_fits_in_the_head(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400
    assert path.name not in ("utils.py", "util.py", "helpers.py", "common.py", "misc.py")


@pytest.mark.parametrize("name", LIBRARY)
def test_every_module_says_what_it_is_for(name):
    assert ast.get_docstring(_tree(MODULES[name]))


def test_every_error_stands_in_the_drawn_tree():
    for name in errors.__all__:
        kind = getattr(errors, name)
        assert issubclass(kind, errors.MnasnetError)
        line = next(line for line in errors.__doc__.splitlines() if re.search(rf"\b{name}\b", line))
        if code := re.search(r"\s(\d)\s", line):
            assert kind.exit_code == int(code[1])
        assert kind.exit_code in (1, 2, 3)


# ---- packaging


def _pyproject():
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_every_package_is_in_the_wheel():
    rooms = {name.removesuffix(".__init__") for name in MODULES if name.endswith(".__init__")}
    folders = {name.rpartition(".")[0] for name in MODULES}
    assert folders == rooms, "a folder without __init__.py is not importable when installed"
    assert set(_pyproject()["tool"]["setuptools"]["packages"]) == rooms


def test_profiles_is_a_package():
    # Without it an editable install has no mnasnet_deploy.profiles, though the wheel has.
    assert (ROOT / "profiles" / "__init__.py").is_file()


def test_every_dependency_says_why_it_is_there():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    block = text[text.index("dependencies = [") : text.index("[project.scripts]")]
    lines = [line.strip() for line in block.splitlines()]
    previous = ""
    for line in lines:
        if line.startswith('"'):
            assert previous.startswith("# "), line
            assert previous.endswith("."), previous
        previous = line


def _python(code, cwd):
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.processes
def test_nothing_of_ours_is_importable_beside_the_package(tmp_path):
    found = _python(
        "import importlib.util, json\n"
        "specs = {name: importlib.util.find_spec(name) for name in ('cli', 'profiles', 'tests')}\n"
        "print(json.dumps({n: [s.origin, *(s.submodule_search_locations or [])]\n"
        "                  for n, s in specs.items() if s}))",
        tmp_path,
    )
    for name, places in found.items():
        assert not any(str(ROOT) in str(place) for place in places), f"{name} at {places}"


@pytest.mark.processes
def test_the_installed_package_has_its_rooms(tmp_path):
    found = _python(
        "import json, mnasnet_deploy.profiles, mnasnet_deploy.cli.main\n"
        "from importlib import resources\n"
        "arch = resources.files('mnasnet_deploy.arch')\n"
        "print(json.dumps([arch.joinpath('published_mnasnet_a1.csv').is_file(),\n"
        "                  resources.files('mnasnet_deploy').joinpath('py.typed').is_file()]))",
        tmp_path,
    )
    assert found == [True, True]


# ---- the command line


def _commands(command=None, path=("mnasnet",)):
    command = command or typer.main.get_command(build_app())
    if isinstance(command, TyperGroup):
        for name, inner in command.commands.items():
            yield from _commands(inner, (*path, name))
    else:
        yield path, command


COMMANDS = dict(_commands())
by_path = pytest.mark.parametrize("path", COMMANDS, ids=" ".join)


@by_path
def test_every_command_has_help_with_an_example_of_itself(path):
    command = COMMANDS[path]
    paragraphs = (command.help or "").split("\n\n")
    assert paragraphs[0].endswith("."), "the first paragraph is a sentence"
    examples = [text.splitlines()[1:] for text in paragraphs if text.startswith("Example")]
    assert examples, "the help ends in an example"
    known = {option for parameter in command.params for option in parameter.opts}
    for line in examples[0]:
        words = line.split()
        assert tuple(words[: len(path)]) == path
        assert {word for word in words if word.startswith("--")} <= known


@pytest.mark.parametrize("name", LISTED)
def test_the_list_of_commands_says_what_their_help_says(name, mnasnet):
    command = typer.main.get_command(build_app()).commands[name]
    sentence = LISTED[name][1]
    assert " ".join(command.help.split("\n\n")[0].split()) == sentence
    assert re.search(rf"^  {name} +{re.escape(sentence)}$", mnasnet("--help").out, re.MULTILINE)


@by_path
def test_every_option_says_what_it_does(path):
    for parameter in COMMANDS[path].params:
        assert parameter.help, f"{' '.join(path)} {parameter.name}"


@by_path
def test_help_runs_and_shows_the_example_as_written(path, mnasnet):
    run = mnasnet(*path[1:], "--help")
    assert run.code == 0
    assert f"Usage: {' '.join(path)}" in run.out
    example = next(t for t in COMMANDS[path].help.split("\n\n") if t.startswith("Example"))
    for line in example.splitlines():
        assert line.strip() in run.out


LIGHT_COMMANDS = [
    ["--help"],
    ["--version"],
    ["variants"],
    ["show", "--multiplier", "0.5"],
    ["export", "--help"],
    ["eval", "--help"],
    ["table"],
    ["results", "list"],
    ["benchmark-binary", "list"],
    ["weights", "list"],
]


@pytest.mark.processes
@pytest.mark.parametrize(
    "arguments",
    [a for a in LIGHT_COMMANDS if a[0].startswith("-") or a[0] in LISTED],
    ids=" ".join,
)
def test_a_command_that_needs_no_tensors_starts_without_them(arguments, tmp_path):
    loaded = _python(
        "import json, sys\n"
        "from mnasnet_deploy.cli.main import main\n"
        f"code = main({arguments!r})\n"
        "print()\n"
        "print(json.dumps([code, *sys.modules]))",
        tmp_path,
    )
    assert loaded[0] == 0
    assert not set(HEAVY) & set(loaded[1:])
