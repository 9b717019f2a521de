"""Symmetric padding through the written files, against NumPy that pads as PyTorch does."""

from dataclasses import replace

import numpy as np
import pytest

from mnasnet_deploy.arch.network import Network
from mnasnet_deploy.export.contract import Contract
from mnasnet_deploy.export.graph import Options
from mnasnet_deploy.export.modelfile import read
from mnasnet_deploy.export.naming import SCHEMES
from mnasnet_deploy.export.runtime import new_interpreter, run_model
from mnasnet_deploy.export.synthetic import verification_images
from mnasnet_deploy.results.record import Scheme
from mnasnet_deploy.weights.canonical import Weights

from .building import builder_of, lived_in, small_network
from .plainly import symmetric_logits

# 64 is even at every stride, 67 and 35 at some, 33 at none.
CASES = [
    ("a1", 64, "raw"), ("a1", 67, "raw"), ("a1", 35, "raw"), ("a1", 33, "raw"),
    ("a1", 64, "normalized"), ("b1", 64, "raw"), ("small", 64, "raw"),
]  # fmt: skip


def symmetric(side: int, variant: str = "a1") -> tuple[Network, Weights]:
    """A network, and weights whose source asks for symmetric padding."""
    plain = small_network(variant, resolution=side)
    weights = lived_in(plain)
    source = replace(weights.source, padding="symmetric", residual="real")
    return source.adapt(plain), replace(weights, source=source)


def run(data: bytes | bytearray, contract: Contract, pixels: np.ndarray) -> np.ndarray:
    return contract.read(run_model(new_interpreter(content=bytes(data)), contract.feed(pixels)))


def expected(network: Network, tensors: object, pixels: np.ndarray) -> np.ndarray:
    images = (pixels - np.array(network.mean)) / np.array(network.std)
    return symmetric_logits(network, tensors, images, network.batch_norm_epsilon)  # type: ignore[arg-type]


def cosine(one: np.ndarray, other: np.ndarray) -> float:
    lengths = np.linalg.norm(one, axis=-1) * np.linalg.norm(other, axis=-1)
    return float(((one * other).sum(-1) / lengths).min())


@pytest.mark.slow
@pytest.mark.parametrize(("variant", "side", "input_kind"), CASES)
def test_float32_is_exact_on_even_and_odd_sides(variant: str, side: int, input_kind: str) -> None:
    network, weights = symmetric(side, variant)
    pixels = verification_images(side, 2)
    wanted = expected(network, weights.tensors, pixels)
    built = builder_of(network, weights, Options(input=input_kind)).build("float32")  # type: ignore[arg-type]
    got = run(built.data, built.facts.contract, pixels)
    assert np.abs(got - wanted).max() <= 1e-5 * np.abs(wanted).max()


def test_same_padding_would_be_something_else() -> None:
    """What the tests here tell apart really differs."""
    network, weights = symmetric(64)
    pixels = verification_images(64, 2)
    wanted = expected(network, weights.tensors, pixels)
    built = builder_of(small_network(), lived_in(small_network())).build("float32")
    got = run(built.data, built.facts.contract, pixels)
    assert np.abs(got - wanted).max() > 0.02 * np.abs(wanted).max()


@pytest.mark.slow
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("side", [64, 67])
def test_every_scheme_follows(scheme: Scheme, side: int) -> None:
    network, weights = symmetric(side)
    pixels = verification_images(side, 4)
    built = builder_of(network, weights).build(scheme)
    got = run(built.data, built.facts.contract, pixels)
    floor = {"float32": 0.9999999, "float16": 0.9999, "dynamic-int8": 0.995, "int8": 0.97}[scheme]
    assert cosine(got, expected(network, weights.tensors, pixels)) > floor


@pytest.mark.parametrize("io", ["uint8", "int8", "float32"])
def test_int8_pads_with_the_zero_point_of_what_it_pads(io: str) -> None:
    builder = builder_of(*symmetric(64), options=Options(io=io))  # type: ignore[arg-type]
    written = builder.build("int8").written
    assert written is not None
    pads = [operator for operator in written.model.operators if operator.kind == "PAD"]
    assert len(pads) == 5
    for pad in pads:
        source, result = (written.model.tensors[n] for n in (pad.inputs[0], pad.output))
        assert source.scales is not None
        assert result.scales is not None
        assert (source.scales == result.scales).all()
        assert source.zero_points == result.zero_points
        assert source.type == result.type == "int8"


@pytest.mark.parametrize("scheme", ["float32", "float16", "int8"])
def test_pads_run_inside_the_one_xnnpack_partition(scheme: Scheme) -> None:
    """All operators but the type changes at an int8 file's ends run in one delegate node."""
    built = builder_of(*symmetric(64)).build(scheme)
    interpreter = new_interpreter(content=bytes(built.data))
    nodes = [node["op_name"] for node in interpreter._get_ops_details()]
    assert nodes.count("DELEGATE") == 1
    with_pads = builder_of(*symmetric(64)).build(scheme).written
    assert with_pads is not None
    assert sum(operator.kind == "PAD" for operator in with_pads.model.operators) == 5


def test_the_padded_file_reads_and_runs_as_any_other(tmp_path: object) -> None:
    built = builder_of(*symmetric(64)).build("int8")
    path = tmp_path / "padded.tflite"  # type: ignore[operator]
    path.write_bytes(built.data)
    model = read(path)
    assert model.intact
    assert model.operator_counts()["PAD"] == 5
    assert model.facts == built.facts
