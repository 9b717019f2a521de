"""Symmetric padding against Keras' ZeroPadding2D and TFLiteConverter."""

import numpy as np
import pytest

from mnasnet_deploy.arch.network import adapt_network
from mnasnet_deploy.export.build import export_bytes
from mnasnet_deploy.export.graph import Options
from mnasnet_deploy.export.synthetic import verification_images

pytestmark = [
    pytest.mark.tensorflow,
    pytest.mark.slow,
    pytest.mark.usefixtures("tensorflow"),
]

ORIGINAL = Options(input="normalized")


@pytest.fixture(scope="module", params=[96, 97])
def network(request, network_of):
    return adapt_network(
        network_of("a1", 0.35, request.param),
        padding="symmetric",
        residual="real",
        batch_norm_epsilon=1e-5,
    )


def test_both_engines_pad_alike(network, lively_weights, convert_quickly, take_apart, run_file):
    weights = lively_weights(network)
    ours = export_bytes(network, weights, "float32", options=ORIGINAL)
    theirs = convert_quickly(network, "float32", ORIGINAL)
    kinds = [[operator.kind for operator in take_apart(file).body] for file in (ours, theirs)]
    assert kinds[0] == kinds[1]
    assert kinds[0].count("PAD") == (5 if network.resolution == 96 else 0)
    pixels = verification_images(network.resolution, 4).astype(np.float32)
    images = (pixels - np.array(network.mean, np.float32)) / np.array(network.std, np.float32)
    wanted = run_file(theirs, images)
    assert np.abs(run_file(ours, images) - wanted).max() <= 2e-4 * np.abs(wanted).max()


def test_both_write_the_same_integer_operators(
    network, lively_weights, calibration_for, convert_quickly, take_apart, assert_same_operators
):
    calibration = calibration_for(network, 4)
    weights = lively_weights(network)
    ours = export_bytes(network, weights, "int8", options=ORIGINAL, calibration=calibration)
    theirs = convert_quickly(network, "int8", ORIGINAL, calibration.pixels)
    assert_same_operators(take_apart(ours), take_apart(theirs))
