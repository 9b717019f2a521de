"""The examples do what they say."""

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from mnasnet_deploy.arch.network import build_network
from mnasnet_deploy.arch.variants import find_variant
from mnasnet_deploy.weights.canonical import check, write_safetensors
from mnasnet_deploy.weights.initial import initial_weights

SCRIPT = Path(__file__).parents[1] / "examples" / "finetune_digits.py"


def test_training_may_start_from_weights_of_1000_classes(tmp_path: Path) -> None:
    spec = find_variant("a1").spec
    known = initial_weights(build_network(spec, multiplier=0.35, resolution=64), seed=5)
    write_safetensors(tmp_path / "known.safetensors", known)
    network = build_network(spec, multiplier=0.35, resolution=64, classes=10)
    weights = runpy.run_path(str(SCRIPT))["start"](network, str(tmp_path / "known.safetensors"))
    check(network, weights.tensors, "started")
    assert (weights.tensors["head.kernel"] == known.tensors["head.kernel"]).all()


@pytest.mark.tensorflow
@pytest.mark.long  # two minutes of training
@pytest.mark.processes
def test_digits_are_trained_exported_and_still_known_in_int8(tmp_path: Path) -> None:
    pytest.importorskip("sklearn", reason="needs scikit-learn")
    done = subprocess.run(
        [sys.executable, "-P", SCRIPT, "--out", "digits"],
        cwd=tmp_path,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = re.findall(r"_(float32|int8)\.tflite: accuracy ([0-9.]+)", done.stdout)
    accuracy = {scheme: float(share) for scheme, share in found}
    assert accuracy["float32"] > 0.95
    assert accuracy["int8"] > accuracy["float32"] - 0.01
