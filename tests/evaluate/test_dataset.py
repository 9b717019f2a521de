"""Labelled images in a folder."""

import os
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnasnet_deploy.errors import ImageError, InputError
from mnasnet_deploy.evaluate import dataset
from mnasnet_deploy.evaluate.dataset import DataSet, find_dataset

pytestmark = pytest.mark.slow


@pytest.fixture
def flat(images, tmp_path):
    """Ten images in two folders that are no classes, and a file of labels."""
    chosen = sorted(images.rglob("*.jpg"))[:10]
    lines = []
    for number, path in enumerate(chosen):
        place = tmp_path / "flat" / ("a b" if number % 2 else "")
        place.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, place / f"photo {number}.jpg")
        below = "a b/" if number % 2 else ""
        lines.append(f"{below}photo {number}.jpg {number % 3}")
    labels = tmp_path / "labels.txt"
    labels.write_text("\n".join(lines) + "\n")
    return tmp_path / "flat", labels


def test_folders_are_labels(images):
    data = find_dataset(images)
    assert data.labels == tuple(f"c{number}" for number in range(10))
    assert (data.name, data.found, len(data.images), data.folders) == ("val", 90, 90, True)
    for image in data.images:
        assert image.name == f"{data.labels[image.label]}/{Path(image.path).name}"
    assert [len(shard) for shard in data.shards] == [32, 32, 26]
    assert [image for shard in data.shards for image in shard] == list(data.images)


@given(st.integers(0, 60_000))
def test_shards_hold_every_image_once_and_get_smaller_towards_the_end(count):
    images = tuple(range(count))  # what they are does not matter
    data = DataSet(
        name="", images=images, labels=("a",), folders=True, nested=False, found=count, state=""
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dataset, "SHARD_IMAGES", 128)
        shards = data.shards
    assert [image for shard in shards for image in shard] == list(images)
    sizes = [len(shard) for shard in shards]
    assert sizes == sorted(sizes, reverse=True)
    assert all(size <= 128 for size in sizes)
    assert all(size <= 32 for size in sizes[-1:])
    assert len(sizes) <= 1 + count // 128 + 40, "hardly more of them than large ones"


def test_a_shard_is_a_sample_of_all_classes(images):
    first = find_dataset(images).shards[0]
    assert len({image.label for image in first}) == 10


def test_the_order_is_the_same_every_time_and_another_with_another_seed(images):
    data = find_dataset(images)
    assert find_dataset(images).images == data.images
    other = find_dataset(images, seed=1)
    assert other.images != data.images
    assert sorted(image.name for image in other.images) == sorted(i.name for i in data.images)


def test_samples_are_the_first_of_the_order(images):
    some = find_dataset(images, samples=20)
    assert some.images == find_dataset(images).images[:20]
    assert some.found == 90
    assert some.labels == find_dataset(images).labels
    assert some.state != find_dataset(images).state


def test_a_file_that_changed_is_another_state(images, tmp_path):
    copy = tmp_path / "val"
    shutil.copytree(images, copy)
    state = find_dataset(copy).state
    assert find_dataset(copy).state == state
    path = next(copy.rglob("*.jpg"))
    os.utime(path, (1, 1))
    assert find_dataset(copy).state != state


def test_an_empty_class_folder_counts(images, tmp_path):
    copy = tmp_path / "val"
    shutil.copytree(images, copy)
    (copy / "a class without photos").mkdir()
    data = find_dataset(copy)
    assert data.labels[0] == "a class without photos"
    assert {image.label for image in data.images} == set(range(1, 11))


def test_a_file_of_labels_names_images_in_any_folders(flat):
    folder, labels = flat
    data = find_dataset(folder, labels)
    assert data.labels == ("0", "1", "2")
    assert not data.folders
    found = {image.name: data.labels[image.label] for image in data.images}
    assert found["photo 4.jpg"] == "1"
    assert found["a b/photo 5.jpg"] == "2"


def test_commas_tabs_windows_lines_and_a_byte_order_mark_are_read(flat):
    folder, labels = flat
    lines = labels.read_text().splitlines()
    expected = find_dataset(folder, labels)
    for separator in (",", "\t", " , "):
        text = "\r\n".join(separator.join(line.rsplit(" ", 1)) for line in lines)
        labels.write_bytes(b"\xef\xbb\xbf" + text.encode() + b"\r\n\r\n")
        assert find_dataset(folder, labels).images == expected.images


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lines: lines[:-1], r"9 labels for 10 images, the first without one is a b/photo 9"),
        (lambda lines: [*lines, "photo 77.jpg 1"], "line 11 names photo 77.jpg, which is not"),
        (lambda lines: [*lines, lines[0]], "line 11 names photo 0.jpg a second time"),
        (lambda lines: ["388", *lines], "line 1 is not 'name label'"),
        (lambda _: [], "0 labels for 10 images"),
    ],
)
def test_a_file_of_labels_that_does_not_fit_is_refused_by_line(flat, change, message):
    folder, labels = flat
    labels.write_text("\n".join(change(labels.read_text().splitlines())))
    with pytest.raises(InputError, match=message):
        find_dataset(folder, labels)


def test_a_file_of_labels_that_is_no_text_is_refused(flat, tmp_path):
    folder, labels = flat
    labels.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="not UTF-8"):
        find_dataset(folder, labels)
    with pytest.raises(InputError, match=r"cannot read the labels .*missing.txt"):
        find_dataset(folder, tmp_path / "missing.txt")


def test_images_beside_class_folders_are_named(images, tmp_path):
    copy = tmp_path / "val"
    shutil.copytree(images, copy)
    shutil.copy(next(copy.rglob("*.jpg")), copy / "stray.jpg")
    with pytest.raises(ImageError, match=r"1 of 91 images in .* no class folder, such as stray"):
        find_dataset(copy)


def test_an_empty_folder_and_a_missing_one_are_refused(tmp_path):
    (tmp_path / "empty" / "cat").mkdir(parents=True)
    with pytest.raises(ImageError, match=r"no JPEG or PNG images in .*empty"):
        find_dataset(tmp_path / "empty")
    with pytest.raises(ImageError, match="cannot read image folder"):
        find_dataset(tmp_path / "nowhere")
