"""The writer's files: what runs, what they take and give, and what is in them."""

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType  # noqa: TID253  # the test's tool

from mnasnet_deploy.arch.network import build_network
from mnasnet_deploy.arch.variants import VARIANTS, spec_from_mapping
from mnasnet_deploy.export.calibrate import measure_extremes, ranges_from
from mnasnet_deploy.export.contract import Contract
from mnasnet_deploy.export.flatfile import pack
from mnasnet_deploy.export.graph import Options
from mnasnet_deploy.export.naming import SCHEMES
from mnasnet_deploy.export.runtime import new_interpreter, run_model
from mnasnet_deploy.export.synthetic import verification_images
from mnasnet_deploy.export.verify import reference
from mnasnet_deploy.export.writer import write_graph
from mnasnet_deploy.results.record import Scheme
from mnasnet_deploy.weights.initial import initial_weights

from .building import (
    RESOLUTION,
    builder_of,
    calibration,
    claimed_trained,
    graph_of,
    lived_in,
    small_network,
)

PIXELS = verification_images(RESOLUTION, 4)


def run(data: bytes | bytearray, contract: Contract, pixels: np.ndarray = PIXELS) -> np.ndarray:
    interpreter = new_interpreter(content=bytes(data))
    return contract.read(run_model(interpreter, contract.feed(pixels)))


def cosine(one: np.ndarray, other: np.ndarray) -> float:
    one, other = one.astype(np.float64), other.astype(np.float64)
    lengths = np.linalg.norm(one, axis=-1) * np.linalg.norm(other, axis=-1)
    return float(((one * other).sum(-1) / lengths).min())


@pytest.mark.slow
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_runs_in_every_scheme_and_agrees_with_float32(
    variant: str, scheme: Scheme
) -> None:
    builder = builder_of(small_network(variant))
    built = builder.build(scheme)
    got = run(built.data, built.facts.contract)
    floor = {"float32": 0.9999999, "float16": 0.99999, "dynamic-int8": 0.995, "int8": 0.95}[scheme]
    assert cosine(got, builder.reference(PIXELS)) > floor


@pytest.mark.parametrize("mean_std", ["imagenet", "signed"])
def test_the_raw_front_is_exact_in_float32_borders_included(mean_std: str) -> None:
    """At 33 pixels SAME pads on both sides, at 64 on one: both are normalised zeros."""
    variant = "a1" if mean_std == "imagenet" else "mobilenet-v2"
    for side in (33, 64):
        network = small_network(variant, resolution=side)
        weights = lived_in(network)
        pixels = verification_images(side, 2)
        raw = write_graph(graph_of(network, weights), "float32")
        got = run(pack(raw.model, input_name="i", output_name="o"), raw.contract, pixels)
        expected = reference(graph_of(network, weights, Options(input="normalized")), pixels)
        assert np.abs(got - expected).max() <= 2e-5 * np.abs(expected).max()


def test_uint8_pixels_equal_the_int8_path_exactly() -> None:
    pixels = np.empty((4, RESOLUTION, RESOLUTION, 3), np.uint8)
    for image, value in zip(pixels, (0, 127, 128, 255), strict=True):
        image[:] = value
    pixels = np.concatenate([pixels, PIXELS])
    through_uint8 = builder_of(options=Options(io="uint8")).build("int8")
    through_int8 = builder_of(options=Options(io="int8")).build("int8")
    outer, inner = through_uint8.facts.contract, through_int8.facts.contract
    stored_outer = run_model(new_interpreter(content=bytes(through_uint8.data)), outer.feed(pixels))
    stored_inner = run_model(new_interpreter(content=bytes(through_int8.data)), inner.feed(pixels))
    assert np.array_equal(outer.feed(pixels), pixels)
    assert np.array_equal(inner.feed(pixels).astype(int), pixels.astype(int) - 128)
    assert np.array_equal(stored_outer.astype(int), stored_inner.astype(int) + 128)


@pytest.mark.parametrize("kind", ["raw", "normalized"])
@pytest.mark.parametrize("io", ["uint8", "int8", "float32"])
def test_an_int8_file_takes_and_gives_what_was_asked(kind: str, io: str) -> None:
    options = Options(input=kind, io=io)  # type: ignore[arg-type]
    builder = builder_of(options=options)
    built = builder.build("int8")
    contract = built.facts.contract
    assert (contract.input_dtype, contract.output_dtype) == (io, io)
    assert cosine(run(built.data, contract), builder.reference(PIXELS)) > 0.95


def test_defaults_are_uint8_for_raw_pixels_and_int8_for_normalised_ones() -> None:
    assert Options().integer_io == "uint8"
    assert Options(input="normalized").integer_io == "int8"


@pytest.mark.parametrize("scheme", SCHEMES)
def test_softmax_gives_probabilities(scheme: Scheme) -> None:
    built = builder_of(options=Options(softmax=True)).build(scheme)
    got = run(built.data, built.facts.contract)
    assert built.facts.contract.output == "probabilities"
    assert np.allclose(got.sum(axis=-1), 1.0, atol=0.03)


@pytest.mark.parametrize("options", [Options(), Options(input="normalized"), Options(io="int8")])
@pytest.mark.parametrize("variant", ["a1", "b1", "small", "mobilenet-v2"])
@pytest.mark.slow
def test_int8_runs_in_one_xnnpack_partition_squeeze_excite_included(
    variant: str, options: Options
) -> None:
    """Behind the delegate the interpreter's plan is a single node."""
    built = builder_of(small_network(variant), options=options).build("int8")
    interpreter = Interpreter(model_content=bytes(built.data))
    interpreter.allocate_tensors()
    kinds = [details["op_name"] for details in interpreter._get_ops_details()]
    assert kinds.count("DELEGATE") == 1
    plain = Interpreter(
        model_content=bytes(built.data),
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    plain.allocate_tensors()
    assert len(kinds) == len(plain._get_ops_details()) + 1


def test_the_same_ranges_come_from_one_thread_and_two() -> None:
    graph = graph_of(small_network(), lived_in(small_network()))
    pixels = calibration(8).pixels
    one, two = (measure_extremes(graph, pixels, threads=threads) for threads in (1, 2))
    assert np.array_equal(one.lows, two.lows)
    assert np.array_equal(one.highs, two.highs)


def test_ranges_equal_those_of_the_reference_kernels() -> None:
    """Held against LiteRT without XNNPACK, every tensor kept."""
    network = small_network()
    graph = graph_of(network, lived_in(network))
    pixels = calibration(4).pixels
    ranges = ranges_from(measure_extremes(graph, pixels), "min-max")
    written = write_graph(graph, "float32")
    interpreter = Interpreter(
        model_content=bytes(pack(written.model, input_name="i", output_name="o")),
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        experimental_preserve_all_tensors=True,
    )
    interpreter.allocate_tensors()
    lows: dict[str, float] = {}
    highs: dict[str, float] = {}
    for image in written.contract.feed(pixels):
        interpreter.set_tensor(0, image[np.newaxis])
        interpreter.invoke()
        for number, tensor in enumerate(written.model.tensors):
            if tensor.name in ranges:
                values = interpreter.get_tensor(number)
                lows[tensor.name] = min(lows.get(tensor.name, 0.0), float(values.min()))
                highs[tensor.name] = max(highs.get(tensor.name, 0.0), float(values.max()))
    for name, (low, high) in ranges.items():
        assert min(low, 0.0) == pytest.approx(lows[name], rel=1e-4, abs=1e-4)
        assert max(high, 0.0) == pytest.approx(highs[name], rel=1e-4, abs=1e-4)


def test_percentile_ranges_lie_within_the_true_ones() -> None:
    graph = graph_of(small_network(), lived_in(small_network()))
    extremes = measure_extremes(graph, calibration(8).pixels)
    true, narrower = ranges_from(extremes, "min-max"), ranges_from(extremes, "percentile:90")
    assert all(true[n].low <= narrower[n].low for n in true)
    assert all(true[n].high >= narrower[n].high for n in true)
    assert any(true[n].high > narrower[n].high for n in true)


def test_the_same_input_gives_the_same_bytes() -> None:
    for scheme in SCHEMES:
        assert builder_of().build(scheme).data == builder_of(threads=2).build(scheme).data


def test_class_names_ride_along_where_weights_and_classes_are_imagenets() -> None:
    network = small_network(classes=1000)
    trained = builder_of(network, claimed_trained(lived_in(network)))
    assert trained.labels is not None
    assert trained.labels[388].startswith("giant panda")
    assert b"giant panda" in trained.build("float32").data
    assert builder_of(network).labels is None  # untrained: names would lie


def test_unequal_strides_and_relu6_and_odd_widths_run() -> None:
    spec = spec_from_mapping(
        {
            "name": "odd",
            "stem": {"channels": 9, "scaled": False},
            "activation": "relu6",
            "blocks": ["r2_k3_s21_e3_i9_o11_se0.5", "r1_k5_s22_e1_i11_o7_noskip"],
            "head": {"channels": 33},
            "classes": 3,
        }
    )
    network = build_network(spec, multiplier=None, resolution=45)
    for scheme in SCHEMES:
        builder = builder_of(network, initial_weights(network))
        built = builder.build(scheme)
        pixels = verification_images(45, 2)
        assert (
            cosine(run(built.data, built.facts.contract, pixels), builder.reference(pixels)) > 0.9
        )
