"""Spec x multiplier x resolution x classes -> Network: one flat tuple of layers with shapes.

Everything that knows the network (counts, the TFLite writer, the Keras graph, weight names, the
printed summary) reads this tuple.
"""

import math
from dataclasses import dataclass, field, replace
from decimal import Decimal

from mnasnet_deploy.arch.layers import (
    IMAGE,
    Layer,
    Op,
    Padding,
    Residual,
    Scale,
    Shape,
    lay_out,
    scale_channels,
)
from mnasnet_deploy.arch.variants import MAX_CLASSES, Spec
from mnasnet_deploy.errors import SpecError

__all__ = [
    "IMAGE",
    "Layer",
    "Network",
    "Op",
    "Padding",
    "Residual",
    "Shape",
    "adapt_network",
    "build_network",
    "parse_multiplier",
    "render_multiplier",
    "scale_channels",
]

MAX_MULTIPLIER = 8.0
MIN_RESOLUTION, MAX_RESOLUTION = 32, 2048


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
        padding: `same` as TensorFlow pads, or `symmetric` as PyTorch does.
        residual: whether the `declared` or the `real` input width decides on one. They differ in
            the first block of mnasnet-small, where the original has none and PyTorch has.
        spec: what it was built from.
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
    padding: Padding = "same"
    residual: Residual = "declared"
    spec: Spec = field(repr=False)
    layers: tuple[Layer, ...] = field(repr=False)


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
    padding: Padding = "same",
    residual: Residual = "declared",
) -> Network:
    """Lay a spec out as a flat list of layers.

    Args:
        spec: the architecture.
        multiplier: above 0, at most 8; None leaves every width as written.
        resolution: side of the square input, 32 to 2048 pixels.
        classes: 1 to 100,000; the spec's own where None.
        divisor: round widths to multiples of it, 1 to 256.
        min_depth: smallest width, the divisor where None.
        padding: `same`, or `symmetric` for weights that were trained in PyTorch.
        residual: `declared`, or `real` for the same; see `Network`.

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
    scale = Scale(multiplier, divisor, min_depth)
    layers = lay_out(spec, scale, resolution, classes, padding=padding, residual=residual)
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
        padding=padding,
        residual=residual,
        spec=spec,
        layers=tuple(layers),
    )


def adapt_network(
    network: Network,
    *,
    padding: Padding,
    residual: Residual,
    batch_norm_epsilon: float | None = None,
    mean: tuple[float, float, float] | None = None,
    std: tuple[float, float, float] | None = None,
) -> Network:
    """The same network as other weights want it computed.

    Shapes, weights and work stay; only a residual more or less may run.

    Args:
        network: what to adapt.
        padding: see `Network`.
        residual: see `Network`.
        batch_norm_epsilon: as it is where None.
        mean: the same.
        std: the same.
    """
    spec = replace(
        network.spec,
        batch_norm_epsilon=batch_norm_epsilon or network.batch_norm_epsilon,
        mean=mean or network.mean,
        std=std or network.std,
    )
    adapted = build_network(
        spec,
        multiplier=network.multiplier,
        resolution=network.resolution,
        classes=network.classes,
        divisor=network.divisor,
        min_depth=network.min_depth,
        padding=padding,
        residual=residual,
    )
    return replace(adapted, spec=network.spec)


def _check_multiplier(value: float | None, shown: str) -> None:
    if value is not None and not 0.0 < value <= MAX_MULTIPLIER:
        raise SpecError(
            f"multiplier {shown} must be a number above 0 and at most {MAX_MULTIPLIER:g}, or 'none'"
        )


def _check_whole(meaning: str, value: int, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise SpecError(f"{meaning} {value} must be a whole number from {low} to {high}")
