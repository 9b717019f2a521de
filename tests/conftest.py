"""What every test stands on: no process by accident, no network, no TensorFlow unless wanted."""

import importlib.abc
import multiprocessing.process
import os
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

import pytest

pytest_plugins = ["softphone.fixtures"]

TENSORFLOW = ("tensorflow", "keras", "tf_keras")
_STARTS_A_PROCESS = ("subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.system")
# These have few tests for their time. Begun last, they would leave the other cores idle; here those
# that wait for phones stand beside those that compute.
_FIRST = (
    "tests/bench/phones/test_trouble.py",
    "tests/export/oracle/test_converter.py",
    "tests/bench/phones/test_kills.py",
    "tests/export/oracle/",
    "tests/bench/phones/",
    "tests/weights/test_keras.py",
    "tests/test_docs.py",
    "tests/bench/test_bench_command.py",
    "tests/bench/",
    "tests/phone/",
)
_guarded = False


class _NoTensorFlow(importlib.abc.MetaPathFinder):
    """Finds TensorFlow first, and refuses."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name.partition(".")[0] in TENSORFLOW:
            raise ModuleNotFoundError(f"{name} is not importable in this run", name=name)
        return None


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--no-tensorflow",
        action="store_true",
        help="make `import tensorflow` fail, as where only the base dependencies are installed",
    )


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--no-tensorflow"):
        sys.meta_path.insert(0, _NoTensorFlow())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def turn(item: pytest.Item) -> int:
        turns = (n for n, path in enumerate(_FIRST) if item.nodeid.startswith(path))
        return next(turns, len(_FIRST))

    items.sort(key=turn)


def _audit(event: str, _: tuple[Any, ...]) -> None:
    if _guarded and event in _STARTS_A_PROCESS:
        _refuse(event)


def _refuse(what: object, *_: object, **__: object) -> NoReturn:
    pytest.fail(f"this test starts a process ({what}); mark it `processes` if that is meant")


sys.addaudithook(_audit)


@pytest.fixture(autouse=True, scope="session")
def _no_network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep commands away from the network and from the user's own downloads."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MNASNET_OFFLINE", "1")
        patch.setenv("MNASNET_CACHE", str(tmp_path_factory.mktemp("no downloads")))
        patch.delenv("MNASNET_BASE_URL", raising=False)
        yield


@pytest.fixture(autouse=True)
def _no_process_by_accident(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """Fail a test that starts a process without the marker `processes`."""
    global _guarded
    if request.node.get_closest_marker("processes"):
        yield
        return
    # A spawned worker raises no audit event.
    monkeypatch.setattr(multiprocessing.process.BaseProcess, "start", _refuse)
    _guarded = True
    try:
        yield
    finally:
        _guarded = False


@pytest.fixture(scope="session")
def outside_data() -> Path:
    """Folder of the collected data that is too large for the repository; $MNASNET_PARITY_DATA.

    What everyone runs is in tests/data.
    """
    folder = Path(os.environ.get("MNASNET_PARITY_DATA", ""))
    if folder == Path() or not folder.is_dir():
        pytest.skip("needs the collected data: MNASNET_PARITY_DATA=FOLDER")
    return folder


@dataclass(frozen=True)
class Run:
    """What a command gave back."""

    code: int
    out: str
    err: str


@pytest.fixture
def mnasnet(capsys: pytest.CaptureFixture[str]) -> Callable[..., Run]:
    """`mnasnet("show", "--res", "160")` runs the command line in this process."""
    from mnasnet_deploy.cli.main import main

    def run(*arguments: str | Path) -> Run:
        capsys.readouterr()
        code = main(list(map(str, arguments)))
        return Run(code, *capsys.readouterr())

    return run


@pytest.fixture
def mnasnet_process(tmp_path: Path) -> Callable[..., Run]:
    """The same through the installed `mnasnet` in a fresh process, in an empty folder.

    Tests that use it carry the marker `processes`.
    """
    script = Path(sysconfig.get_path("scripts")) / "mnasnet"

    def run(*arguments: str | Path, cwd: Path = tmp_path) -> Run:
        done = subprocess.run(
            [script, *arguments], cwd=cwd, capture_output=True, text=True, timeout=300, check=False
        )
        return Run(done.returncode, done.stdout, done.stderr)

    return run
