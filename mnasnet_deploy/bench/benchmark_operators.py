"""The operator table of a profiled run: which operator took how long.

Columns differ by version and are found by their heads. Tabs separate the cells; a log that was
pasted somewhere has blanks in their place. tflite/profiling/profile_summary_formatter.cc.
"""

import re
from dataclasses import dataclass
from typing import Final

__all__ = ["Operator", "read_operators"]

_TITLE: Final = re.compile(r"=+ (Run Order|Top by Computation Time|Summary by node type) =+")
_TYPE: Final = "[node type]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """One row, in the order of execution.

    Attributes:
        kind: type of the operator or of the delegate's own kernel.
        name: of its output, with its number behind a colon.
        average_ms: per inference: the time of a call, as often as it is called.
        share: of the whole, 0 to 1.
        calls: per inference.
    """

    kind: str
    name: str
    average_ms: float
    share: float
    calls: int


def read_operators(output: str) -> tuple[Operator, ...]:
    """The operators of the measured stage, in order; empty where nothing was profiled.

    The table of setting up, which comes first, is left out; rows that cannot be read, too.
    """
    tables: list[tuple[Operator, ...]] = []
    heads: list[str] = []
    rows: list[Operator] = []
    inside = False
    for line in output.replace("\r", "").split("\n"):
        if match := _TITLE.search(line):
            if inside:
                tables.append(tuple(rows))
            inside, heads, rows = match[1] == "Run Order", [], []
        elif inside and _TYPE in line:
            heads = _cells(line)
        elif inside and heads and line.strip():
            if row := _row(heads, _cells(line)):
                rows.append(row)
        elif inside and heads:
            tables.append(tuple(rows))
            inside = False
    if inside:
        tables.append(tuple(rows))
    return tables[-1] if tables else ()


def _cells(line: str) -> list[str]:
    line = re.sub(r"^(?:INFO: )?", "", line)
    parts = line.split("\t") if "\t" in line else re.split(r"\s{2,}", line)
    return [part.strip() for part in parts if part.strip()]


def _row(heads: list[str], cells: list[str]) -> Operator | None:
    if len(cells) != len(heads):
        return None
    found = dict(zip(heads, cells, strict=True))
    try:
        calls = int(found["[times called]"])
        return Operator(
            kind=found[_TYPE],
            name=found["[Name]"],
            average_ms=float(found["[avg ms]"]) * calls,
            share=float(found["[%]"].rstrip("%")) / 100,
            calls=calls,
        )
    except (KeyError, ValueError):
        return None
