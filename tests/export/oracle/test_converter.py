"""Our writer against Google's TFLiteConverter, on the same networks with the same weights."""

import functools
import itertools
from dataclasses import dataclass

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
# Small maps and widths; one odd side, where SAME pads differently.
VARIANTS = {
    "a1": (0.35, 96),
    "b1": (0.35, 97),
    "small": (0.5, 64),
    "d1": (None, 64),
    "d1-320": (None, 64),
    "mobilenet-v2": (0.35, 64),
}
SCHEMES = ("float32", "float16", "dynamic-int8", "int8")
# d1 has no operator that the others do not have.
CASES = [
    pytest.param(pair, id="-".join(pair), marks=[pytest.mark.long] * pair[0].startswith("d1"))
    for pair in itertools.product(VARIANTS, SCHEMES)
]
CALIBRATION_IMAGES = 8
# Largest difference of the outputs in units of the largest magnitude.
TOLERANCES = {"float32": 2e-4, "float16": 1e-3}


@dataclass(frozen=True)
class Case:
    """A network with weights, calibration images, and both files of it in one scheme."""

    network: object
    scheme: str
    weights: object
    calibration: object
    ours: bytes
    theirs: bytes


@pytest.fixture(scope="module")
def material(network_of, lively_weights, calibration_for):
    """`material("a1")` is a small network of the variant, its weights and calibration images."""

    @functools.lru_cache(maxsize=1)
    def make(variant):
        network = network_of(variant, *VARIANTS[variant])
        return network, lively_weights(network), calibration_for(network, CALIBRATION_IMAGES)

    return make


@pytest.fixture(scope="module", params=CASES)
def case(request, material, convert_quickly):
    variant, scheme = request.param
    network, weights, calibration = material(variant)
    ours = write(network, weights, scheme, ORIGINAL, calibration)
    theirs = convert_quickly(network, scheme, ORIGINAL, calibration.pixels)
    return Case(network, scheme, weights, calibration, ours, theirs)


def write(network, weights, scheme, options, calibration):
    images = calibration if scheme == "int8" else None
    return export_bytes(network, weights, scheme, options=options, calibration=images)


def normalized_images(network):
    pixels = verification_images(network.resolution, 4).astype(np.float32)
    return (pixels - np.array(network.mean, np.float32)) / np.array(network.std, np.float32)


def cosine(left, right):
    norms = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    return float(((left * right).sum(axis=1) / norms).mean())


def test_both_write_the_same_operators_in_the_same_order_with_the_same_versions(
    case, take_apart, assert_same_operators
):
    assert_same_operators(take_apart(case.ours), take_apart(case.theirs))


def test_both_name_the_same_oldest_runtime(case, take_apart):
    name = "min_runtime_version"
    assert take_apart(case.ours).metadata[name] == take_apart(case.theirs).metadata[name]


def test_both_hold_the_same_constants(case, take_apart):
    ours, theirs = take_apart(case.ours), take_apart(case.theirs)
    different = total = 0
    for mine, other in constants(ours, theirs):
        assert mine.axis == other.axis
        if mine.type == "INT32":
            # A bias step is input scale x weight scale, and a hundredth of what the result shows.
            real, reference = mine.data * mine.scales, other.data * other.scales
            np.testing.assert_allclose(mine.scales, other.scales, rtol=1e-4)
            assert (np.abs(real - reference) <= 2 * mine.scales + 1e-4 * np.abs(reference)).all()
            continue
        np.testing.assert_allclose(mine.scales, other.scales, rtol=1e-6)
        if mine.type == "INT8":
            # What lies within float32's error of the middle may round the other way.
            steps = np.abs(mine.data.astype(int) - other.data)
            assert steps.max() <= 1
            different += np.count_nonzero(steps)
            total += steps.size
        else:
            rtol = 1e-3 if mine.type == "FLOAT16" else 1e-5
            largest = float(np.abs(other.data).max())
            np.testing.assert_allclose(mine.data, other.data, rtol=0, atol=rtol * largest)
    assert different <= 1e-4 * total


def constants(ours, theirs):
    """Pair up kernels and biases, float16 ones in front of their widening operator."""
    narrow = [
        {id(operator.output): operator.inputs[0] for operator in file.widening}
        for file in (ours, theirs)
    ]
    for mine, other in zip(ours.body, theirs.body, strict=True):
        if mine.kernel is not None:
            for left, right in zip(mine.inputs[1:], other.inputs[1:], strict=True):
                yield narrow[0].get(id(left), left), narrow[1].get(id(right), right)


@pytest.mark.parametrize(
    "case", [each for each in CASES if each.values[0][1] == "int8"], indirect=True
)
def test_no_int8_activation_is_coarser_than_the_converters(case, take_apart):
    ours, theirs = take_apart(case.ours).body, take_apart(case.theirs).body
    added = {id(tensor) for each in ours if each.kind == "ADD" for tensor in each.inputs}
    for mine, other in zip(ours, theirs, strict=True):
        ratio = float(mine.output.scales[0] / other.output.scales[0])
        if mine.kind == "CONV_2D" and id(mine.output) in added:
            # The converter widens what goes into an ADD.
            assert ratio < 1.0001, mine.output.name
        else:
            assert ratio == pytest.approx(1.0, abs=1e-4), mine.output.name
            assert abs(mine.output.zero_points[0] - other.output.zero_points[0]) <= 1


def test_both_give_the_same_logits(case, run_file):
    images = normalized_images(case.network)
    mine, other = run_file(case.ours, images), run_file(case.theirs, images)
    if case.scheme in TOLERANCES:
        assert np.abs(mine - other).max() <= TOLERANCES[case.scheme] * np.abs(other).max()
        return
    # Rounded activations turn a difference in the last bit into one of a step: compare what is
    # left of the float32 network.
    exact = write(case.network, case.weights, "float32", ORIGINAL, case.calibration)
    reference = run_file(exact, images)
    assert cosine(mine, reference) > cosine(other, reference) - 0.003
    assert cosine(mine, reference) > 0.98


@pytest.mark.parametrize(
    ("variant", "scheme"),
    [
        pytest.param("a1", "float32", marks=pytest.mark.long),
        pytest.param("mobilenet-v2", "float16", marks=pytest.mark.long),
        pytest.param("mobilenet-v2", "dynamic-int8", marks=pytest.mark.long),
        ("a1", "int8"),
    ],
    ids=str,
)
def test_the_usual_way_from_a_keras_model_gives_the_same_operators(
    variant, scheme, material, take_apart, assert_same_operators
):
    from mnasnet_deploy.export.tensorflow import convert

    network, weights, calibration = material(variant)
    ours = write(network, weights, scheme, ORIGINAL, calibration)
    data, contract = convert(network, weights, scheme, options=ORIGINAL, pixels=calibration.pixels)
    theirs = take_apart(data)
    assert_same_operators(take_apart(ours), theirs)
    assert theirs.signature == ("serving_default", ("image",), ("output_0",))
    assert contract.output_dtype == ("int8" if scheme == "int8" else "float32")
    if scheme == "int8":
        last = theirs.operators[-1].output
        assert contract.output_scale == pytest.approx(float(last.scales[0]))
        assert contract.output_zero_point == last.zero_points[0]


@pytest.mark.parametrize(
    ("scheme", "options"),
    [
        ("float32", Options(softmax=True)),
        ("int8", Options()),
        ("int8", Options(io="float32", softmax=True)),
    ],
    ids=["float32-softmax", "int8-uint8", "int8-float32-softmax"],
)
def test_raw_pixels_and_probabilities_are_written_as_the_converter_would(
    scheme, options, material, convert_quickly, take_apart, assert_same_operators, run_file
):
    network, weights, calibration = material("a1")
    ours = write(network, weights, scheme, options, calibration)
    theirs = convert_quickly(network, scheme, options, calibration.pixels)
    assert_same_operators(take_apart(ours), take_apart(theirs))
    images = verification_images(network.resolution, 4).astype(np.float32)
    mine, other = run_file(ours, images), run_file(theirs, images)
    if scheme == "float32":
        assert np.abs(mine - other).max() <= 2e-4 * np.abs(other).max()
    elif options.softmax:  # int8 logits of an untrained network are too rough to compare here
        logits = run_file(
            write(network, weights, "int8", Options(io="float32"), calibration), images
        )
        raised = np.exp(logits - logits.max(axis=1, keepdims=True))
        np.testing.assert_allclose(mine, raised / raised.sum(axis=1, keepdims=True), atol=1 / 128)
    else:
        assert cosine(mine, other) > 0.98
