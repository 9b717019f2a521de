"""Seeded initial weights with sane activations, in closed form and the same on every machine.

A network with naive random weights shrinks its activations by 1e-9 through the blocks; quantizing
it, or even loading it, then fails for reasons no trained network has. Here every kernel is He-like
and the moving statistics of every batch norm are what the layer's input predicts, followed through
the network by arithmetic alone: no forward pass, no image.

Every output channel's kernel has the second moment of He initialisation exactly, and exactly its
share of it in the direction of constant input: photos are smooth and activations behind a ReLU all
positive, so in narrow layers chance would make or break whole blocks there.

Kernels come from 16-bit pieces of raw PCG64 words, sums are of integers, and the rest are single
correctly rounded operations: the same numbers on every machine and with every numpy. Only the
moving variances depend on the resolution (small maps see more of their padding).
"""

import math
import zlib

import numpy as np
import numpy.typing as npt

from mnasnet_deploy.arch.network import IMAGE, Layer, Network
from mnasnet_deploy.errors import InputError
from mnasnet_deploy.weights.canonical import FloatArray, Weights, WeightSource, kernel_shape

__all__ = ["initial_weights"]

MAX_SEED = 2**32 - 1
# Second moment of ImageNet photos after normalisation: mean and standard deviation of a channel are
# 0 and 1 over the data set by construction.
PHOTO_MOMENT = 1.0
# He et al. 2015 (arXiv 1502.01852): twice the input's second moment, because a ReLU halves it.
HE_GAIN = 2.0
# Half of a symmetric distribution's second moment passes a ReLU.
RELU_SHARE = 0.5
# A gate is sigmoid(z); with z near 0 its second moment is 1/4 plus a sixteenth of that of z. Small
# logits: a larger activation opens its own gate, and would grow from block to block.
GATE_LOGIT_MOMENT = 1 / 16
GATE_MOMENT = 0.25 + GATE_LOGIT_MOMENT / 16
LOGIT_MOMENT = 4.0


def initial_weights(network: Network, seed: int = 0) -> Weights:
    """Make untrained weights for a network.

    The test of this function is that the standard deviation of every block's output lies between
    0.1 and 10 on photos, for every variant and multiplier.

    Args:
        network: what to fill.
        seed: 0 to 2**32 - 1; every tensor draws from its own stream, so equal names and shapes get
            equal kernels whatever else the network holds.

    Raises:
        InputError: the seed is out of range.
    """
    if not 0 <= seed <= MAX_SEED:
        raise InputError(f"seed {seed} must be 0 to {MAX_SEED}")
    tensors: dict[str, FloatArray] = {}
    moments = {IMAGE: PHOTO_MOMENT}
    for layer in network.layers:
        incoming = moments[layer.inputs[0]]
        if layer.weights:
            moments[layer.name] = _fill(layer, incoming, seed, tensors)
        elif layer.op == "add":
            moments[layer.name] = sum(moments[name] for name in layer.inputs)
        elif layer.op == "multiply":
            moments[layer.name] = incoming * GATE_MOMENT
        else:  # a mean keeps the part that does not vary; its exact share only scales a gate
            moments[layer.name] = incoming
    source = WeightSource(label=f"random:{seed}", trained=False)
    return Weights(tensors=tensors, source=source)


def _fill(layer: Layer, incoming: float, seed: int, tensors: dict[str, FloatArray]) -> float:
    """Draw one layer's tensors; return the second moment of its output."""
    outputs = layer.output_shape[-1]
    kernel = _he_kernel(f"{layer.weights}.kernel", kernel_shape(layer), layer.op, seed)
    tensors[f"{layer.weights}.kernel"] = kernel
    if layer.batch_norm:
        moment = HE_GAIN * incoming * _coverage(layer)
        for part, value in (("gamma", 1.0), ("beta", 0.0), ("mean", 0.0), ("variance", moment)):
            tensors[f"{layer.weights}.bn.{part}"] = np.full(outputs, value, np.float32)
        return 1.0 if layer.activation == "none" else RELU_SHARE
    wanted = incoming
    if layer.op == "dense":
        wanted = LOGIT_MOMENT
    elif layer.activation == "none":  # the expansion of a squeeze-excite
        wanted = GATE_LOGIT_MOMENT
    kernel *= np.float32(math.sqrt(wanted / (HE_GAIN * incoming)))
    tensors[f"{layer.weights}.bias"] = np.zeros(outputs, np.float32)
    return wanted if layer.activation == "none" else wanted * RELU_SHARE


def _he_kernel(name: str, shape: tuple[int, ...], op: str, seed: int) -> FloatArray:
    """Random kernel; over each output channel sum(w^2) = 2 and |sum(w)| = sqrt(2)."""
    values = _odd_integers(name, math.prod(shape), seed).reshape(shape)
    axes = (0, 1) if op == "depthwise" else tuple(range(len(shape) - 1))
    taps = math.prod(shape[axis] for axis in axes)
    total = values.sum(axis=axes, keepdims=True, dtype=np.int64).astype(np.float64)
    squares = (values * values).sum(axis=axes, keepdims=True, dtype=np.int64).astype(np.float64)
    varying = np.maximum(squares - total * total / taps, 1.0)  # around the mean
    constant = np.where(total < 0, -1.0, 1.0) * math.sqrt(HE_GAIN) / taps
    factor = np.sqrt((HE_GAIN - HE_GAIN / taps) / varying)
    kernel = values.astype(np.float32)
    kernel -= (total / taps).astype(np.float32)
    kernel *= factor.astype(np.float32)
    kernel += constant.astype(np.float32)
    return kernel


def _odd_integers(name: str, count: int, seed: int) -> npt.NDArray[np.int64]:
    """Odd integers, uniform between -65535 and 65535, one stream for each name."""
    stream = np.random.PCG64(np.random.SeedSequence([seed, zlib.crc32(name.encode())]))
    words = stream.random_raw((count + 3) // 4).astype("<u8")
    return words.view("<u2")[:count].astype(np.int64) * 2 - 65_535


def _coverage(layer: Layer) -> float:
    """Mean share of kernel taps that lie on the map and not on its SAME padding."""
    share = 1.0
    for side, kernel, stride in zip(layer.input_shape, layer.kernel, layer.stride, strict=False):
        outputs = -(-side // stride)
        before = max((outputs - 1) * stride + kernel - side, 0) // 2
        taps = 0
        for index in range(outputs):
            start = index * stride - before
            taps += min(start + kernel, side) - max(start, 0)
        share *= taps / (outputs * kernel)
    return share
