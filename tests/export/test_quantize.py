"""The numbers of int8: what is stored stands for the real value to half a step."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnasnet_deploy.export.quantize import (
    Range,
    activation_quantization,
    quantize_bias,
    quantize_constant,
    quantize_weights,
    weight_scales,
)

finite = st.floats(-1e4, 1e4, width=32)


@given(finite, finite)
def test_zero_is_exact_and_the_range_is_covered_to_a_step(one: float, other: float) -> None:
    low, high = min(one, other), max(one, other)
    found = activation_quantization(Range(low, high))
    assert -128 <= found.zero_point <= 127
    step = found.scale * 1.001
    assert (-128 - found.zero_point) * found.scale <= min(low, 0.0) + step
    assert (127 - found.zero_point) * found.scale >= max(high, 0.0) - step


@given(st.integers(0, 2**32 - 1), st.sampled_from([0, 3, None]))
def test_weights_come_back_within_half_a_step(seed: int, axis: int | None) -> None:
    generator = np.random.default_rng(seed)
    spread = 10.0 ** generator.uniform(-4, 2)
    kernel = (generator.normal(0, spread, (4, 3, 3, 5))).astype(np.float32)
    scales = weight_scales(kernel, axis)
    stored = quantize_weights(kernel, axis, scales)
    shape = [1, 1, 1, 1]
    if axis is not None:
        shape[axis] = -1
    real = stored * scales.reshape(shape)
    assert np.abs(stored.astype(int)).max() == 127
    assert (np.abs(real - kernel) <= scales.reshape(shape) * 0.5001).all()


def test_a_dead_channel_keeps_its_bias() -> None:
    kernel = np.zeros((2, 1, 1, 4), np.float32)
    kernel[0] = 1.0
    bias = np.array([0.5, -3.0], np.float32)
    scales = weight_scales(kernel, 0, bias=bias, input_scale=0.02, output_scale=0.05)
    stored = quantize_bias(bias, 0.02, scales)
    assert np.allclose(stored * 0.02 * scales.astype(np.float64), bias, rtol=1e-6)
    assert (0.02 * scales / 0.05 >= 2.0**-32).all()  # what XNNPACK accepts


def test_a_tensor_that_never_leaves_zero_has_a_scale() -> None:
    assert activation_quantization(Range(0.0, 0.0)).scale > 0.0


@pytest.mark.parametrize(
    "mean", [(123.675, 116.28, 103.53), (127.5, 127.5, 127.5), (1.0, 2.0, 250.0), (9.0, 9.1, 9.2)]
)
def test_constants_are_hit_far_better_than_by_their_range(mean: tuple[float, ...]) -> None:
    values = np.array(mean, np.float32)
    stored, found = quantize_constant(values)
    error = np.abs((stored.astype(np.float64) - found.zero_point) * found.scale - values).max()
    assert error <= values.max() / 255 / 6
