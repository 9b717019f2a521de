"""State dicts of timm and torchvision -> canonical weights. PyTorch is not needed.

Name tables (timm 1.0: models/_efficientnet_blocks.py; torchvision 0.28: models/mnasnet.py, which
has b1 only). S is the stage, R the repeat; blocks are counted through both. Beware: in timm's first
block `conv_pw` and `bn2` are the projection, elsewhere `conv_pw` and `bn1` are the expansion.

    canonical            timm                              torchvision
    stem                 conv_stem, bn1                    layers.0, layers.1
    block 0 depthwise    blocks.0.0.conv_dw, bn1           layers.3, layers.4
    block 0 project      blocks.0.0.conv_pw, bn2           layers.6, layers.7
    block expand         blocks.S.R.conv_pw, bn1           layers.(7+S).R.layers.0, .1
    block depthwise      blocks.S.R.conv_dw, bn2           layers.(7+S).R.layers.3, .4
    block squeeze        blocks.S.R.se.conv_reduce|expand
    block project        blocks.S.R.conv_pwl, bn3          layers.(7+S).R.layers.6, .7
    head                 conv_head, bn2                    layers.14, layers.15
    classifier           classifier                        classifier.1
"""

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

from mnasnet_deploy.arch.network import scale_channels
from mnasnet_deploy.errors import WeightsError
from mnasnet_deploy.weights.source import Family, Preprocessing, WeightSource
from mnasnet_deploy.weights.stored import Found, Named, Place, collect

__all__ = ["from_state_dict", "is_state_dict", "with_config"]

BATCH_NORM_EPSILON: Final = 1e-5
# Convolutions of a B1 by which the formats of torchvision are told apart, and the last one's width.
_FIRST_AND_LAST: Final = ("blocks.0.project", "blocks.16.project")
_LAST_WIDTH: Final = 320
MAX_CONFIG_BYTES: Final = 2**20
TIMM = Preprocessing(interpolation="bicubic", crop=(7, 8))
TORCHVISION = Preprocessing(interpolation="bilinear", crop=(224, 256))
# The recipe of vision#6019, used for 0.75 and 1.3: the stem has 24 and 40 channels there.
TORCHVISION_232 = Preprocessing(interpolation="bilinear", crop=(224, 232))
_STEMS_232: Final = (24, 40)

_CONV, _DEPTHWISE, _DENSE = (2, 3, 1, 0), (2, 3, 0, 1), (1, 0)
_NORM = {"weight": "gamma", "bias": "beta", "running_mean": "mean", "running_var": "variance"}
_IGNORED = "num_batches_tracked"
_TIMM_BLOCK = re.compile(r"blocks\.(\d{1,3})\.(\d{1,3})\.(.+)")
_VISION_BLOCK = re.compile(r"layers\.(\d{1,3})\.(\d{1,3})\.layers\.(\d)")
_VISION_FIRST = {
    "layers.0": "stem", "layers.1": "stem.bn", "layers.3": "blocks.0.depthwise",
    "layers.4": "blocks.0.depthwise.bn", "layers.6": "blocks.0.project",
    "layers.7": "blocks.0.project.bn", "layers.14": "head", "layers.15": "head.bn",
    "classifier.1": "classifier",
}  # fmt: skip
_VISION_INNER = {
    "0": "expand", "1": "expand.bn", "3": "depthwise", "4": "depthwise.bn", "6": "project",
    "7": "project.bn",
}  # fmt: skip
_TIMM_FIRST = {
    "conv_stem": "stem", "bn1": "stem.bn", "conv_head": "head", "bn2": "head.bn",
    "classifier": "classifier",
}  # fmt: skip
_TIMM_SEPARABLE = {
    "conv_dw": "depthwise", "bn1": "depthwise.bn", "conv_pw": "project", "bn2": "project.bn",
}  # fmt: skip
_TIMM_INVERTED = {
    "conv_pw": "expand", "bn1": "expand.bn", "conv_dw": "depthwise", "bn2": "depthwise.bn",
    "conv_pwl": "project", "bn3": "project.bn",
}  # fmt: skip
_TIMM_SQUEEZE = {"se.conv_reduce": "se.reduce", "se.conv_expand": "se.expand"}


def is_state_dict(names: Iterable[str]) -> Family:
    """Whose state dict the names are: `timm`, `torchvision`, or empty."""
    known = set(names)
    if "conv_stem.weight" in known:
        return "timm"
    return "torchvision" if {"layers.0.weight", "classifier.1.weight"} <= known else ""


def from_state_dict(named: Named, label: str, *, averaged: bool | None = None) -> Found:
    """Map a state dict.

    Args:
        named: its tensors, without `module.`.
        label: the name a user knows it by.
        averaged: whether they are moving averages; None where nobody says.

    Raises:
        WeightsError: neither timm's nor torchvision's, or a tensor that cannot be one.
    """
    family = is_state_dict(named)
    if not family:
        first = ", ".join(list(named)[:3])
        raise WeightsError(
            f"{label} is no MnasNet of timm or torchvision: it holds {first}, ... and neither "
            "conv_stem.weight nor layers.0.weight"
        )
    layers = dict(_timm_layers(named) if family == "timm" else _torchvision_layers(named))
    places: dict[str, Place] = {}
    unused = []
    for name in named:
        layer, _, part = name.rpartition(".")
        canonical = _canonical(layers.get(layer, ""), part)
        if canonical:
            places[canonical] = Place(name=name, axes=_axes(canonical))
        elif part != _IGNORED:
            unused.append(name)
    tensors, notes = collect(named, places, label)
    shapes = {name: values.shape for name, values in tensors.items()}
    if family == "torchvision":
        _refuse_first_format(shapes, label)
    stem = shapes.get("stem.kernel", (0,))[-1]
    vision = TORCHVISION_232 if stem in _STEMS_232 else TORCHVISION
    return Found(
        name=label,
        kind=f"state dict of {family}",
        tensors=tensors,
        places={canonical: place.name for canonical, place in places.items()},
        unused=tuple(unused),
        source=WeightSource(
            label=label,
            trained=True,
            dataset="imagenet-1k" if shapes.get("classifier.bias") == (1000,) else "",
            family=family,
            averaged=averaged,
            padding="symmetric",
            residual="real",
            batch_norm_epsilon=BATCH_NORM_EPSILON,
            preprocessing=TIMM if family == "timm" else vision,
            notes=notes,
        ),
    )


def with_config(found: Found, path: Path) -> Found:
    """Take what the config.json beside a file of the Hugging Face hub says of its use.

    Raises:
        WeightsError: the config is not readable, or asks for what is not known here.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_CONFIG_BYTES + 1)
        if len(content) > MAX_CONFIG_BYTES:
            raise ValueError("it is too large")
        config = json.loads(content)
        config = config.get("pretrained_cfg") or config
        source = replace(found.source, **_from_config(config, found.source))
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error.strerror or error}") from None
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
        raise WeightsError(
            f"{path.name} beside the weights of {found.name} is not understood ({error})"
        ) from error
    return replace(found, source=source)


def _from_config(config: Mapping[str, Any], source: WeightSource) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    if "crop_pct" in config or "interpolation" in config:
        share = Fraction(config.get("crop_pct", 0.875)).limit_denominator(1000)
        fields["preprocessing"] = Preprocessing(
            interpolation=_interpolation(config.get("interpolation", "bicubic")),
            crop=(share.numerator, share.denominator),
        )
    for key in ("mean", "std"):
        if key in config:
            red, green, blue = (255.0 * float(value) for value in config[key])
            if not all(math.isfinite(v) and abs(v) < 1e5 for v in (red, green, blue)):
                raise ValueError(f"{key} {config[key]}")
            fields[key] = tuple(round(value, 6) for value in (red, green, blue))
            if key == "std" and min(fields[key]) <= 0:
                raise ValueError(f"std {config[key]}")
    licence = config.get("license", source.licence)
    if isinstance(licence, str):
        fields["licence"] = licence[:64]
    return fields


def _interpolation(value: object) -> Any:
    if value not in ("bilinear", "bicubic"):
        raise ValueError(f"interpolation {value!r}")
    return value


def _timm_layers(names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Name of a layer in timm -> canonical name of the same, `.bn` behind a batch norm."""
    yield from _TIMM_FIRST.items()
    inner: dict[tuple[int, int], set[str]] = {}
    for name in names:
        if match := _TIMM_BLOCK.fullmatch(name.rpartition(".")[0]):
            inner.setdefault((int(match[1]), int(match[2])), set()).add(match[3])
    for index, (stage, repeat) in enumerate(sorted(inner)):
        roles = _TIMM_INVERTED if "conv_pwl" in inner[stage, repeat] else _TIMM_SEPARABLE
        for theirs, ours in (roles | _TIMM_SQUEEZE).items():
            yield f"blocks.{stage}.{repeat}.{theirs}", f"blocks.{index}.{ours}"


def _torchvision_layers(names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """The same for torchvision."""
    yield from _VISION_FIRST.items()
    blocks = {
        (int(match[1]), int(match[2]))
        for name in names
        if (match := _VISION_BLOCK.fullmatch(name.rpartition(".")[0]))
    }
    for index, (stage, repeat) in enumerate(sorted(blocks), start=1):
        for theirs, ours in _VISION_INNER.items():
            yield f"layers.{stage}.{repeat}.layers.{theirs}", f"blocks.{index}.{ours}"


def _canonical(layer: str, part: str) -> str:
    if layer.endswith(".bn"):
        return f"{layer}.{_NORM[part]}" if part in _NORM else ""
    if not layer or part not in ("weight", "bias"):
        return ""
    return f"{layer}.{'kernel' if part == 'weight' else 'bias'}"


def _axes(canonical: str) -> tuple[int, ...] | None:
    if not canonical.endswith(".kernel"):
        return None
    if canonical == "classifier.kernel":
        return _DENSE
    return _DEPTHWISE if canonical.endswith(".depthwise.kernel") else _CONV


def _refuse_first_format(shapes: Mapping[str, tuple[int, ...]], label: str) -> None:
    """Raise where stem and first block are not scaled and the rest is.

    torchvision's `_version` 1, for which alpha != 1 never had published weights.
    """
    stem, first, last = (
        shapes.get(f"{name}.kernel", (0,))[-1] for name in ("stem", *_FIRST_AND_LAST)
    )
    # The multipliers that make the last width what it is. One that leaves the first ones as they
    # are is one of version 2 as well.
    alphas = [(last + step) / _LAST_WIDTH for step in range(-4, 5)] if last else [1.0]
    scaled = [(scale_channels(32, alpha), scale_channels(16, alpha)) for alpha in alphas]
    if (stem, first) == (32, 16) and (32, 16) not in scaled:
        raise WeightsError(
            f"{label} has torchvision's first format (version 1), in which stem and first block "
            "are not scaled: load it in torchvision and save it with version 2 of the network"
        )
