"""`mnasnet eval` as a person meets it."""

import json
import re
import shutil

import pytest

from mnasnet_deploy.results import store

from . import material

pytestmark = pytest.mark.slow


@pytest.fixture
def here(tmp_path, monkeypatch, models):
    """An empty folder with the models in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()
    for path in models.values():
        for file in (path, path.with_suffix(".json")):
            shutil.copy(file, tmp_path / "models")
    return tmp_path


@pytest.fixture
def evaluate(mnasnet, here):
    """`mnasnet eval` in this process."""
    return lambda *arguments: mnasnet("eval", "--jobs", "1", *arguments)


FLOAT32 = "mnasnet-a1_0.35_96_float32.tflite"
INT8 = "mnasnet-a1_0.35_96_int8.tflite"


def test_every_file_has_its_accuracy_with_an_interval(evaluate, here, images, models):
    run = evaluate("--data", images)
    assert run.code == 0, run.err
    plain = material.plainly(models["int8"], material.by_folder(images))
    top1 = 100 * sum(rank == 1 for _, rank in plain) / 90
    lines = run.out.splitlines()
    assert len(lines) == 3
    assert re.fullmatch(
        rf"{FLOAT32}: top-1 measured \d+\.\d .* on 90; top-5 measured \d+\.\d .*", lines[0]
    )
    assert lines[1].startswith(f"{INT8}: top-1 measured {top1:.1f} ")
    assert re.fullmatch(
        r"  same first class as float32 on \d+\.\d %; right here only: \d+, there only: \d+ "
        r"\(McNemar p = [\d.e-]+, (inside|beyond) the noise\)",
        lines[2],
    )
    assert "2 files, 90 images of val" in run.err
    assert re.search(r"180 evaluated in [\d.]+ s, [\d.]+ a second", run.err)
    assert len(store.load(here / "results").accuracies) == 2


def test_twice_is_not_twice_the_work_nor_twice_the_records(evaluate, here, images):
    first = evaluate("--data", images, "--samples", "30")
    second = evaluate("--data", images, "--samples", "30")
    assert second.code == 0
    assert second.out == first.out
    assert "60 of 60 kept from before" in second.err
    assert "evaluated in" not in second.err
    assert len(store.load(here / "results").accuracies) == 2


@pytest.mark.slow
def test_the_table_shows_it_beside_what_is_published(evaluate, mnasnet, images, photos, here):
    label = "mnasnet-a1_d0.35_i96"
    source = material.WeightSource(label=label, trained=True, family="official", dataset="x")
    material.export(here / "models", photos, ["float16"], classes=1000, source=source)
    panda = here / "val" / "n02510455"
    panda.mkdir(parents=True)
    for index, path in enumerate(sorted(images.rglob("*.jpg"))[:4]):
        shutil.copy(path, panda / f"{index}.jpg")
    run = evaluate("models/mnasnet-a1_0.35_96_float16.tflite", "--data", "val")
    assert run.code == 0, run.err
    assert re.search(
        r"top-1 published 49\.3, measured 0\.0 \[0\.0, 49\.0\] on 4; top-5 pub", run.out
    )
    table = mnasnet("table")
    row = next(line for line in table.out.splitlines() if line.split()[:2] == ["96", "0.35"])
    assert row.split()[2:4] == ["49.3", "73.4"]
    assert row.split()[4:] == ["0.0", "[0.0,", "49.0]", "on", "4", "1.7", "12.7", "5.4"]
    assert "Wilson's 95 % interval" in table.out
    assert table.out.count("not evaluated") == 24
    data = json.loads(mnasnet("table", "--json").out)
    (cell,) = (
        cell
        for row in data["parts"][0]["rows"]
        for key, cell in row.items()
        if key.startswith("top1/") and cell["kind"] == "measured"
    )
    assert (cell["value"], cell["low"]) == (0.0, 0.0)
    assert cell["high"] == pytest.approx(48.99, abs=0.01)
    csv = mnasnet("table", "--format", "csv").out.splitlines()
    assert any("0.0 " not in line and ",0.0,0.0,48.98" in line for line in csv)


def test_results_list_keeps_both_kinds_apart(evaluate, mnasnet, images):
    evaluate("--data", images, "--samples", "30")
    run = mnasnet("results", "list")
    assert run.code == 0
    lines = run.out.splitlines()
    assert lines[0].split()[:4] == ["time", "file", "scheme", "images"]
    assert len(lines) == 3
    assert "30 of val" in lines[1]
    listed = json.loads(mnasnet("results", "list", "--json").out)
    assert [item["schema"] for item in listed] == ["mnasnet.accuracy-result/1"] * 2
    assert {item["images"] for item in listed} == {30}
    csv = mnasnet("results", "export", "csv", "--accuracy").out.splitlines()
    assert csv[0].startswith("time,file,sha256,")
    assert len(csv) == 3
    assert len(mnasnet("results", "export", "csv").out.splitlines()) == 1


def test_json_is_the_records(evaluate, here, images):
    run = evaluate("--data", images, "--samples", "30", "--json")
    found = json.loads(run.out)
    assert found["schema"] == "mnasnet.evaluation-results/1"
    assert found["errors"] == {}
    stored = {accuracy.id for accuracy in store.load(here / "results").accuracies}
    assert {accuracy["id"] for accuracy in found["accuracies"]} == stored
    assert [accuracy["schema"] for accuracy in found["accuracies"]] == ["mnasnet.accuracy/1"] * 2


def test_labels_may_come_from_a_file(evaluate, here, images):
    by_folder = evaluate("--data", images, f"models/{INT8}")
    lines = [f"{path.relative_to(images)} {label}" for path, label in material.by_folder(images)]
    (here / "labels.txt").write_text("\n".join(lines))
    by_file = evaluate("--data", images, "--labels", "labels.txt", f"models/{INT8}")
    assert by_file.code == 0
    assert by_file.out == by_folder.out


def test_unreadable_images_are_counted_and_named(evaluate, here, images):
    shutil.copytree(images, here / "val")
    victims = sorted((here / "val").rglob("*.jpg"))[:2]
    for victim in victims:
        victim.write_bytes(b"\xff\xd8 no more")
    run = evaluate("--data", "val", f"models/{INT8}")
    assert run.code == 0
    assert "on 88;" in run.out
    assert "UNREADABLE (2 of 90 images count nowhere)" in run.err
    for victim in victims:
        assert victim.relative_to(here / "val").as_posix() in run.err


def test_files_of_other_tools_need_to_be_told_how_to_be_fed(evaluate, here, images, models):
    material.foreign(models["float32"], here / "theirs.tflite")
    arguments = ("--data", images, "--samples", "40", "theirs.tflite")
    run = evaluate(*arguments)
    assert run.code == 2
    assert "theirs.tflite was not written by this tool" in run.err
    assert "--preprocessing and --levels" in run.err
    assert evaluate(*arguments, "--levels", "raw").code == 2


@pytest.mark.processes
def test_files_of_other_tools_are_tried_out_and_fed_as_told(evaluate, here, images, models):
    material.foreign(models["float32"], here / "theirs.tflite")
    arguments = ("--data", images, "--samples", "40")
    own = evaluate(*arguments, f"models/{FLOAT32}")
    run = evaluate(*arguments, "theirs.tflite", "--preprocessing", "official", "--levels", "raw")
    assert run.code == 0, run.err
    assert run.out.partition(": ")[2] == own.out.partition(": ")[2]
    assert "FOREIGN" in run.err
    other = evaluate(*arguments, "theirs.tflite", "--preprocessing", "timm", "--levels", "imagenet")
    assert other.code == 0
    assert other.out != run.out


def test_calibration_images_are_refused_until_told(evaluate, photos):
    run = evaluate("--data", photos, f"models/{INT8}")
    assert run.code == 2
    assert run.err.count("\n") == 1
    assert f"{INT8} was calibrated on c" in run.err
    told = evaluate("--data", photos, f"models/{INT8}", "--allow-calibration-images")
    assert told.code == 0
    assert "CALIBRATION-IMAGES (40 of the images" in told.err


def test_one_file_that_cannot_be_judged_does_not_stop_the_others(evaluate, here, images):
    (here / "models" / "broken.tflite").write_bytes(b"TFL3")
    run = evaluate("--data", images, "--samples", "30")
    assert run.code == 1
    assert "error: broken.tflite: not a TFLite file" in run.err
    assert len(run.out.splitlines()) == 3
    run = evaluate("--data", images, "--samples", "30", "models/broken.tflite", "--json")
    assert run.code == 2
    assert list(json.loads(run.out)["errors"]) == ["models/broken.tflite"]


def test_nan_is_refused_by_name_and_the_others_are_done(evaluate, here, images):
    material.overflowing(here / "models" / "nan.tflite")
    run = evaluate("--data", images, "--samples", "50")
    assert run.code == 1
    assert run.err.count("error: nan.tflite: gives NaN or infinite scores on c") == 1
    assert len(run.out.splitlines()) == 3
    run = evaluate("--data", images, "--samples", "50", "models/nan.tflite")
    assert (run.code, run.out) == (2, "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "nowhere"], "cannot read image folder nowhere: No such file"),
        (["--data", "models"], "no JPEG or PNG images in models or below"),
        (["--data", "IMAGES/.."], r"'val' .*; is one of these folders the right --data\?"),
        (["--data", "IMAGES/c1"], "in no class folder"),
        (["--data", "IMAGES", "--labels", "nowhere.txt"], "cannot read the labels nowhere.txt"),
        (["--data", "IMAGES", "missing.tflite"], "missing.tflite: No such file"),
        (["--data", "IMAGES", "models"], "models is a folder: name the .tflite files in it"),
        (["--data", "IMAGES", "--samples", "0"], "--samples"),
        (["--data", "IMAGES", "--levels", "unit"], "both --preprocessing and --levels"),
        (["--data", "IMAGES", "--levels", "unit", "--preprocessing", "timm"], "carry their own"),
        (["--data", "IMAGES", "--cluster", "tcp://x:1"], "--jobs is for this machine"),
        (["--data", "IMAGES", "--preprocesing", "timm"], "no such option"),
        ([], "missing option '--data'"),
    ],
)
def test_what_is_wrong_is_one_line(evaluate, images, arguments, message):
    run = evaluate(*(argument.replace("IMAGES", str(images)) for argument in arguments))
    assert run.code == 2
    assert run.out == ""
    assert re.search(message, run.err), run.err
    assert all(line.startswith("error: ") for line in run.err.splitlines())


def test_without_models_it_says_how_to_make_one(evaluate, here, images):
    shutil.rmtree(here / "models")
    run = evaluate("--data", images)
    assert run.code == 2
    assert "no .tflite files in models" in run.err
