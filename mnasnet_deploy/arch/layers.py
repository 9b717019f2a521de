"""Layers: what one operator of the network is, and how stages of blocks become a flat list of them.

The only place that knows what a block is.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from mnasnet_deploy.arch.blocks import Block
from mnasnet_deploy.arch.variants import Activation, Spec
from mnasnet_deploy.errors import SpecError

__all__ = [
    "IMAGE",
    "Layer",
    "Op",
    "Padding",
    "Residual",
    "Scale",
    "Shape",
    "lay_out",
    "scale_channels",
]

Op = Literal["conv", "depthwise", "mean", "sigmoid", "multiply", "add", "dense"]
Shape = tuple[int, ...]
Padding = Literal["same", "symmetric"]
Residual = Literal["declared", "real"]

IMAGE = "image"  # what the first layer reads

MAX_SCALED_CHANNELS = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One operator with the shapes it runs at.

    Attributes:
        name: unique, `block4/depthwise`; flat blocks are counted from 0.
        op: what it does; every `conv`, `depthwise` and `dense` has weights.
        inputs: names of the layers it reads, or `IMAGE`.
        input_shape: of the first input, without the batch: (height, width, channels).
        output_shape: (height, width, channels), or (channels,) behind the last pooling.
        kernel: (height, width) of a convolution.
        stride: (height, width) of a convolution.
        padding: of a convolution. `symmetric`, kernel // 2 zeros on every side, stands only where
            that is not what SAME does: at strides above 1 on maps that leave a remainder.
        activation: fused behind it.
        weights: canonical name of its tensors without the last part, `blocks.4.depthwise`.
        batch_norm: its output is batch-normalised before the activation.
        bias: it has a bias of its own.
    """

    name: str
    op: Op
    inputs: tuple[str, ...]
    input_shape: Shape
    output_shape: Shape
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    padding: Padding = "same"
    activation: Activation = "none"
    weights: str = ""
    batch_norm: bool = False
    bias: bool = False

    @property
    def block(self) -> str:
        """The room the layer lies in: `stem`, `block4`, `head`, `pool`, `classifier`."""
        return self.name.partition("/")[0]

    @property
    def pads(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Zeros a convolution really reads: (before, after) along height and along width."""
        height, width = (
            _pads(side, kernel, stride, self.padding)
            for side, kernel, stride in zip(
                self.input_shape, self.kernel, self.stride, strict=False
            )
        )
        return height, width


def scale_channels(
    channels: int, multiplier: float | None, *, divisor: int = 8, min_depth: int = 8
) -> int:
    """Scale a width and round it to the divisor, never losing more than 10 %.

    Source: round_filters in the original's mnasnet_model.py. A multiplier of None rounds nothing,
    not even to the divisor.
    """
    if multiplier is None:
        return channels
    wanted = channels * multiplier
    rounded = max(min_depth, int(wanted + divisor / 2) // divisor * divisor)
    if rounded < 0.9 * wanted:
        rounded += divisor
    return rounded


@dataclass(frozen=True, slots=True)
class Scale:
    """How widths are scaled: multiplier, divisor and smallest width."""

    multiplier: float | None
    divisor: int
    min_depth: int

    def __call__(self, channels: int) -> int:
        """Scale a width; SpecError where it becomes too large."""
        scaled = scale_channels(
            channels, self.multiplier, divisor=self.divisor, min_depth=self.min_depth
        )
        return _check_width(f"{channels} channels", scaled)


def lay_out(
    spec: Spec,
    scale: Scale,
    resolution: int,
    classes: int,
    *,
    padding: Padding,
    residual: Residual,
) -> Iterator[Layer]:
    """Yield stem, blocks, head and classifier, each reading what came before.

    Raises:
        SpecError: a width is out of range, or a residual joins different widths.
    """
    for layer in _layers(spec, scale, resolution, classes, residual):
        yield _padded(layer, padding)


def _layers(
    spec: Spec, scale: Scale, resolution: int, classes: int, residual: Residual
) -> Iterator[Layer]:
    stem_width = scale(spec.stem_channels) if spec.stem_scaled else spec.stem_channels
    last = Layer(
        name="stem",
        op="conv",
        inputs=(IMAGE,),
        input_shape=(resolution, resolution, 3),
        output_shape=_strided((resolution, resolution), (2, 2), stem_width),
        kernel=(3, 3),
        stride=(2, 2),
        activation=spec.activation,
        weights="stem",
        batch_norm=True,
    )
    yield last
    index = 0
    for block in spec.blocks:
        for repeat in range(block.repeats):
            declared = scale(block.output_channels if repeat else block.input_channels)
            stride = (1, 1) if repeat else block.stride
            for layer in _block(spec, block, index, last, declared, stride, scale, residual):
                yield layer
                last = layer
            index += 1
    head_width = spec.head_channels
    grows = spec.head_scaling == "up" and (scale.multiplier or 1.0) > 1.0
    if spec.head_scaling == "scaled" or grows:
        head_width = scale(head_width)
    head = _conv("head", last, head_width, spec.activation, weights="head")
    yield head
    pool = Layer(
        name="pool",
        op="mean",
        inputs=(head.name,),
        input_shape=head.output_shape,
        output_shape=(head_width,),
    )
    yield pool
    yield Layer(
        name="classifier",
        op="dense",
        inputs=(pool.name,),
        input_shape=pool.output_shape,
        output_shape=(classes,),
        weights="classifier",
        bias=True,
    )


def _block(
    spec: Spec,
    block: Block,
    index: int,
    source: Layer,
    declared: int,
    stride: tuple[int, int],
    scale: Scale,
    residual: Residual,
) -> Iterator[Layer]:
    """Yield expand, depthwise, squeeze-excite, project and add of one flat block.

    Squeeze-excite width and residual follow the *declared* input width, as in the original's
    _call_se and call: that matters where declared and real widths differ (mnasnet-small).
    """
    name, prefix = f"block{index}", f"blocks.{index}"
    real = source.output_shape[-1]
    last = source
    if block.expansion != 1:
        wide = _check_width(f"block {index}: {real} channels", real * block.expansion)
        last = _conv(f"{name}/expand", last, wide, spec.activation, weights=f"{prefix}.expand")
        yield last
    height, width, channels = last.output_shape
    last = Layer(
        name=f"{name}/depthwise",
        op="depthwise",
        inputs=(last.name,),
        input_shape=last.output_shape,
        output_shape=_strided((height, width), stride, channels),
        kernel=(block.kernel, block.kernel),
        stride=stride,
        activation=spec.activation,
        weights=f"{prefix}.depthwise",
        batch_norm=True,
    )
    yield last
    if block.squeeze_excite is not None:
        squeezed = max(1, int(declared * block.squeeze_excite))
        for layer in _squeeze_excite(spec, name, prefix, last, squeezed):
            yield layer
            last = layer
    output = scale(block.output_channels)
    last = _conv(f"{name}/project", last, output, "none", weights=f"{prefix}.project")
    yield last
    decisive = declared if residual == "declared" else real
    if block.residual and stride == (1, 1) and decisive == output:
        if real != output:
            raise SpecError(
                f"block {index} declares {declared} input channels and has a residual, "
                f"but {real} really arrive: add noskip, or declare the real width"
            )
        yield Layer(
            name=f"{name}/add",
            op="add",
            inputs=(last.name, source.name),
            input_shape=last.output_shape,
            output_shape=last.output_shape,
        )


def _squeeze_excite(
    spec: Spec, name: str, prefix: str, source: Layer, squeezed: int
) -> Iterator[Layer]:
    channels = source.output_shape[-1]
    mean = Layer(
        name=f"{name}/se/mean",
        op="mean",
        inputs=(source.name,),
        input_shape=source.output_shape,
        output_shape=(1, 1, channels),
    )
    yield mean
    reduce = _conv(
        f"{name}/se/reduce",
        mean,
        squeezed,
        spec.activation,
        weights=f"{prefix}.se.reduce",
        batch_norm=False,
    )
    yield reduce
    expand = _conv(
        f"{name}/se/expand",
        reduce,
        channels,
        "none",
        weights=f"{prefix}.se.expand",
        batch_norm=False,
    )
    yield expand
    sigmoid = Layer(
        name=f"{name}/se/sigmoid",
        op="sigmoid",
        inputs=(expand.name,),
        input_shape=expand.output_shape,
        output_shape=expand.output_shape,
    )
    yield sigmoid
    yield Layer(
        name=f"{name}/se/multiply",
        op="multiply",
        inputs=(source.name, sigmoid.name),
        input_shape=source.output_shape,
        output_shape=source.output_shape,
    )


def _conv(
    name: str,
    source: Layer,
    channels: int,
    activation: Activation,
    *,
    weights: str,
    batch_norm: bool = True,
) -> Layer:
    """A 1x1 convolution."""
    height, width, _ = source.output_shape
    return Layer(
        name=name,
        op="conv",
        inputs=(source.name,),
        input_shape=source.output_shape,
        output_shape=(height, width, channels),
        activation=activation,
        weights=weights,
        batch_norm=batch_norm,
        bias=not batch_norm,
    )


def _strided(size: tuple[int, int], stride: tuple[int, int], channels: int) -> Shape:
    """Output shape of a SAME convolution."""
    return (-(-size[0] // stride[0]), -(-size[1] // stride[1]), channels)


def _padded(layer: Layer, padding: Padding) -> Layer:
    """The layer with that padding, where it makes a difference."""
    if padding == "same" or layer.op not in ("conv", "depthwise"):
        return layer
    padded = replace(layer, padding=padding)
    return layer if padded.pads == layer.pads else padded


def _pads(side: int, kernel: int, stride: int, padding: Padding) -> tuple[int, int]:
    outputs = -(-side // stride)
    total = max((outputs - 1) * stride + kernel - side, 0)
    before = kernel // 2 if padding == "symmetric" else total // 2
    return before, max(total - before, 0)


def _check_width(meaning: str, width: int) -> int:
    if width > MAX_SCALED_CHANNELS:
        raise SpecError(f"{meaning} become {width}, more than {MAX_SCALED_CHANNELS}")
    return width
