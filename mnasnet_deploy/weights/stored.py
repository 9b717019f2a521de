"""Tensors as foreign files store them: element type, shape, and bytes that are read when wanted."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from mnasnet_deploy.errors import WeightsError
from mnasnet_deploy.weights.canonical import FloatArray
from mnasnet_deploy.weights.source import WeightSource

__all__ = ["ITEM_BYTES", "Found", "Named", "Place", "Stored", "collect"]

MAX_ELEMENTS: Final = 2**29
"""In all. The largest published variant at the largest multiplier has fewer."""
MAX_LISTED: Final = 8
"""Of reasons in one error, and of tensors for each."""
_FLOATS: Final = {"float32": "<f4", "float16": "<f2", "float64": "<f8", "bfloat16": "<u2"}
ITEM_BYTES: Final = {
    "float64": 8, "float32": 4, "float16": 2, "bfloat16": 2,
    "int64": 8, "int32": 4, "int16": 2, "int8": 1, "uint8": 1, "bool": 1,
}  # fmt: skip
"""Size of an element by type; files with other types are not read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """One tensor in a file.

    Attributes:
        dtype: `float32`, `bfloat16`, ...
        shape: of it.
        read: gives its bytes, little-endian, row by row.
    """

    dtype: str
    shape: tuple[int, ...]
    read: Callable[[], bytes | memoryview]

    def float32(self) -> FloatArray:
        """Its values.

        Raises:
            WeightsError: the elements are no floats, or the bytes cannot be read.
        """
        kind = _FLOATS.get(self.dtype)
        if kind is None:
            raise WeightsError(f"elements of type {self.dtype} are no weights")
        values: npt.NDArray[np.generic] = np.frombuffer(self.read(), kind)
        if self.dtype == "bfloat16":
            values = (values.astype(np.uint32) << 16).view(np.float32)
        with np.errstate(over="ignore"):  # what float32 cannot hold is infinite, and refused later
            return values.astype(np.float32).reshape(self.shape)


Named = Mapping[str, Stored]
"""The file's own name -> tensor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a canonical tensor lies in a file.

    Attributes:
        name: the file's own.
        axes: the order in which its axes become canonical; None where they are.
    """

    name: str
    axes: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a reader made of a file.

    Attributes:
        name: of the file or folder; where its weights come from is in `source`.
        kind: of the file, in words.
        tensors: by canonical name.
        places: where each of them lies in the file, by its own name.
        unused: names in the file that no network of this family has.
        source: what the weights ask for.
        resolution: side of the input they were trained at, where the file says it.
    """

    name: str
    kind: str
    tensors: Mapping[str, FloatArray]
    places: Mapping[str, str]
    unused: tuple[str, ...]
    source: WeightSource
    resolution: int | None = None


def collect(
    named: Named, places: Mapping[str, Place], label: str
) -> tuple[dict[str, FloatArray], tuple[str, ...]]:
    """Read the tensors of a name table as float32 in canonical layout.

    Args:
        named: what the file holds.
        places: canonical name -> where.
        label: of the file, for errors.

    Returns:
        The tensors, and a note for every element type that had to be converted.

    Raises:
        WeightsError: a tensor is of the wrong rank or type, or cannot be read; every reason is
            named, up to `MAX_LISTED`.
    """
    tensors: dict[str, FloatArray] = {}
    converted: dict[str, int] = {}
    problems: dict[str, list[str]] = {}
    total = sum(math.prod(named[place.name].shape) for place in places.values())
    if total > MAX_ELEMENTS:
        raise WeightsError(f"{label} holds {total:,} values: more than any network here")
    for canonical, place in places.items():
        stored = named[place.name]
        if place.axes is not None and len(place.axes) != len(stored.shape):
            reason = f"{list(stored.shape)}, needs {len(place.axes)} axes"
            problems.setdefault(reason, []).append(place.name)
            continue
        try:
            values = stored.float32()
        except WeightsError as error:
            problems.setdefault(str(error), []).append(place.name)
            continue
        if place.axes is not None:
            values = np.ascontiguousarray(values.transpose(place.axes))
        tensors[canonical] = values
        if stored.dtype != "float32":
            converted[stored.dtype] = converted.get(stored.dtype, 0) + 1
    if problems:
        raise WeightsError(f"{label}: {_shown(problems)}")
    return tensors, tuple(
        f"{count} {dtype} tensors were converted to float32" for dtype, count in converted.items()
    )


def _shown(problems: Mapping[str, Sequence[str]]) -> str:
    """Each reason once, with the tensors it holds for."""
    return _few([f"{_few(names, ', ')}: {reason}" for reason, names in problems.items()], "; ")


def _few(parts: Sequence[str], between: str) -> str:
    more = len(parts) - MAX_LISTED
    shown = [*parts[:MAX_LISTED], f"and {more} more"] if more > 0 else parts
    return between.join(shown)
