"""`mnasnet export`, `show FILE` and `weights init` as a person meets them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mnasnet_deploy.export import modelfile

pytestmark = pytest.mark.slow

Command = Callable[..., Any]

PHOTOS = Path(__file__).parents[2] / "examples" / "photos"
SMALL = ("--variant", "small", "--multiplier", "0.35", "--res", "64")
LAUGHS = "a: &a [x, x]\nb: &b [*a, *a]\nname: [*b, *b]\nblocks: []\n"


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "models"


def test_without_a_scheme_it_is_float32_in_models(mnasnet: Command, models: Path) -> None:
    done = mnasnet("export", *SMALL)
    assert done.code == 0
    assert "feed float32 [1,64,64,3] RGB image, grey levels 0..255" in done.out
    assert "UNTRAINED" in done.out
    assert "not meaningful (untrained)" in done.out
    assert "never trained" in done.err
    assert [path.name for path in sorted(models.iterdir())] == [
        "mnasnet-small_0.35_64_float32.json",
        "mnasnet-small_0.35_64_float32.tflite",
    ]


@pytest.mark.slow
def test_options_repeat_and_multiply(mnasnet: Command, models: Path) -> None:
    done = mnasnet(
        "export", "--variant", "small", "--variant", "a1", "--multiplier", "0.35",
        "--res", "64", "--res", "96", "--float32", "--float16", "--jobs", "1",
    )  # fmt: skip
    assert done.code == 0
    assert len(list(models.glob("*.tflite"))) == 8


def test_photos_are_counted_and_broken_ones_said(
    mnasnet: Command, models: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "größe 1" / "deep"
    folder.mkdir(parents=True)
    for number in range(3):
        noise = np.random.default_rng(number).integers(0, 255, (90, 120, 3), np.uint8)
        Image.fromarray(noise).save(folder / f"{number}.png")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing")
    done = mnasnet("export", *SMALL, "--int8", "--calibration", folder.parent)
    assert done.code == 0
    assert "only 3 usable calibration images" in done.err
    assert "1 calibration image could not be used" in done.err
    facts = modelfile.read(models / "mnasnet-small_0.35_64_int8.tflite").facts
    assert facts is not None
    assert facts.calibration is not None
    assert (facts.calibration.images, facts.calibration.synthetic) == (3, False)
    assert facts.calibration.warnings


@pytest.mark.processes
def test_no_folder_means_generated_images_labelled_synthetic_everywhere(
    mnasnet: Command, models: Path
) -> None:
    done = mnasnet("export", *SMALL, "--int8", "--calibration-samples", "8")
    assert "generated images" in done.err
    shown = mnasnet("show", models / "mnasnet-small_0.35_64_int8.tflite")
    assert "SYNTHETIC" in shown.out
    sidecar = json.loads((models / "mnasnet-small_0.35_64_int8.json").read_text())
    assert sidecar["facts"]["calibration"]["synthetic"] is True


def test_a_second_run_is_up_to_date(mnasnet: Command, models: Path) -> None:
    mnasnet("export", *SMALL)
    done = mnasnet("export", *SMALL)
    assert done.code == 0
    assert "up to date" in done.out


def test_another_recipe_asks_for_force(mnasnet: Command, models: Path) -> None:
    mnasnet("export", *SMALL)
    done = mnasnet("export", *SMALL, "--softmax")
    assert done.code == 2
    assert "--force" in done.err
    assert mnasnet("export", *SMALL, "--softmax", "--force").code == 0


def test_json_is_one_list_on_standard_output(mnasnet: Command, models: Path) -> None:
    done = mnasnet("export", *SMALL, "--float32", "--float16", "--json")
    entries = json.loads(done.out)
    assert [entry["scheme"] for entry in entries] == ["float32", "float16"]
    assert all(entry["schema"] == "mnasnet.export/1" for entry in entries)


def test_one_failure_sets_the_exit_code_and_the_rest_is_written(
    mnasnet: Command, models: Path
) -> None:
    mnasnet("export", *SMALL)
    done = mnasnet("export", *SMALL, "--softmax", "--float32", "--float16")
    assert done.code == 2
    assert "1 of 2 files failed" in done.err
    assert (models / "mnasnet-small_0.35_64_float16.tflite").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--variant", "a2"), "did you mean 'a1'"),
        (("--multiplier", "0"), "multiplier 0"),
        (("--multiplier", "-1"), "multiplier -1"),
        (("--multiplier", "nan"), "multiplier nan"),
        (("--multiplier", "1e9"), "multiplier 1e9"),
        (("--multiplier", "half"), "multiplier half"),
        (("--res", "0"), "resolution 0"),
        (("--res", "31"), "resolution 31"),
        (("--res", "99999"), "resolution 99999"),
        (("--res", "big"), "big"),
        (("--classes", "0"), "classes 0"),
        (("--weights", "nothing.safetensors"), "torchvision:NAME"),
        (("--weights", "oficial"), "did you mean 'official'"),
        (("--weights", "semnasnet_100"), "did you mean 'timm:semnasnet_100'"),
        (("--weights", ""), "no weights file"),
        (("--weights", "random:x"), "seed"),
        (("--weights", "broken.safetensors"), "not a readable safetensors file"),
        (("--int8", "--calibration", "missing"), "missing"),
        (("--int8", "--calibration", "empty"), "no JPEG or PNG"),
        (("--int8", "--calibration", "broken"), "broken"),
        (("--int8", "--ranges", "mean"), "min-max"),
        (("--int8", "--ranges", "percentile:12"), "50 to 100"),
        (("--io", "uint8"), "--int8"),
        (("--suffix", "../up"), "--suffix"),
        (("--labels", "few.txt"), "few.txt"),
        (("--spec", "laughs.yaml"), "aliases"),
        (("--spec", "unknown.yaml"), "colour"),
        (("--spec", "misfit.yaml"), "blocks[1] takes i99"),
        (("--spec", "none.yaml"), "none.yaml"),
        (("--scheme", "int8"), "--scheme"),
        (("--int9",), "--int9"),
    ],
    ids=" ".join,
)
def test_bad_input_is_one_line_exit_2_and_nothing_written(
    mnasnet: Command, models: Path, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "a.jpg").write_bytes(b"no")
    (tmp_path / "broken.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{}")
    (tmp_path / "few.txt").write_text("cat\ndog\n")
    (tmp_path / "laughs.yaml").write_text(LAUGHS)
    (tmp_path / "unknown.yaml").write_text("name: x\nblocks: [r1_k3_s11_e1_i32_o16]\ncolour: red\n")
    (tmp_path / "misfit.yaml").write_text(
        "name: x\nblocks: [r1_k3_s11_e1_i32_o16, r1_k3_s11_e6_i99_o16]\n"
    )
    done = mnasnet("export", *arguments)
    assert done.code == 2
    errors = [line for line in done.err.splitlines() if not line.startswith("warning: ")]
    assert len(errors) == 1, done.err
    assert said in errors[0]
    assert done.out == ""
    assert not models.exists()


@pytest.mark.parametrize("out", ["/proc/models", "a-file/models"])
def test_an_unwritable_folder_is_exit_3(
    mnasnet: Command, models: Path, tmp_path: Path, out: str
) -> None:
    (tmp_path / "a-file").write_text("")
    done = mnasnet("export", *SMALL, "--out", out)
    assert done.code == 3
    assert "cannot write" in done.err
    assert "Traceback" not in done.err


def test_a_spec_of_ones_own_exports(mnasnet: Command, models: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(
        "name: my-net\nblocks: [r1_k3_s11_e1_i32_o16, r1_k3_s22_e3_i16_o24_se0.25]\nclasses: 5\n"
    )
    done = mnasnet("export", "--spec", "mine.yaml", "--res", "64", "--multiplier", "0.35")
    assert done.code == 0
    assert (models / "my-net_0.35_64_float32.tflite").exists()


def test_weights_from_a_file_are_used_and_named(
    mnasnet: Command, models: Path, tmp_path: Path
) -> None:
    made = mnasnet("weights", "init", *SMALL, "--seed", "7", "--out", "start.safetensors")
    assert made.code == 0
    assert "UNTRAINED" in made.out
    assert mnasnet("weights", "init", *SMALL, "--out", "start.safetensors").code == 2
    done = mnasnet("export", *SMALL, "--weights", "start.safetensors")
    assert done.code == 0
    facts = modelfile.read(models / "mnasnet-small_0.35_64_float32.tflite").facts
    assert facts is not None
    assert (facts.weights.label, facts.weights.trained) == ("random:7", False)


@pytest.mark.processes
def test_show_prints_what_a_file_is(mnasnet: Command, models: Path) -> None:
    mnasnet("export", *SMALL, "--int8", "--calibration-samples", "8")
    path = models / "mnasnet-small_0.35_64_int8.tflite"
    shown = mnasnet("show", path)
    assert shown.code == 0
    for part in ("intact", "loads and runs", "CONV_2D", "UNTRAINED", "feed", "parameters"):
        assert part in shown.out
    entry = json.loads(mnasnet("show", path, "--json").out)
    assert entry["intact"] is True
    assert entry["facts"]["network"]["name"] == "mnasnet-small"


@pytest.mark.processes
def test_show_tells_a_changed_file_and_exits_2(mnasnet: Command, models: Path) -> None:
    mnasnet("export", *SMALL)
    path = models / "mnasnet-small_0.35_64_float32.tflite"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    shown = mnasnet("show", path)
    assert shown.code == 2
    assert "CHANGED" in shown.out
    assert "changed since it was written" in shown.err


@pytest.mark.parametrize("name", ["empty.tflite", "text.tflite", "missing.tflite"])
def test_show_of_what_is_no_model_is_one_line(
    mnasnet: Command, models: Path, tmp_path: Path, name: str
) -> None:
    (tmp_path / "empty.tflite").write_bytes(b"")
    (tmp_path / "text.tflite").write_text("hello, I am a text file and no model at all")
    shown = mnasnet("show", name)
    assert (shown.code, shown.out) == (2, "")
    assert shown.err.startswith("error: ")
    assert shown.err.count("\n") == 1
