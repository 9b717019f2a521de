"""Generated images: the same everywhere, and alike enough to photos."""

import hashlib

import numpy as np
import pytest
from PIL import Image

from mnasnet_deploy.errors import ImageError
from mnasnet_deploy.export import synthetic
from mnasnet_deploy.export.images import load_pixels
from mnasnet_deploy.export.synthetic import dead_leaves, synthetic_calibration, verification_images


@pytest.fixture(scope="module")
def leaves():
    return dead_leaves(24, 128)


@pytest.mark.parametrize(
    ("resolution", "seed", "digest"),
    [
        (64, 0, "8133def2afb6788c58bba925c7d2b9966f400a7733f89408b1f739757aad0420"),
        (97, 7, "33f6e7f1e96c7e93d75039e51db5bd72a834481b2c0c2d57d65909d6e2233b73"),
    ],
)
def test_the_same_seed_gives_the_same_bytes_on_every_machine(resolution, seed, digest):
    pixels = dead_leaves(2, resolution, seed)
    assert pixels.dtype == np.uint8
    assert pixels.shape == (2, resolution, resolution, 3)
    assert hashlib.sha256(pixels.tobytes()).hexdigest() == digest


def test_an_image_does_not_depend_on_how_many_are_made(leaves, monkeypatch):
    assert (dead_leaves(3, 128) == leaves[:3]).all()
    monkeypatch.setattr(synthetic, "CHUNK_PIXELS", 5 * 128 * 128)
    assert (dead_leaves(24, 128) == leaves).all()


def test_seeds_and_numbers_give_different_scenes(leaves):
    images = [*leaves, *dead_leaves(8, 128, 1)]
    assert len({image.tobytes() for image in images}) == len(images)


def test_a_scene_is_the_same_at_every_resolution():
    large, small = dead_leaves(4, 256), dead_leaves(4, 64)
    for one, other in zip(large, small, strict=True):
        shrunk = np.asarray(Image.fromarray(one).resize((64, 64), Image.Resampling.BOX))
        assert np.corrcoef(shrunk.ravel(), other.ravel())[0, 1] > 0.8


def test_colours_are_spread_as_those_of_photos(leaves):
    levels = leaves.reshape(-1, 3).astype(float)
    # ImageNet: mean 124, 116, 104; standard deviation 0.28 of the range (clipping takes some).
    assert np.abs(levels.mean(axis=0) - [123.675, 116.28, 103.53]).max() < 20
    assert (levels.std(axis=0) > 50).all()
    assert (levels.std(axis=0) < 85).all()
    correlation = np.corrcoef(levels.T)
    assert correlation.min() > 0.8


def test_the_spectrum_falls_as_in_photos_and_unlike_noise(leaves):
    def slope(images):
        grey = images.astype(float).mean(axis=3)
        grey -= grey.mean(axis=(1, 2), keepdims=True)
        window = np.hanning(128)[:, None] * np.hanning(128)
        power = (np.abs(np.fft.fft2(grey * window)) ** 2).mean(axis=0)
        frequency = np.hypot(np.fft.fftfreq(128)[:, None], np.fft.fftfreq(128)) * 128
        bands = [(low, low * 2) for low in (4, 8, 16, 32)]
        means = [power[(frequency >= low) & (frequency < high)].mean() for low, high in bands]
        return np.polyfit(np.log([low for low, _ in bands]), np.log(means), 1)[0]

    noise = np.random.default_rng(0).integers(0, 256, leaves.shape, np.uint8)
    assert -2.7 < slope(leaves) < -1.5  # photos: about -2
    assert abs(slope(noise)) < 0.2


def test_disks_become_rarer_with_the_cube_of_their_radius():
    squares, reaches = synthetic._radii(0, 1120)
    radii = np.sqrt(squares) / synthetic.STEPS
    assert radii.min() >= 10 - 1
    assert radii.max() <= 560
    for factor in (2, 4):
        share = (radii > 10 * factor).mean()
        assert share == pytest.approx(factor**-2, rel=0.25)
    assert (reaches >= radii).all()


def test_a_synthetic_calibration_set_says_so():
    calibration = synthetic_calibration(40, 32, seed=5)
    assert calibration.synthetic
    assert (calibration.pixels == dead_leaves(40, 32, 5)).all()
    assert calibration.warnings == ("calibrated on generated images, not on photos",)
    assert calibration.images[7].name == "dead-leaves/5/7"
    assert calibration.images[7].sha256 == hashlib.sha256(calibration.pixels[7]).hexdigest()
    assert calibration.digest != synthetic_calibration(40, 32, seed=6).digest


@pytest.mark.parametrize("make", [synthetic_calibration, lambda n, s: verification_images(s, n)])
def test_making_no_image_is_an_error(make):
    with pytest.raises(ImageError, match="too few"):
        make(0, 32)


def test_verification_starts_with_two_photos_that_ship_with_the_package():
    folder = synthetic.DATA
    images = verification_images(96)
    assert images.shape == (8, 96, 96, 3)
    for name, pixels in zip(synthetic.VERIFICATION_PHOTOS, images, strict=False):
        assert (pixels == load_pixels(folder / name, 96)).all()
        assert (folder / name).stat().st_size <= 40 * 1024
        assert name in (folder / "README.txt").read_text()
    assert (verification_images(96, 1) == images[:1]).all()
    assert (verification_images(96, 12)[:8] == images).all()


def test_verification_and_calibration_share_no_image():
    calibration = {image.tobytes() for image in dead_leaves(100, 32)}
    assert calibration.isdisjoint(image.tobytes() for image in verification_images(32, 20))


def test_verification_images_cannot_be_changed_by_one_reader_for_the_next():
    with pytest.raises(ValueError, match="read-only"):
        verification_images(96)[0] = 0
