"""An evaluation from shards to records: whole, resumable, honest about what it stands on."""

import json
import shutil
from dataclasses import replace

import pytest

from mnasnet_deploy.errors import ImageError, InputError, NotReadyError
from mnasnet_deploy.evaluate.dataset import find_dataset
from mnasnet_deploy.evaluate.kept import Kept
from mnasnet_deploy.evaluate.pools import on_this_machine
from mnasnet_deploy.evaluate.run import Evaluation, require_uncalibrated, same_finding
from mnasnet_deploy.evaluate.shard import evaluate_shard
from mnasnet_deploy.evaluate.statistics import mcnemar, wilson
from mnasnet_deploy.evaluate.subject import Foreign, candidate
from mnasnet_deploy.export import modelfile
from mnasnet_deploy.results import store
from mnasnet_deploy.weights.source import WeightSource

from . import material

pytestmark = pytest.mark.slow


def candidates_of(paths, data, foreign=None):
    found = []
    for path in paths:
        model = modelfile.read(path)
        found.append(candidate(model, modelfile.artifact(model), data, foreign))
    return found


def evaluation_of(paths, data, results, **options):
    return Evaluation(candidates=candidates_of(paths, data), data=data, results=results, **options)


def evaluated(paths, data, results, **options):
    evaluation = evaluation_of(paths, data, results, **options)
    evaluation.run(on_this_machine(1))
    return list(evaluation.accuracies())


class Counting:
    """Evaluates here, noting which shards and how many files, and stops after some."""

    def __init__(self, stop_after=None):
        self.stop_after = stop_after
        self.tasks = []

    def __call__(self, tasks):
        for task in tasks:
            if len(self.tasks) == self.stop_after:
                raise KeyboardInterrupt
            self.tasks.append((task.shard, len(task.subjects)))
            yield evaluate_shard(task)


@pytest.fixture(scope="module")
def whole(images, models, tmp_path_factory):
    """The records of both files, evaluated in one go."""
    results = tmp_path_factory.mktemp("whole")
    return evaluated(models.values(), find_dataset(images), results)


def test_counts_are_those_of_a_plain_loop(images, models, whole):
    for path, accuracy in zip(models.values(), whole, strict=True):
        plain = material.plainly(path, material.by_folder(images))
        assert accuracy.data.images == len(plain) == 90
        assert accuracy.top1.correct == sum(rank == 1 for _, rank in plain)
        assert accuracy.top5.correct == sum(rank <= 5 for _, rank in plain)
        assert accuracy.top1.correct < accuracy.top5.correct
        low, high = wilson(accuracy.top1.correct, 90)
        assert (accuracy.top1.low, accuracy.top1.high) == (100 * low, 100 * high)
        assert accuracy.top1.percent == pytest.approx(accuracy.top1.correct / 0.9)


def test_files_are_paired_with_their_float32_file(images, models, whole):
    float32, int8 = whole
    assert float32.agreement is None
    plain = [material.plainly(path, material.by_folder(images)) for path in models.values()]
    pairs = list(zip(*plain, strict=True))
    found = int8.agreement
    assert found.file == models["float32"].name
    assert found.both == sum(a[1] == 1 and b[1] == 1 for a, b in pairs)
    assert found.only_this == sum(a[1] != 1 and b[1] == 1 for a, b in pairs)
    assert found.only_other == sum(a[1] == 1 and b[1] != 1 for a, b in pairs)
    assert found.same_percent == pytest.approx(sum(a[0] == b[0] for a, b in pairs) / 0.9)
    assert found.only_this + found.only_other > 0
    assert found.p_value == mcnemar(found.only_this, found.only_other)
    assert found.test == "exact"


@pytest.mark.slow
def test_files_of_other_weights_are_no_pair(images, photos, models, tmp_path):
    source = WeightSource(label="others.safetensors", trained=True)
    other = material.export(tmp_path / "m", photos, ["int8"], source=source)["int8"]
    float32 = models["float32"]
    data = find_dataset(images, samples=10)
    pair = evaluated([float32, other], data, tmp_path / "results")
    # The same tensors under another name are the same weights; other sizes are not.
    assert pair[1].agreement.file == float32.name
    small = material.export(tmp_path / "s", photos, ["int8"], resolution=64)["int8"]
    assert evaluated([float32, small], data, tmp_path / "results")[1].agreement is None
    assert evaluated([small], data, tmp_path / "results")[0].agreement is None


def test_records_go_to_the_disk_and_back(whole, tmp_path):
    for accuracy in whole:
        store.add(accuracy, tmp_path)
    loaded = store.load(tmp_path)
    assert sorted(loaded.accuracies, key=lambda a: a.id) == sorted(whole, key=lambda a: a.id)
    assert loaded.problems == loaded.records == ()


def test_a_record_says_what_it_stands_on(whole, models):
    for accuracy, path in zip(whole, models.values(), strict=True):
        assert accuracy.artifact.file == path.name
        assert accuracy.artifact.sha256 == modelfile.read(path).sha256
        assert accuracy.data.name == "val"
        assert accuracy.data.labels == 10
        assert accuracy.preprocessing == "centre S/(S+32), tf1-bilinear"
        assert accuracy.runtime.startswith("ai-edge-litert ")
        assert accuracy.machines
        assert accuracy.cpu_ms > 0
        assert accuracy.published is None
        assert accuracy.reasons == ()
        assert "/" not in json.dumps([accuracy.artifact.file, accuracy.data.name])


@pytest.mark.slow
def test_stopped_after_any_shard_it_goes_on_and_ends_the_same(images, models, whole, tmp_path):
    data = find_dataset(images)
    for stop in (1, 2):
        results = tmp_path / str(stop)
        first = evaluation_of(models.values(), data, results)
        with pytest.raises(KeyboardInterrupt):
            first.run(Counting(stop_after=stop))
        second = evaluation_of(models.values(), data, results)
        assert second.done == first.done == 2 * 32 * stop
        assert second.total == 180
        rest = Counting()
        second.run(rest)
        assert rest.tasks == [(number, 2) for number in range(stop, 3)]
        assert all(map(same_finding, second.accuracies(), whole))


def test_an_interrupt_between_keeping_and_counting_is_counted(
    images, models, tmp_path, monkeypatch
):
    save = Kept.save

    def save_and_stop(*args):
        save(*args)
        raise KeyboardInterrupt

    monkeypatch.setattr(Kept, "save", save_and_stop)
    evaluation = evaluation_of(models.values(), find_dataset(images), tmp_path)
    with pytest.raises(KeyboardInterrupt):
        evaluation.run(on_this_machine(1))
    evaluation.recount()
    assert evaluation.done == 32


def test_what_is_done_is_not_done_again(images, models, whole, tmp_path):
    data = find_dataset(images)
    evaluated([models["float32"]], data, tmp_path)
    more = Counting()
    evaluation = evaluation_of(models.values(), data, tmp_path)
    evaluation.run(more)
    assert more.tasks == [(0, 1), (1, 1), (2, 1)]
    assert all(map(same_finding, evaluation.accuracies(), whole))
    nothing = Counting()
    evaluation_of(models.values(), data, tmp_path).run(nothing)
    assert nothing.tasks == []


def test_finished_shards_are_put_into_one_file(images, models, tmp_path):
    evaluated(models.values(), find_dataset(images), tmp_path)
    left = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    assert len(left) == 2
    assert [path.suffix for path in left] == [".json", ".json"]


def test_kept_work_that_is_broken_or_of_something_else_is_done_again(
    images, models, whole, tmp_path
):
    data = find_dataset(images)
    with pytest.raises(KeyboardInterrupt):
        evaluation_of(models.values(), data, tmp_path).run(Counting(stop_after=2))
    shards = sorted(tmp_path.rglob("0*.json"))
    assert len(shards) == 4
    shards[0].write_text("{")
    content = json.loads(shards[1].read_text())
    (part,) = content["parts"].values()
    part["ranks"] = part["ranks"][:-1]
    shards[1].write_text(json.dumps(content))
    shards[2].write_bytes(shards[3].read_bytes())  # another shard under this name
    rest = Counting()
    evaluation = evaluation_of(models.values(), data, tmp_path)
    evaluation.run(rest)
    assert sum(files for _, files in rest.tasks) == 3 + 2
    assert all(map(same_finding, evaluation.accuracies(), whole))


def test_images_that_changed_are_evaluated_again(images, models, tmp_path):
    folder = tmp_path / "val"
    shutil.copytree(images, folder)
    results = tmp_path / "results"
    before = evaluated([models["float32"]], find_dataset(folder), results)[0]
    victim = sorted(folder.rglob("*.jpg"))[0]
    victim.write_bytes(b"broken now")
    again = evaluation_of([models["float32"]], find_dataset(folder), results)
    assert again.done == 0
    again.run(on_this_machine(1))
    after = next(again.accuracies())
    assert (before.data.unreadable, after.data.unreadable, after.data.images) == (0, 1, 89)
    assert after.data.digest != before.data.digest
    assert after.data.unreadable_names == (victim.relative_to(folder).as_posix(),)
    assert any(reason.startswith("UNREADABLE (1 of 90 images") for reason in after.reasons)


def test_a_moved_data_set_of_the_same_images_has_the_same_digest(images, models, tmp_path):
    data = find_dataset(images, samples=5)
    folder = tmp_path / "copied"
    shutil.copytree(images, folder, copy_function=shutil.copyfile)  # other times
    moved = find_dataset(folder, samples=5)
    assert moved.state != data.state
    one, other = (
        evaluated([models["int8"]], each, tmp_path / "results")[0] for each in (data, moved)
    )
    assert one.data.digest == other.data.digest
    assert one.top1 == other.top1


def test_without_a_readable_image_there_is_no_accuracy(images, models, tmp_path):
    folder = tmp_path / "val" / "c0"
    folder.mkdir(parents=True)
    for number in range(1, 10):
        (tmp_path / "val" / f"c{number}").mkdir()
    (folder / "one.jpg").write_bytes(b"")
    with pytest.raises(ImageError, match=r"none of the 1 images in val .* c0/one.jpg: the file is"):
        evaluated([models["int8"]], find_dataset(tmp_path / "val"), tmp_path / "results")


def test_images_that_a_file_was_calibrated_on_are_refused_before_anything_runs(
    photos, models, tmp_path
):
    data = find_dataset(photos, samples=3)
    message = r"int8.tflite was calibrated on c\d/.*--allow-calibration-images"
    with pytest.raises(InputError, match=message):
        require_uncalibrated(candidates_of(models.values(), data), data)
    require_uncalibrated(candidates_of([models["float32"]], data), data)


def test_they_are_refused_under_any_other_name_too(images, photos, models, tmp_path):
    folder = tmp_path / "val"
    shutil.copytree(images, folder)
    shutil.copy(next(photos.rglob("*.jpg")), folder / "c3" / "renamed.jpg")
    data = find_dataset(folder)
    require_uncalibrated(candidates_of(models.values(), data), data)
    with pytest.raises(InputError, match=r"was calibrated on c3/renamed\.jpg"):
        evaluated(models.values(), data, tmp_path / "results")
    # What was found is kept with what was done: the next run refuses at once.
    stopped = Counting()
    with pytest.raises(InputError, match=r"was calibrated on c3/renamed\.jpg"):
        evaluation_of(models.values(), data, tmp_path / "results").run(stopped)
    assert stopped.tasks == []
    found = evaluated(models.values(), data, tmp_path / "results", allow_calibration_images=True)
    assert not any("CALIBRATION-IMAGES" in reason for reason in found[0].reasons)
    assert any("CALIBRATION-IMAGES (1 of the images" in reason for reason in found[1].reasons)


@pytest.mark.parametrize("damage", ["missing", "other file", "no json", "no list"])
def test_where_the_sidecar_does_not_say_the_record_does(damage, images, models, tmp_path):
    copies = tmp_path / "models"
    copies.mkdir()
    path = shutil.copy(models["int8"], copies / models["int8"].name)
    sidecar = path.with_suffix(".json")
    content = json.loads(models["int8"].with_suffix(".json").read_text())
    if damage == "other file":
        sidecar.write_text(json.dumps(content | {"sha256": "0" * 64}))
    elif damage == "no json":
        sidecar.write_text("{")
    elif damage == "no list":
        sidecar.write_text(json.dumps(content | {"calibration": None}))
    found = evaluated([path], find_dataset(images, samples=3), tmp_path / "results")[0]
    assert any(reason.startswith("CALIBRATION-UNKNOWN") for reason in found.reasons)


def test_a_results_folder_that_cannot_be_written_ends_it_early(images, models, tmp_path):
    (tmp_path / "results").write_text("a file")
    counted = Counting()
    with pytest.raises(NotReadyError, match="cannot write"):
        evaluation_of(models.values(), find_dataset(images), tmp_path / "results").run(counted)
    assert len(counted.tasks) == 1


@pytest.mark.slow
def test_weights_that_are_published_bring_what_is_published_of_them(photos, images, tmp_path):
    """1000 classes of ImageNet: what its publisher says is of this very size and no other."""
    name = "mnasnet-a1_d0.35_i96"
    source = WeightSource(label=name, trained=True, family="official", dataset="imagenet-1k")
    path = material.export(tmp_path, photos, ["float32"], classes=1000, source=source)["float32"]
    folder = tmp_path / "val" / "n02510455"
    folder.mkdir(parents=True)
    shutil.copy(next(images.rglob("*.jpg")), folder / "panda.jpg")
    data = find_dataset(tmp_path / "val")
    (found,) = candidates_of([path], data)
    assert found.subject.truth == (388,)
    assert (found.published.top1, found.published.top5) == (49.3, 73.4)
    accuracy = evaluated([path], data, tmp_path / "results")[0]
    assert accuracy.published == found.published
    assert accuracy.publisher == "official"

    other = material.export(
        tmp_path / "small", photos, ["float32"], classes=1000, resolution=64, source=source
    )["float32"]
    assert candidates_of([other], data)[0].published is None


def test_untrained_and_uncalibrated_files_say_so(images, tmp_path):
    from mnasnet_deploy.export.graph import Options
    from mnasnet_deploy.export.pipeline import Request, export_network
    from mnasnet_deploy.export.synthetic import synthetic_calibration

    network = material.build_network(
        material.find_variant("a1").spec, multiplier=0.35, resolution=96, classes=10
    )
    (outcome,) = export_network(
        Request(
            network=network,
            weights="random",
            schemes=("int8",),
            options=Options(),
            calibration=synthetic_calibration(8, 96),
            out=tmp_path,
        )
    )
    found = evaluated([outcome.path], find_dataset(images, samples=30), tmp_path / "results")[0]
    names = [reason.partition(" ")[0] for reason in found.reasons]
    assert names == ["UNTRAINED", "SYNTHETIC-CALIBRATION"]


def test_a_file_that_answers_the_same_to_everything_is_pointed_out(images, models, tmp_path):
    one = next(images.rglob("*.jpg"))
    for label in range(10):
        (tmp_path / "val" / f"c{label}").mkdir(parents=True)
        for copy in range(2):
            shutil.copy(one, tmp_path / "val" / f"c{label}" / f"{copy}.jpg")
    found = evaluated([models["int8"]], find_dataset(tmp_path / "val"), tmp_path / "results")[0]
    assert [reason.partition(" ")[0] for reason in found.reasons] == ["ONE-CLASS"]


def test_the_same_finding_is_the_same_whenever_it_was_found(whole):
    accuracy = whole[0]
    again = replace(accuracy, id="other", time="2026-01-01T00:00:00+00:00", cpu_ms=9.0)
    assert same_finding(accuracy, again)
    assert not same_finding(accuracy, replace(accuracy, reasons=("NEW",)))


def test_foreign_is_said_of_foreign_files(models, images, tmp_path):
    path = material.foreign(models["float32"], tmp_path / "theirs.tflite")
    data = find_dataset(images, samples=20)
    found = candidates_of([path], data, Foreign(way="official", levels="raw"))
    evaluation = Evaluation(candidates=found, data=data, results=tmp_path / "results")
    evaluation.run(on_this_machine(1))
    accuracy = next(evaluation.accuracies())
    own = evaluated([models["float32"]], data, tmp_path / "results")[0]
    assert (accuracy.top1, accuracy.top5) == (own.top1, own.top5)
    assert accuracy.artifact.network == accuracy.artifact.scheme == ""
    assert [reason.partition(" ")[0] for reason in accuracy.reasons] == ["FOREIGN"]
