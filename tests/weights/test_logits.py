"""The original frameworks' logits through exported float32 files, without the frameworks.

`make_parity.py` had them computed by the graph that the original trainer exported, by timm and by
torchvision; weights and images are made anew here, and written as each of them writes its files.
"""

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from mnasnet_deploy.export.build import Builder
from mnasnet_deploy.export.graph import Options
from mnasnet_deploy.export.runtime import new_interpreter, run_model
from mnasnet_deploy.weights.canonical import Weights
from mnasnet_deploy.weights.choice import load_weights

from .awkward import awkward, images
from .bundles import EMA, official_names, write_bundle
from .parity_cases import CASES, DATA, Case
from .torches import as_tensors, state_dict, write_pth

TOLERANCE = 3e-4
EVERY = [(name, side) for name, case in CASES.items() for side in case.sides]

pytestmark = pytest.mark.slow


@cache
def tensors(case: Case) -> dict[str, np.ndarray]:
    return awkward(case.network(case.sides[0]), case.seed)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One file or folder for each case: the official ones share a checkpoint."""
    folder = tmp_path_factory.mktemp("files")
    network = CASES["official"].network(96)
    average = official_names(network, tensors(CASES["official"]), suffix=EMA)
    raw = official_names(network, tensors(CASES["official_raw"]))
    checkpoint = write_bundle(folder / "net" / "model.ckpt-1", raw | average, shards=2)
    found = {"official": checkpoint, "official_raw": checkpoint}
    for name, case in CASES.items():
        if case.family != "official":
            named = state_dict(case.network(96), tensors(case), case.family)
            found[name] = write_pth(folder / f"{name}.pth", as_tensors(named))
    return found


def loaded(files: dict[str, Path], name: str, side: int) -> Weights:
    network = CASES[name].network(side)
    return load_weights(str(files[name]), network, averaged=name != "official_raw")


def distance(name: str, side: int, weights: Weights, *, input: str = "raw") -> float:
    """The largest difference of a logit from the framework's."""
    builder = Builder(CASES[name].network(side), weights, Options(input=input))  # type: ignore[arg-type]
    built = builder.build("float32")
    pixels = images(side).astype(np.float32)
    if input == "normalized":
        mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
        pixels = ((pixels / 255 - mean) / std).astype(np.float32)
    interpreter = new_interpreter(content=bytes(built.data))
    logits = built.facts.contract.read(run_model(interpreter, pixels))
    return float(np.abs(logits - np.load(DATA / f"{name}_{side}.npy")).max())


@pytest.mark.parametrize(("name", "side"), EVERY)
def test_the_exported_file_gives_the_frameworks_logits(
    files: dict[str, Path], name: str, side: int
) -> None:
    weights = loaded(files, name, side)
    assert distance(name, side, weights) <= TOLERANCE
    assert distance(name, side, weights, input="normalized") <= TOLERANCE


@pytest.mark.parametrize("name", ["timm", "torchvision"])
def test_safetensors_give_the_same(files: dict[str, Path], tmp_path: Path, name: str) -> None:
    case = CASES[name]
    side = case.sides[0]
    named = state_dict(case.network(side), tensors(case), case.family)
    save_file(named, tmp_path / "model.safetensors")
    weights = load_weights(str(tmp_path / "model.safetensors"), case.network(side))
    assert distance(name, side, weights) <= TOLERANCE


WRONG = {
    "padding": {"official": "symmetric", "timm": "same", "torchvision": "same"},
    "batch_norm_epsilon": {"official": 1e-5, "timm": 1e-3, "torchvision": 1e-3},
}


@pytest.mark.parametrize("field", WRONG)
@pytest.mark.parametrize("name", ["official", "timm", "torchvision"])
def test_anothers_convention_would_be_seen(files: dict[str, Path], name: str, field: str) -> None:
    side = CASES[name].sides[-1]
    weights = loaded(files, name, side)
    wrong = replace(weights.source, **{field: WRONG[field][name]})
    assert distance(name, side, replace(weights, source=wrong)) > 100 * TOLERANCE


def test_a_missing_residual_or_the_other_set_would_be_seen(files: dict[str, Path]) -> None:
    weights = loaded(files, "timm_small", 96)
    wrong = replace(weights.source, residual="declared")
    assert distance("timm_small", 96, replace(weights, source=wrong)) > 100 * TOLERANCE
    assert distance("official_raw", 96, loaded(files, "official", 96)) > 100 * TOLERANCE
