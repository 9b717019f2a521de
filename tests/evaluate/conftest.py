"""The data set and the files, made once; shards are small here."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from mnasnet_deploy.evaluate import dataset

from . import material


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What int8 files are calibrated on: none of it is in the data set."""
    folder = tmp_path_factory.mktemp("calibration") / "photos"
    material.write_images(folder, count=40, seed=1)
    return folder


@pytest.fixture(scope="session", autouse=True)
def _small_shards() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dataset, "SHARD_IMAGES", material.SHARD_IMAGES)
        yield


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ninety labelled images, three shards. Not to be changed."""
    folder = tmp_path_factory.mktemp("data") / "val"
    material.write_images(folder)
    return folder


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory, photos: Path) -> dict[str, Path]:
    """float32 and int8 files of one network of ten classes. Not to be changed."""
    return material.export(tmp_path_factory.mktemp("files") / "models", photos)
