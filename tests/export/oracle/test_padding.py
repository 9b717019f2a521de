"""Symmetric padding against Keras' ZeroPadding2D and TFLiteConverter."""

from dataclasses import replace

import numpy as np
import pytest

from mnasnet_deploy.export.build import export_bytes
from mnasnet_deploy.export.graph import Options
from mnasnet_deploy.export.synthetic import verification_images

pytestmark = [
    pytest.mark.tensorflow,
    pytest.mark.slow,
    pytest.mark.usefixtures("tensorflow"),
]

ORIGINAL = Options(input="normalized")


def as_in_pytorch(weights):
    source = replace(weights.source, padding="symmetric", residual="real", batch_norm_epsilon=1e-5)
    return replace(weights, source=source)


def both(network, weights, scheme, calibration=None):
    from mnasnet_deploy.export.tensorflow import convert

    ours = export_bytes(network, weights, scheme, options=ORIGINAL, calibration=calibration)
    pixels = calibration.pixels if calibration else None
    return ours, convert(network, weights, scheme, options=ORIGINAL, pixels=pixels)[0]


@pytest.mark.parametrize("side", [96, pytest.param(97, marks=pytest.mark.long)])
def test_both_engines_pad_alike(side, network_of, lively_weights, take_apart, run_file):
    network = network_of("small", 1.0, side)
    ours, theirs = both(network, as_in_pytorch(lively_weights(network)), "float32")
    kinds = [[operator.kind for operator in take_apart(file).body] for file in (ours, theirs)]
    assert kinds[0] == kinds[1]
    assert kinds[0].count("PAD") == (5 if side == 96 else 0)
    pixels = verification_images(side, 4).astype(np.float32)
    images = (pixels - np.array(network.mean, np.float32)) / np.array(network.std, np.float32)
    wanted = run_file(theirs, images)
    assert np.abs(run_file(ours, images) - wanted).max() <= 2e-4 * np.abs(wanted).max()


def test_both_write_the_same_integer_operators(
    network_of, lively_weights, calibration_for, take_apart, assert_same_operators
):
    network = network_of("a1", 0.35, 96)
    weights = as_in_pytorch(lively_weights(network))
    ours, theirs = both(network, weights, "int8", calibration_for(network, 4))
    assert_same_operators(take_apart(ours), take_apart(theirs))
