"""Spec x multiplier x resolution x classes -> Network: one flat tuple of layers with shapes.

Everything that knows the network (counts, the TFLite writer, the Keras graph, weight names, the
printed summary) reads this tuple. Nobody else knows what a block is.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal

from mnasnet_deploy.arch.blocks import Block
from mnasnet_deploy.arch.variants import MAX_CLASSES, Activation, Spec
from mnasnet_deploy.errors import SpecError

__all__ = [
    "IMAGE",
    "Layer",
    "Network",
    "Op",
    "Shape",
    "build_network",
    "parse_multiplier",
    "render_multiplier",
    "scale_channels",
]

Op = Literal["conv", "depthwise", "mean", "sigmoid", "multiply", "add", "dense"]
Shape = tuple[int, ...]

IMAGE = "image"  # what the first layer reads

MAX_MULTIPLIER = 8.0
MIN_RESOLUTION, MAX_RESOLUTION = 32, 2048
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
        stride: (height, width) of a convolution; padding is SAME.
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
    activation: Activation = "none"
    weights: str = ""
    batch_norm: bool = False
    bias: bool = False

    @property
    def block(self) -> str:
        """The room the layer lies in: `stem`, `block4`, `head`, `pool`, `classifier`."""
        return self.name.partition("/")[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A network that can be counted, filled with weights and written.

    Attributes:
        name: of the spec, `mnasnet-a1`.
        multiplier: depth multiplier, None for no rounding of channels at all.
        resolution: side of the square input in pixels.
        classes: width of the output.
        mean: per channel in grey levels 0..255, RGB.
        std: per channel in grey levels, RGB.
        batch_norm_epsilon: added to the variance before the root.
        divisor: channels are rounded to multiples of it.
        min_depth: channels are never fewer.
        layers: in the order they run; each reads only earlier ones or the image.
    """

    name: str
    multiplier: float | None
    resolution: int
    classes: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    batch_norm_epsilon: float
    divisor: int = 8
    min_depth: int = 8
    layers: tuple[Layer, ...] = field(repr=False)


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


def parse_multiplier(text: str) -> float | None:
    """Read a multiplier; `none` means None.

    Raises:
        SpecError: not a number above 0 and at most 8.
    """
    if text.strip().lower() == "none":
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    _check_multiplier(value, text)
    return value


def render_multiplier(multiplier: float | None) -> str:
    """The shortest decimal that reads back: `1.0`, `0.35`, or `none`."""
    if multiplier is None:
        return "none"
    return f"{Decimal(repr(float(multiplier))):f}"


def build_network(
    spec: Spec,
    *,
    multiplier: float | None = 1.0,
    resolution: int = 224,
    classes: int | None = None,
    divisor: int = 8,
    min_depth: int | None = None,
) -> Network:
    """Lay a spec out as a flat list of layers.

    Args:
        spec: the architecture.
        multiplier: above 0, at most 8; None leaves every width as written.
        resolution: side of the square input, 32 to 2048 pixels.
        classes: 1 to 100,000; the spec's own where None.
        divisor: round widths to multiples of it, 1 to 256.
        min_depth: smallest width, the divisor where None.

    Raises:
        SpecError: a number is out of range, or a residual joins different widths.
    """
    _check_multiplier(multiplier, repr(multiplier))
    classes = spec.classes if classes is None else classes
    min_depth = divisor if min_depth is None else min_depth
    _check_whole("resolution", resolution, MIN_RESOLUTION, MAX_RESOLUTION)
    _check_whole("number of classes", classes, 1, MAX_CLASSES)
    _check_whole("divisor", divisor, 1, 256)
    _check_whole("min-depth", min_depth, 1, 8192)
    scale = _Scale(multiplier, divisor, min_depth)
    return Network(
        name=spec.name,
        multiplier=multiplier,
        resolution=resolution,
        classes=classes,
        mean=spec.mean,
        std=spec.std,
        batch_norm_epsilon=spec.batch_norm_epsilon,
        divisor=divisor,
        min_depth=min_depth,
        layers=tuple(_layers(spec, scale, resolution, classes)),
    )


@dataclass(frozen=True, slots=True)
class _Scale:
    multiplier: float | None
    divisor: int
    min_depth: int

    def __call__(self, channels: int) -> int:
        scaled = scale_channels(
            channels, self.multiplier, divisor=self.divisor, min_depth=self.min_depth
        )
        return _check_width(f"{channels} channels", scaled)


def _layers(spec: Spec, scale: _Scale, resolution: int, classes: int) -> Iterator[Layer]:
    """Yield stem, blocks, head and classifier, each reading what came before."""
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
            for layer in _block(spec, block, index, last, declared, stride, scale):
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
    scale: _Scale,
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
    if block.residual and stride == (1, 1) and declared == output:
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


def _check_multiplier(value: float | None, shown: str) -> None:
    if value is not None and not 0.0 < value <= MAX_MULTIPLIER:
        raise SpecError(
            f"multiplier {shown} must be a number above 0 and at most {MAX_MULTIPLIER:g}, or 'none'"
        )


def _check_width(meaning: str, width: int) -> int:
    if width > MAX_SCALED_CHANNELS:
        raise SpecError(f"{meaning} become {width}, more than {MAX_SCALED_CHANNELS}")
    return width


def _check_whole(meaning: str, value: int, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise SpecError(f"{meaning} {value} must be a whole number from {low} to {high}")
