"""File names say what is inside and read back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnasnet_deploy.export.naming import SCHEMES, file_name, parse_name

words = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True)
multipliers = st.none() | st.floats(0.001, 8.0)


@given(words, multipliers, st.integers(32, 2048), st.sampled_from(SCHEMES), words | st.just(""))
def test_a_name_reads_back(
    network: str, multiplier: float | None, resolution: int, scheme: str, suffix: str
) -> None:
    name = file_name(network, multiplier, resolution, scheme, suffix)  # type: ignore[arg-type]
    parts = parse_name(name)
    assert parts is not None
    assert (parts.network, parts.multiplier, parts.resolution, parts.scheme, parts.suffix) == (
        network,
        multiplier,
        resolution,
        scheme,
        suffix,
    )


def test_names_are_those_of_the_house() -> None:
    assert file_name("mnasnet-a1", 0.5, 160, "int8") == "mnasnet-a1_0.5_160_int8.tflite"
    assert file_name("mnasnet-d1", None, 224, "float16") == "mnasnet-d1_none_224_float16.tflite"


@pytest.mark.parametrize(
    "name",
    ["", "a.tflite", "mnasnet-a1_0.5_160_int4.tflite", "a_9.0_160_int8.tflite",
     "A_0.5_160_int8.tflite", "a_0.5_160_int8.tflite.json", "../a_0.5_160_int8.tflite"],
)  # fmt: skip
def test_other_names_are_not_read(name: str) -> None:
    assert parse_name(name) is None
