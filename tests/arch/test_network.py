"""Specs, scaling and the flat list of layers."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnasnet_deploy.arch.network import (
    IMAGE,
    build_network,
    parse_multiplier,
    render_multiplier,
    scale_channels,
)
from mnasnet_deploy.arch.variants import VARIANTS, find_variant, spec_from_mapping
from mnasnet_deploy.errors import SpecError

GRID = [1.4, 1.3, 1.0, 0.75, 0.5, 0.35, None]


@pytest.fixture(params=list(VARIANTS))
def variant(request):
    return VARIANTS[request.param]


@pytest.mark.parametrize("multiplier", GRID, ids=str)
@pytest.mark.parametrize("resolution", [32, 131, 224])
def test_every_layer_reads_earlier_layers_at_their_shapes(variant, multiplier, resolution):
    network = build_network(variant.spec, multiplier=multiplier, resolution=resolution, classes=7)
    shapes = {IMAGE: (resolution, resolution, 3)}
    for layer in network.layers:
        assert layer.name not in shapes
        assert layer.input_shape == shapes[layer.inputs[0]]
        for name in layer.inputs[1:]:
            assert shapes[name] in (layer.input_shape, (1, 1, layer.input_shape[-1]))
        shapes[layer.name] = layer.output_shape
    assert network.layers[-1].output_shape == (7,)
    weights = [layer.weights for layer in network.layers if layer.weights]
    assert len(set(weights)) == len(weights)


def test_a_network_can_be_built_twice_and_compared(variant):
    assert build_network(variant.spec) == build_network(variant.spec)


@pytest.mark.parametrize(
    ("channels", "multiplier", "scaled"),
    [
        (32, 1.4, 48),  # 44.8 rounds up to 48
        (16, 1.4, 24),
        (24, 0.35, 8),
        (40, 0.35, 16),  # 14 -> 16
        (36, 1.0, 40),  # the divisor bites at 1.0
        (36, None, 36),
        (20, 0.5, 16),  # 10 -> 8 would lose 20 %
        (1, 0.01, 8),
    ],
)
def test_channels_scale_as_in_the_original(channels, multiplier, scaled):
    assert scale_channels(channels, multiplier) == scaled


@given(st.integers(1, 8192), st.floats(0.01, 8))
def test_rounding_never_loses_more_than_a_tenth(channels, multiplier):
    scaled = scale_channels(channels, multiplier)
    assert scaled % 8 == 0
    assert scaled >= 0.9 * channels * multiplier
    assert scaled <= max(8, channels * multiplier + 8)


def test_divisor_and_min_depth_reach_every_layer():
    network = build_network(VARIANTS["a1"].spec, multiplier=0.1, divisor=4, min_depth=12)
    convolutions = [layer for layer in network.layers if layer.name.endswith("project")]
    widths = {layer.output_shape[-1] for layer in convolutions}
    assert min(widths) == 12
    assert all(width % 4 == 0 for width in widths)
    assert any(width % 8 for width in widths)


def test_min_depth_is_the_divisor_unless_given():
    assert build_network(VARIANTS["a1"].spec, divisor=4).min_depth == 4


@given(st.floats(0, 8, exclude_min=True))
def test_a_multiplier_reads_back_and_is_a_plain_decimal(multiplier):
    text = render_multiplier(multiplier)
    assert set(text) <= set("0123456789.")
    assert parse_multiplier(text) == multiplier


@pytest.mark.parametrize(
    ("multiplier", "text"), [(1.0, "1.0"), (1, "1.0"), (0.35, "0.35"), (None, "none"), (8, "8.0")]
)
def test_a_multiplier_is_the_shortest_decimal(multiplier, text):
    assert render_multiplier(multiplier) == text
    assert parse_multiplier(text) == multiplier


def test_none_is_read_in_any_case():
    assert parse_multiplier(" None ") is None


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "1e9", "8.01", "", "x", "1,0", "1_0e5"])
def test_a_multiplier_out_of_range_is_one_line(text):
    with pytest.raises(SpecError, match="must be a number above 0 and at most 8"):
        parse_multiplier(text)


@pytest.mark.parametrize("multiplier", [0, -1.0, math.nan, math.inf, 1e9])
def test_a_network_takes_no_multiplier_out_of_range(multiplier):
    with pytest.raises(SpecError, match="multiplier"):
        build_network(VARIANTS["a1"].spec, multiplier=multiplier)


@pytest.mark.parametrize("resolution", [0, 31, 2049, 10**12, -224, 224.0, True])
def test_a_resolution_out_of_range_is_one_line(resolution):
    with pytest.raises(SpecError, match=r"resolution .* from 32 to 2048"):
        build_network(VARIANTS["a1"].spec, resolution=resolution)


@pytest.mark.parametrize("classes", [0, -1, 100_001])
def test_a_number_of_classes_out_of_range_is_one_line(classes):
    with pytest.raises(SpecError, match=r"classes .* from 1 to 100000"):
        build_network(VARIANTS["a1"].spec, classes=classes)


def test_the_limits_themselves_are_allowed():
    spec = VARIANTS["small"].spec
    assert build_network(spec, multiplier=8.0, resolution=2048, classes=100_000).classes == 100_000
    assert build_network(spec, multiplier=1e-9, resolution=32, classes=1).resolution == 32


def test_the_squeeze_is_a_share_of_the_blocks_input():
    network = build_network(VARIANTS["a1"].spec)
    layers = {layer.name: layer for layer in network.layers}
    assert layers["block3/se/reduce"].output_shape == (1, 1, 6)  # 24 in, a quarter of it
    assert layers["block3/se/expand"].output_shape == (1, 1, 72)


@pytest.mark.parametrize(
    ("multiplier", "residual"), [(1.0, False), (0.75, False), (0.5, True), (0.35, True)]
)
def test_the_first_block_of_small_follows_its_declared_input(multiplier, residual):
    network = build_network(VARIANTS["small"].spec, multiplier=multiplier)
    names = [layer.name for layer in network.layers]
    assert ("block0/add" in names) is residual
    depthwise = next(layer for layer in network.layers if layer.name == "block0/depthwise")
    assert depthwise.output_shape[-1] == 8  # the real width, not the declared 16


def test_noskip_leaves_the_residual_out():
    networks = [
        build_network(
            spec_from_mapping(
                {"name": "x", "stem": {"channels": 16}, "blocks": [f"r1_k3_s11_e1_i16_o16{skip}"]}
            )
        )
        for skip in ("", "_noskip")
    ]
    assert ["add" in {layer.op for layer in network.layers} for network in networks] == [
        True,
        False,
    ]


@pytest.mark.parametrize(("multiplier", "width"), [(1.4, 1792), (1.0, 1280), (0.35, 1280)])
def test_the_head_of_mobilenet_v2_only_grows(multiplier, width):
    network = build_network(VARIANTS["mobilenet-v2"].spec, multiplier=multiplier)
    assert network.layers[-1].input_shape == (width,)


@pytest.mark.parametrize("name", ["a1", "A1", "mnasnet-a1", " MnasNet-A1 "])
def test_a_variant_is_found_by_either_name(name):
    assert find_variant(name).spec.name == "mnasnet-a1"


@pytest.mark.parametrize(
    ("name", "nearest"), [("a2", "a1"), ("smal", "small"), ("mobilenetv2", "mobilenet-v2")]
)
def test_an_unknown_variant_gets_the_nearest(name, nearest):
    with pytest.raises(SpecError, match=f"did you mean '{nearest}'"):
        find_variant(name)


def test_a_variant_like_none_gets_the_list():
    with pytest.raises(SpecError, match="known: a1, b1, small, d1, d1-320, mobilenet-v2"):
        find_variant("zzzzzzzz")
