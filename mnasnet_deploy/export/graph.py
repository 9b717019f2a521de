"""Network + folded weights + options -> the float operators every scheme is written from.

This is where the two export options live that are not layers of the network: the raw-pixel front
and the softmax. Weights are laid out here, once for all schemes, as TFLite wants them.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from mnasnet_deploy.arch.network import IMAGE, Layer, Network
from mnasnet_deploy.arch.variants import Activation
from mnasnet_deploy.export.contract import DType, InputKind, OutputKind
from mnasnet_deploy.weights.canonical import FloatArray, Folded

__all__ = ["FRONT", "Graph", "Kind", "Operation", "Options", "lower"]

Kind = Literal[
    "SUB", "PAD", "CONV_2D", "DEPTHWISE_CONV_2D", "MEAN", "LOGISTIC", "MUL", "ADD",
    "FULLY_CONNECTED", "SOFTMAX",
]  # fmt: skip

FRONT = "front"
"""Name of the subtraction of the mean; its input is the raw image."""

_KINDS: dict[str, Kind] = {
    "conv": "CONV_2D",
    "depthwise": "DEPTHWISE_CONV_2D",
    "mean": "MEAN",
    "sigmoid": "LOGISTIC",
    "multiply": "MUL",
    "add": "ADD",
    "dense": "FULLY_CONNECTED",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What an export may choose about a file's two ends.

    Attributes:
        input: `raw` bakes the normalisation in; `normalized` keeps the original's contract.
        io: element type of an int8 file's input and output; None for the default, uint8 with raw
            input and int8 with normalized input. The other schemes take and give float32.
        softmax: end in probabilities instead of logits.
    """

    input: InputKind = "raw"
    io: DType | None = None
    softmax: bool = False

    @property
    def integer_io(self) -> DType:
        """The element type an int8 file really takes."""
        return self.io or ("uint8" if self.input == "raw" else "int8")

    @property
    def output(self) -> OutputKind:
        """What the file gives."""
        return "probabilities" if self.softmax else "logits"


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One float operator; its output tensor has its name.

    Attributes:
        name: of the layer, `block4/depthwise`.
        kind: TFLite's name of the operator.
        inputs: names of earlier operations, or `IMAGE`.
        shape: of the output, batch 1 included.
        kernel: CONV_2D [out,kh,kw,in], DEPTHWISE_CONV_2D [1,kh,kw,channels], FULLY_CONNECTED
            [out,in], SUB the mean [3]; None elsewhere.
        bias: [out] where there is a kernel, but for SUB.
        stride: (height, width).
        valid: the convolution pads nothing; a PAD in front of it has done it. Else SAME.
        pads: of a PAD, zeros (before, after) along height and along width.
        activation: fused behind it.
        keep_dims: of a MEAN over height and width.
    """

    name: str
    kind: Kind
    inputs: tuple[str, ...]
    shape: tuple[int, ...]
    kernel: FloatArray | None = None
    bias: FloatArray | None = None
    stride: tuple[int, int] = (1, 1)
    valid: bool = False
    pads: tuple[tuple[int, int], tuple[int, int]] = ((0, 0), (0, 0))
    activation: Activation = "none"
    keep_dims: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """Operators in the order they run; the last one is the output."""

    network: Network
    options: Options
    operations: tuple[Operation, ...]

    @property
    def input_shape(self) -> tuple[int, int, int, int]:
        """[1, height, width, 3]."""
        side = self.network.resolution
        return (1, side, side, 3)


def lower(network: Network, folded: Mapping[str, Folded], options: Options) -> Graph:
    """Turn layers into TFLite operators.

    The raw-pixel front is exact: the standard deviation divides the stem's kernel, the mean is one
    subtraction in front of it. Folding the mean into the stem's bias too would be wrong at the
    borders, where SAME pads with zeros of the *normalised* image.

    Where a layer pads as PyTorch does and that differs from SAME, a PAD stands in front of it and
    the convolution is VALID. XNNPACK runs the two as one.
    """
    operations = []
    if options.input == "raw":
        operations.append(
            Operation(
                name=FRONT,
                kind="SUB",
                inputs=(IMAGE,),
                shape=(1, network.resolution, network.resolution, 3),
                kernel=np.array(network.mean, np.float32),
            )
        )
    for layer in network.layers:
        operations += _operations(layer, network, folded, options)
    if options.softmax:
        operations.append(
            Operation(
                name="softmax",
                kind="SOFTMAX",
                inputs=(operations[-1].name,),
                shape=operations[-1].shape,
            )
        )
    return Graph(network=network, options=options, operations=tuple(operations))


def _operations(
    layer: Layer, network: Network, folded: Mapping[str, Folded], options: Options
) -> Iterator[Operation]:
    inputs, kernel, bias = layer.inputs, None, None
    if layer.weights:
        kernel, bias = folded[layer.weights].kernel, folded[layer.weights].bias
        if options.input == "raw" and IMAGE in inputs:
            inputs = (FRONT,)
            kernel = kernel / np.array(network.std, np.float32).reshape(3, 1)
        kernel = _tflite_layout(layer, kernel)
    if layer.padding == "symmetric":
        pad = _pad(layer, inputs)
        yield pad
        inputs = (pad.name,)
    yield Operation(
        name=layer.name,
        kind=_KINDS[layer.op],
        inputs=inputs,
        shape=(1, *layer.output_shape),
        kernel=kernel,
        bias=bias,
        stride=layer.stride,
        valid=layer.padding == "symmetric",
        activation=layer.activation,
        keep_dims=layer.op == "mean" and len(layer.output_shape) == 3,
    )


def _pad(layer: Layer, inputs: tuple[str, ...]) -> Operation:
    height, width, channels = layer.input_shape
    (top, bottom), (left, right) = layer.pads
    return Operation(
        name=f"{layer.name}/pad",
        kind="PAD",
        inputs=inputs,
        shape=(1, top + height + bottom, left + width + right, channels),
        pads=layer.pads,
    )


def _tflite_layout(layer: Layer, kernel: FloatArray) -> FloatArray:
    if layer.op == "depthwise":
        return kernel.reshape(1, *kernel.shape[:3])
    if layer.op == "dense":
        return np.ascontiguousarray(kernel.T)
    return np.ascontiguousarray(kernel.transpose(3, 0, 1, 2))
