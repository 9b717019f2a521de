"""Accuracies in the table: beside what is published, of the bytes the files have now."""

import pytest

from mnasnet_deploy.report import readme
from mnasnet_deploy.report.accuracy import format_share
from mnasnet_deploy.report.grid import build_table
from mnasnet_deploy.report.listing import (
    ACCURACY_FIELDS,
    accuracy_rows,
    csv_text,
    summarize_accuracy,
)
from mnasnet_deploy.report.render import markdown, plain, table_to_mapping
from mnasnet_deploy.results.files import Files

FILE = "mnasnet-a1_0.5_224_int8.tflite"
ROW = ("224", "0.5")


@pytest.fixture
def here(building):
    """`here("first")`: the file is in the models folder, with this content."""
    return lambda content: Files(sha256={FILE: building.sha256_of(content)}, complete=True)


def row_of(table, part=0):
    chosen = table.parts[part]
    row = next(
        row
        for row in chosen.rows
        if tuple(cell.text for cell in row.cells if cell.kind == "key")[-2:] == ROW
    )
    return list(zip(chosen.columns, row.cells, strict=True))


def accuracy_cells(table, part=0):
    return [
        cell
        for column, cell in row_of(table, part)
        if column.kind == "measured" and column.unit == "%"
    ]


def test_fifty_thousand_images_stand_beside_the_published_number(make_accuracy, here):
    accuracy = make_accuracy(correct=34_050, images=50_000, published=(68.9, 88.4))
    table = build_table("mnasnet-a1", [accuracy], here("first"))
    texts = [cell.text for _, cell in row_of(table)]
    assert texts[:5] == ["224", "0.5", "68.9", "88.4", "68.1 ± 0.4 on 50,000"]
    (cell,) = accuracy_cells(table)
    assert (cell.value, cell.record) == (pytest.approx(68.1), accuracy.id)
    assert cell.marks == ()
    column = row_of(table)[4][0]
    assert column.title == "Top-1"
    assert column.details[0] == "int8, weights official"
    assert column.details[1].startswith("images val ")
    assert column.details[2] == "measured, %"
    assert "68.1 ± 0.4 on 50,000" in plain(table)
    assert "68.1 ± 0.4 on 50,000" in markdown(table)


def test_all_other_rows_of_that_column_are_not_evaluated(make_accuracy, here):
    table = build_table("mnasnet-a1", [make_accuracy()], here("first"))
    texts = [row.cells[4].text for row in table.parts[0].rows]
    assert texts.count("not evaluated") == 24


def test_accuracy_and_latency_of_a_file_share_its_row(make_accuracy, make_record, here):
    record = make_record(resolution=224)
    table = build_table("mnasnet-a1", [make_accuracy(), record], here("first"))
    units = [column.unit for column, _ in row_of(table)]
    assert units == ["px", "", "%", "%", "%", "M", "M", "ms", "ms"]
    kinds = [cell.kind for _, cell in row_of(table)]
    assert (kinds[4], kinds[-1]) == ("measured", "measured")
    assert len(table.parts) == 1


def test_schemes_image_folders_and_weights_have_columns_of_their_own(make_accuracy, here):
    accuracies = [
        make_accuracy(),
        make_accuracy(data="other", minute=1),
        make_accuracy(publisher="timm", minute=2),
        make_accuracy(scheme="float32", minute=3),
        make_accuracy(publisher="", weights="mine.keras", minute=4),
    ]
    table = build_table("mnasnet-a1", accuracies, here("first"))
    heads = [c.details for c, _ in row_of(table) if c.kind == "measured"]
    assert len(set(heads)) == 5
    assert "int8, weights mine.keras" in {head[0] for head in heads}


def test_a_file_that_changed_since_shows_no_number(make_accuracy, here):
    table = build_table("mnasnet-a1", [make_accuracy()], here("second"))
    (cell,) = accuracy_cells(table)
    assert (cell.kind, cell.text) == ("missing", "file changed since evaluated")


def test_the_newest_evaluation_of_the_same_images_counts(make_accuracy, here):
    old, new = make_accuracy(correct=60), make_accuracy(correct=70, minute=9)
    (cell,) = accuracy_cells(build_table("mnasnet-a1", [new, old], here("first")))
    assert cell.value == 70.0


def test_marks_are_explained(make_accuracy):
    accuracy = make_accuracy(
        reasons=("UNTRAINED (random:0)", "CALIBRATION-IMAGES (3)", "UNREADABLE (1 of 100)")
    )
    table = build_table("mnasnet-a1", [accuracy], Files(complete=True))
    (cell,) = accuracy_cells(table)
    assert cell.marks == ("u", "c", "n", "a")
    legend = {entry.mark: entry.meaning for entry in table.legend}
    assert {"u", "c", "n", "measured, %", "a"} <= set(legend)


def test_a_publisher_that_is_not_the_originals_is_named_in_the_cell(make_accuracy, here):
    accuracy = make_accuracy(publisher="timm", published=(75.452, 92.608))
    (cell,) = accuracy_cells(build_table("mnasnet-a1", [accuracy], here("first")))
    assert cell.text.endswith("on 100 (timm says 75.5)")


def test_files_of_no_published_row_have_a_part_of_their_own(make_accuracy):
    accuracy = make_accuracy(classes=7, file="pets.tflite", publisher="", weights="pets.keras")
    table = build_table("mnasnet-a1", [accuracy], Files())
    assert [part.title for part in table.parts][1] == "Also measured"
    assert accuracy_cells(table, part=1)[0].value == 68.0


def test_json_has_the_interval_in_percent(make_accuracy, here):
    mapping = table_to_mapping(build_table("mnasnet-a1", [make_accuracy()], here("first")))
    cells = [
        cell
        for row in mapping["parts"][0]["rows"]
        for key, cell in row.items()
        if key.startswith("top1/") and cell["kind"] == "measured"
    ]
    assert [sorted(cell) for cell in cells] == [["high", "kind", "low", "record", "text", "value"]]


def test_a_readme_keeps_the_accuracies_it_shows(make_accuracy, make_record, here):
    document = b"<!-- mnasnet:table:begin -->\n<!-- mnasnet:table:end -->\n"
    accuracy, latency = make_accuracy(), make_record(resolution=224)
    plan = readme.plan(
        document, measured=[accuracy, latency], files=here("first"), kept=(), notes={}
    )
    assert set(plan.add) == {accuracy, latency}
    assert plan.shown == 2
    assert "100 images of val" in plan.document.decode()
    assert readme.check(plan.document, kept=plan.add, notes=plan.notes, name="README.md") == 2


@pytest.mark.parametrize(
    ("correct", "images", "text"),
    [
        (34_050, 50_000, "68.1 ± 0.4"),
        (0, 10, "0.0"),
        (99, 100, "99.0 [97.0, 100.0]"),
        (7_000_000, 10_000_000, "70.00 ± 0.03"),
    ],
)
def test_a_share_shows_its_interval(building, correct, images, text):
    assert format_share(building.make_share(correct, images)).startswith(text)


def test_a_listing_has_every_field(make_accuracy):
    accuracy = make_accuracy(published=(68.9, 88.4), only_this=3, only_other=5)
    row = summarize_accuracy(accuracy)
    assert tuple(row) == ACCURACY_FIELDS
    assert (row["published_top1"], row["only_this"], row["only_float32"]) == (68.9, 3, 5)
    bare = summarize_accuracy(make_accuracy())
    assert bare["p_value"] is bare["published_top1"] is None
    assert csv_text([row], ACCURACY_FIELDS).splitlines()[0] == ",".join(ACCURACY_FIELDS)
    assert accuracy_rows([accuracy])[1][3] == "100 of val"
