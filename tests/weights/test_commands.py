"""`mnasnet weights show|check|convert` and `export --weights FILE` as a person meets them."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mnasnet_deploy.export import modelfile
from mnasnet_deploy.weights.canonical import write_safetensors
from mnasnet_deploy.weights.initial import initial_weights

from .bundles import EMA, official_names, tiny, trained, write_bundle
from .torches import as_tensors, state_dict, write_pth

PHOTOS = Path(__file__).parents[2] / "examples" / "photos"
NETWORK = tiny()
FILE = "mnasnet-a1_0.35_64"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder with a checkpoint (raw and averaged) and a state dict of timm."""
    monkeypatch.chdir(tmp_path)
    # Tame ones: int8 files are held to the floor of trained weights.
    raw = official_names(NETWORK, initial_weights(NETWORK, 1).tensors)
    average = official_names(NETWORK, initial_weights(NETWORK, 2).tensors, suffix=EMA)
    write_bundle(tmp_path / "net" / "model.ckpt-7", raw | average)
    named = state_dict(NETWORK, initial_weights(NETWORK, 3).tensors, "timm")
    write_pth(tmp_path / "timm.pth", as_tensors(named))
    return tmp_path


def sidecar(name: str) -> dict:
    return json.loads(Path("models", f"{name}.json").read_text())


@pytest.mark.slow
def test_show_says_what_a_file_is(here: Path, mnasnet: Callable) -> None:
    run = mnasnet("weights", "show", "timm.pth")
    assert run.code == 0
    for part in (
        "timm.pth, state dict of timm",
        "mnasnet-a1 0.35 with 10 classes",
        "symmetric",
        "1e-05",
        "centre 7/8, bicubic",
        "mean",
        "in the first block of mnasnet-small",
    ):
        assert part in run.out
    shown = json.loads(mnasnet("weights", "show", "net", "--json").out)
    assert shown["schema"] == "mnasnet.weights-file/1"
    assert (shown["network"], shown["multiplier"], shown["classes"]) == ("mnasnet-a1", "0.35", 10)
    assert shown["source"]["averaged"] is True
    assert shown["tensors"]["stem.kernel"]["name"].endswith(EMA)
    assert "raw variables" in mnasnet("weights", "show", "net", "--no-ema").out


@pytest.mark.slow
def test_check_says_whether_it_fits_and_where_not(here: Path, mnasnet: Callable) -> None:
    run = mnasnet("weights", "check", "net/model.ckpt-7")
    assert run.code == 0
    assert "fits mnasnet-a1 0.35 with 10 classes" in run.out
    run = mnasnet("weights", "check", "timm.pth", "--variant", "a1", "--multiplier", "0.5")
    assert run.code == 2
    assert "blocks.1.project.kernel is [1, 1, 48, 8], needs [1, 1, 48, 16]" in run.out
    assert "more (--json lists all)" in run.out
    assert run.err.count("\n") == 1
    assert "use --multiplier 0.35" in run.err
    run = mnasnet("weights", "check", "timm.pth", "--variant", "b1", "--json")
    assert run.code == 2
    told = json.loads(run.out)
    assert told["fits"] is False
    assert len(told["differences"]) > 100


def test_check_of_weights_that_are_nothing_prints_no_empty_line(
    here: Path, mnasnet: Callable
) -> None:
    named = state_dict(NETWORK, initial_weights(NETWORK, 3).tensors, "timm")
    named["bn1.running_mean"][0] = np.nan
    write_pth(here / "nan.pth", as_tensors(named))
    run = mnasnet("weights", "check", "nan.pth")
    assert run.code == 2
    assert "NaN" in run.err
    assert "" not in run.out.splitlines()


def test_what_torchvision_has_is_held_against_a_b1(here: Path, mnasnet: Callable) -> None:
    network = tiny("b1")
    named = state_dict(network, trained(network).tensors, "torchvision")
    del named["layers.1.weight"]
    write_pth(here / "vision.pth", as_tensors(named))
    run = mnasnet("weights", "check", "vision.pth")
    assert run.code == 2
    assert "differs from mnasnet-b1 1.0" in run.err
    assert "missing stem.bn.gamma [32]" in run.out


@pytest.mark.parametrize(
    ("name", "meant"), [("semnasnet_100", "timm:semnasnet_100"), ("mnasnet0_5", "torchvision:")]
)
def test_a_name_without_its_source_is_told_the_whole_one(
    here: Path, mnasnet: Callable, name: str, meant: str
) -> None:
    for command in ("show", "check"):
        run = mnasnet("weights", command, name)
        assert run.code == 2
        assert f"no weights file '{name}': did you mean '{meant}" in run.err


def test_convert_writes_a_file_that_keeps_its_source(here: Path, mnasnet: Callable) -> None:
    run = mnasnet("weights", "convert", "timm.pth", "own.safetensors")
    assert run.code == 0
    shown = json.loads(mnasnet("weights", "show", "own.safetensors", "--json").out)
    assert shown["kind"] == "canonical weights"
    assert shown["source"]["padding"] == "symmetric"
    assert (shown["name"], shown["source"]["label"]) == ("own.safetensors", "timm.pth")
    run = mnasnet("weights", "check", "own.safetensors", "--variant", "b1")
    assert "own.safetensors, canonical weights" in run.out
    assert "made from  timm.pth" in run.out
    assert "own.safetensors" in run.err
    assert "timm.pth" not in run.err
    run = mnasnet("weights", "convert", "timm.pth", "own.safetensors")
    assert (run.code, "--force" in run.err) == (2, True)
    run = mnasnet("weights", "convert", "timm.pth", "own.bin", "--force")
    assert (run.code, ".safetensors" in run.err) == (2, True)
    run = mnasnet("weights", "convert", "timm.pth", "b.safetensors", "--variant", "b1")
    assert run.code == 2
    assert not Path("b.safetensors").exists()


@pytest.mark.processes  # `show` loads the file in a child
@pytest.mark.slow
def test_export_takes_network_and_numbers_from_the_file(here: Path, mnasnet: Callable) -> None:
    run = mnasnet(
        "export", "--weights", "timm.pth", "--res", "64", "--int8", "--calibration", PHOTOS
    )
    assert run.code == 0, run.err
    told = sidecar(f"{FILE}_int8")
    weights = told["facts"]["weights"]
    assert (weights["label"], weights["padding"], weights["trained"]) == (
        "timm.pth", "symmetric", True,
    )  # fmt: skip
    assert weights["preprocessing"] == {"interpolation": "bicubic", "crop": [7, 8]}
    facts = modelfile.read(Path("models", f"{FILE}_int8.tflite")).facts
    assert facts is not None
    assert facts.network.classes == 10
    assert facts.weights.preprocessing.crop == (7, 8)
    assert "centre 7/8, bicubic" in mnasnet("show", f"models/{FILE}_int8.tflite").out
    code = mnasnet("show", f"models/{FILE}_int8.tflite", "--snippet", "python").out
    assert "BICUBIC" in code
    # The original crops and resizes otherwise, so it calibrates on other pixels.
    run = mnasnet(
        "export", "--weights", "net", "--res", "64", "--int8", "--calibration", PHOTOS, "--force"
    )
    assert run.code == 0, run.err
    digest = sidecar(f"{FILE}_int8")["facts"]["calibration"]["digest"]
    assert digest != told["facts"]["calibration"]["digest"]


@pytest.mark.slow
def test_no_ema_makes_another_file(here: Path, mnasnet: Callable) -> None:
    arguments = ("export", "--weights", "net", "--res", "64")
    assert mnasnet(*arguments).code == 0
    average = sidecar(f"{FILE}_float32")["facts"]["weights"]
    run = mnasnet(*arguments, "--no-ema")
    assert (run.code, "another recipe" in run.err) == (2, True)
    assert mnasnet(*arguments, "--no-ema", "--force").code == 0
    raw = sidecar(f"{FILE}_float32")["facts"]["weights"]
    assert (average["averaged"], raw["averaged"]) == (True, False)
    assert average["sha256"] != raw["sha256"]


@pytest.mark.slow
def test_what_was_asked_is_checked_and_nothing_is_written(here: Path, mnasnet: Callable) -> None:
    for options, hint in (
        (("--variant", "b1"), "--variant a1"),
        (("--multiplier", "0.5"), "--multiplier 0.35"),
        (("--classes", "1000"), "--classes 10"),
    ):
        run = mnasnet("export", "--weights", "timm.pth", "--res", "64", *options)
        assert run.code == 2
        assert f"use {hint}" in run.err
        assert run.err.count("\n") == 1
    shutil.rmtree("net")
    assert mnasnet("export", "--weights", "net").code == 2
    assert not Path("models").exists()


@pytest.mark.slow
def test_notes_of_the_file_are_said(here: Path, mnasnet: Callable) -> None:
    named = state_dict(NETWORK, trained(NETWORK).tensors, "timm")
    half = {n: v.astype(np.float16) if v.dtype == np.float32 else v for n, v in named.items()}
    write_pth(here / "half.pth", as_tensors(half))
    run = mnasnet("export", "--weights", "half.pth", "--res", "64")
    assert run.code == 0
    assert "float16 tensors were converted to float32" in run.err


@pytest.mark.slow
def test_weights_of_ones_own_are_verified_on_ones_own_photos(here: Path, mnasnet: Callable) -> None:
    weights = initial_weights(NETWORK)
    for dataset, images in (("", 3), ("imagenet-1k", 8)):
        source = replace(weights.source, trained=True, dataset=dataset)
        write_safetensors(here / "own.safetensors", replace(weights, source=source))
        run = mnasnet(
            "export", "--weights", "own.safetensors", "--res", "64", "--int8", "--force",
            "--calibration", PHOTOS, "--calibration-samples", "3",
        )  # fmt: skip
        assert run.code == 0, run.err
        assert sidecar(f"{FILE}_int8")["verification"]["images"] == images
