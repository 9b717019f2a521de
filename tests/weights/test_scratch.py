"""Where archives are unpacked: nothing is left there, whatever became of the process."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mnasnet_deploy.errors import NotReadyError
from mnasnet_deploy.weights.scratch import LOCK, PREFIX, YOUNG_S, scratch_folder

HOLDER = """
import sys
from mnasnet_deploy.weights.scratch import scratch_folder
with scratch_folder("a.tgz") as folder:
    (folder / "weights").write_bytes(bytes(1000))
    print(folder, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


def make_old(folder: Path) -> None:
    then = time.time() - 2 * YOUNG_S
    os.utime(folder, (then, then), follow_symlinks=False)


def test_it_is_there_while_it_is_used_and_gone_afterwards(temporary: Path) -> None:
    with scratch_folder("a.tgz") as folder:
        (folder / "weights").write_bytes(b"abc")
        assert folder.parent == temporary
    assert list(temporary.iterdir()) == []


@pytest.mark.slow
@pytest.mark.processes
@pytest.mark.skipif(os.name != "posix", reason="kills with SIGKILL")
def test_what_a_killed_process_left_is_removed_and_what_is_in_use_is_not(temporary: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        theirs = Path(process.stdout.readline().strip())
        make_old(theirs)
        with scratch_folder("b.tgz"):
            assert (theirs / "weights").exists(), "its process holds it"
        process.send_signal(signal.SIGKILL)
    assert theirs.exists()
    with scratch_folder("b.tgz"):
        assert not theirs.exists()


@pytest.mark.parametrize("kind", ["young", "without a lock", "another's name", "a link"])
def test_what_may_be_somebody_elses_stays(temporary: Path, tmp_path: Path, kind: str) -> None:
    folder = temporary / ("tmpabc" if kind == "another's name" else f"{PREFIX}abc")
    target = tmp_path / "elsewhere" if kind == "a link" else folder
    target.mkdir()
    if kind != "without a lock":
        (target / LOCK).touch()
    if kind == "a link":
        folder.symlink_to(target, target_is_directory=True)
    if kind != "young":
        make_old(folder)
    with scratch_folder("a.tgz"):
        pass
    assert folder.exists()
    assert target.exists()


def test_without_a_place_the_error_says_what_to_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
    said = pytest.raises(NotReadyError, match=r"a\.tgz cannot be unpacked: .*set TMPDIR")
    with said, scratch_folder("a.tgz"):
        pass
