"""Photos become model inputs as the original evaluates them."""

import io
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mnasnet_deploy.errors import ImageError
from mnasnet_deploy.export import preprocessing
from mnasnet_deploy.export.preprocessing import MAX_PIXELS, crop_side, decode, prepare
from mnasnet_deploy.weights.source import Preprocessing

DATA = Path(__file__).parent.parent / "data" / "preprocess"
TIMM = Preprocessing(interpolation="bicubic", crop=(7, 8))


def _noise(width, height, channels=3, seed=0):
    shape = (height, width, channels) if channels > 1 else (height, width)
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def _file(image, kind="PNG", **options):
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def _pixels(data):
    return np.asarray(decode(data))


@pytest.mark.parametrize("resolution", [96, 160])
def test_a_photo_gives_what_the_original_gives_to_the_bit(resolution):
    ours = prepare(decode((DATA / "photo.jpg").read_bytes()), (resolution,))[0]
    assert (ours == np.load(DATA / f"official_{resolution}.npy")).all()


def test_a_neighbouring_rule_would_not_pass_for_the_originals():
    photo = Image.open(DATA / "photo.jpg")
    side = crop_side(photo.width, photo.height, 96)
    left, top = (photo.width - side + 1) // 2, (photo.height - side + 1) // 2
    box = (left, top, left + side, top + side)
    antialiased = np.asarray(photo.resize((96, 96), Image.Resampling.BILINEAR, box=box))
    official = np.load(DATA / "official_96.npy")
    assert np.abs(antialiased.astype(int) - official).mean() > 3


@pytest.mark.parametrize(
    ("size", "resolution", "side"),
    [
        ((333, 500), 224, 291),
        ((420, 300), 96, 225),
        ((480, 640), 160, 400),  # 399 where the share is multiplied in double precision
        ((1, 1), 224, 1),
        ((3, 2000), 32, 1),
    ],
)
def test_the_crop_is_the_originals_share_of_the_shorter_side(size, resolution, side):
    assert crop_side(*size, resolution) == side


def test_the_crop_is_centred_with_the_odd_pixel_in_front():
    # At 96 the crop is 3/4: 6 of 8 pixels; 9 - 6 leaves 3, of which 2 lie in front.
    image = np.zeros((8, 9, 3), np.uint8)
    image[..., 0] = np.arange(9)
    image[..., 1] = np.arange(8)[:, None]
    ours = prepare(Image.fromarray(image), (96,))[0]
    assert ours[0, 0, :2].tolist() == [2, 1]
    assert ours[-1, -1, :2].tolist() == [7, 6]


def test_enlarging_interpolates_from_the_upper_left_corner():
    # 4 of 8 pixels at 32: eight steps between two of them, the last one repeated at the end.
    image = np.zeros((8, 8, 3), np.uint8)
    image[:] = (np.arange(8) * 32)[None, :, None]
    ours = prepare(Image.fromarray(image), (32,))[0]
    expected = np.minimum(64 + np.arange(32) * 4, 160)
    assert (ours == expected[None, :, None]).all()


@settings(max_examples=25, deadline=None)
@given(
    width=st.integers(1, 90),
    height=st.integers(1, 90),
    resolutions=st.lists(st.integers(32, 80), min_size=2, max_size=4),
)
def test_several_resolutions_from_one_photo_equal_those_made_alone(width, height, resolutions):
    image = Image.fromarray(_noise(width, height))
    together = prepare(image, resolutions)
    for resolution, pixels in zip(resolutions, together, strict=True):
        assert pixels.dtype == np.uint8
        assert pixels.shape == (resolution, resolution, 3)
        assert (pixels == prepare(image, (resolution,))[0]).all()


def test_reading_a_photo_in_strips_changes_nothing(monkeypatch):
    image = Image.fromarray(_noise(300, 211))
    whole = prepare(image, (64, 96))
    monkeypatch.setattr(preprocessing, "STRIP_PIXELS", 1000)
    for one, other in zip(whole, prepare(image, (64, 96)), strict=True):
        assert (one == other).all()


def test_a_grey_photo_has_three_equal_channels():
    grey = _noise(20, 20, channels=1)
    assert (_pixels(_file(Image.fromarray(grey))) == grey[..., None]).all()


def test_transparency_is_dropped_and_the_colours_below_it_count():
    colours = _noise(20, 20)
    image = Image.fromarray(np.dstack([colours, np.zeros((20, 20), np.uint8)]), "RGBA")
    assert (_pixels(_file(image)) == colours).all()


@pytest.mark.parametrize("transparency", [None, 3, bytes(range(16))])
def test_a_palette_is_looked_up_with_and_without_transparency(transparency, recwarn):
    palette = _noise(16, 1)[0]
    numbers = _noise(20, 20, channels=1) % 16
    image = Image.fromarray(numbers, "P")
    image.putpalette(palette.tobytes())
    options = {} if transparency is None else {"transparency": transparency}
    assert (_pixels(_file(image, **options)) == palette[numbers]).all()
    assert not recwarn.list


def test_sixteen_bits_are_cut_to_their_upper_eight():
    deep = np.random.default_rng(0).integers(0, 2**16, (20, 20), np.uint16)
    assert (_pixels(_file(Image.fromarray(deep))) == (deep >> 8)[..., None]).all()


def test_black_and_white_becomes_0_and_255():
    bits = _noise(20, 20, channels=1) > 127
    pixels = _pixels(_file(Image.fromarray(bits)))
    assert (pixels == bits[..., None] * 255).all()


def test_cmyk_is_converted_by_the_simple_rule():
    inks = np.tile(_noise(4, 4, channels=4).repeat(8, 0).repeat(8, 1), 1)
    data = _file(Image.fromarray(inks, "CMYK"), "JPEG", quality=100, subsampling=0)
    wanted = (255 - inks[..., :3].astype(float)) * (255 - inks[..., 3:].astype(float)) / 255
    assert np.abs(_pixels(data) - wanted).mean() < 3


def test_the_orientation_in_a_photo_is_ignored_as_the_original_ignores_it():
    image = Image.fromarray(_noise(30, 20).repeat(4, 0).repeat(4, 1))
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees
    turned = _pixels(_file(image, "JPEG", exif=exif))
    assert (turned == _pixels(_file(image, "JPEG"))).all()
    assert turned.shape == (80, 120, 3)


def test_an_animation_is_its_first_picture():
    first, second = (Image.fromarray(_noise(20, 20, seed=seed)) for seed in (1, 2))
    data = _file(first, save_all=True, append_images=[second])
    assert (_pixels(data) == np.asarray(first)).all()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"hello, I am a text\n" * 100, "not a JPEG or PNG"),
        (_file(Image.fromarray(_noise(60, 60)), "JPEG")[:1500], "truncated"),
        (_file(Image.fromarray(_noise(60, 60)))[:5000], "broken"),
        (_file(Image.fromarray(_noise(60, 60)), "GIF"), "not a JPEG or PNG"),
        (_file(Image.fromarray(_noise(60, 60)), "JPEG")[:3], "not a JPEG or PNG"),
    ],
    ids=["text", "cut JPEG", "cut PNG", "GIF", "first bytes"],
)
def test_what_is_no_whole_image_is_refused_with_a_reason(data, reason):
    with pytest.raises(ImageError, match=reason) as caught:
        decode(data)
    assert "\n" not in str(caught.value)


@st.composite
def _jpegs(draw):
    """JPEG files of many kinds, small and coarse enough to be made quickly."""
    width, height = draw(st.integers(1, 70)), draw(st.integers(1, 70))
    picture = Image.fromarray(_noise(width, height, seed=draw(st.integers(0, 99))))
    picture = picture.convert(draw(st.sampled_from(["RGB", "RGB", "L"])))
    return _file(
        picture,
        "JPEG",
        quality=draw(st.integers(1, 100)),
        subsampling=draw(st.integers(0, 2)),
        progressive=draw(st.booleans()),
        restart_marker_blocks=draw(st.sampled_from([0, 3])),
    )


def _as_pillow_has_it(data):
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))


@given(data=_jpegs())
def test_for_timm_and_torchvision_a_jpeg_has_the_pixels_of_pillow(data):
    pixels = decode(data, TIMM)
    assert isinstance(pixels, np.ndarray), "Pillow decoded it"
    assert (pixels == _as_pillow_has_it(data)).all()


@pytest.mark.tensorflow
@pytest.mark.processes  # importing TensorFlow starts one
@pytest.mark.slow
@settings(deadline=None)  # the first example imports TensorFlow
@given(data=_jpegs())
def test_for_the_original_a_jpeg_has_the_pixels_of_tensorflow(data):
    import tensorflow as tf

    pixels = decode(data)
    assert isinstance(pixels, np.ndarray), "Pillow decoded it"
    assert (pixels == tf.io.decode_jpeg(data, channels=3).numpy()).all()


@given(data=_jpegs(), seed=st.integers(0, 2**32 - 1))
def test_a_damaged_jpeg_is_judged_by_pillow(data, seed):
    """Wherever the fast decoder finds nothing wrong, Pillow finds the same pixels."""
    generator = np.random.default_rng(seed)
    broken = bytearray(data[: generator.integers(len(data) // 2, len(data) + 1)])
    for place in generator.integers(0, len(broken), 2):
        broken[place] = generator.integers(256)
    with preprocessing.quiet_pillow():
        try:
            decoded = decode(bytes(broken), TIMM)
        except ImageError:
            return
        assert (np.asarray(decoded) == _as_pillow_has_it(bytes(broken))).all()


def test_a_jpeg_of_a_rare_subsampling_is_read_by_pillow():
    data = _file(Image.fromarray(_noise(40, 30)).convert("CMYK"), "JPEG", subsampling=2)
    assert isinstance(decode(data), Image.Image)


def test_a_jpeg_that_claims_too_many_pixels_is_refused_before_it_is_decoded():
    data = bytearray(_file(Image.fromarray(_noise(8, 8)), "JPEG"))
    start = data.index(b"\xff\xc0") + 5
    data[start : start + 4] = (60_000).to_bytes(2, "big") * 2
    with preprocessing.quiet_pillow(), pytest.raises(ImageError, match=f"{MAX_PIXELS:,}"):
        decode(bytes(data))


def test_an_array_and_a_picture_are_prepared_alike():
    pixels = _noise(150, 100)
    for way in (preprocessing.OFFICIAL, TIMM):
        for one, other in zip(
            prepare(pixels, (64, 96), way), prepare(Image.fromarray(pixels), (64, 96), way),
            strict=True,
        ):  # fmt: skip
            assert (one == other).all()


def test_a_png_with_flipped_bits_is_refused_or_decoded_but_never_a_crash():
    data = _file(Image.fromarray(_noise(40, 40)))
    generator = np.random.default_rng(0)
    for _ in range(300):
        broken = bytearray(data)
        for place in generator.integers(0, len(data), 3):
            broken[place] ^= 1 << generator.integers(8)
        try:
            decode(bytes(broken))
        except ImageError:
            continue


@pytest.mark.parametrize("side", [11_000, 60_000])
def test_a_picture_that_claims_too_many_pixels_is_refused_before_it_is_decoded(side):
    # All header: decoding it would need 360 MB or more.
    data = bytearray(_file(Image.new("L", (1, 1))))
    data[16:24] = side.to_bytes(4, "big") * 2
    data[29:33] = zlib.crc32(bytes(data[12:29])).to_bytes(4, "big")
    with preprocessing.quiet_pillow(), pytest.raises(ImageError, match=f"{MAX_PIXELS:,}"):
        decode(bytes(data))


@pytest.mark.tensorflow
@pytest.mark.processes  # importing TensorFlow starts one
@pytest.mark.slow
@pytest.mark.parametrize("size", [(333, 500), (64, 51), (1024, 768)])
@pytest.mark.parametrize("resolution", [96, 131, 160, 224])
def test_crop_and_resize_equal_tensorflow_to_the_bit(size, resolution):
    import tensorflow as tf

    pixels = _noise(*size)
    side = crop_side(*size, resolution)
    left, top = (size[0] - side + 1) // 2, (size[1] - side + 1) // 2
    crop = pixels[top : top + side, left : left + side]
    wanted = tf.compat.v1.image.resize(crop, (resolution, resolution), align_corners=False)
    ours = prepare(Image.fromarray(pixels), (resolution,))[0]
    assert (ours == np.rint(wanted.numpy())).all()


def _odd_files():
    noise = Image.fromarray(_noise(40, 30))
    rgba = Image.fromarray(_noise(40, 30, channels=4), "RGBA")
    adobe = _file(Image.fromarray(_noise(40, 30, channels=4), "CMYK"), "JPEG", subsampling=0)
    mark = adobe.index(b"Adobe")
    return {
        "grey PNG": _file(noise.convert("L")),
        "RGBA PNG": _file(rgba),
        "LA PNG": _file(rgba.convert("LA")),
        "palette PNG": _file(noise.quantize(64)),
        "palette PNG with transparency": _file(noise.quantize(64), transparency=b"\0\x80"),
        "bilevel PNG": _file(noise.convert("1")),
        "16-bit PNG": _file(
            Image.fromarray(np.random.default_rng(0).integers(0, 2**16, (30, 40), np.uint16))
        ),
        "grey JPEG": _file(noise.convert("L"), "JPEG"),
        "progressive JPEG": _file(noise, "JPEG", progressive=True),
        "RGB JPEG": _file(noise, "JPEG", keep_rgb=True),
        "CMYK JPEG by Adobe": adobe,
        "YCCK JPEG": adobe[: mark + 11] + b"\2" + adobe[mark + 12 :],
        "CMYK JPEG": adobe[: mark - 4] + adobe[mark + 12 :],
    }


@pytest.mark.tensorflow
@pytest.mark.processes  # importing TensorFlow starts one
@pytest.mark.slow
@pytest.mark.parametrize("name", _odd_files())
def test_odd_files_are_read_as_tensorflow_reads_them(name):
    import tensorflow as tf

    data = _odd_files()[name]
    if "JPEG" in name:
        wanted = tf.io.decode_jpeg(data, channels=3).numpy()
    else:
        wanted = tf.io.decode_png(data, channels=3).numpy()
    assert (_pixels(data) == wanted).all()


@pytest.mark.parametrize("name", [name for name in _odd_files() if "JPEG" in name])
def test_for_timm_and_torchvision_odd_jpegs_have_the_pixels_of_pillow(name):
    data = _odd_files()[name]
    assert (np.asarray(decode(data, TIMM)) == _as_pillow_has_it(data)).all()
