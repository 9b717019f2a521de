"""Fixtures: `phone_rig` is a private adb server, to be given phones; `software_phone` has one.

Tests that use them carry the marker `processes`. What is missing on the system is a skip that
names the command which installs it; with SOFTPHONE_REQUIRED=1 in the environment, a failure.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from softphone.parts import missing_parts
from softphone.rig import Rig, SoftwarePhone


def need(*parts: str) -> None:
    """Skip the running test where a part of the system is missing (see `missing_parts`)."""
    if missing := missing_parts(*parts):
        text = "; ".join(map(str, missing))
        if os.environ.get("SOFTPHONE_REQUIRED") == "1":
            pytest.fail(text)
        pytest.skip(text)


@pytest.fixture(scope="session")
def adb_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the adb keys of the run are: making one takes up to 0.3 s."""
    return tmp_path_factory.mktemp("adb-home")


@pytest.fixture
def phone_rig(tmp_path: Path, adb_home: Path) -> Iterator[Rig]:
    """A private server of adb 36, and no phone yet."""
    need("pip-adb", "namespaces")
    with Rig(tmp_path / "rig", home=adb_home) as rig:
        yield rig


@pytest.fixture
def software_phone(phone_rig: Rig) -> SoftwarePhone:
    """A Pixel 8 on a server of its own."""
    return phone_rig.phone("pixel-8")
