"""The published architectures as literals of the spec form, and the form itself.

Source of the block strings: tensorflow/tpu, models/official/mnasnet/mnasnet_models.py; of
mobilenet-v2: Sandler et al. 2018 (arXiv 1801.04381), table 2.
"""

import difflib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from mnasnet_deploy.arch.blocks import MAX_CHANNELS, Block, decode_block
from mnasnet_deploy.errors import SpecError

__all__ = [
    "VARIANTS",
    "Activation",
    "HeadScaling",
    "Spec",
    "Variant",
    "find_variant",
    "spec_from_mapping",
]

Activation = Literal["none", "relu", "relu6"]
HeadScaling = Literal["fixed", "scaled", "up"]

MAX_CLASSES = 100_000
MAX_BLOCKS = 256
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?")

# ImageNet statistics times 255, as the original trainer feeds them.
IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """An architecture before multiplier and resolution.

    Attributes:
        name: as it appears in file names, `[a-z0-9-]+`.
        blocks: the stages in order.
        stem_channels: width of the first convolution.
        stem_scaled: whether the multiplier applies to it.
        head_channels: width of the last convolution.
        head_scaling: `fixed`, `scaled`, or `up` (scaled only by multipliers above 1).
        activation: `relu` or `relu6`.
        batch_norm_epsilon: added to the variance before the root.
        mean: per channel, in grey levels 0..255, RGB.
        std: per channel, in grey levels, RGB.
        classes: width of the classifier.
        declared_inputs: the real channels run, the declared ones decide residual and
            squeeze-excite width (mnasnet-small).
    """

    name: str
    blocks: tuple[Block, ...]
    stem_channels: int = 32
    stem_scaled: bool = True
    head_channels: int = 1280
    head_scaling: HeadScaling = "fixed"
    activation: Activation = "relu"
    batch_norm_epsilon: float = 0.001
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    classes: int = 1000
    declared_inputs: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """A published architecture and the numbers it is usually built with."""

    name: str
    spec: Spec
    multiplier: float | None = 1.0
    resolution: int = 224


def spec_from_mapping(mapping: Mapping[str, Any], *, source: str = "spec") -> Spec:
    """Check a plain mapping (a parsed spec file) and make a Spec of it.

    Raises:
        SpecError: an unknown or missing key, a value of the wrong kind or out of range, a block
            whose input is not the previous output; the message starts with `source`.
    """
    _keys(mapping, "", source, required=("name", "blocks"), optional=(
        "stem", "head", "activation", "batch_norm_epsilon", "normalization", "classes",
        "declared_inputs",
    ))  # fmt: skip
    name = mapping["name"]
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise SpecError(f"{source}: name must be lower-case letters, digits and '-', not {name!r}")
    stem = _section(mapping, "stem", source, ("channels", "scaled"))
    head = _section(mapping, "head", source, ("channels", "scaled"))
    normalization = _section(mapping, "normalization", source, ("mean", "std"))
    activation = mapping.get("activation", "relu")
    if activation not in ("relu", "relu6"):
        raise SpecError(f"{source}: activation must be relu or relu6, not {activation!r}")
    scaling: dict[object, HeadScaling] = {True: "scaled", False: "fixed", "up": "up"}
    head_scaled = head.get("scaled", False)
    if not isinstance(head_scaled, (bool, str)) or head_scaled not in scaling:
        raise SpecError(f"{source}: head.scaled must be true, false or up, not {head_scaled!r}")
    epsilon = _number(mapping.get("batch_norm_epsilon", 0.001), "batch_norm_epsilon", source)
    if not 0.0 < epsilon <= 1.0:
        raise SpecError(f"{source}: batch_norm_epsilon must be above 0 and at most 1")
    spec = Spec(
        name=name,
        blocks=_blocks(mapping["blocks"], source),
        stem_channels=_integer(stem.get("channels", 32), "stem.channels", source, MAX_CHANNELS),
        stem_scaled=_boolean(stem.get("scaled", True), "stem.scaled", source),
        head_channels=_integer(head.get("channels", 1280), "head.channels", source, MAX_CHANNELS),
        head_scaling=scaling[head_scaled],
        activation=activation,
        batch_norm_epsilon=epsilon,
        mean=_triple(normalization.get("mean", IMAGENET_MEAN), "mean", source, low=-1e4),
        std=_triple(normalization.get("std", IMAGENET_STD), "std", source, low=1e-3),
        classes=_integer(mapping.get("classes", 1000), "classes", source, MAX_CLASSES),
        declared_inputs=_boolean(mapping.get("declared_inputs", False), "declared_inputs", source),
    )
    _check_chain(spec, source)
    return spec


def find_variant(name: str) -> Variant:
    """The published variant of that name; `mnasnet-a1` means `a1`.

    Raises:
        SpecError: there is none; the message names the nearest.
    """
    short = name.strip().lower().removeprefix("mnasnet-")
    if short in VARIANTS:
        return VARIANTS[short]
    near = difflib.get_close_matches(short, VARIANTS, n=1, cutoff=0.4)
    hint = f"did you mean '{near[0]}'? " if near else ""
    raise SpecError(f"unknown variant '{name}': {hint}known: {', '.join(VARIANTS)}")


def _blocks(value: object, source: str) -> tuple[Block, ...]:
    if not isinstance(value, (list, tuple)) or not value:
        raise SpecError(f"{source}: blocks must be a list of block strings")
    blocks = []
    for text in value:
        if not isinstance(text, str):
            raise SpecError(f"{source}: the block {text!r} is not a block string")
        try:
            blocks.append(decode_block(text))
        except SpecError as error:
            raise SpecError(f"{source}: {error}") from None
    if sum(block.repeats for block in blocks) > MAX_BLOCKS:
        raise SpecError(f"{source}: more than {MAX_BLOCKS} blocks in all")
    return tuple(blocks)


def _check_chain(spec: Spec, source: str) -> None:
    """Raise where a block does not take what the one before it gives."""
    if spec.declared_inputs:
        return
    width, giver = spec.stem_channels, "the stem"
    for index, block in enumerate(spec.blocks):
        if block.input_channels != width:
            raise SpecError(
                f"{source}: blocks[{index}] takes i{block.input_channels} but {giver} gives "
                f"{width} channels (set declared_inputs: true if that is meant)"
            )
        width, giver = block.output_channels, f"blocks[{index}]"


def _keys(
    mapping: object,
    where: str,
    source: str,
    *,
    required: tuple[str, ...],
    optional: tuple[str, ...],
) -> None:
    if not isinstance(mapping, Mapping):
        raise SpecError(f"{source}: {where or 'the spec'} must be 'key: value' lines")
    allowed = (*required, *optional)
    prefix = f"{where}." if where else ""
    for key in mapping:
        if key not in allowed:
            raise SpecError(
                f"{source}: unknown key '{prefix}{key}' (allowed: {', '.join(allowed)})"
            )
    for key in required:
        if key not in mapping:
            raise SpecError(f"{source}: missing key '{prefix}{key}'")


def _section(
    mapping: Mapping[str, Any], key: str, source: str, optional: tuple[str, ...]
) -> Mapping[str, Any]:
    section: Mapping[str, Any] = mapping.get(key, {})
    _keys(section, key, source, required=(), optional=optional)
    return section


def _integer(value: object, key: str, source: str, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= high:
        raise SpecError(f"{source}: {key} must be a whole number from 1 to {high}, not {value!r}")
    return value


def _boolean(value: object, key: str, source: str) -> bool:
    if not isinstance(value, bool):
        raise SpecError(f"{source}: {key} must be true or false, not {value!r}")
    return value


def _number(value: object, key: str, source: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise SpecError(f"{source}: {key} must be a number, not {value!r}")
    return float(value)


def _triple(value: object, key: str, source: str, *, low: float) -> tuple[float, float, float]:
    if not isinstance(value, (list, tuple)) or len(value) != 3:
        raise SpecError(f"{source}: normalization.{key} must be three numbers (R, G, B)")
    red, green, blue = (_number(item, f"normalization.{key}", source) for item in value)
    if min(red, green, blue) < low or max(red, green, blue) > 1e4:
        raise SpecError(f"{source}: normalization.{key} must lie between {low:g} and 10000")
    return (red, green, blue)


_LITERALS: tuple[dict[str, Any], ...] = (
    {
        "name": "mnasnet-a1",
        "blocks": [
            "r1_k3_s11_e1_i32_o16_noskip",
            "r2_k3_s22_e6_i16_o24",
            "r3_k5_s22_e3_i24_o40_se0.25",
            "r4_k3_s22_e6_i40_o80",
            "r2_k3_s11_e6_i80_o112_se0.25",
            "r3_k5_s22_e6_i112_o160_se0.25",
            "r1_k3_s11_e6_i160_o320",
        ],
    },
    {
        "name": "mnasnet-b1",
        "blocks": [
            "r1_k3_s11_e1_i32_o16_noskip",
            "r3_k3_s22_e3_i16_o24",
            "r3_k5_s22_e3_i24_o40",
            "r3_k5_s22_e6_i40_o80",
            "r2_k3_s11_e6_i80_o96",
            "r4_k5_s22_e6_i96_o192",
            "r1_k3_s11_e6_i192_o320_noskip",
        ],
    },
    {
        "name": "mnasnet-small",
        "stem": {"channels": 8},
        "blocks": [
            "r1_k3_s11_e1_i16_o8",
            "r1_k3_s22_e3_i8_o16",
            "r2_k3_s22_e6_i16_o16",
            "r4_k5_s22_e6_i16_o32_se0.25",
            "r3_k3_s11_e6_i32_o32_se0.25",
            "r3_k5_s22_e6_i32_o88_se0.25",
            "r1_k3_s11_e6_i88_o144",
        ],
        "declared_inputs": True,
    },
    {
        "name": "mnasnet-d1",
        "blocks": [
            "r1_k3_s11_e9_i32_o24",
            "r3_k3_s22_e9_i24_o36",
            "r5_k3_s22_e9_i36_o48",
            "r4_k5_s22_e9_i48_o96",
            "r5_k7_s11_e3_i96_o96",
            "r3_k3_s22_e9_i96_o80",
            "r1_k7_s11_e6_i80_o320_noskip",
        ],
    },
    {
        "name": "mnasnet-d1-320",
        "blocks": [
            "r3_k5_s11_e6_i32_o24",
            "r4_k7_s22_e9_i24_o36",
            "r5_k5_s22_e9_i36_o48",
            "r5_k7_s22_e6_i48_o96",
            "r5_k3_s11_e9_i96_o144",
            "r5_k5_s22_e6_i144_o160",
            "r1_k7_s11_e9_i160_o320",
        ],
    },
    {
        "name": "mobilenet-v2",
        "head": {"channels": 1280, "scaled": "up"},
        "activation": "relu6",
        "normalization": {"mean": [127.5, 127.5, 127.5], "std": [127.5, 127.5, 127.5]},
        "blocks": [
            "r1_k3_s11_e1_i32_o16",
            "r2_k3_s22_e6_i16_o24",
            "r3_k3_s22_e6_i24_o32",
            "r4_k3_s22_e6_i32_o64",
            "r3_k3_s11_e6_i64_o96",
            "r3_k3_s22_e6_i96_o160",
            "r1_k3_s11_e6_i160_o320",
        ],
    },
)
# Multiplier and resolution where they are not 1.0 and 224: the original builds both without any
# rounding of channels (depth_multiplier=None), d1-320 at the size in its name.
_DEFAULTS: dict[str, tuple[float | None, int]] = {"d1": (None, 224), "d1-320": (None, 320)}


def _variant(literal: dict[str, Any]) -> Variant:
    spec = spec_from_mapping(literal, source=literal["name"])
    name = spec.name.removeprefix("mnasnet-")
    multiplier, resolution = _DEFAULTS.get(name, (1.0, 224))
    return Variant(name=name, spec=spec, multiplier=multiplier, resolution=resolution)


VARIANTS: dict[str, Variant] = {v.name: v for v in map(_variant, _LITERALS)}
