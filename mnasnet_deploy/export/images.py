"""Image files for a model: one to classify, or a folder of them to calibrate on.

How a photo becomes a model's input is in `preprocessing`.
"""

import hashlib
import os
import stat
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mnasnet_deploy.errors import ImageError
from mnasnet_deploy.export.preprocessing import OFFICIAL, Pixels, decode, prepare, quiet_pillow
from mnasnet_deploy.weights.source import Preprocessing

__all__ = [
    "CalibrationImage",
    "CalibrationSet",
    "SkippedImage",
    "calibration_set",
    "find_images",
    "load_calibration",
    "load_calibrations",
    "load_pixels",
    "rank",
    "read_file",
    "shown",
]

SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png")
# Larger files are refused unread.
MAX_FILE_BYTES = 256 * 2**20
# With fewer photos the int8 ranges still move: one photo alone cost 13 points of agreement.
STEADY_SAMPLES = 32
# Decoding runs outside the interpreter lock; more threads than this only hold more photos at once.
MAX_THREADS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationImage:
    """One image that was used.

    Attributes:
        name: path below its folder, with `/`; never an absolute one.
        sha256: of the file; of the pixels where there is no file.
    """

    name: str
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SkippedImage:
    """One image that could not be used, and why."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CalibrationSet:
    """The images that decide int8 ranges.

    Attributes:
        pixels: uint8 RGB [count, resolution, resolution, 3].
        digest: sha256 over the pixels in this order.
        images: one entry for each of them, same order.
        skipped: what was met and could not be used.
        synthetic: generated, not photographed.
    """

    pixels: Pixels
    digest: str
    images: tuple[CalibrationImage, ...]
    skipped: tuple[SkippedImage, ...] = ()
    synthetic: bool = False

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a user of the ranges must know, in words."""
        found = []
        if len(self.images) < STEADY_SAMPLES:
            found.append(
                f"only {len(self.images)} usable calibration image"
                f"{'s'[: len(self.images) != 1]}: int8 ranges are steady from {STEADY_SAMPLES} on"
            )
        if self.skipped:  # without names: this text travels inside the model file
            found.append(
                f"{len(self.skipped)} calibration image{'s'[: len(self.skipped) != 1]} could not "
                "be used"
            )
        if self.synthetic:
            found.append("calibrated on generated images, not on photos")
        return tuple(found)


def calibration_set(
    pixels: Pixels,
    images: Iterable[CalibrationImage],
    *,
    skipped: Iterable[SkippedImage] = (),
    synthetic: bool = False,
) -> CalibrationSet:
    """Put a set together and compute its digest; `pixels` is uint8 [count, side, side, 3]."""
    pixels = np.ascontiguousarray(pixels)
    digest = hashlib.sha256(repr(pixels.shape).encode())
    digest.update(pixels.data)
    return CalibrationSet(
        pixels=pixels,
        digest=digest.hexdigest(),
        images=tuple(images),
        skipped=tuple(skipped),
        synthetic=synthetic,
    )


def load_pixels(path: Path, resolution: int, preprocessing: Preprocessing = OFFICIAL) -> Pixels:
    """Read one image file as a model's input.

    Args:
        path: a JPEG or PNG file.
        resolution: side of the result.
        preprocessing: how the weights are evaluated.

    Returns:
        uint8 RGB grey levels [resolution, resolution, 3].

    Raises:
        ImageError: there is no such file, or it is not a whole JPEG or PNG image.
    """
    with quiet_pillow():
        try:
            return _load(path, (resolution,), preprocessing)[1][0]
        except ImageError as error:
            raise ImageError(
                f"cannot use image {path}: {error} (give a whole JPEG or PNG file)"
            ) from None


def find_images(folder: Path) -> list[Path]:
    """List the JPEG and PNG files below a folder, by suffix, sorted by path.

    Names that start with a dot are left out (`._photo.jpg` is no photo). Links to folders are
    followed, each real folder once.

    Raises:
        ImageError: the folder, or one inside it, is missing, no folder, or cannot be read.
    """
    found: list[Path] = []
    pending, seen = [folder], set()
    while pending:
        current = pending.pop()
        try:
            status = current.stat()
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(current) as entries:
                visible = sorted(
                    (entry.name, _is_folder(entry))
                    for entry in entries
                    if not entry.name.startswith(".")
                )
        except OSError as error:
            what = "image folder" if current == folder else "folder of images"
            raise ImageError(
                f"cannot read {what} {current}: {error.strerror or error} (name a readable folder "
                "of JPEG or PNG images)"
            ) from None
        # The first in the alphabet is visited next, so that of two links to one folder it wins.
        pending += [current / name for name, is_folder in reversed(visible) if is_folder]
        found += [
            current / name
            for name, is_folder in visible
            if not is_folder and name.lower().endswith(SUFFIXES)
        ]
    return sorted(found, key=lambda path: path.parts)


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself, or to where nobody may look
        return False


def load_calibration(
    folder: Path,
    resolution: int,
    *,
    samples: int = 100,
    seed: int = 0,
    preprocessing: Preprocessing = OFFICIAL,
    progress: Callable[[], object] | None = None,
) -> CalibrationSet:
    """Read a folder's photos as calibration images of one resolution; see `load_calibrations`."""
    found = load_calibrations(
        folder,
        (resolution,),
        samples=samples,
        seed=seed,
        preprocessing=preprocessing,
        progress=progress,
    )
    return found[resolution]


def load_calibrations(
    folder: Path,
    resolutions: Sequence[int],
    *,
    samples: int = 100,
    seed: int = 0,
    preprocessing: Preprocessing = OFFICIAL,
    progress: Callable[[], object] | None = None,
) -> dict[int, CalibrationSet]:
    """Read a folder's photos as calibration images, at several resolutions from one decode.

    Where there are more photos than `samples`, the seed chooses; a photo's rank depends on the seed
    and its own path only, so files that come or go leave the others' rank alone. Images that cannot
    be used are skipped, noted, and replaced by the next in rank. Memory: the results, and one
    decoded photo per thread.

    Args:
        folder: searched by `find_images`.
        resolutions: sides of the results.
        samples: use at most this many.
        seed: of the choice.
        preprocessing: how the weights are evaluated.
        progress: called once for each usable image.

    Returns:
        One set for each resolution; the same photos in each, in the order of their paths.

    Raises:
        ImageError: no usable image, no such folder, or `samples` below 1.
    """
    if samples < 1:
        raise ImageError(f"{samples} calibration images are too few (1 or more)")
    paths = find_images(folder)
    if not paths:
        raise ImageError(
            f"no JPEG or PNG images in {folder} or below (name a folder of photos, or leave the "
            "folder out to calibrate on generated images)"
        )
    names = {path: shown(path.relative_to(folder)) for path in paths}
    if len(paths) > samples:
        paths.sort(key=lambda path: rank(seed, path.relative_to(folder)))
    usable: dict[Path, tuple[str, list[Pixels]]] = {}
    skipped: dict[Path, str] = {}
    threads = ThreadPoolExecutor(min(MAX_THREADS, os.cpu_count() or 1))
    try:
        with quiet_pillow():
            while len(usable) < samples and len(usable) + len(skipped) < len(paths):
                start = len(usable) + len(skipped)
                batch = paths[start : start + samples - len(usable)]
                loaded = threads.map(
                    lambda path: _load_or_reason(path, resolutions, preprocessing), batch
                )
                for path, outcome in zip(batch, loaded, strict=True):
                    if isinstance(outcome, str):
                        skipped[path] = outcome
                        continue
                    usable[path] = outcome
                    if progress is not None:
                        progress()
    finally:
        threads.shutdown(cancel_futures=True)  # Ctrl-C waits for the photos at hand only
    notes = tuple(SkippedImage(name=names[path], reason=skipped[path]) for path in sorted(skipped))
    if not usable:
        raise ImageError(
            f"none of the {len(notes)} images in {folder} can be used, the first is "
            f"{notes[0].name}: {notes[0].reason} (name a folder of whole JPEG or PNG photos)"
        )
    order = sorted(usable, key=lambda path: path.relative_to(folder).parts)
    images = [CalibrationImage(name=names[path], sha256=usable[path][0]) for path in order]
    sets = {}
    for index, resolution in enumerate(resolutions):
        pixels = np.stack([usable[path][1][index] for path in order])
        sets[resolution] = calibration_set(pixels, images, skipped=notes)
    return sets


def _load(
    path: Path, resolutions: Sequence[int], preprocessing: Preprocessing
) -> tuple[str, list[Pixels]]:
    """Read a file; returns its sha256 and its pixels. An ImageError holds the reason only."""
    data = read_file(path)
    picture = decode(data, preprocessing)
    return hashlib.sha256(data).hexdigest(), prepare(picture, resolutions, preprocessing)


def _load_or_reason(
    path: Path, resolutions: Sequence[int], preprocessing: Preprocessing
) -> tuple[str, list[Pixels]] | str:
    try:
        return _load(path, resolutions, preprocessing)
    except ImageError as error:
        return str(error)


def read_file(path: Path) -> bytes:
    """Read an image file.

    Raises:
        ImageError: with the reason only: it is missing, empty, too large, or no regular file.
    """
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise ImageError("it is a folder")
        if not stat.S_ISREG(status.st_mode):  # opening a named pipe would wait for ever
            raise ImageError("it is no regular file")
        if status.st_size > MAX_FILE_BYTES:
            raise ImageError(f"{status.st_size / 2**20:.0f} MiB are more than any photo has")
        data = path.read_bytes()
    except OSError as error:
        raise ImageError(error.strerror or str(error)) from None
    if not data:
        raise ImageError("the file is empty")
    return data


def rank(seed: int, relative: Path) -> bytes:
    """Where a path stands in the seeded order: the same with every library and every machine."""
    return hashlib.sha256(b"%d:%b" % (seed, os.fsencode(relative.as_posix()))).digest()


def shown(relative: Path) -> str:
    """A path as text that every encoding of JSON can hold."""
    return os.fsencode(relative.as_posix()).decode("utf-8", "replace")
