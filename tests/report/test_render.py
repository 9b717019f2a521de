"""A table as text, Markdown, CSV and JSON. UPDATE_GOLDEN=1 writes the expected texts anew."""

import csv
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from mnasnet_deploy.report import render
from mnasnet_deploy.report.grid import build_table
from mnasnet_deploy.results.files import Files

GOLDEN = Path(__file__).parents[1] / "data" / "report"


@pytest.fixture
def table(make_record, building):
    """One of everything that can stand in a cell."""
    untrained = {"untrained": True, "params": 2_082_006, "multi_adds": 54_353_000.0}
    records = [
        make_record(**untrained, synthetic_calibration=True),
        make_record(**untrained, minute=1, scheme="float32", median_ms=6.4),
        make_record(
            minute=2,
            resolution=96,
            median_ms=0.8765,
            verdict="noisy",
            reasons=("WIDE-INTERVAL: 12 % of the median",),
        ),
        make_record(minute=3, resolution=128, verdict="invalid", reasons=("HOT: 61 C",)),
        make_record(minute=4, resolution=192, content="second"),
        make_record(minute=5, resolution=224, device=building.STAND_IN, median_ms=152.4),
        make_record(
            minute=6,
            network="mnasnet-b1",
            multiplier="1.0",
            resolution=224,
            params=4_383_312,
            multi_adds=317_290_516.0,
            median_ms=17.83,
        ),
        make_record(
            minute=7,
            network="",
            multiplier="",
            resolution=0,
            scheme="",
            classes=0,
            file="a|b, [c](d) *e*.tflite",
        ),
    ]
    present = {record.artifact.file: record.artifact.sha256 for record in records[:4]}
    present[records[4].artifact.file] = building.sha256_of("third")
    return build_table("mnasnet-a1", records, Files(sha256=present, complete=True))


def _golden(name, text):
    path = GOLDEN / name
    if os.environ.get("UPDATE_GOLDEN"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
    assert text == path.read_bytes().decode(), f"{name} differs; UPDATE_GOLDEN=1 accepts it"


def test_the_text_is_as_it_was(table):
    _golden("table.txt", render.plain(table) + "\n")


def test_the_markdown_is_as_it_was(table):
    _golden("table.md", render.markdown(table) + "\n")


def test_the_csv_is_as_it_was(table):
    _golden("table.csv", render.csv_text(table))


def test_the_json_is_as_it_was(table):
    text = json.dumps(render.table_to_mapping(table), indent=1) + "\n"
    _golden("table.json", text)


def test_every_line_of_a_markdown_table_has_the_same_number_of_cells(table):
    lines = [line for line in render.markdown(table).splitlines() if line.startswith("|")]
    counts = [line.replace("\\|", "").count("|") for line in lines]
    for part in table.parts:
        expected = [len(part.columns) + 1] * (len(part.rows) + 2)
        assert counts[: len(expected)] == expected
        counts = counts[len(expected) :]
    assert counts == []


def test_names_are_text_in_markdown_and_nothing_else():
    assert render.escape_markdown("a|b <!-- c --> [d](e) `f` *g* \\h") == (
        r"a\|b &lt;!-- c --&gt; [d]\(e) \`f\` \*g\* \\h"
    )
    assert render.escape_markdown("1.52 [1.50, 1.55] ~noisy") == "1.52 [1.50, 1.55] ~noisy"


def test_csv_cells_are_numbers_or_empty_and_all_else_is_in_notes(table):
    rows = list(csv.DictReader(render.csv_text(table).splitlines()))
    assert len(rows) == 25 + 2 + 1  # published, also measured, software phones
    medians = [name for name in rows[0] if name.endswith(" median")]
    shown = [float(row[name]) for row in rows for name in medians if row[name]]
    assert len(shown) == len(table.shown_records)
    for number, row in enumerate(rows):
        for name in medians:
            note = row[name.removesuffix("median") + "note"]
            low, high = (row[name.removesuffix("median") + end] for end in ("low", "high"))
            assert bool(row[name]) == bool(low) == bool(high)
            if row[name]:
                assert float(low) <= float(row[name]) <= float(high)
            elif number < 25:
                assert note or name not in _columns(table.parts[0])


def _columns(part):
    return {f"{c.title} ({', '.join(c.details)}) median" for c in part.columns}


def test_json_says_of_every_value_what_it_is_and_of_every_number_its_record(table):
    mapping = render.table_to_mapping(table)
    assert mapping["schema"] == "mnasnet.table/1"
    cells = []
    for part in mapping["parts"]:
        kinds = {column["key"]: column["kind"] for column in part["columns"]}
        assert len(kinds) == len(part["columns"])
        cells += [(kinds[key], cell) for row in part["rows"] for key, cell in row.items()]
    assert {kind for kind, _ in cells} == {"key", "published", "counted", "measured"}
    assert all(cell["kind"] in (kind, "missing") for kind, cell in cells)
    measured = [cell for _, cell in cells if cell["kind"] == "measured"]
    assert sorted(cell["record"] for cell in measured) == mapping["records"]
    assert all(cell["value"] is None for _, cell in cells if cell["kind"] == "missing")


def test_wide_heads_are_broken_between_words_and_long_words_stay_whole(make_record, building):
    device = replace(building.HOST, name="Intel(R)-Xeon(R)-Platinum-8481C with more words")
    table = build_table("mnasnet-a1", [make_record(device=device)], Files())
    lines = render.plain(table).splitlines()
    assert any(line.endswith("Intel(R)-Xeon(R)-Platinum-8481C") for line in lines)
    assert all(line == line.rstrip() for line in lines)
