"""Our int8 and dynamic-int8 weights against litert-quantizer, which knows nothing of ours."""

import numpy as np
import pytest

from mnasnet_deploy.export.build import export_bytes
from mnasnet_deploy.export.graph import Options

pytestmark = [
    pytest.mark.slow,
    # Its calibrator keeps all tensors, and is told that this is for debugging.
    pytest.mark.filterwarnings("ignore:.*experimental_preserve_all_tensors:UserWarning"),
]

ORIGINAL = Options(input="normalized")


VARIANTS = ["a1", "b1", "small", "d1", "d1-320", "mobilenet-v2"]


@pytest.fixture(scope="module", params=VARIANTS)
def material(request, network_of, lively_weights, calibration_for):
    network = network_of(request.param, 0.35, 64)
    return network, lively_weights(network), calibration_for(network, 4)


def quantize(recipe, float_file, folder, calibration=None):
    """What litert-quantizer makes of a float32 file."""
    from litert_quantizer import Quantizer

    source = folder / "float32.tflite"
    source.write_bytes(float_file)
    quantizer = Quantizer(str(source))
    quantizer.load_quantization_recipe(recipe)
    ranges = None
    if calibration is not None:
        ranges = quantizer.calibrate({"serving_default": [{"image": x} for x in calibration]})
    result = quantizer.quantize(ranges)
    return bytes(result.quantized_model)


def kernels(file):
    return [operator.kernel for operator in file.operators if operator.kernel is not None]


def test_int8_weight_scales_are_the_quantizers(material, take_apart, tmp_path):
    from litert_quantizer import recipe

    network, weights, calibration = material
    mean, std = np.array(network.mean, np.float32), np.array(network.std, np.float32)
    images = (calibration.pixels[:, None] - mean) / std
    exact = export_bytes(network, weights, "float32", options=ORIGINAL)
    theirs = quantize(recipe.static_wi8_ai8(), exact, tmp_path, images)
    ours = export_bytes(network, weights, "int8", options=ORIGINAL, calibration=calibration)
    compare_scales(kernels(take_apart(ours)), kernels(take_apart(theirs)))


def test_dynamic_weight_scales_are_the_quantizers(material, take_apart, tmp_path):
    from litert_quantizer import recipe

    network, weights, _ = material
    exact = export_bytes(network, weights, "float32", options=ORIGINAL)
    theirs = quantize(recipe.dynamic_wi8_afp32(), exact, tmp_path)
    ours = export_bytes(network, weights, "dynamic-int8", options=ORIGINAL)
    pairs = zip(kernels(take_apart(ours)), kernels(take_apart(theirs)), strict=True)
    # Small kernels stay in float with us, as with TFLiteConverter.
    pairs = [(mine, other) for mine, other in pairs if mine.type == "INT8"]
    assert len(pairs) > 30
    compare_scales(*zip(*pairs, strict=True))


def compare_scales(ours, theirs):
    for mine, other in zip(ours, theirs, strict=True):
        assert (mine.type, other.type) == ("INT8", "INT8")
        assert mine.shape == other.shape
        expected = other.scales
        if mine is ours[-1]:  # the classifier has one scale with us, one for each row with them
            assert mine.scales.size == 1
            expected = other.scales.max(keepdims=True)
        np.testing.assert_allclose(mine.scales, expected, rtol=1e-6)
