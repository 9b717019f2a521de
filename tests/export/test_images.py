"""Image files: one to classify, folders to calibrate on."""

import hashlib
import json
import os
import sys
from dataclasses import asdict

import numpy as np
import pytest
from PIL import Image

from mnasnet_deploy.errors import ImageError
from mnasnet_deploy.export import images
from mnasnet_deploy.export.images import (
    CalibrationImage,
    calibration_set,
    find_images,
    load_calibration,
    load_calibrations,
    load_pixels,
)
from mnasnet_deploy.export.preprocessing import prepare


def _photo(path, seed=0, side=48):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)
    Image.fromarray(pixels).save(path, "PNG")
    return path


@pytest.fixture
def folder(tmp_path):
    """Forty photos in two folders, and one that is broken."""
    for number in range(40):
        _photo(tmp_path / ("a" if number % 2 else "b") / f"{number:02}.png", number)
    (tmp_path / "a" / "broken.jpg").write_bytes(b"no photo")
    return tmp_path


def _names(calibration):
    return [image.name for image in calibration.images]


def test_a_photo_is_loaded_as_it_is_prepared(tmp_path):
    path = _photo(tmp_path / "ein Föto.png")
    wanted = prepare(Image.open(path), (32,))[0]
    assert (load_pixels(path, 32) == wanted).all()


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("missing.jpg", None, "No such file"),
        ("empty.jpg", b"", "the file is empty"),
        ("text.png", b"text", "not a JPEG or PNG"),
    ],
)
def test_a_file_that_is_no_image_is_an_error_with_its_name_and_a_reason(
    tmp_path, name, content, reason
):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ImageError, match=f"{name}: .*{reason}.*JPEG or PNG") as caught:
        load_pixels(tmp_path / name, 32)
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)


def test_a_folder_is_no_image(tmp_path):
    with pytest.raises(ImageError, match="it is a folder"):
        load_pixels(tmp_path, 32)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_named_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(ImageError, match="no regular file"):
        load_pixels(tmp_path / "pipe.jpg", 32)


def test_a_file_larger_than_any_photo_is_refused_unread(tmp_path):
    path = tmp_path / "large.jpg"
    with path.open("wb") as file:
        file.truncate(2**40)  # sparse
    with pytest.raises(ImageError, match="MiB"):
        load_pixels(path, 32)


def test_images_are_found_in_all_folders_by_suffix_and_sorted(tmp_path):
    for name in ("z.JPG", "b/ü ber.jpeg", "b/c/d.PNG", "b/e.jpe", "a.png"):
        _photo(tmp_path / name)
    for name in ("a.txt", "b/photo.gif", ".hidden.jpg", "b/._e.jpg", ".cache/x.jpg", "png"):
        _photo(tmp_path / name)
    (tmp_path / "folder.jpg").mkdir()
    found = [path.relative_to(tmp_path).as_posix() for path in find_images(tmp_path)]
    assert found == ["a.png", "b/c/d.PNG", "b/e.jpe", "b/ü ber.jpeg", "z.JPG"]


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_links_that_lead_in_circles_end(tmp_path):
    _photo(tmp_path / "in" / "one.png")
    (tmp_path / "in" / "up").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "in" / "self").symlink_to("self")
    assert [path.name for path in find_images(tmp_path)] == ["one.png"]


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_a_link_to_another_folder_is_followed_and_a_dangling_one_is_counted(tmp_path):
    _photo(tmp_path / "elsewhere" / "one.png")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "link").symlink_to("../elsewhere")
    (tmp_path / "photos" / "gone.png").symlink_to("nowhere.png")
    calibration = load_calibration(tmp_path / "photos", 32)
    assert _names(calibration) == ["link/one.png"]
    assert [skipped.name for skipped in calibration.skipped] == ["gone.png"]


@pytest.mark.parametrize("what", ["missing", "file.png"])
def test_a_calibration_folder_that_is_none_is_an_error(tmp_path, what):
    _photo(tmp_path / "file.png")
    with pytest.raises(ImageError, match=f"{what}.*name a readable folder") as caught:
        load_calibration(tmp_path / what, 32)
    assert caught.value.exit_code == 2


def test_a_folder_without_images_is_an_error_with_a_next_step(tmp_path):
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(ImageError, match=r"no JPEG or PNG images in .*leave the folder out"):
        load_calibration(tmp_path, 32)


def test_a_folder_of_broken_images_only_is_an_error_that_names_one(tmp_path):
    for name in ("b.png", "a.jpg"):
        (tmp_path / name).write_bytes(b"broken")
    with pytest.raises(ImageError, match=r"none of the 2 images .* a\.jpg: not a JPEG or PNG"):
        load_calibration(tmp_path, 32)


def test_calibrating_on_no_image_is_an_error(folder):
    with pytest.raises(ImageError, match="0 calibration images"):
        load_calibration(folder, 32, samples=0)


def test_a_set_holds_every_usable_photo_in_order_with_its_hash(folder):
    calibration = load_calibration(folder, 32)
    assert len(calibration.images) == 40
    assert _names(calibration) == sorted(_names(calibration))
    assert calibration.pixels.shape == (40, 32, 32, 3)
    for image, pixels in zip(calibration.images, calibration.pixels, strict=True):
        path = folder / image.name
        assert image.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
        assert (pixels == load_pixels(path, 32)).all()
    assert [(s.name, s.reason) for s in calibration.skipped] == [
        ("a/broken.jpg", "not a JPEG or PNG image")
    ]
    assert not calibration.synthetic


def test_no_name_leads_outside_the_folder(folder):
    calibration = load_calibration(folder, 32)
    assert str(folder) not in repr((calibration.images, calibration.skipped))
    assert str(folder) not in repr(calibration.warnings)


def test_broken_photos_are_replaced_while_there_are_others(folder):
    for number in range(20):
        (folder / f"broken{number}.jpg").write_bytes(b"no photo")
    for samples in (10, 40, 100):
        calibration = load_calibration(folder, 32, samples=samples)
        assert len(calibration.images) == min(samples, 40)
    assert len(calibration.skipped) == 21


def test_the_seed_chooses_and_the_same_seed_chooses_the_same(folder):
    chosen = {seed: load_calibration(folder, 32, samples=10, seed=seed) for seed in range(4)}
    assert len({tuple(_names(calibration)) for calibration in chosen.values()}) == 4
    again = load_calibration(folder, 32, samples=10, seed=2)
    assert _names(again) == _names(chosen[2]) == sorted(_names(again))
    assert again.digest == chosen[2].digest


def test_a_photo_that_is_added_moves_at_most_one_other_out(folder):
    before = set(_names(load_calibration(folder, 32, samples=10)))
    _photo(folder / "new.png", 99)
    after = set(_names(load_calibration(folder, 32, samples=10)))
    assert len(before - after) <= 1


def test_several_resolutions_hold_the_same_photos_as_one_alone(folder):
    sets = load_calibrations(folder, (64, 32), samples=12)
    assert list(sets) == [64, 32]
    assert sets[64].images == sets[32].images
    for resolution, calibration in sets.items():
        alone = load_calibration(folder, resolution, samples=12)
        assert alone.digest == calibration.digest
        assert (alone.pixels == calibration.pixels).all()


def test_the_number_of_threads_changes_nothing(folder, monkeypatch):
    many = load_calibration(folder, 32)
    monkeypatch.setattr(images, "MAX_THREADS", 1)
    assert load_calibration(folder, 32).digest == many.digest


def test_progress_is_told_of_every_usable_photo(folder):
    calls = []
    load_calibration(folder, 32, samples=15, progress=lambda: calls.append(1))
    assert len(calls) == 15


def test_the_digest_knows_pixels_order_and_shape():
    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
    entries = [CalibrationImage(name="a", sha256="0"), CalibrationImage(name="b", sha256="1")]
    digest = calibration_set(pixels, entries).digest
    changed = pixels.copy()
    changed[1, 3, 4, 0] += 1
    assert calibration_set(pixels.copy(), entries).digest == digest
    assert calibration_set(changed, entries).digest != digest
    assert calibration_set(pixels[::-1], entries).digest != digest
    assert calibration_set(pixels.reshape(1, 64, 32, 3), entries).digest != digest


@pytest.mark.parametrize(("count", "warned"), [(1, True), (31, True), (32, False)])
def test_fewer_than_32_usable_photos_are_a_warning(count, warned, tmp_path):
    for number in range(count):
        _photo(tmp_path / f"{number}.png", number, side=8)
    warnings = load_calibration(tmp_path, 32).warnings
    assert bool(warnings) == warned
    if warned:
        assert f"only {count} usable" in warnings[0]


def test_skipped_photos_are_counted_in_a_warning_without_their_names(folder):
    (warning,) = load_calibration(folder, 32).warnings
    assert warning == "1 calibration image could not be used"


@pytest.mark.skipif(sys.platform != "linux", reason="file names are Unicode there")
def test_a_name_that_is_no_unicode_is_used_and_can_be_stored(tmp_path):
    _photo(tmp_path / "one.png").rename(tmp_path / os.fsdecode(b"f\xfcr.png"))
    calibration = load_calibration(tmp_path, 32)
    assert _names(calibration) == ["f\ufffdr.png"]
    json.dumps(asdict(calibration.images[0])).encode("utf-8")
