"""Gives the tests of this folder `make_record` and the devices it knows."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def building() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "record_building", Path(__file__).parents[1] / "results" / "building.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def make_record(building):
    return building.make_record


@pytest.fixture(scope="session")
def make_accuracy(building):
    return building.make_accuracy
