"""Contradictions are found by computing: in the published grids, and in grids that are broken."""

from dataclasses import replace

import pytest

from mnasnet_deploy.arch.published import published_rows
from mnasnet_deploy.report import lint as lint_module
from mnasnet_deploy.report.contradictions import contradictions
from mnasnet_deploy.report.lint import lint


def _by_name(findings):
    return {finding.name: finding for finding in findings}


def _changed(rows, place, **cells):
    """The rows with one row's values printed otherwise."""
    made = []
    for row in rows:
        if (row.resolution, row.multiplier) != place:
            made.append(row)
            continue
        texts = {**row.cells, **{name: str(value) for name, value in cells.items()}}
        values = {name: value for name, value in cells.items() if hasattr(row, name)}
        made.append(replace(row, cells=texts, **values))
    return tuple(made)


@pytest.fixture
def repaired():
    """The MnasNet grid without its known faults."""
    rows = _changed(published_rows(), (160, 0.35), top1=59.3)
    return _changed(rows, (96, 0.75), pixel1_ms=14.0)


def test_the_known_faults_of_the_mnasnet_readme_are_found():
    found = _by_name(lint("mnasnet-a1"))
    assert set(found) == {
        "CELLS_UNDER_HEADERS", "REPEATED_COLUMN", "NOT_MONOTONIC", "OUT_OF_LINE",
        "TWO_CONVENTIONS", "SPEED_CLAIM", "NOT_REPRODUCED",
    }  # fmt: skip
    said = {name: finding.message for name, finding in found.items()}
    assert "9 cells under 8 headers ('Top-1 Accuracy' stands twice)" in said["CELLS_UNDER_HEADERS"]
    assert said["REPEATED_COLUMN"].endswith("59.3 fits")
    assert found["REPEATED_COLUMN"].cells == ((160, 0.35, "top1"),)
    assert found["OUT_OF_LINE"].cells == ((96, 0.75, "pixel1_ms"),)
    assert "312M" in said["TWO_CONVENTIONS"]
    assert found["TWO_CONVENTIONS"].numbers == {
        "text_m": 312, "table_m": 315.2, "macs_m": 311.579, "multi_adds_m": 315.232
    }  # fmt: skip
    assert "both are right" in said["TWO_CONVENTIONS"]
    assert "1.8x is 44 % lower" in said["SPEED_CLAIM"]
    assert "78 ms against the 138 ms of mobilenet-v2 1.4 @224" in said["SPEED_CLAIM"]
    assert "1.77x" in said["SPEED_CLAIM"]
    assert all(finding.source for finding in lint("mnasnet-a1"))


def test_two_independent_evaluations_stand_against_75_2():
    found = [finding for finding in lint("mnasnet-a1") if finding.name == "NOT_REPRODUCED"]
    assert [finding.numbers["measured"] for finding in found] == [73.534, 73.086]


def test_every_row_of_the_mnasnet_grid_counts_as_printed():
    names = {finding.name for finding in lint("mnasnet-a1")}
    assert not names & {"COUNT_DIFFERS", "COUNTED_OTHERWISE"}


def test_mobilenet_v2_counts_by_other_conventions_throughout():
    found = lint("mobilenet-v2")
    assert [(finding.name, finding.message) for finding in found] == [
        (
            "COUNTED_OTHERWISE",
            "all 22 values of parameters leave out the gamma and beta of batch norm",
        ),
        ("COUNTED_OTHERWISE", "all 22 values of MACs are cut off, not rounded"),
    ]


def test_of_a_network_that_is_not_published_there_is_nothing_to_say():
    assert lint("mnasnet-b1") == ()


def test_a_sound_grid_has_no_contradictions(repaired):
    assert contradictions(repaired) == ()
    assert contradictions(published_rows("mobilenet-v2")) == ()


@pytest.mark.parametrize("printed", [(59.3, 52.3), (52.3, 59.3)])
def test_which_of_two_values_fits_does_not_depend_on_the_column_it_is_in(repaired, printed):
    rows = _changed(repaired, (160, 0.35), top1=printed[0], top1_repeated=printed[1])
    assert _by_name(contradictions(rows))["REPEATED_COLUMN"].message.endswith("59.3 fits")


def test_at_the_edge_of_the_grid_the_neighbours_may_not_tell(repaired):
    rows = _changed(repaired, (224, 1.4), top1=70.0, top1_repeated=77.2)
    finding = _by_name(contradictions(rows))["REPEATED_COLUMN"]
    assert "neighbours cannot tell" in finding.message


@pytest.mark.parametrize(
    ("place", "cell", "names"),
    [
        ((128, 1.0), {"pixel1_ms": 41.0}, {"OUT_OF_LINE"}),
        ((192, 0.5), {"pixel1_ms": 15.0}, {"OUT_OF_LINE", "NOT_MONOTONIC"}),
        ((192, 1.0), {"top5": 98.0}, {"NOT_MONOTONIC"}),
        ((128, 0.75), {"work_m": 20.0}, {"NOT_MONOTONIC"}),
    ],
)
def test_a_fault_put_into_a_sound_grid_is_found(repaired, place, cell, names):
    found = contradictions(_changed(repaired, place, **cell))
    assert {finding.name for finding in found} == names
    assert all((*place, next(iter(cell))) in finding.cells or finding.cells for finding in found)


def test_small_latencies_are_not_called_noise_for_their_rounding(repaired):
    rows = _changed(repaired, (96, 0.35), pixel1_ms=5.0)  # printed as 5: it may be 5.4
    rows = tuple(replace(r, cells={**r.cells, "pixel1_ms": f"{r.pixel1_ms:g}"}) for r in rows)
    assert contradictions(rows) == ()


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        ({"params_m": "2.2"}, "2.2 M parameters are printed, 2.082 M are counted"),
        ({"multi_adds_m": "105.9"}, "105.9 M multi-adds are printed, 105.177 M are counted"),
    ],
)
def test_a_count_that_differs_is_reported_with_what_is_counted(repaired, cells, said):
    rows = tuple(
        replace(row, cells={**row.cells, **cells})
        if (row.resolution, row.multiplier) == (224, 0.5)
        else row
        for row in repaired
    )
    found = list(lint_module._counts(rows))
    assert [finding.name for finding in found] == ["COUNT_DIFFERS"]
    assert f"0.5 @224: {said}" in found[0].message


def test_claims_that_hold_are_not_reported(repaired):
    (claim,) = lint_module.SPEED_CLAIMS
    true = replace(claim, lower_percent=44)
    assert list(lint_module._speed_claim(true, repaired, published_rows("mobilenet-v2"))) == []
    work = replace(lint_module.WORK_CLAIMS[0], work_m=315)
    assert list(lint_module._work_claim(work, repaired)) == []
    check = replace(lint_module.ACCURACY_CHECKS[0], top1=75.0)
    assert list(lint_module._accuracy_check(check, repaired)) == []


def test_prose_that_no_convention_gives_is_not_called_right(repaired):
    wrong = replace(lint_module.WORK_CLAIMS[0], work_m=290)
    (finding,) = lint_module._work_claim(wrong, repaired)
    assert "both are right" not in finding.message
