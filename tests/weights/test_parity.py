"""Logits of the original frameworks through the exported float32 files, at every size given.

On data that not everyone has; test_logits.py does the same with smaller cases.
"""

from pathlib import Path

import numpy as np
import pytest

from mnasnet_deploy.arch.network import build_network
from mnasnet_deploy.arch.variants import find_variant
from mnasnet_deploy.export.build import Builder
from mnasnet_deploy.export.graph import Options
from mnasnet_deploy.export.runtime import new_interpreter, run_model
from mnasnet_deploy.weights.choice import load_weights

TOLERANCE = 3e-4
TF1 = "tf1/mnasnet-a1-c10"
TIMM = "timm/semnasnet_075_c7"
VISION = "torchvision/mnasnet0_5"

pytestmark = pytest.mark.slow

CASES = {
    "trainer": (TF1, "mnasnet-a1-c10/model.ckpt-1000", "a1", 0.35, 10, "logits_ema_{}", True),
    "raw": (TF1, "mnasnet-a1-c10", "a1", 0.35, 10, "logits_raw_{}", False),
    "SavedModel": (TF1, "mnasnet-a1-c10/saved_model", "a1", 0.35, 10, "logits_ema_{}", True),
    "timm pth": (TIMM, "semnasnet_075_c7.pth", "a1", 0.75, 7, "logits_{}", True),
    "timm safetensors": (TIMM, "model.safetensors", "a1", 0.75, 7, "logits_{}", True),
    "torchvision pth": (VISION, "mnasnet0_5.pth", "b1", 0.5, 1000, "logits_{}", True),
    "torchvision safetensors": (VISION, "model.safetensors", "b1", 0.5, 1000, "logits_{}", True),
}  # fmt: skip


def sides(folder: Path) -> list[int]:
    return sorted(int(path.stem.rpartition("_")[2]) for path in folder.glob("images_uint8_*.npy"))


def logits(builder: Builder, images: np.ndarray) -> np.ndarray:
    built = builder.build("float32")
    interpreter = new_interpreter(content=bytes(built.data))
    return built.facts.contract.read(run_model(interpreter, images))


@pytest.mark.parametrize("case", CASES)
def test_the_file_gives_the_frameworks_logits(case: str, outside_data: Path) -> None:
    name, file, variant, multiplier, classes, expected, averaged = CASES[case]
    folder = outside_data / "weights" / name
    found = sides(folder)
    assert found, "no images"
    for side in found:
        network = build_network(
            find_variant(variant).spec, multiplier=multiplier, resolution=side, classes=classes
        )
        weights = load_weights(str(folder / file), network, averaged=averaged)
        wanted = np.load(folder / f"{expected.format(side)}.npy")
        pixels = np.load(folder / f"images_uint8_{side}.npy").astype(np.float32)
        raw = logits(Builder(network, weights, Options()), pixels)
        assert np.abs(raw - wanted).max() <= TOLERANCE, side
        inputs = [*folder.glob(f"inputs_{side}.npy"), *folder.glob(f"inputs_nchw_{side}.npy")]
        images = np.load(inputs[0])
        if "nchw" in inputs[0].name:
            images = np.ascontiguousarray(images.transpose(0, 2, 3, 1))
        original = logits(Builder(network, weights, Options(input="normalized")), images)
        assert np.abs(original - wanted).max() <= TOLERANCE, side


def test_moving_averages_and_raw_variables_are_told_apart(outside_data: Path) -> None:
    folder = outside_data / "weights" / TF1
    for side in sides(folder):
        ema, raw = (np.load(folder / f"logits_{kind}_{side}.npy") for kind in ("ema", "raw"))
        assert np.abs(ema - raw).max() > 1000 * TOLERANCE
