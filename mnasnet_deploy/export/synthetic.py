"""Images for calibration and verification where the user gives no photos.

Dead leaves: opaque disks falling on each other, their radii r by the density r^-3, is the model
whose edges, occlusions and scale invariance come closest to photographs (Lee, Mumford, Huang:
"Occlusion models for natural images", 2001). int8 EfficientNet-Lite0 with its real weights agreed
with float on 600 crops of photos in 0.756 when calibrated on these images (mean of three seeds), in
0.775 on other crops of the same photos, in 0.578 on uniform noise. Soft edges, larger disks
and less contrast did worse than what is below.

Everything is integers and correctly rounded divisions and square roots over raw PCG64 words, so an
image is the same on every machine and with every NumPy. It does not depend on how many are made.
"""

import functools
import hashlib
import math
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from mnasnet_deploy.errors import ImageError
from mnasnet_deploy.export.images import (
    CalibrationImage,
    CalibrationSet,
    calibration_set,
    load_pixels,
)
from mnasnet_deploy.export.preprocessing import Pixels

__all__ = ["VERIFICATION_PHOTOS", "dead_leaves", "synthetic_calibration", "verification_images"]

_Integers = npt.NDArray[np.integer]

DATA: Final = Path(__file__).parent / "data"
# Two photos that ship with the package; data/README.txt says where from.
VERIFICATION_PHOTOS = ("astronaut.jpg", "chelsea.jpg")
# No calibration uses it: the users' seeds end at 2**32.
VERIFICATION_SEED = 2**40

# Radii are the image's side divided by 112 to 2: 2 pixels of 224 to half of the side. With 1500
# disks a place is covered 1500 * 2 pi ln(56) / 112**2 = 3 times on average; where none fell, the
# image's own colour shows.
FINEST, COARSEST = 112, 2
DISKS = 1500
# Centres and radii are rounded to this share of a pixel.
STEPS = 8
# Colours follow the RGB covariance of ImageNet: its principal components and their variances
# (Krizhevsky et al. 2012; values as in fb.resnet.torch, grey levels / 255), and its mean.
MEAN = (123.675, 116.28, 103.53)
COMPONENTS = (
    (-0.5675, 0.7192, 0.4009),
    (-0.5808, -0.0045, -0.8140),
    (-0.5836, -0.6948, 0.4203),
)
VARIANCES = (0.2175, 0.0188, 0.0045)
# Share of the variance that a whole image has in common: a channel's standard deviation is 0.28
# over all images and 0.226 within one.
SHARED = 1 - (0.226 * 0.226) / (0.28 * 0.28)
# Four bytes add up to a nearly normal number with this mean and standard deviation.
BYTES_MEAN, BYTES_DEVIATION = 510, math.sqrt(4 * (256**2 - 1) / 12)
FRACTION_BITS = 16
# Working memory is bounded by painting this many pixels at once (4 bytes each).
CHUNK_PIXELS = 2**23


def dead_leaves(count: int, resolution: int, seed: int = 0) -> Pixels:
    """Make dead-leaves images.

    Args:
        count: how many.
        resolution: side in pixels; the scenes are the same at each.
        seed: of the scenes, 0 or more.

    Returns:
        uint8 RGB [count, resolution, resolution, 3].
    """
    result = np.empty((count, resolution, resolution, 3), np.uint8)
    at_once = max(1, CHUNK_PIXELS // resolution**2)
    for start in range(0, count, at_once):
        stop = min(start + at_once, count)
        canvas = _paint(range(start, stop), resolution, seed)
        # The colour's bytes are red, green, blue, nothing.
        result[start:stop] = canvas.view(np.uint8).reshape(*canvas.shape, 4)[..., :3]
    return result


def _paint(numbers: range, side: int, seed: int) -> npt.NDArray[np.uint32]:
    """Let the disks fall, the same number of every image at once."""
    scenes = [_scene(seed, number) for number in numbers]
    colours = np.stack([colours for _, colours in scenes], axis=1)  # [1 + disks, images]
    centres = np.stack([centres for centres, _ in scenes], axis=1)  # [disks, images, (y, x)]
    centres = centres.astype(np.int64)
    squares, reaches = _radii(seed, side)
    # A centre lies anywhere from where its disk just fails to touch one border to the other one.
    spans = (side + 2 * reaches) * STEPS
    centres = (centres * spans[:, None, None] >> 32) - (reaches * STEPS)[:, None, None]
    widths = np.minimum(2 * reaches + 1, side)
    corners = centres // STEPS - reaches[:, None, None]
    corners = np.clip(corners, 0, (side - widths)[:, None, None])
    canvas = np.empty((len(numbers), side, side), "<u4")
    canvas[:] = colours[0][:, None, None]
    images = np.arange(len(numbers))
    # 32 bits hold the square of a distance within the largest window, and are the fastest.
    centres, corners = centres.astype(np.int32), corners.astype(np.int32)
    steps = np.arange(side, dtype=np.int32) * STEPS + STEPS // 2
    for disk in range(DISKS):
        width = int(widths[disk])
        start = corners[disk] * STEPS - centres[disk]
        away = start[:, :, None] + steps[:width]  # [images, (y, x), width]
        away *= away
        covered = away[:, 0, :, None] + away[:, 1, None, :] <= int(squares[disk])
        windows = sliding_window_view(canvas, (width, width), axis=(1, 2), writeable=True)
        place = images, corners[disk, :, 0], corners[disk, :, 1]
        painted = windows[place]
        np.copyto(painted, colours[disk + 1][:, None, None], where=covered)
        windows[place] = painted
    return canvas


def _scene(seed: int, number: int) -> tuple[_Integers, _Integers]:
    """Draw an image's centres [disks, (y, x)] as 32-bit shares, and colours [1 + disks] packed."""
    stream = np.random.PCG64(np.random.SeedSequence([seed, number]))
    words = stream.random_raw(DISKS + 2 * (DISKS + 1)).astype("<u8")
    centres = words[:DISKS].view("<u4").reshape(DISKS, 2)
    draws = words[DISKS:].view(np.uint8).reshape(DISKS + 1, 16)[:, :12]
    normal = draws.reshape(DISKS + 1, 3, 4).sum(axis=2, dtype=np.int64) - BYTES_MEAN
    own = _spread(1 - SHARED)
    common = _spread(SHARED)
    levels = np.array([round(level * 2**FRACTION_BITS) for level in MEAN])
    levels = levels + 2 ** (FRACTION_BITS - 1) + normal[0] @ common
    levels = levels + np.concatenate([np.zeros((1, 3), np.int64), normal[1:] @ own])
    levels = np.clip(levels >> FRACTION_BITS, 0, 255)
    return centres, (levels[:, 0] | levels[:, 1] << 8 | levels[:, 2] << 16).astype("<u4")


def _spread(share: float) -> _Integers:
    """Grey levels per unit of the three draws [draw, channel], for a share of the variance."""
    rows = [
        [
            round(
                255 * math.sqrt(variance * share) / BYTES_DEVIATION * axis[draw] * 2**FRACTION_BITS
            )
            for axis in COMPONENTS
        ]
        for draw, variance in enumerate(VARIANCES)
    ]
    return np.array(rows, np.int64)


def _radii(seed: int, side: int) -> tuple[_Integers, _Integers]:
    """Draw the radii, common to all images of a seed.

    Returns:
        Their squares in square steps, and the whole pixels they reach.
    """
    stream = np.random.PCG64(np.random.SeedSequence([seed, 0, 1]))
    chance = (stream.random_raw(DISKS) >> 11).astype(np.float64) / 2**53
    # With r in sides, the share of radii below r is (most - r^-2) / (most - least).
    most, least = FINEST * FINEST, COARSEST * COARSEST
    radii = np.sqrt(1 / (most - chance * (most - least))) * (side * STEPS)
    squares = np.floor(radii * radii).astype(np.int64)
    reaches = np.ceil(radii / STEPS).astype(np.int64)
    return squares, reaches


def synthetic_calibration(count: int, resolution: int, seed: int = 0) -> CalibrationSet:
    """Make a calibration set without photos; it says that it is synthetic.

    Args:
        count: how many images, 1 or more.
        resolution: side in pixels.
        seed: of the scenes, 0 or more.

    Raises:
        ImageError: `count` is below 1.
    """
    if count < 1:
        raise ImageError(f"{count} calibration images are too few (1 or more)")
    pixels = dead_leaves(count, resolution, seed)
    images = [
        CalibrationImage(
            name=f"dead-leaves/{seed}/{number}", sha256=hashlib.sha256(image.tobytes()).hexdigest()
        )
        for number, image in enumerate(pixels)
    ]
    return calibration_set(pixels, images, synthetic=True)


@functools.lru_cache(maxsize=16)
def verification_images(resolution: int, count: int = 8) -> Pixels:
    """The images an exported file is held against its float32 network on.

    Args:
        resolution: side in pixels.
        count: 1 or more; two photos come first, generated images after them. None of those is
            among the calibration images.

    Returns:
        uint8 RGB [count, resolution, resolution, 3], not writable; the same array every time.

    Raises:
        ImageError: `count` is below 1.
    """
    if count < 1:
        raise ImageError(f"{count} verification images are too few (1 or more)")
    photos = [load_pixels(DATA / name, resolution) for name in VERIFICATION_PHOTOS[:count]]
    generated = dead_leaves(count - len(photos), resolution, VERIFICATION_SEED)
    images = np.concatenate([np.stack(photos), generated])
    images.flags.writeable = False
    return images
