"""The numbers of each scheme: weights, biases, scales. Arrays in, arrays out.

int8 follows the TFLite quantization specification: weights symmetric in -127..127, with a scale
for each output channel of a convolution, activations asymmetric per tensor in -128..127, bias
int32 with scale input x weight.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mnasnet_deploy.weights.canonical import FloatArray

__all__ = [
    "PIXELS",
    "PROBABILITIES",
    "Quantization",
    "Range",
    "Ranges",
    "activation_quantization",
    "quantize_bias",
    "quantize_constant",
    "quantize_weights",
    "weight_scales",
]

Int8Array = npt.NDArray[np.int8]
Int32Array = npt.NDArray[np.int32]

# A tensor that never leaves 0 would get scale 0, which no kernel accepts.
MIN_SCALE = 1e-6
# XNNPACK refuses a rescaling factor below 2**-32; channels that small are dead anyway.
MIN_RESCALING = 2.0**-30
# A bias must fit int32 with room for the sum it starts.
MAX_BIAS_STEPS = 2.0**30


class Range(NamedTuple):
    """Smallest and largest value a tensor takes."""

    low: float
    high: float


Ranges = Mapping[str, Range]
"""Operation name -> range of its output."""


@dataclass(frozen=True, slots=True)
class Quantization:
    """real = (stored - zero_point) * scale, for a whole tensor stored as int8."""

    scale: float
    zero_point: int


PIXELS = Quantization(1.0, -128)
"""Grey levels 0..255: as uint8 with zero point 0 they are the bytes themselves."""

PROBABILITIES = Quantization(1.0 / 256.0, -128)
"""Fixed by the TFLite quantization specification for LOGISTIC and SOFTMAX."""


def activation_quantization(values: Range) -> Quantization:
    """Scale and zero point for a range; 0 is always representable exactly."""
    low, high = min(values.low, 0.0), max(values.high, 0.0)
    scale = float(np.float32(max((high - low) / 255.0, MIN_SCALE)))
    zero_point = round(-128 - low / scale)
    return Quantization(scale, min(max(zero_point, -128), 127))


def weight_scales(
    kernel: FloatArray,
    axis: int | None,
    *,
    bias: FloatArray | None = None,
    input_scale: float = 1.0,
    output_scale: float = 0.0,
) -> FloatArray:
    """Symmetric scale per output channel: largest magnitude over 127.

    Channels whose magnitude is next to nothing (dead after folding) get a scale that keeps their
    bias within int32 and their rescaling within what XNNPACK accepts.

    Args:
        kernel: in TFLite layout.
        axis: of the output channels; None for one scale in all.
        bias: [channels], float.
        input_scale: of the activation that is multiplied.
        output_scale: of the result.

    Returns:
        [channels] or [1] float32, all above 0.
    """
    others = tuple(i for i in range(kernel.ndim) if i != axis)
    highest, lowest = kernel.max(axis=others), kernel.min(axis=others)
    largest = np.atleast_1d(np.maximum(highest, -lowest)).astype(np.float64)
    floor = np.full(largest.shape, max(MIN_RESCALING * output_scale / input_scale, 1e-30))
    if bias is not None:
        smallest = np.abs(bias.astype(np.float64)) / (MAX_BIAS_STEPS * input_scale)
        floor = np.maximum(floor, smallest if axis is not None else smallest.max())
    scales: FloatArray = np.maximum(largest / 127.0, floor).astype(np.float32)
    return scales


def quantize_weights(kernel: FloatArray, axis: int | None, scales: FloatArray) -> Int8Array:
    """Round a kernel to int8 by its scales, one for each step along `axis` or one in all."""
    shape = [1] * kernel.ndim
    if axis is not None:
        shape[axis] = -1
    steps = kernel * (1.0 / scales.astype(np.float64)).astype(np.float32).reshape(shape)
    np.rint(steps, out=steps)
    # The reciprocal may push the largest weight a hair beyond 127.
    np.clip(steps, -127, 127, out=steps)
    return steps.astype(np.int8)


def quantize_bias(bias: FloatArray, input_scale: float, scales: FloatArray) -> Int32Array:
    """Round a bias to int32 in units of input scale x weight scale."""
    steps = np.rint(bias.astype(np.float64) / (input_scale * scales.astype(np.float64)))
    return steps.astype(np.int32)


def quantize_constant(values: FloatArray) -> tuple[Int8Array, Quantization]:
    """Round a few positive constants to int8 with the scale that hits them best.

    Per-tensor min/max would miss the three channel means by up to a quarter of a grey level; among
    somewhat wider scales there is one that nearly divides all of them.

    Returns:
        The stored values and their quantization; zero point -128.
    """
    exact = values.astype(np.float64)
    tight = exact.max() / 255.0
    candidates = np.linspace(tight, 2.0 * tight, 20_001).astype(np.float32).astype(np.float64)
    steps = np.rint(exact[:, None] / candidates)
    errors = np.abs(steps * candidates - exact[:, None]).max(axis=0)
    best = int(errors.argmin())
    stored = (steps[:, best] - 128).clip(-128, 127).astype(np.int8)
    return stored, Quantization(float(candidates[best]), -128)
