"""Canonical weights: names, shapes, the check that lists everything, the file, the folding."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from mnasnet_deploy.arch.network import Network, build_network
from mnasnet_deploy.arch.variants import VARIANTS
from mnasnet_deploy.errors import WeightsError
from mnasnet_deploy.weights.canonical import (
    Weights,
    WeightSource,
    check,
    digest,
    fold,
    read_safetensors,
    tensor_shapes,
    write_safetensors,
)
from mnasnet_deploy.weights.choice import load_weights
from mnasnet_deploy.weights.initial import initial_weights


@pytest.fixture(scope="module")
def network() -> Network:
    return build_network(VARIANTS["a1"].spec, multiplier=0.35, resolution=64, classes=10)


@pytest.fixture
def weights(network: Network) -> Weights:
    return initial_weights(network)


def test_names_and_shapes_are_those_of_the_house(network: Network) -> None:
    shapes = tensor_shapes(network)
    assert shapes["stem.kernel"] == (3, 3, 3, 16)
    assert "blocks.0.expand.kernel" not in shapes  # its expansion is 1
    assert shapes["blocks.3.expand.kernel"] == (1, 1, 8, 24)
    assert shapes["blocks.3.depthwise.kernel"] == (5, 5, 24, 1)
    assert shapes["blocks.3.se.reduce.kernel"] == (1, 1, 24, 2)
    assert shapes["blocks.3.se.expand.bias"] == (24,)
    assert shapes["blocks.3.project.bn.variance"] == (16,)
    assert shapes["classifier.kernel"] == (1280, 10)
    assert shapes["classifier.bias"] == (10,)


def test_everything_that_is_wrong_stands_in_one_error(network: Network, weights: Weights) -> None:
    tensors: dict[str, np.ndarray] = dict(weights.tensors)
    del tensors["stem.kernel"]
    tensors["extra"] = np.zeros(3, np.float32)
    tensors["head.bn.beta"] = np.zeros(7, np.float32)
    tensors["head.bn.gamma"] = tensors["head.bn.gamma"].astype(np.float64)
    tensors["classifier.bias"] = np.full(10, np.nan, np.float32)
    tensors["classifier.kernel"] = np.full((1280, 10), np.inf, np.float32)
    tensors["blocks.1.expand.bn.variance"] = -tensors["blocks.1.expand.bn.variance"]
    with pytest.raises(WeightsError) as raised:
        check(network, tensors, "mine.safetensors")
    text = str(raised.value)
    assert "\n" not in text
    for part in (
        "mine.safetensors",
        "missing stem.kernel",
        "unexpected extra",
        "head.bn.beta is [7], needs [1280]",
        "head.bn.gamma is float64",
        "classifier.bias holds NaN",
        "classifier.kernel holds NaN or infinite",
        "blocks.1.expand.bn.variance holds a negative variance",
    ):
        assert part in text


def test_a_file_gives_back_what_was_written(
    network: Network, weights: Weights, tmp_path: Path
) -> None:
    path = tmp_path / "größe & weights.safetensors"
    write_safetensors(path, weights)
    read = read_safetensors(path, network)
    assert read.source == weights.source
    assert digest(read.tensors) == digest(weights.tensors)


def test_the_same_weights_give_the_same_file(weights: Weights, tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_safetensors(tmp_path / name, weights)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_file_without_a_source_counts_as_trained_on_nothing_known(
    network: Network, weights: Weights, tmp_path: Path
) -> None:
    path = tmp_path / "mine.safetensors"
    save_file(dict(weights.tensors), path)
    assert read_safetensors(path, network).source == WeightSource(
        label="mine.safetensors", trained=True
    )


@pytest.mark.parametrize("keep", [0, 1, 7, 8, 9, 100, 5_000, -1])
def test_a_truncated_file_is_one_clear_error(
    network: Network, weights: Weights, tmp_path: Path, keep: int
) -> None:
    path = tmp_path / "w.safetensors"
    write_safetensors(path, weights)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(WeightsError, match="copy it again") as raised:
        read_safetensors(path, network)
    assert "\n" not in str(raised.value)


@settings(max_examples=40, deadline=None)
@given(content=st.binary(max_size=200))
def test_random_bytes_are_never_weights(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.mktemp("random") / "w.safetensors"
    path.write_bytes(content)
    with pytest.raises(WeightsError):
        read_safetensors(path, build_network(VARIANTS["small"].spec))


def test_a_broken_source_in_a_file_is_an_error(
    network: Network, weights: Weights, tmp_path: Path
) -> None:
    path = tmp_path / "w.safetensors"
    for text in ("nonsense", '{"label": 3, "trained": true}', '{"label": "x"}', "[]"):
        save_file(dict(weights.tensors), path, {"mnasnet.weight_source": text})
        with pytest.raises(WeightsError, match="weight source"):
            read_safetensors(path, network)


def test_weights_of_another_network_are_refused(weights: Weights, tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    write_safetensors(path, weights)
    other = build_network(VARIANTS["b1"].spec, multiplier=0.35, classes=10)
    with pytest.raises(WeightsError, match="does not fit mnasnet-b1"):
        read_safetensors(path, other)


@pytest.mark.parametrize(
    "choice",
    ["", "Random", "random:x", "random:-1", "random:4294967296", "random:1e3",
     "imagenet", "w.pth", "missing.safetensors"],
)  # fmt: skip
def test_a_choice_that_names_no_weights_is_an_error(network: Network, choice: str) -> None:
    with pytest.raises(WeightsError) as raised:
        load_weights(choice, network)
    assert "\n" not in str(raised.value)


def test_folding_equals_batch_norm_behind_the_convolution(network: Network) -> None:
    generator = np.random.default_rng(0)
    tensors = {
        name: generator.uniform(0.5, 1.5, shape).astype(np.float32)
        for name, shape in tensor_shapes(network).items()
    }
    folded = fold(network, tensors)["blocks.3.depthwise"]
    patch = generator.normal(size=(5, 5, 24))  # one output pixel of a depthwise convolution
    gamma, beta, mean, variance = (
        tensors[f"blocks.3.depthwise.bn.{part}"].astype(np.float64)
        for part in ("gamma", "beta", "mean", "variance")
    )
    plain = (patch * tensors["blocks.3.depthwise.kernel"][..., 0]).sum(axis=(0, 1))
    expected = (plain - mean) / np.sqrt(variance + network.batch_norm_epsilon) * gamma + beta
    got = (patch * folded.kernel[..., 0]).sum(axis=(0, 1)) + folded.bias
    assert np.allclose(got, expected, rtol=1e-5, atol=1e-5)
