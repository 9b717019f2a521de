"""File names that say what is inside: `mnasnet-a1_0.5_160_int8.tflite`, and back."""

import re
from dataclasses import dataclass
from typing import Final, get_args

from mnasnet_deploy.arch.network import parse_multiplier, render_multiplier
from mnasnet_deploy.errors import SpecError
from mnasnet_deploy.results.record import Scheme

__all__ = ["SCHEMES", "NameParts", "file_name", "parse_name"]

SCHEMES: Final[tuple[Scheme, ...]] = get_args(Scheme)

_NAME = re.compile(
    r"(?P<network>[a-z0-9][a-z0-9-]*)_(?P<multiplier>none|[0-9]+\.[0-9]+)_(?P<resolution>[0-9]+)"
    r"_(?P<scheme>float32|float16|dynamic-int8|int8)(?:_(?P<suffix>[a-z0-9-]+))?\.tflite"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class NameParts:
    """What a file name says.

    Attributes:
        network: `mnasnet-a1`.
        multiplier: None for `none`.
        resolution: input side in pixels.
        scheme: float32, float16, dynamic-int8 or int8.
        suffix: the user's own, to keep two recipes apart; usually empty.
    """

    network: str
    multiplier: float | None
    resolution: int
    scheme: Scheme
    suffix: str = ""


def file_name(
    network: str, multiplier: float | None, resolution: int, scheme: Scheme, suffix: str = ""
) -> str:
    """Name of an exported file; `parse_name` reads it back."""
    end = f"_{suffix}" if suffix else ""
    return f"{network}_{render_multiplier(multiplier)}_{resolution}_{scheme}{end}.tflite"


def parse_name(name: str) -> NameParts | None:
    """Read a file name, or None where it is not of this form."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    try:
        multiplier = parse_multiplier(match["multiplier"])
    except SpecError:
        return None
    scheme = next(scheme for scheme in SCHEMES if scheme == match["scheme"])
    return NameParts(
        network=match["network"],
        multiplier=multiplier,
        resolution=int(match["resolution"]),
        scheme=scheme,
        suffix=match["suffix"] or "",
    )
