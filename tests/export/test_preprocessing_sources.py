"""Photos as timm and torchvision evaluate them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mnasnet_deploy.errors import ImageError
from mnasnet_deploy.export import preprocessing
from mnasnet_deploy.export.images import load_calibration, load_pixels
from mnasnet_deploy.export.preprocessing import decode, prepare
from mnasnet_deploy.weights.source import Preprocessing

PHOTOS = Path(__file__).parents[2] / "examples" / "photos"
TIMM = Preprocessing(interpolation="bicubic", crop=(7, 8))
TORCHVISION = Preprocessing(interpolation="bilinear", crop=(224, 256))
TORCHVISION_232 = Preprocessing(interpolation="bilinear", crop=(224, 232))
CASES = {
    "timm_semnasnet_100": TIMM,
    "torchvision_mnasnet1_0": TORCHVISION,
    "torchvision_mnasnet0_75": TORCHVISION_232,
}


@pytest.mark.parametrize("photo", [0, 1])
@pytest.mark.parametrize("name", CASES)
def test_pixels_are_those_the_libraries_make(name: str, photo: int, outside_data: Path) -> None:
    folder = outside_data / "preprocess"
    wanted = np.load(folder / f"{name}_{photo}_nchw.npy")[0].transpose(1, 2, 0)
    image = decode((folder / f"img_{photo}.jpg").read_bytes(), CASES[name])
    levels = prepare(image, [224], CASES[name])[0].astype(np.float64)
    mean, std = np.array([123.675, 116.28, 103.53]), np.array([58.395, 57.12, 57.375])
    assert np.abs((levels - mean) / std - wanted).max() < 1e-4


@pytest.mark.parametrize("size", [(451, 300), (300, 451), (256, 256), (97, 640)], ids=str)
@pytest.mark.parametrize("how", [TIMM, TORCHVISION, TORCHVISION_232], ids=str)
def test_the_shorter_side_is_resized_and_the_centre_cut(
    how: Preprocessing, size: tuple[int, int]
) -> None:
    generator = np.random.default_rng(0)
    image = Image.fromarray(generator.integers(0, 256, (size[1], size[0], 3), np.uint8))
    assert how.crop is not None
    short = int(224 / (how.crop[0] / how.crop[1]) + 1e-9)
    scale = short / min(size)
    resized = image.resize(
        (int(size[0] * scale + 1e-9), int(size[1] * scale + 1e-9)),
        {"bicubic": Image.BICUBIC, "bilinear": Image.BILINEAR}[how.interpolation],
    )
    left, top = round((resized.width - 224) / 2), round((resized.height - 224) / 2)
    wanted = np.asarray(resized)[top : top + 224, left : left + 224]
    assert (prepare(image, [224], how)[0] == wanted).all()


def test_a_strip_that_would_not_fit_resized_gives_nearly_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    generator = np.random.default_rng(0)
    image = Image.fromarray(generator.integers(0, 256, (60, 400, 3), np.uint8))
    whole = prepare(image, [96], TIMM)[0].astype(int)
    monkeypatch.setattr(preprocessing, "MAX_PIXELS", 1000)
    assert np.abs(prepare(image, [96], TIMM)[0].astype(int) - whole).max() <= 1


def test_calibration_and_single_photos_follow() -> None:
    official = load_calibration(PHOTOS, 64, samples=3)
    timm = load_calibration(PHOTOS, 64, samples=3, preprocessing=TIMM)
    assert [image.name for image in official.images] == [image.name for image in timm.images]
    assert official.digest != timm.digest
    alone = load_pixels(PHOTOS / timm.images[0].name, 64, TIMM)
    assert (alone == timm.pixels[0]).all()
    with pytest.raises(ImageError):
        load_pixels(PHOTOS / "README.md", 64, TIMM)


@pytest.mark.parametrize(
    "fields",
    [
        {"interpolation": "bicubic"},
        {"interpolation": "tf1-bilinear", "crop": (7, 8)},
        {"interpolation": "bilinear", "crop": (8, 7)},
        {"interpolation": "bilinear", "crop": (0, 7)},
    ],
    ids=str,
)
def test_an_evaluation_nobody_has_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="no evaluation"):
        Preprocessing(**fields)  # type: ignore[arg-type]
