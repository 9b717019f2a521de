"""A record as the text of its file, and back. Strict: what it reads is whole and of this format."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from mnasnet_deploy.errors import InputError
from mnasnet_deploy.results import accuracy
from mnasnet_deploy.results.accuracy import Accuracy, accuracy_from_mapping
from mnasnet_deploy.results.record import Record, record_from_mapping

__all__ = ["AnyRecord", "decode", "encode", "parse_json"]

AnyRecord = Record | Accuracy


def encode(record: AnyRecord) -> str:
    """A record as JSON text; `decode` gives it back.

    One key a line and one launch a line, so that a change can be read and thousands of samples do
    not become thousands of lines.

    Raises:
        ValueError: the record could not be read back; a bug of whoever built it.
    """
    mapping = asdict(record)
    launches = ",\n".join(f"    {_dump(launch)}" for launch in mapping.get("launches", ()))
    lines = [
        f'  "{key}": [\n{launches}\n  ]'
        if key == "launches" and launches
        else f'  "{key}": {_dump(value)}'
        for key, value in mapping.items()
    ]
    text = "{\n" + ",\n".join(lines) + "\n}\n"
    try:
        back = decode(text.encode())
    except InputError as error:
        raise ValueError(f"not a record: {error}") from error
    if back != record:
        raise ValueError("the record holds values that JSON does not keep")
    return text


def decode(content: bytes) -> AnyRecord:
    """Read the content of a record's file.

    Raises:
        InputError: not UTF-8, not JSON, of no format that is read here.
    """
    mapping = parse_json(content)
    if isinstance(mapping, Mapping) and mapping.get("schema") == accuracy.SCHEMA:
        return accuracy_from_mapping(mapping)
    return record_from_mapping(mapping)


def parse_json(content: bytes) -> Any:
    """Read JSON that anyone may have written.

    Raises:
        InputError: not UTF-8, not JSON, nested too deep, a key twice, NaN or Infinity.
    """
    try:
        return json.loads(
            content.decode("utf-8"),
            parse_constant=_refuse_constant,
            object_pairs_hook=_object,
        )
    except UnicodeDecodeError:
        raise InputError("not UTF-8 text") from None
    except RecursionError:
        raise InputError("not a record: nested too deep") from None
    except ValueError as error:  # JSONDecodeError too, and numbers of thousands of digits
        raise InputError(f"not whole JSON: {error}") from None


def _dump(value: Any) -> str:
    # ASCII on purpose: a lone surrogate in a name could not be written as UTF-8.
    return json.dumps(value, allow_nan=False)


def _refuse_constant(literal: str) -> float:
    raise ValueError(f"{literal} is not a number")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping = dict(pairs)
    if len(mapping) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return mapping
