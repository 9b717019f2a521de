"""Plain values, as JSON gives them, -> a frozen dataclass, every field checked against its type."""

from collections.abc import Mapping
from dataclasses import is_dataclass
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

__all__ = ["from_mapping"]

_Kind = TypeVar("_Kind")


def from_mapping(kind: type[_Kind], content: Mapping[str, Any]) -> _Kind:
    """Make a dataclass of a mapping; `dataclasses.asdict` is the way back.

    Fields may be text, numbers, truth values, None, literals, tuples and dataclasses of those.

    Args:
        kind: the dataclass.
        content: a value for each field that has no default.

    Raises:
        TypeError: a field is missing, unknown, or of another kind.
        KeyError: the same, inside.
    """
    hints = get_type_hints(kind)
    return kind(**{key: _convert(hints[key], value) for key, value in content.items()})


def _convert(hint: Any, value: Any) -> Any:
    origin, arguments = get_origin(hint), get_args(hint)
    if is_dataclass(hint):
        return from_mapping(hint, value)  # type: ignore[arg-type]
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            raise TypeError(f"{value!r} is no list")
        if arguments[-1] is not Ellipsis and len(value) != len(arguments):
            raise TypeError(f"{value!r} has not {len(arguments)} items")
        return tuple(_convert(arguments[0], item) for item in value)
    if origin is Literal:
        if value not in arguments:
            raise TypeError(f"{value!r} is not one of {', '.join(map(str, arguments))}")
        return value
    if type(None) in arguments:
        return None if value is None else _convert(arguments[0], value)
    if hint is float and type(value) is int:
        return float(value)
    if type(value) is not hint:
        raise TypeError(f"{value!r} is not {getattr(hint, '__name__', hint)}")
    return value
