"""A table before it is text: every value carries what it is and where it comes from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

__all__ = ["Cell", "Column", "Kind", "Legend", "Part", "Row", "Table", "clean"]

Kind = Literal["key", "published", "counted", "measured", "missing"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One value.

    Attributes:
        kind: what the value is; `missing` says in `text` why there is none.
        text: as shown, without marks.
        value: the number behind the text, in the column's unit; None where there is none.
        low, high: interval of a measured value, in the same unit.
        marks: what the legend explains.
        reasons: behind the marks or behind a missing value, in words.
        record: id of the record it rests on, empty where it rests on none.
    """

    kind: Kind
    text: str
    value: float | str | None = None
    low: float | None = None
    high: float | None = None
    marks: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    record: str = ""

    @property
    def shown(self) -> str:
        """Text and marks, as every format but JSON shows it."""
        return " ".join((self.text, *self.marks))


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """What stands below one head.

    Attributes:
        key: unique in its part.
        title: first line of the head.
        details: further lines, the last one saying what the values are and their unit.
        kind: of its values; where it is `measured` some are `missing`.
        unit: `px`, `%`, `M`, `ms` or empty.
        facts: what a measured column was measured on and how.
    """

    key: str
    title: str
    details: tuple[str, ...] = ()
    kind: Kind
    unit: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One network or file: a cell for each column of its part."""

    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Rows that have the same columns."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Legend:
    """What a mark, or a kind of column, means."""

    mark: str
    meaning: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A grid of published, counted and measured values.

    Attributes:
        network: whose published values it shows.
        parts: the published rows, then what else was measured.
        legend: only what occurs.
        files: sha256 of each model file that the measured values are taken to be of.
    """

    network: str
    parts: tuple[Part, ...]
    legend: tuple[Legend, ...]
    files: Mapping[str, str] = field(default_factory=dict)

    @property
    def shown_records(self) -> tuple[str, ...]:
        """Ids of the records whose numbers are shown, sorted."""
        return tuple(sorted({cell.record for cell in self._cells() if cell.kind == "measured"}))

    @property
    def used_records(self) -> tuple[str, ...]:
        """Those, and the records that explain a missing number; sorted."""
        return tuple(sorted({cell.record for cell in self._cells() if cell.record}))

    def _cells(self) -> list[Cell]:
        return [cell for part in self.parts for row in part.rows for cell in row.cells]


def clean(text: str) -> str:
    """Text of a record as one harmless line: no control characters, no broken Unicode."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)
