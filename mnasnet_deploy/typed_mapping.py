"""Plain values, as JSON gives them, -> a frozen dataclass, every field checked against its type.

Standard library only: records and the facts of a file are read through here.
"""

import math
import types
import typing
from collections.abc import Mapping
from dataclasses import is_dataclass
from functools import cache
from typing import Any, Literal, TypeVar

from mnasnet_deploy.errors import InputError

__all__ = ["from_mapping", "shorten"]

_T = TypeVar("_T")


@cache
def _hints(kind: type[Any]) -> dict[str, Any]:
    # Resolving them takes longer than reading a record.
    return typing.get_type_hints(kind)


def from_mapping(kind: type[_T], mapping: object, where: str) -> _T:
    """Make a dataclass of a mapping; `dataclasses.asdict` is the way back.

    Fields may be text, numbers, truth values, None, literals, dataclasses, and tuples of one of
    those, of any length or of a fixed one.

    Args:
        kind: the dataclass.
        mapping: a value for each field that has no default.
        where: what to call it in an error.

    Raises:
        InputError: no mapping, a key is unknown or missing, a value is of the wrong kind or not
            finite, or the dataclass refuses the values together; the message names the field.
    """
    if not isinstance(mapping, Mapping):
        raise InputError(f"{where} is not an object")
    hints = _hints(typing.cast("Any", kind))
    if unknown := [key for key in mapping if key not in hints]:
        raise InputError(f"{where} has an unknown key {shorten(unknown[0])}")
    values = {key: _value(hints[key], value, f"{where}.{key}") for key, value in mapping.items()}
    try:
        return kind(**values)
    except (TypeError, ValueError) as error:  # a key is missing, or values do not go together
        raise InputError(f"{where}: {error}") from None


def _value(hint: Any, value: Any, where: str) -> Any:
    """Check one value against a type hint of the shapes named above."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is types.UnionType:  # X | None
        return None if value is None else _value(arguments[0], value, where)
    if origin is Literal:
        if not isinstance(value, str) or value not in arguments:
            raise InputError(f"{where} is {shorten(value)}, not one of {', '.join(arguments)}")
        return value
    if origin is tuple:  # tuple[X, ...] or tuple[X, X]
        if not isinstance(value, (list, tuple)):
            raise InputError(f"{where} is not a list")
        if arguments[-1] is not Ellipsis and len(value) != len(arguments):
            raise InputError(f"{where} has {len(value)} items, not {len(arguments)}")
        if arguments[0] is float and set(map(type, value)) == {float}:
            # Thousands of samples: looked at without a call for each.
            if not all(map(math.isfinite, value)):
                raise InputError(f"{where} is not finite")
            return tuple(value)
        return tuple(_value(arguments[0], item, where) for item in value)
    if is_dataclass(hint):
        return from_mapping(typing.cast("type[Any]", hint), value, where)
    if hint is float:
        return _number(value, where)
    if type(value) is not hint:
        raise InputError(f"{where} is {shorten(value)}, not {hint.__name__}")
    return value


def _number(value: Any, where: str) -> float:
    if type(value) is not float:
        if type(value) is not int:
            raise InputError(f"{where} is {shorten(value)}, not a number")
        try:
            value = float(value)
        except OverflowError:
            value = math.inf
    if not math.isfinite(value):
        raise InputError(f"{where} is not finite")
    return typing.cast("float", value)


def shorten(value: object) -> str:
    """A value as an error shows it, 60 characters at most."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
