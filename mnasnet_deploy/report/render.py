"""A Table as text: for a terminal, as Markdown or CSV, or as plain data for JSON."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

from mnasnet_deploy.report.model import Cell, Column, Part, Table

__all__ = ["csv_text", "escape_markdown", "markdown", "plain", "table_to_mapping"]

SCHEMA = "mnasnet.table/1"

# Heads are broken into lines of this many letters, or of the widest cell below them.
_HEAD_WIDTH = 12


def plain(table: Table) -> str:
    """For terminals and pipes: aligned columns under heads of several lines, then the legend."""
    blocks = [f"{part.title}\n\n{_aligned(part)}" for part in table.parts]
    if table.legend:
        blocks.append("\n".join(f"{entry.mark}: {entry.meaning}" for entry in table.legend))
    return "\n\n".join(blocks)


def markdown(table: Table) -> str:
    """GitHub's Markdown: pipe tables, then the legend as a list."""
    blocks = []
    for part in table.parts:
        heads = ["<br>".join(map(escape_markdown, _head(column))) for column in part.columns]
        rules = [":---" if _leans_left(column) else "---:" for column in part.columns]
        rows = [[escape_markdown(cell.shown) for cell in row.cells] for row in part.rows]
        lines = [f"| {' | '.join(cells)} |" for cells in (heads, rules, *rows)]
        blocks.append(f"**{escape_markdown(part.title)}**\n\n" + "\n".join(lines))
    if table.legend:
        blocks.append(
            "\n".join(
                f"- `{entry.mark}`: {escape_markdown(entry.meaning)}" for entry in table.legend
            )
        )
    return "\n\n".join(blocks)


def escape_markdown(text: str) -> str:
    """Text that Markdown and HTML leave as it is."""
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"[\\|*`]|(?<=\])\(", r"\\\g<0>", text)


def csv_text(table: Table) -> str:
    """One CSV table: numbers alone in their cells, all else in columns called `note`."""
    import csv
    import io

    heads: dict[str, None] = {"Network": None}
    rows: list[dict[str, object]] = []
    for part in table.parts:
        notes = [any(cell.marks for cell in cells) for cells in _by_column(part)]
        for row in part.rows:
            fields: dict[str, object] = {"Network": table.network}
            for column, cell, noted in zip(part.columns, row.cells, notes, strict=True):
                fields |= _fields(column, cell, noted=noted)
            heads |= dict.fromkeys(fields)
            rows.append(fields)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(heads), restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def table_to_mapping(table: Table) -> dict[str, Any]:
    """Plain data for JSON."""
    return {
        "schema": SCHEMA,
        "network": table.network,
        "parts": [
            {
                "title": part.title,
                "columns": [_column_to_mapping(column) for column in part.columns],
                "rows": [
                    {
                        column.key: _cell_to_mapping(column, cell)
                        for column, cell in zip(part.columns, row.cells, strict=True)
                    }
                    for row in part.rows
                ],
            }
            for part in table.parts
        ],
        "legend": [{"mark": entry.mark, "meaning": entry.meaning} for entry in table.legend],
        "records": list(table.shown_records),
    }


def _by_column(part: Part) -> list[tuple[Cell, ...]]:
    return list(zip(*(row.cells for row in part.rows), strict=True))


def _fields(column: Column, cell: Cell, *, noted: bool) -> dict[str, object]:
    """The CSV fields of one cell; `noted` where any cell of its column has marks."""
    name = f"{column.title} ({', '.join(column.details)})" if column.details else column.title
    notes = "; ".join((*cell.marks, *cell.reasons))
    if column.kind != "measured":
        fields: dict[str, object] = {name: _number_text(cell)}
        return fields | {f"{name} note": notes} if noted else fields
    if cell.kind == "missing":
        notes = "; ".join((cell.text, *cell.reasons))
    value = f"{name} median" if column.unit == "ms" else name
    return {
        value: cell.value,
        f"{name} low": cell.low,
        f"{name} high": cell.high,
        f"{name} note": notes,
    }


def _number_text(cell: Cell) -> object:
    """The number as printed (135, not 135.0) where the text is the number and no more."""
    try:
        printed = float(cell.text)
    except ValueError:
        printed = None
    return cell.text if cell.value in (None, printed) else cell.value


def _column_to_mapping(column: Column) -> dict[str, Any]:
    facts = {"details": list(column.details), "unit": column.unit, **column.facts}
    return {"key": column.key, "title": column.title, "kind": column.kind} | {
        key: value for key, value in facts.items() if value not in ("", [], ())
    }


def _cell_to_mapping(column: Column, cell: Cell) -> dict[str, Any]:
    unit = "_ms" if column.unit == "ms" else ""
    extras = {
        f"low{unit}": cell.low,
        f"high{unit}": cell.high,
        "marks": list(cell.marks),
        "reasons": list(cell.reasons),
        "record": cell.record,
    }
    return {"kind": cell.kind, "text": cell.text, "value": cell.value} | {
        key: value for key, value in extras.items() if value not in (None, "", [])
    }


def _aligned(part: Part) -> str:
    bodies = [[cell.shown for cell in cells] for cells in _by_column(part)]
    heads, widths = [], []
    for column, body in zip(part.columns, bodies, strict=True):
        widest = max(map(len, body), default=0)
        head = _wrap(_head(column), max(widest, _HEAD_WIDTH))
        heads.append(head)
        widths.append(max(widest, *map(len, head)))
    height = max(map(len, heads))
    lines = [
        *zip(*([""] * (height - len(head)) + head for head in heads), strict=True),
        tuple("-" * width for width in widths),
        *zip(*bodies, strict=True),
    ]
    left = [_leans_left(column) for column in part.columns]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if leans else cell.rjust(width)
            for cell, width, leans in zip(cells, widths, left, strict=True)
        ).rstrip()
        for cells in lines
    )


def _head(column: Column) -> Sequence[str]:
    return (column.title, *column.details)


def _leans_left(column: Column) -> bool:
    return column.key == "network"


def _wrap(lines: Iterable[str], width: int) -> list[str]:
    """Break lines between words; a longer word stays whole."""
    wrapped = []
    for line in lines:
        current = ""
        for word in line.split():
            if current and len(current) + 1 + len(word) > width:
                wrapped.append(current)
                current = word
            else:
                current = f"{current} {word}" if current else word
        wrapped.append(current)
    return wrapped
