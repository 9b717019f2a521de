"""The cache lies where the system's conventions put it."""

import sys
import threading
from pathlib import Path

import pytest

from mnasnet_deploy.errors import NotReadyError
from mnasnet_deploy.weights.cache import cache_folder, exclusive
from mnasnet_deploy.weights.fetch import Fetcher

HOME = Path.home()
ELSEWHERE = Path("/elsewhere").absolute()


@pytest.mark.parametrize(
    ("environment", "platform", "folder"),
    [
        ({}, "linux", HOME / ".cache" / "mnasnet"),
        ({}, "freebsd14", HOME / ".cache" / "mnasnet"),
        ({}, "darwin", HOME / "Library" / "Caches" / "mnasnet"),
        ({}, "win32", HOME / "AppData" / "Local" / "mnasnet"),
        ({"LOCALAPPDATA": str(ELSEWHERE)}, "win32", ELSEWHERE / "mnasnet"),
        ({"XDG_CACHE_HOME": str(ELSEWHERE)}, "linux", ELSEWHERE / "mnasnet"),
        ({"XDG_CACHE_HOME": "relative"}, "linux", HOME / ".cache" / "mnasnet"),
        ({"XDG_CACHE_HOME": ""}, "linux", HOME / ".cache" / "mnasnet"),
        ({"MNASNET_CACHE": str(ELSEWHERE), "XDG_CACHE_HOME": "/x"}, "linux", ELSEWHERE),
        ({"MNASNET_CACHE": str(ELSEWHERE)}, "win32", ELSEWHERE),
        ({"MNASNET_CACHE": "~/weights"}, "linux", HOME / "weights"),
        ({"MNASNET_CACHE": ""}, "linux", HOME / ".cache" / "mnasnet"),
    ],
)
def test_the_cache_is_where_the_convention_says(environment, platform, folder):
    assert cache_folder(environment, platform) == folder


def test_the_environment_of_the_process_is_asked(monkeypatch, tmp_path):
    monkeypatch.setenv("MNASNET_CACHE", str(tmp_path))
    assert Fetcher().folder == tmp_path / "weights"


@pytest.mark.skipif(sys.platform == "win32", reason="names users of this system")
def test_a_home_that_is_not_there_is_said():
    with pytest.raises(NotReadyError, match="set MNASNET_CACHE"):
        cache_folder({"MNASNET_CACHE": "~no-such-user-here/x"})


def test_waiting_for_ones_turn_can_be_stopped(tmp_path):
    stop = threading.Event()
    stop.set()
    with exclusive(tmp_path / "x", threading.Event()):
        with pytest.raises(NotReadyError, match="stopped waiting"), exclusive(tmp_path / "x", stop):
            pass
        with exclusive(tmp_path / "y", stop):  # another file is another turn
            pass
    with exclusive(tmp_path / "x", stop):  # free again
        pass
