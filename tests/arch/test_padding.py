"""Padding and residuals as PyTorch's copies of the networks have them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnasnet_deploy.arch.counts import count_network
from mnasnet_deploy.arch.layers import Layer
from mnasnet_deploy.arch.network import adapt_network, build_network
from mnasnet_deploy.arch.variants import VARIANTS, find_variant


def padded_layers(network):
    return [layer.name for layer in network.layers if layer.padding == "symmetric"]


def test_symmetric_padding_stands_at_the_five_strides_of_even_maps_only():
    spec = find_variant("a1").spec
    even = build_network(spec, resolution=224, padding="symmetric")
    assert padded_layers(even) == [
        "stem", "block1/depthwise", "block3/depthwise", "block6/depthwise", "block12/depthwise",
    ]  # fmt: skip
    # 131 -> 66 -> 33 -> 17 -> 9 -> 5: only the map of 66 is even.
    odd = build_network(spec, resolution=131, padding="symmetric")
    assert padded_layers(odd) == ["block1/depthwise"]
    assert padded_layers(build_network(spec)) == []


@given(
    side=st.integers(1, 400),
    kernel=st.sampled_from([1, 3, 5, 7, 9]),
    stride=st.integers(1, 4),
)
def test_symmetric_padding_gives_as_many_outputs_as_same_and_reads_what_pytorch_reads(
    side, kernel, stride
):
    outputs = -(-side // stride)
    layer = Layer(
        name="stem",
        op="conv",
        inputs=("image",),
        input_shape=(side, side, 3),
        output_shape=(outputs, outputs, 8),
        kernel=(kernel, kernel),
        stride=(stride, stride),
        padding="symmetric",
    )
    (before, after), width = layer.pads
    assert width == (before, after)
    assert before == kernel // 2
    # PyTorch's own arithmetic for kernel // 2 on all sides.
    assert outputs == (side + 2 * (kernel // 2) - kernel) // stride + 1
    # A VALID convolution over the padded map gives as many; zeros it never reads are left out.
    assert (side + before + after - kernel) // stride + 1 == outputs
    assert after <= kernel // 2


@pytest.mark.parametrize("name", VARIANTS)
def test_padding_changes_neither_shapes_nor_counts(name):
    same = build_network(VARIANTS[name].spec, multiplier=0.5)
    symmetric = build_network(VARIANTS[name].spec, multiplier=0.5, padding="symmetric")
    assert count_network(same) == count_network(symmetric)
    for one, other in zip(same.layers, symmetric.layers, strict=True):
        assert (one.name, one.output_shape) == (other.name, other.output_shape)


def test_real_widths_give_the_first_block_of_small_its_residual():
    spec = find_variant("small").spec
    names = {layer.name for layer in build_network(spec).layers}
    assert "block0/add" not in names
    real = {layer.name for layer in build_network(spec, residual="real").layers}
    assert real - names == {"block0/add"}


@pytest.mark.parametrize("name", [name for name in VARIANTS if name != "small"])
def test_real_and_declared_widths_agree_everywhere_else(name):
    spec = VARIANTS[name].spec
    for multiplier in (1.4, 1.0, 0.5, 0.35, None):
        declared = build_network(spec, multiplier=multiplier)
        assert declared.layers == build_network(spec, multiplier=multiplier, residual="real").layers


def test_adapting_a_network_and_back_gives_the_same_network():
    network = build_network(
        find_variant("small").spec, multiplier=1.0, resolution=96, classes=7, divisor=4
    )
    adapted = adapt_network(
        network,
        padding="symmetric",
        residual="real",
        batch_norm_epsilon=1e-5,
        mean=(1.0, 2.0, 3.0),
        std=(4.0, 5.0, 6.0),
    )
    assert adapted != network
    assert (adapted.batch_norm_epsilon, adapted.mean, adapted.std) == (
        1e-5, (1.0, 2.0, 3.0), (4.0, 5.0, 6.0),
    )  # fmt: skip
    assert (adapted.classes, adapted.divisor, adapted.resolution) == (7, 4, 96)
    back = adapt_network(
        adapted,
        padding="same",
        residual="declared",
        batch_norm_epsilon=network.batch_norm_epsilon,
        mean=network.mean,
        std=network.std,
    )
    assert back == network
    assert adapt_network(network, padding="same", residual="declared") == network
