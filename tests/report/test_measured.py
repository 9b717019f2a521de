"""How a measured number is written."""

import pytest

from mnasnet_deploy.report.measured import format_ms, reason_names


@pytest.mark.parametrize(
    ("times", "text"),
    [
        ((1.52, 1.50, 1.55), "1.52 [1.50, 1.55]"),
        ((1.523, 1.5226, 1.5234), "1.523 [1.523, 1.523]"),
        ((0.3841, 0.38, 0.39), "0.384 [0.380, 0.390]"),
        ((17.83, 17.81, 17.86), "17.83 [17.81, 17.86]"),
        ((17.8, 16.9, 18.8), "17.8 [16.9, 18.8]"),
        ((152.4, 150.2, 155.0), "152 [150, 155]"),
        ((152.4, 152.2, 152.6), "152.4 [152.2, 152.6]"),
        ((78.0, 78.0, 78.0), "78.0 [78.0, 78.0]"),
        ((0.0, 0.0, 0.0), "0.000 [0.000, 0.000]"),
    ],
)
def test_a_time_has_the_figures_that_its_interval_supports(times, text):
    assert format_ms(*times) == text


def test_reasons_are_known_by_their_names():
    assert reason_names(["HOT: 61 C", "CLOCK-DROP to 600 MHz", "HOT: 62 C"]) == [
        "HOT",
        "CLOCK-DROP",
    ]
    assert reason_names(["A fan was off", "x" * 100]) == ["A fan was off", "x" * 40]
    assert reason_names([]) == []
