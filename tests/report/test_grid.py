"""Which number stands where, and why there is none where there is none."""

from dataclasses import replace

import pytest

from mnasnet_deploy.arch.counts import count_network
from mnasnet_deploy.arch.network import build_network, render_multiplier
from mnasnet_deploy.arch.published import published_rows
from mnasnet_deploy.arch.variants import VARIANTS
from mnasnet_deploy.export.naming import file_name
from mnasnet_deploy.report import grid
from mnasnet_deploy.report.grid import build_table
from mnasnet_deploy.results.files import Files

FILE = "mnasnet-a1_0.5_160_int8.tflite"


@pytest.fixture
def here(building):
    """`here(FILE="first")`: these files are in the models folder, with these contents."""

    def make(**contents):
        named = {FILE if name == "FILE" else name: text for name, text in contents.items()}
        hashes = {name: building.sha256_of(text) for name, text in named.items()}
        return Files(sha256=hashes, complete=True)

    return make


def _cells(table, *, part=0, size=160, multiplier="0.5"):
    """The measured columns' cells of one row, by the column's lines."""
    chosen = table.parts[part]
    row = next(
        row
        for row in chosen.rows
        if [cell.text for cell in row.cells if cell.kind == "key"][-2:] == [str(size), multiplier]
    )
    return {
        " ".join((column.title, *column.details)): cell
        for column, cell in zip(chosen.columns, row.cells, strict=True)
        if column.kind == "measured"
    }


def _cell(table, **where):
    (cell,) = _cells(table, **where).values()
    return cell


def test_the_25_published_rows_stand_as_printed():
    table = build_table("mnasnet-a1", [], Files())
    (part,) = table.parts
    assert [column.title for column in part.columns] == [
        "Input Size", "Depth Multiplier", "Top-1", "Top-5", "Parameters", "Multi-Adds",
        "Pixel 1 latency",
    ]  # fmt: skip
    assert len(part.rows) == 25
    assert [cell.shown for cell in part.rows[0].cells] == [
        "224", "1.4", "77.2", "93.5", "6.1", "591.5", "135"
    ]  # fmt: skip
    kinds = {cell.kind for row in part.rows for cell in row.cells[2:]}
    assert kinds == {"published"}


def test_cells_that_contradict_others_are_flagged_and_explained():
    table = build_table("mnasnet-a1", [], Files())
    flagged = {
        (row.cells[0].text, row.cells[1].text): cell
        for row in table.parts[0].rows
        for cell in row.cells
        if cell.marks
    }
    assert set(flagged) == {("160", "0.35"), ("96", "0.75")}
    assert flagged["160", "0.35"].shown == "52.3 or 59.3 !"
    assert flagged["96", "0.75"].shown == "17 !"
    assert all(cell.marks == ("!",) and cell.reasons for cell in flagged.values())
    said = [entry.meaning for entry in table.legend if entry.mark == "!"]
    assert {reason for cell in flagged.values() for reason in cell.reasons} == set(said)


def test_mobilenet_v2_has_its_own_published_rows():
    table = build_table("mobilenet-v2", [], Files())
    assert len(table.parts[0].rows) == 22
    assert [column.title for column in table.parts[0].columns][5] == "MACs"


def test_rows_are_keyed_as_files_are_named():
    for network in ("mnasnet-a1", "mobilenet-v2"):
        for row in published_rows(network):
            assert row.cells["multiplier"] == render_multiplier(row.multiplier)
    key = grid._RowKey("mnasnet-a1", "0.35", 96, 1000)
    for scheme in ("float32", "float16", "dynamic-int8", "int8"):
        assert grid._usual_name(key, scheme) == file_name("mnasnet-a1", 0.35, 96, scheme)


def test_the_newest_measurement_is_shown_with_its_interval(make_record, here):
    records = [make_record(minute=1, median_ms=1.52), make_record(minute=0, median_ms=9.0)]
    table = build_table("mnasnet-a1", records, here(FILE="first"))
    cell = _cell(table)
    assert cell.shown == "1.52 [1.50, 1.55]"
    assert (cell.kind, cell.value, cell.low, cell.high) == ("measured", 1.52, 1.5, 1.55)
    assert table.shown_records == table.used_records == (records[0].id,)


def test_every_other_row_says_that_it_was_not_measured(make_record, here):
    table = build_table("mnasnet-a1", [make_record()], here(FILE="first"))
    last = [row.cells[-1] for row in table.parts[0].rows]
    assert [cell.text for cell in last].count("not measured") == 24
    assert all(cell.kind in ("missing", "measured") for cell in last)


def test_an_invalid_measurement_does_not_hide_an_older_good_one(make_record, here):
    good = make_record(minute=0)
    bad = make_record(minute=1, verdict="invalid", reasons=("CLOCK-DROP: to 600 MHz",))
    table = build_table("mnasnet-a1", [good, bad], here(FILE="first"))
    assert _cell(table).record == good.id


def test_where_only_invalid_measurements_are_their_reason_is_named(make_record, here):
    bad = make_record(
        verdict="invalid", reasons=("CLOCK-DROP: to 600 MHz", "HOT: 61 C"), estimated=False
    )
    table = build_table("mnasnet-a1", [bad], here(FILE="first"))
    cell = _cell(table)
    assert cell.text == "invalid: CLOCK-DROP, HOT"
    assert cell.reasons == bad.reasons
    assert (table.shown_records, table.used_records) == ((), (bad.id,))


def test_a_number_of_other_bytes_is_not_shown_as_the_file_s(make_record, here):
    record = make_record(content="first")
    table = build_table("mnasnet-a1", [record], here(FILE="second"))
    assert _cell(table).text == "file changed since measured"
    assert table.shown_records == ()


def test_measured_again_after_the_change_the_new_number_is_shown(make_record, here):
    records = [
        make_record(content="first", minute=1, median_ms=9.0),
        make_record(content="second", minute=0, median_ms=2.0),
    ]
    table = build_table("mnasnet-a1", records, here(FILE="second"))
    assert _cell(table).value == 2.0


def test_a_file_that_is_not_here_keeps_its_last_number_with_a_mark(make_record, here):
    records = [make_record(content="first"), make_record(content="second", minute=1, median_ms=2.0)]
    table = build_table("mnasnet-a1", records, here())
    assert _cell(table).shown == "2.00 [1.98, 2.03] a"
    assert any("not here" in entry.meaning for entry in table.legend if entry.mark == "a")


def test_without_a_models_folder_nothing_is_marked_as_missing(make_record):
    table = build_table("mnasnet-a1", [make_record()], Files())
    assert _cell(table).shown == "1.52 [1.50, 1.55]"


def test_one_row_speaks_of_one_file_also_when_it_is_not_here(make_record):
    old = make_record(content="first", threads=2)
    new = make_record(content="second", minute=1, verdict="invalid", reasons=("HOT",))
    cells = _cells(build_table("mnasnet-a1", [old, new], Files()))
    assert [cell.text for cell in cells.values()] == [
        "invalid: HOT", "file changed since measured"
    ]  # fmt: skip


def test_marks_of_verdict_and_of_untrained_and_synthetic_files(make_record, here):
    record = make_record(
        verdict="noisy",
        reasons=("WIDE-INTERVAL: 12 % of the median", "TREND: 8 %"),
        untrained=True,
        synthetic_calibration=True,
    )
    table = build_table("mnasnet-a1", [record], here(FILE="first"))
    assert _cell(table).shown == "1.52 [1.50, 1.55] ~noisy u s"
    legend = {entry.mark: entry.meaning for entry in table.legend}
    assert "untrained weights: time and size only" in legend["u"]
    assert "TREND, WIDE-INTERVAL" in legend["~noisy"]
    assert "generated images" in legend["s"]
    assert "97.9 %" in legend["measured"]


def test_a_legend_explains_only_what_occurs(make_record, here):
    table = build_table("mnasnet-a1", [make_record()], here(FILE="first"))
    assert {entry.mark for entry in table.legend} == {"published", "measured", "host", "!"}


def test_each_setup_has_its_own_column(make_record, building):
    host = building.HOST
    records = [
        make_record(minute=0),
        make_record(minute=1, scheme="float32"),
        make_record(minute=2, threads=2),
        make_record(minute=3, delegate="none"),
        make_record(minute=4, cpus=(4, 5)),
        make_record(minute=5, device=replace(host, runtime="ai-edge-litert 2.4.0")),
        make_record(minute=6, device=building.PHONE),
        make_record(minute=7, device=building.PHONE, mode="fixed"),
        make_record(minute=8, device=building.PHONE, prepared=True),
        make_record(minute=9, device=replace(building.PHONE, build="QP1A.190711.020")),
        make_record(minute=10, device=replace(building.PHONE, runtime_sha256="12345678" * 8)),
    ]
    table = build_table("mnasnet-a1", records, Files())
    cells = _cells(table)
    assert len(cells) == len(records)
    assert {cell.record for cell in cells.values()} == {record.id for record in records}
    heads = list(cells)
    assert heads[0] == (
        "host: AMD EPYC 7B13 float32, 1 thread, xnnpack ai-edge-litert 2.3.0 measured, ms"
    )
    assert any("int8, 1 thread, no delegate" in head for head in heads)
    assert any("int8, 1 thread, xnnpack, CPU 4, 5" in head for head in heads)
    assert any("int8, 2 threads" in head for head in heads)
    phone = [head.removeprefix("Pixel 1 ") for head in heads if head.startswith("Pixel 1 ")]
    runtime = building.PHONE.runtime
    plain = "int8, 1 thread, xnnpack"
    assert phone == [
        f"{plain} {runtime} build unknown program unknown measured, ms",
        f"{plain} {runtime} build unknown program 12345678 measured, ms",
        f"{plain} {runtime} build QP1A.190711.020 program unknown measured, ms",
        f"{plain}, prepared {runtime} measured, ms",
        f"{plain}, fixed mode {runtime} measured, ms",
    ]


def test_the_name_of_a_gate_that_was_let_through_stays_with_the_number(make_record, building):
    record = make_record(device=building.PHONE, allowed=("LOW-BATTERY", "WARM"))
    table = build_table("mnasnet-a1", [record], Files())
    (cell,) = _cells(table).values()
    assert cell.marks == ("LOW-BATTERY", "WARM")
    legend = {entry.mark: entry.meaning for entry in table.legend}
    assert legend["WARM"] == "measured though this gate refuses (--allow)"


def test_a_phone_a_stand_in_for_it_and_a_host_never_share_a_column(make_record, building):
    same_name = replace(building.HOST, name="Pixel 1", runtime=building.PHONE.runtime)
    devices = (same_name, building.PHONE, building.STAND_IN)
    records = [make_record(device=device, minute=i) for i, device in enumerate(devices)]
    table = build_table("mnasnet-a1", records, Files())
    heads = [column.title for column in table.parts[0].columns if column.kind == "measured"]
    assert heads == ["host: Pixel 1", "Pixel 1"]
    assert "software phones" in table.parts[-1].title
    assert len(table.parts) == 2
    heads = [column.title for column in table.parts[1].columns if column.kind == "measured"]
    assert heads == ["software phone: Pixel 1"]
    assert [row.cells[0].text for row in table.parts[1].rows] == ["mnasnet-a1"]
    published = next(c for c in table.parts[0].columns if c.title == "Pixel 1 latency")
    assert published.kind == "published"
    marks = {entry.mark for entry in table.legend}
    assert {"host", "software phone"} <= marks


def test_a_network_only_software_phones_measured_stands_with_them_alone(make_record, building):
    record = make_record(network="mnasnet-b1", device=building.STAND_IN)
    table = build_table("mnasnet-a1", [record], Files())
    assert [part.title for part in table.parts] == [
        "mnasnet-a1, published",
        "On software phones: stand-ins for tests, whose times are no phone's",
    ]
    assert len(table.parts[1].rows) == 1


def test_what_is_not_published_has_its_own_part(make_record):
    records = [
        make_record(minute=0, network="mnasnet-b1", multiplier="1.0", resolution=224),
        make_record(minute=1, resolution=96, multiplier="0.6"),
        make_record(minute=2, resolution=320, multiplier="1.0"),
        make_record(minute=3, classes=10, content="ten"),
        make_record(minute=4, file="mnasnet-a1_0.5_160_int8_mine.tflite", content="mine"),
        make_record(
            minute=5, network="", multiplier="", resolution=0, scheme="", classes=0, file="x.tflite"
        ),
    ]
    table = build_table("mnasnet-a1", records, Files())
    assert [part.title for part in table.parts] == [
        "mnasnet-a1, published and measured", "Also measured"
    ]  # fmt: skip
    assert {column.kind for column in table.parts[0].columns} == {"key", "published"}
    rows = [[cell.text for cell in row.cells[:3]] for row in table.parts[1].rows]
    assert rows == [
        ["mnasnet-a1", "320", "1.0"],
        ["mnasnet-a1, 10 classes", "160", "0.5"],
        ["mnasnet-a1_0.5_160_int8_mine.tflite", "160", "0.5"],
        ["mnasnet-a1", "96", "0.6"],
        ["x.tflite", "unknown", "unknown"],
        ["mnasnet-b1", "224", "1.0"],
    ]
    assert set(table.shown_records) == {record.id for record in records}


def test_the_same_names_with_other_channels_are_another_network(make_record):
    counts = {}
    for divisor in (8, 16):
        network = build_network(
            VARIANTS["a1"].spec, multiplier=0.5, resolution=160, divisor=divisor
        )
        counts[divisor] = count_network(network)
    usual, other = (
        make_record(
            content=str(divisor),
            minute=divisor,
            params=counts[divisor].params,
            multi_adds=counts[divisor].multi_adds,
        )
        for divisor in (8, 16)
    )
    table = build_table("mnasnet-a1", [usual], Files())
    assert _cell(table).record == usual.id
    table = build_table("mnasnet-a1", [other], Files())
    label, _, _, params, work, cell = table.parts[1].rows[0].cells
    assert label.text == FILE
    assert cell.record == other.id
    assert params.kind == work.kind == "counted"
    assert params.value == counts[16].params / 1e6


def test_a_copy_under_another_name_is_the_same_file(make_record, here):
    record = make_record(file="copy.tflite", content="first")
    table = build_table("mnasnet-a1", [record], here(FILE="first"))
    assert _cell(table).record == record.id
    assert len(table.parts) == 1
    table = build_table("mnasnet-a1", [record], here(FILE="second"))
    assert table.parts[1].rows[0].cells[0].text == "copy.tflite"


def test_one_name_means_one_file_whatever_was_measured_under_it(make_record):
    old = make_record(file="my.tflite", content="first")
    new = make_record(file="my.tflite", content="second", minute=1, network="mnasnet-b1")
    table = build_table("mnasnet-a1", [old, new], Files())
    shown = {row.cells[0].text: row.cells[-1].text for row in table.parts[1].rows}
    assert [row.cells[-1].text for row in table.parts[1].rows] == [
        "file changed since measured", "1.52 [1.50, 1.55]"
    ]  # fmt: skip
    assert shown == {"my.tflite": "1.52 [1.50, 1.55]"}


def test_a_network_of_which_nothing_is_published_has_only_measured_rows(make_record):
    record = make_record(network="mnasnet-b1", multiplier="1.0", resolution=224)
    table = build_table("mnasnet-b1", [record, make_record(minute=1)], Files())
    (part,) = table.parts
    assert part.title == "Measured"
    assert [row.cells[0].text for row in part.rows] == ["mnasnet-b1", "mnasnet-a1"]
    assert build_table("mnasnet-b1", [], Files()).parts == ()


def test_texts_of_a_record_are_harmless(make_record, building):
    evil = "Pixel\n\x1b[31m\u202e <!-- mnasnet:table:end --> \ud800"
    record = make_record(
        device=replace(building.HOST, name=evil, runtime=evil),
        network="",
        file=f"{evil}.tflite",
        verdict="invalid",
        reasons=(evil,),
    )
    table = build_table("mnasnet-a1", [record], Files())
    part = table.parts[1]
    texts = [text for column in part.columns for text in (column.title, *column.details)]
    texts += [cell.shown for row in part.rows for cell in row.cells]
    texts += [reason for row in part.rows for cell in row.cells for reason in cell.reasons]
    assert all(text.isprintable() for text in texts)
