"""The unit of work against a plain loop: same classes, same ranks, image by image."""

import hashlib
import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnasnet_deploy.errors import MnasnetError
from mnasnet_deploy.evaluate.dataset import find_dataset
from mnasnet_deploy.evaluate.shard import (
    KEPT_BYTES,
    Task,
    _feeder,
    _kept,
    evaluate_shard,
    rank_of,
    versions,
)
from mnasnet_deploy.evaluate.subject import WAYS, candidate
from mnasnet_deploy.export import modelfile
from mnasnet_deploy.export.contract import Contract
from mnasnet_deploy.export.graph import Options
from mnasnet_deploy.weights.source import WeightSource

from . import material

pytestmark = pytest.mark.slow


def subject_of(path, data):
    model = modelfile.read(path)
    return candidate(model, modelfile.artifact(model), data, None).subject


def judged(paths, data):
    """All files over all shards of a data set."""
    subjects = tuple(subject_of(path, data) for path in paths)
    return [
        evaluate_shard(Task(shard=number, subjects=subjects, images=images))
        for number, images in enumerate(data.shards)
    ]


def pairs(results, place, data):
    """First class and rank by image name."""
    found = {}
    for result, images in zip(results, data.shards, strict=True):
        lost = {image.name for image in result.unreadable}
        names = [image.name for image in images if image.name not in lost]
        answers = result.answers[place]
        found |= dict(zip(names, zip(answers.tops, answers.ranks, strict=True), strict=True))
    return found


def expected(path, folder):
    images = material.by_folder(folder)
    names = [image.relative_to(folder).as_posix() for image, _ in images]
    return dict(zip(names, material.plainly(path, images), strict=True))


def test_every_answer_is_that_of_a_plain_loop(images, models):
    data = find_dataset(images)
    results = judged(models.values(), data)
    for place, path in enumerate(models.values()):
        found = pairs(results, place, data)
        assert found == expected(path, images)
        # The data says something: right and wrong, and more than one class.
        assert 2 < sum(rank == 1 for _, rank in found.values()) < 85
        assert len({top for top, _ in found.values()}) > 5


@pytest.mark.slow
@pytest.mark.parametrize("way", ["timm", "torchvision-232"])
def test_photos_are_prepared_as_the_weights_of_each_file_ask(way, images, photos, tmp_path):
    family = way.partition("-")[0]
    source = WeightSource(
        label="other.safetensors",
        trained=True,
        family=family,
        padding="symmetric",
        preprocessing=WAYS[way],
    )
    own = material.export(tmp_path / "own", photos, ["int8"], source=source)["int8"]
    official = material.export(tmp_path / "official", photos, ["int8"])["int8"]
    data = find_dataset(images, samples=60)
    results = judged([official, own], data)
    assert pairs(results, 0, data).items() <= expected(official, images).items()
    assert pairs(results, 1, data).items() <= expected(own, images).items()
    assert pairs(results, 0, data) != pairs(results, 1, data)


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        Options(io="int8"),
        Options(io="float32"),
        Options(input="normalized", io="int8"),
        Options(softmax=True),
    ],
    ids=str,
)
def test_files_are_fed_and_read_as_their_contract_says(options, images, photos, tmp_path):
    path = material.export(tmp_path, photos, ["int8"], options=options)["int8"]
    data = find_dataset(images, samples=40)
    found = pairs(judged([path], data), 0, data)
    assert found.items() <= expected(path, images).items()


def test_files_of_several_sizes_share_a_decode(images, models, photos, tmp_path):
    other = material.export(tmp_path, photos, ["float32"], resolution=64)["float32"]
    data = find_dataset(images, samples=40)
    results = judged([models["float32"], other], data)
    assert pairs(results, 0, data).items() <= expected(models["float32"], images).items()
    assert pairs(results, 1, data).items() <= expected(other, images).items()


def test_a_task_and_its_result_can_be_sent(images, models):
    data = find_dataset(images, samples=10)
    task = Task(shard=0, subjects=(subject_of(models["int8"], data),), images=data.images)
    here = evaluate_shard(task)
    there = evaluate_shard(pickle.loads(pickle.dumps(task)))
    again = pickle.loads(pickle.dumps(there))
    assert (again.answers[0].tops, again.digest) == (here.answers[0].tops, here.digest)


def test_images_that_cannot_be_read_are_named_and_left_out(images, models, tmp_path):
    folder = tmp_path / "val"
    shutil.copytree(images, folder)
    victims = sorted(folder.rglob("*.jpg"))[:3]
    victims[0].write_bytes(b"")
    victims[1].write_bytes(victims[1].read_bytes()[:200])
    victims[2].write_bytes(b"no image at all")
    data = find_dataset(folder)
    results = judged([models["float32"]], data)
    lost = {image.name: image.reason for result in results for image in result.unreadable}
    assert set(lost) == {path.relative_to(folder).as_posix() for path in victims}
    assert any("empty" in reason for reason in lost.values())
    whole = expected(models["float32"], images)
    assert pairs(results, 0, data) == {name: whole[name] for name in whole.keys() - lost.keys()}


def test_an_image_that_went_away_is_unreadable(images, models, tmp_path):
    folder = tmp_path / "val"
    shutil.copytree(images, folder)
    data = find_dataset(folder, samples=5)
    subject = subject_of(models["float32"], data)
    shutil.rmtree(folder)
    result = evaluate_shard(Task(shard=0, subjects=(subject,), images=data.images))
    assert len(result.unreadable) == 5
    assert (result.answers[0].tops, result.answers[0].error) == ((), "")


def test_a_file_that_gives_nan_is_refused_by_name_and_the_others_go_on(images, models, tmp_path):
    broken = material.overflowing(tmp_path / "broken.tflite")
    data = find_dataset(images, samples=10)
    result = judged([broken, models["float32"]], data)[0]
    assert "broken.tflite: gives NaN or infinite scores on c" in result.answers[0].error
    assert result.answers[0].exit_code == 2
    assert len(result.answers[1].ranks) == 10


def test_a_file_that_changed_or_went_away_meanwhile_is_refused(images, models, tmp_path):
    data = find_dataset(images, samples=4)
    copy = tmp_path / "copy.tflite"
    # Other bytes than any interpreter that is kept.
    copy.write_bytes(models["float32"].read_bytes() + b"\0")
    model = modelfile.read(models["float32"])
    subject = replace(subject_of(models["float32"], data), path=str(copy), sha256="0" * 64)
    result = evaluate_shard(Task(shard=0, subjects=(subject,), images=data.images))
    assert "copy.tflite: changed since the evaluation began" in result.answers[0].error
    copy.unlink()
    result = evaluate_shard(Task(shard=0, subjects=(subject,), images=data.images))
    assert "copy.tflite: No such file" in result.answers[0].error
    assert model.sha256 not in result.answers[0].error


def test_images_of_the_calibration_are_named(images, models):
    data = find_dataset(images, samples=10)
    image = data.images[3]
    sha256 = hashlib.sha256(Path(image.path).read_bytes()).hexdigest()
    subject = replace(subject_of(models["int8"], data), calibration=frozenset({sha256}))
    result = evaluate_shard(Task(shard=0, subjects=(subject,), images=data.images))
    assert result.answers[0].calibration == (image.name,)


def test_a_worker_of_another_version_refuses(images, models):
    data = find_dataset(images, samples=2)
    task = Task(
        shard=0, subjects=(), images=data.images, versions="mnasnet-deploy 0.0.1, ai-edge-litert 1"
    )
    with pytest.raises(MnasnetError, match=r"a worker runs mnasnet-deploy .* install the same"):
        evaluate_shard(task)
    assert evaluate_shard(replace(task, versions=versions())).unreadable == ()


def test_interpreters_are_kept_up_to_a_limit(images, models, monkeypatch):
    _kept.interpreters.clear()
    monkeypatch.setattr("mnasnet_deploy.evaluate.shard.KEPT_BYTES", 1)
    data = find_dataset(images, samples=2)
    judged(models.values(), data)
    assert len(_kept.interpreters) == 1
    monkeypatch.setattr("mnasnet_deploy.evaluate.shard.KEPT_BYTES", KEPT_BYTES)
    judged(models.values(), data)
    assert len(_kept.interpreters) == 2


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=12), st.data())
def test_a_rank_is_the_place_in_a_stable_sort(scores, data):
    truth = data.draw(st.integers(0, len(scores) - 1))
    array = np.array(scores, np.int8)
    order = np.argsort(-array.astype(int), kind="stable").tolist()
    assert rank_of(array, truth) == order.index(truth) + 1
    assert (rank_of(array, truth) == 1) == (int(array.argmax()) == truth)


@given(
    st.sampled_from(["raw", "normalized"]),
    st.sampled_from(["float32", "int8", "uint8"]),
    st.floats(0.005, 2),
    st.integers(-128, 127),
    st.integers(0, 2**32 - 1),
)
def test_feeding_by_a_table_is_feeding_by_the_contract(kind, dtype, scale, zero_point, seed):
    contract = Contract(
        input=kind,
        input_dtype=dtype,
        input_scale=scale,
        input_zero_point=zero_point + (128 if dtype == "uint8" else 0),
        output="logits",
        output_dtype="float32",
        output_scale=0.0,
        output_zero_point=0,
        resolution=5,
        classes=3,
        mean=(123.675, 116.28, 103.53),
        std=(58.395, 57.12, 57.375),
    )
    pixels = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    fed = _feeder(contract)(pixels)
    assert fed.dtype == contract.feed(pixels).dtype
    assert np.array_equal(fed, contract.feed(pixels))
