"""Counts against everything published."""

import math

import pytest

from mnasnet_deploy.arch.counts import count_layer, count_network
from mnasnet_deploy.arch.network import Layer, build_network
from mnasnet_deploy.arch.published import find_published, published_rows
from mnasnet_deploy.arch.variants import VARIANTS

A1_ROWS = published_rows("mnasnet-a1")
V2_ROWS = published_rows("mobilenet-v2")


def _counts(variant, multiplier, resolution=224):
    spec = VARIANTS[variant].spec
    return count_network(build_network(spec, multiplier=multiplier, resolution=resolution))


def _id(row):
    return f"{row.multiplier}-{row.resolution}"


def test_every_published_row_is_there():
    assert len(A1_ROWS) == 25
    assert len(V2_ROWS) == 22
    assert published_rows("mnasnet-b1") == ()


@pytest.mark.parametrize("row", A1_ROWS, ids=_id)
def test_a1_multi_adds_are_the_published_ones_to_the_printed_digit(row):
    counts = _counts("a1", row.multiplier, row.resolution)
    assert f"{counts.multi_adds / 1e6:.1f}" == row.cells["multi_adds_m"]


@pytest.mark.parametrize("row", A1_ROWS, ids=_id)
def test_a1_parameters_are_the_published_ones_to_the_printed_digit(row):
    counts = _counts("a1", row.multiplier, row.resolution)
    assert f"{counts.params / 1e6:.1f}" == row.cells["params_m"]


@pytest.mark.parametrize("row", V2_ROWS, ids=_id)
def test_mobilenet_v2_counts_are_within_the_published_rounding(row):
    counts = _counts("mobilenet-v2", row.multiplier, row.resolution)
    assert abs(counts.macs / 1e6 - row.work_m) <= 1
    assert abs(counts.params / 1e6 - row.params_m) <= 0.05


@pytest.mark.parametrize(
    ("variant", "multiplier", "params"),
    [
        ("a1", 1.4, 6_105_992),
        ("a1", 1.0, 3_887_038),
        ("a1", 0.75, 2_912_278),
        ("a1", 0.5, 2_082_006),
        ("b1", 1.0, 4_383_312),
        ("small", 1.0, 2_030_264),
        ("d1", None, 3_638_404),
        ("d1", 1.0, 3_656_104),
    ],
)
def test_parameters_are_exactly_those_of_the_original(variant, multiplier, params):
    assert _counts(variant, multiplier).params == params


@pytest.mark.parametrize(
    ("variant", "macs_m", "digits"), [("a1", "311.58", 2), ("small", "68.339", 3)]
)
def test_macs_are_those_of_the_original(variant, macs_m, digits):
    assert f"{_counts(variant, 1.0).macs / 1e6:.{digits}f}" == macs_m


def test_multi_adds_of_a1_to_three_digits():
    assert f"{_counts('a1', 1.0).multi_adds / 1e6:.3f}" == "315.232"
    assert f"{_counts('a1', 0.35, 96).multi_adds / 1e6:.3f}" == "12.720"


def test_layers_add_up_to_the_network():
    network = build_network(VARIANTS["a1"].spec)
    layers = [count_layer(layer) for layer in network.layers]
    total = count_network(network)
    assert sum(counts.params for counts in layers) == total.params
    assert sum(counts.macs for counts in layers) == total.macs
    assert math.fsum(counts.multi_adds for counts in layers) == total.multi_adds


def test_a_convolution_by_hand():
    layer = Layer(
        name="stem",
        op="conv",
        inputs=("image",),
        input_shape=(8, 8, 3),
        output_shape=(4, 4, 5),
        kernel=(3, 3),
        stride=(2, 2),
        batch_norm=True,
    )
    counts = count_layer(layer)
    assert counts.params == 3 * 3 * 3 * 5 + 2 * 5
    assert counts.macs == 4 * 4 * 5 * 27
    assert counts.multi_adds == 4 * 4 * 5 * 27 + 4 * 4 * 5 / 2


def test_both_readings_of_the_row_that_contradicts_itself_are_kept():
    row = find_published("mnasnet-a1", 0.35, 160)
    assert row is not None
    assert (row.top1, row.top1_repeated) == (52.3, 59.3)


def test_an_unpublished_combination_has_no_row():
    assert find_published("mnasnet-a1", 0.5, 161) is None
    assert find_published("mnasnet-a1", None, 224) is None
