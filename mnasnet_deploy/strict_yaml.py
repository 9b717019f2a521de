"""YAML as plain data and nothing more: no aliases, no tags, no duplicate keys, small and shallow.

Architecture specs and device profiles are read through here. A file that could grow while it is
read (a billion laughs), refer to itself, or name a Python object is refused in one line.
"""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import yaml

from mnasnet_deploy.errors import InputError

__all__ = ["load", "read", "require_keys"]

MAX_BYTES = 64 * 1024
MAX_DEPTH = 8


class _StrictLoader(yaml.SafeLoader):
    """SafeLoader without aliases, without duplicate keys and with a depth limit."""

    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.events.AliasEvent):
            raise yaml.composer.ComposerError(None, None, "aliases are not allowed", self._mark())
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise yaml.composer.ComposerError(
                None, None, f"nested deeper than {MAX_DEPTH} levels", self._mark()
            )
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1

    def _mark(self) -> Any:
        return self.peek_event().start_mark  # type: ignore[no-untyped-call]  # not in the stubs

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.value == "<<":
                raise yaml.constructor.ConstructorError(
                    None, None, "keys must be plain words", key.start_mark
                )
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key '{key.value}' appears twice", key.start_mark
                )
            seen.add(key.value)
        mapping: dict[Any, Any] = super().construct_mapping(node, deep)
        return mapping


def load(text: str, *, source: str) -> dict[str, Any]:
    """Parse one YAML mapping.

    Args:
        text: the document.
        source: what to call it in an error, usually the file's name.

    Raises:
        InputError: the text is too large or deep, uses an alias or a tag, repeats a key, is not
            YAML, or is not a mapping.
    """
    if len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        raise InputError(f"{source}: larger than {MAX_BYTES // 1024} KiB")
    try:
        # Safe: _StrictLoader derives from SafeLoader and only ever allows less.
        document = yaml.load(text, Loader=_StrictLoader)
    except yaml.YAMLError as error:
        raise InputError(f"{source}: {_one_line(error)}") from error
    except (RecursionError, ValueError, OverflowError) as error:
        raise InputError(f"{source}: not readable as YAML ({error})") from error
    if not isinstance(document, dict):
        raise InputError(f"{source}: expected 'key: value' lines, found {_kind(document)}")
    for key in document:
        if not isinstance(key, str):
            raise InputError(f"{source}: the key {key!r} is not a word")
    return document


def read(path: Path) -> dict[str, Any]:
    """Read one YAML file; errors as in `load`, and InputError where it cannot be opened."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
        text = raw.decode()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text") from error
    return load(text, source=str(path))


def require_keys(
    mapping: Mapping[str, Any], *, source: str, required: Collection[str], optional: Collection[str]
) -> None:
    """Raise InputError naming every key that is unknown, and every one that is missing."""
    allowed = {*required, *optional}
    unknown = [key for key in mapping if key not in allowed]
    if unknown:
        raise InputError(
            f"{source}: unknown key {', '.join(map(repr, unknown))} "
            f"(allowed: {', '.join(sorted(allowed))})"
        )
    missing = [key for key in required if key not in mapping]
    if missing:
        raise InputError(f"{source}: missing key {', '.join(map(repr, missing))}")


def _one_line(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error).splitlines()[0]
    return f"line {mark.line + 1}: {problem}" if mark else str(problem)


def _kind(document: object) -> str:
    names = {list: "a list", str: "text", type(None): "nothing"}
    return names.get(type(document), type(document).__name__)
