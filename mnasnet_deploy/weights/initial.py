"""Seeded initial weights with sane activations, in closed form and the same on every machine.

A network with naive random weights shrinks its activations by 1e-9 through the blocks; quantizing
it, or even loading it, then fails for reasons no trained network has. Here every kernel is He-like
and the moving statistics of every batch norm are what the layer's input predicts, followed through
the network by arithmetic alone: no forward pass, no image.

Kernels are uniform, not normal: a raw PCG64 word scaled by a power of two and one correctly rounded
factor is the same number on every machine and with every numpy, a logarithm is not. Only the moving
variances depend on the resolution (small maps see more of their padding).
"""

import math
import zlib

import numpy as np

from mnasnet_deploy.arch.network import IMAGE, Layer, Network
from mnasnet_deploy.errors import InputError
from mnasnet_deploy.weights.canonical import FloatArray, Weights, WeightSource, kernel_shape

__all__ = ["initial_weights"]

MAX_SEED = 2**32 - 1
# Second moment of ImageNet photos after normalisation: mean and standard deviation of a channel are
# 0 and 1 over the data set by construction.
PHOTO_MOMENT = 1.0
# Half of a symmetric distribution's second moment passes a ReLU.
RELU_SHARE = 0.5
# A gate is sigmoid(z); with z near 0 its second moment is 1/4 plus a sixteenth of z's.
GATE_LOGIT_MOMENT = 0.25
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
    shape, outputs = kernel_shape(layer), layer.output_shape[-1]
    fan_in = math.prod(shape[:2]) if layer.op == "depthwise" else math.prod(shape[:-1])
    kernel = _uniform(f"{layer.weights}.kernel", shape, seed)
    tensors[f"{layer.weights}.kernel"] = kernel
    if layer.batch_norm:
        kernel *= np.float32(math.sqrt(2.0 / fan_in))
        moment = 2.0 * incoming * _coverage(layer)
        for part, value in (("gamma", 1.0), ("beta", 0.0), ("mean", 0.0), ("variance", moment)):
            tensors[f"{layer.weights}.bn.{part}"] = np.full(outputs, value, np.float32)
        return 1.0 if layer.activation == "none" else RELU_SHARE
    wanted = incoming
    if layer.op == "dense":
        wanted = LOGIT_MOMENT
    elif layer.activation == "none":  # the expansion of a squeeze-excite
        wanted = GATE_LOGIT_MOMENT
    kernel *= np.float32(math.sqrt(wanted / (fan_in * incoming)))
    tensors[f"{layer.weights}.bias"] = np.zeros(outputs, np.float32)
    return wanted if layer.activation == "none" else wanted * RELU_SHARE


def _uniform(name: str, shape: tuple[int, ...], seed: int) -> FloatArray:
    """Uniform values with mean 0 and variance 1, one stream for each name."""
    stream = np.random.PCG64(np.random.SeedSequence([seed, zlib.crc32(name.encode())]))
    size = math.prod(shape)
    words = stream.random_raw((size + 1) // 2).view("<u4" if np.little_endian else ">u4")[:size]
    values = (words >> 8).astype(np.float32)  # 24 bits: exact in float32
    values -= np.float32(2**23 - 0.5)
    values *= np.float32(math.sqrt(3.0) / 2**23)
    return values.reshape(shape)


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
