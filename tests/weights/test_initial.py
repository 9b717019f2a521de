"""Initial weights keep every network's activations sane, and are the same everywhere."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from mnasnet_deploy.arch.network import Network, build_network, render_multiplier
from mnasnet_deploy.arch.variants import VARIANTS
from mnasnet_deploy.errors import InputError
from mnasnet_deploy.export.flatfile import pack
from mnasnet_deploy.export.graph import Options, lower
from mnasnet_deploy.export.images import load_calibrations
from mnasnet_deploy.export.runtime import new_interpreter
from mnasnet_deploy.export.synthetic import verification_images
from mnasnet_deploy.export.writer import write_graph
from mnasnet_deploy.weights.canonical import check, digest, fold
from mnasnet_deploy.weights.initial import initial_weights

PHOTOS = Path(__file__).parents[2] / "examples" / "photos"
MULTIPLIERS = (None, 0.35, 0.5, 0.75, 1.0, 1.4)


def block_deviations(network: Network, pixels: np.ndarray, seed: int = 0) -> dict[str, float]:
    """Standard deviation over photos of the last output of every block."""
    weights = initial_weights(network, seed)
    graph = lower(network, fold(network, weights.tensors), Options())
    written = write_graph(graph, "float32")
    last = {operation.name.partition("/")[0]: operation.name for operation in graph.operations}
    place = {tensor.name: number for number, tensor in enumerate(written.model.tensors)}
    written.model.extra_outputs = tuple(place[name] for name in last.values())
    model = bytes(pack(written.model, input_name="image", output_name="logits"))
    interpreter = new_interpreter(content=model)
    values: dict[str, list[np.ndarray]] = {block: [] for block in last}
    for image in written.contract.feed(pixels):
        interpreter.set_tensor(0, image[np.newaxis])
        interpreter.invoke()
        for block, name in last.items():
            values[block].append(interpreter.get_tensor(place[name]).copy())
    values.pop("front")
    return {block: float(np.concatenate(found).std()) for block, found in values.items()}


@pytest.mark.slow
@pytest.mark.parametrize("multiplier", MULTIPLIERS, ids=render_multiplier)
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_block_keeps_a_deviation_between_a_tenth_and_ten(
    variant: str, multiplier: float | None
) -> None:
    network = build_network(VARIANTS[variant].spec, multiplier=multiplier, resolution=96)
    deviations = block_deviations(network, verification_images(96, 2))
    assert all(0.1 <= found <= 10.0 for found in deviations.values()), deviations


@pytest.mark.slow
@pytest.mark.parametrize("resolution", [32, 224])
@pytest.mark.parametrize("variant", VARIANTS)
def test_deviations_stay_sane_at_the_smallest_and_the_usual_resolution(
    variant: str, resolution: int
) -> None:
    photos = load_calibrations(PHOTOS, [resolution], samples=4)[resolution].pixels
    for seed in (0, 7):
        network = build_network(VARIANTS[variant].spec, resolution=resolution)
        deviations = block_deviations(network, photos, seed)
        assert all(0.1 <= found <= 10.0 for found in deviations.values()), deviations


def test_the_same_seed_gives_the_same_bytes_on_every_machine() -> None:
    """The digest was computed once; a numpy or a machine that gives another one breaks files."""
    network = build_network(VARIANTS["small"].spec, multiplier=0.35, resolution=96, classes=10)
    assert digest(initial_weights(network, 3).tensors) == (
        "1e784c98eb957bbd00efd6f3439207e3091473d95e1737efc59f2e219c58d6bd"
    )


def test_seeds_and_layers_draw_from_streams_of_their_own() -> None:
    network = build_network(VARIANTS["a1"].spec, multiplier=0.35, resolution=96)
    one, other = (initial_weights(network, seed).tensors for seed in (0, 1))
    kernels = [name for name in one if name.endswith(".kernel")]
    digests = {
        hashlib.sha256(tensors[name].tobytes()).digest()
        for tensors in (one, other)
        for name in kernels
    }
    assert len(digests) == 2 * len(kernels)


def test_another_class_count_leaves_the_other_kernels_alone() -> None:
    few, many = (
        initial_weights(build_network(VARIANTS["a1"].spec, classes=classes)).tensors
        for classes in (10, 1000)
    )
    assert np.array_equal(few["head.kernel"], many["head.kernel"])


def test_they_fit_and_say_that_they_are_untrained() -> None:
    network = build_network(VARIANTS["small"].spec, resolution=64)
    weights = initial_weights(network, 7)
    check(network, weights.tensors, "random")
    assert (weights.source.label, weights.source.trained) == ("random:7", False)


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_out_of_range_is_an_error(seed: int) -> None:
    with pytest.raises(InputError, match="seed"):
        initial_weights(build_network(VARIANTS["small"].spec), seed)
