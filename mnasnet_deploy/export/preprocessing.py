"""Pixels of one photo, exactly as those who trained the weights evaluate them.

The original (`tensorflow/tpu`, `models/official/mnasnet/preprocessing.py`) cuts the centre square
out of the decoded file and resizes it as TF1 did: bilinear over the two nearest rows and columns,
no half-pixel centres, no antialiasing. So a photo of any size gives at most two rows and two
columns for every one of the input, and several resolutions can be read from one decoded photo.

timm and torchvision resize the shorter side with Pillow, antialiased, and cut the centre out.

JPEG is decoded with the fast integer DCT for the original, as TensorFlow does, and with the
accurate one for the others, as Pillow does: the two are up to 17 grey levels apart, one on average.

Where the original says nothing, files are read as TensorFlow's decoders read them: the orientation
and the colour profile a file asks for are ignored, transparency is dropped (the colours below it
count), 16 bits are cut to their upper 8, an animation is its first picture.
"""

import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt
import simplejpeg
from PIL import Image, UnidentifiedImageError

from mnasnet_deploy.errors import ImageError
from mnasnet_deploy.weights.source import OFFICIAL_CROP, Preprocessing

__all__ = ["MAX_PIXELS", "OFFICIAL", "Picture", "Pixels", "crop_side", "decode", "prepare",
           "quiet_pillow"]  # fmt: skip

Pixels = npt.NDArray[np.uint8]
Picture = Image.Image | Pixels
"""RGB: as Pillow holds it, or [height, width, 3]."""

OFFICIAL = Preprocessing()
_RESAMPLING = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}
FORMATS = ("JPEG", "PNG")
_JPEG: Final = b"\xff\xd8\xff"
# Pictures beyond this are refused before they are decoded. Pillow holds a pixel in 4 bytes, so the
# largest takes 480 MB; a phone's 108 megapixels pass.
MAX_PIXELS: Final = 120_000_000
# Decoded pictures are turned into arrays in strips of about this many pixels.
STRIP_PIXELS = 2**22
# Rows of a result that are interpolated at a time.
STRIP_ROWS = 56


def decode(data: bytes, preprocessing: Preprocessing = OFFICIAL) -> Picture:
    """Decode a whole JPEG or PNG file to RGB.

    Args:
        data: the file.
        preprocessing: whose pixels; the original's by default.

    Raises:
        ImageError: with the reason only; the caller knows the name.
    """
    try:
        pixels = _usual_jpeg(data, preprocessing.original)
        if pixels is not None:
            return pixels
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ImageError(
                    f"{image.width} x {image.height} pixels are more than {MAX_PIXELS:,}"
                )
            return _rgb(image)
    except ImageError:
        raise
    except UnidentifiedImageError:
        raise ImageError("not a JPEG or PNG image") from None
    except Image.DecompressionBombError:
        raise ImageError(f"it claims more than {MAX_PIXELS:,} pixels") from None
    except Exception as error:
        # Pillow's decoders raise half a dozen kinds of errors on damaged files.
        raise ImageError(f"broken: {error or type(error).__name__}") from None


def _usual_jpeg(data: bytes, original: bool) -> Pixels | None:
    """Decode a JPEG to RGB as TensorFlow does, for the original, or as Pillow does.

    It is the library that both of them use: with their settings the pixels are theirs. None for a
    file that it has the least doubt about: Pillow says what is wrong with it, or can read it after
    all (with the accurate DCT).
    """
    if not data.startswith(_JPEG):
        return None
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
        if width * height > MAX_PIXELS:
            return None
        if colours in ("YCbCr", "Gray", "RGB"):
            return _decode_jpeg(data, "RGB", fast_dct=original)
        if original:
            return _without_inks(_decode_jpeg(data, "CMYK", fast_dct=True), data)
    except (ValueError, KeyError):  # the second for a subsampling it has no name for
        pass
    return None


def _decode_jpeg(data: bytes, colours: str, fast_dct: bool) -> Pixels:
    pixels: Pixels = simplejpeg.decode_jpeg(data, colours, fastdct=fast_dct, fastupsample=False)
    return pixels


def _without_inks(inks: Pixels, data: bytes) -> Pixels:
    """CMYK to RGB as TensorFlow has it: what the colour and the black leave of the light.

    Adobe writes the light that is left, others the ink; the file says whose it is.
    """
    with Image.open(io.BytesIO(data), formats=FORMATS) as header:
        light = inks if "adobe" in header.info else ~inks
    rgb = light[..., :3].astype(np.uint16) * light[..., 3:] // 255
    return rgb.astype(np.uint8)


def _rgb(image: Image.Image) -> Image.Image:
    """Bring a picture of any mode to RGB, as TensorFlow's decoders with channels=3 do."""
    image.load()
    if image.mode == "RGB":
        return image.copy() if image.readonly else image
    if image.mode.startswith("I"):  # 16 bits of grey
        grey = np.asarray(image)
        image = Image.fromarray((grey >> 8).clip(0, 255).astype(np.uint8))
    elif "transparency" in image.info:  # Pillow warns about palettes that go straight to RGB
        image = image.convert("RGBA")
    return image.convert("RGB")


@contextmanager
def quiet_pillow() -> Iterator[None]:
    """Keep Pillow's advice on odd files off the screen; sizes are checked here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        warnings.filterwarnings("ignore", module=r"PIL\..*")
        yield


def crop_side(width: int, height: int, resolution: int) -> int:
    """Side of the centre square that the original cuts out for a resolution, at least 1 pixel.

    The share is resolution / (resolution + 32) of the shorter side, in float32 as TensorFlow
    multiplies it: 160/192 of 480 pixels is 400 there and 399 in double precision.
    """
    share = np.float32(resolution / (resolution + OFFICIAL_CROP))
    return max(1, int(share * np.float32(min(width, height))))


def prepare(
    image: Picture, resolutions: Sequence[int], preprocessing: Preprocessing = OFFICIAL
) -> list[Pixels]:
    """Crop and resize an RGB image as it is evaluated.

    Args:
        image: RGB, any size.
        resolutions: sides of the results.
        preprocessing: whose evaluation; the original's by default.

    Returns:
        uint8 [side, side, 3] for each; the original's are rounded half to even from the exact
        float32 resize.
    """
    if not preprocessing.original:
        whole = Image.fromarray(image) if isinstance(image, np.ndarray) else image
        return [_resize_and_cut(whole, side, preprocessing) for side in resolutions]
    height, width = image.shape[:2] if isinstance(image, np.ndarray) else image.size[::-1]
    plans = [_plan(width, height, resolution) for resolution in resolutions]
    rows = plans[0].rows
    if len(plans) > 1:
        rows = np.unique(np.concatenate([plan.rows for plan in plans]))
    left, right = min(plan.left for plan in plans), max(plan.right for plan in plans)
    block = _read_rows(image, rows, left, right)
    return [plan.sample(block, rows, left) for plan in plans]


def _resize_and_cut(image: Image.Image, side: int, preprocessing: Preprocessing) -> Pixels:
    """Resize the shorter side, cut the centre: torchvision's Resize and CenterCrop on a picture.

    The longer side is cut down to whole pixels, the corner of the cut rounds half to even; both as
    torchvision's transforms.functional has them.
    """
    part, whole = preprocessing.crop or (1, 1)
    short = side * whole // part
    width, height = image.size
    size = (max(short, short * width // height), max(short, short * height // width))
    left, top = round((size[0] - side) / 2.0), round((size[1] - side) / 2.0)
    resampling = _RESAMPLING[preprocessing.interpolation]
    if size[0] * size[1] > MAX_PIXELS:
        # A strip so thin that its picture would not fit: only the cut is computed.
        across, down = width / size[0], height / size[1]
        box = (left * across, top * down, (left + side) * across, (top + side) * down)
        return np.asarray(image.resize((side, side), resampling, box))
    resized = image.resize(size, resampling)
    return np.asarray(resized.crop((left, top, left + side, top + side)))


class _Plan:
    """Which rows and columns of a picture one resolution reads, and how it weighs them.

    Attributes:
        rows: that are read, each once, in order.
        left, right: the first column that is read, and the one behind the last.
        first, second: of each output row the places of its two neighbours among `rows`.
        near, far: the same of each output entry (column and colour), counted from `left`.
        along, down: weights of the second neighbour.
    """

    __slots__ = ("along", "down", "far", "first", "left", "near", "right", "rows", "second")

    def __init__(self, width: int, height: int, resolution: int) -> None:
        side = crop_side(width, height, resolution)
        self.left, top = (width - side + 1) // 2, (height - side + 1) // 2
        scale = np.float32(side) / np.float32(resolution)
        places = np.arange(resolution, dtype=np.float32) * scale
        lower = np.floor(places)
        weights = places - lower
        first = lower.astype(np.intp)
        second = np.minimum(first + 1, side - 1)
        self.right = self.left + int(second[-1]) + 1
        used = np.unique(np.concatenate([first, second]))
        self.rows = used + top
        self.first, self.second = np.searchsorted(used, first), np.searchsorted(used, second)
        # Pixels lie flat: NumPy gathers and scales long rows five times as fast as triples.
        self.near, self.far = (
            (3 * columns[:, None] + np.arange(3)).ravel() for columns in (first, second)
        )
        self.along, self.down = np.repeat(weights, 3), weights[:, None]

    def sample(self, block: Pixels, rows: npt.NDArray[np.intp], left: int) -> Pixels:
        """Interpolate, along the rows and then down the columns, in TensorFlow's order."""
        side = len(self.down)
        flat = block.reshape(len(block), -1)
        if len(self.rows) != len(rows):
            flat = flat[np.searchsorted(rows, self.rows)]
        flat = flat[:, 3 * (self.left - left) : 3 * (self.right - left)]
        levels = np.empty((side, 3 * side), np.uint8)
        # A few rows at a time stay in the cache. All at once take arrays so large that the system
        # takes them back after each photo, and clearing them anew costs more than the arithmetic.
        for start in range(0, side, STRIP_ROWS):
            strip = slice(start, start + STRIP_ROWS)
            top = self.first[start]
            used = flat[top : self.second[strip][-1] + 1]
            near = used.take(self.near, axis=1).astype(np.float32)
            across = used.take(self.far, axis=1).astype(np.float32)
            across -= near
            across *= self.along
            across += near
            upper, result = across[self.first[strip] - top], across[self.second[strip] - top]
            result -= upper
            result *= self.down[strip]
            result += upper
            levels[strip] = np.rint(result, out=result)
        return levels.reshape(side, side, 3)


@lru_cache(maxsize=256)
def _plan(width: int, height: int, resolution: int) -> _Plan:
    """Photos of a collection have few sizes: a tenth of the time."""
    return _Plan(width, height, resolution)


def _read_rows(image: Picture, rows: npt.NDArray[np.intp], left: int, right: int) -> Pixels:
    """Take some rows of a picture, in increasing order, between two columns."""
    if isinstance(image, np.ndarray):
        return image[rows, left:right]
    step = max(1, STRIP_PIXELS // (right - left))
    parts = []
    for start in range(int(rows[0]), int(rows[-1]) + 1, step):
        stop = min(start + step, image.height)
        inside = rows[np.searchsorted(rows, start) : np.searchsorted(rows, stop)]
        if inside.size:
            strip = np.asarray(image.crop((left, start, right, stop)))
            parts.append(strip[inside - start])
    return parts[0] if len(parts) == 1 else np.concatenate(parts)
