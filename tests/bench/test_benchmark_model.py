"""Settings become arguments that the program knows, or an error; its tables become operators."""

from pathlib import Path

import pytest

from mnasnet_deploy.bench.benchmark_model import Request, arguments, shell_words
from mnasnet_deploy.bench.benchmark_operators import read_operators
from mnasnet_deploy.errors import InputError

LOGS = Path(__file__).parents[1] / "data" / "bench_logs"


def _given(request, tool="tflite"):
    return dict(word[2:].split("=", 1) for word in arguments(request, tool))


def test_the_standard_launch():
    assert arguments(Request(graph="m.tflite")) == (
        "--graph=m.tflite", "--num_threads=1", "--warmup_runs=5", "--warmup_min_secs=1",
        "--num_runs=50", "--min_secs=2", "--max_secs=150", "--use_xnnpack=true",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("delegate", "flag"), [("gpu", "use_gpu"), ("nnapi", "use_nnapi"), ("xnnpack", "use_xnnpack")]
)
def test_one_delegate_is_on_and_no_other(delegate, flag):
    given = _given(Request(graph="m", delegate=delegate))
    assert [name for name in given if name.startswith("use_") and given[name] == "true"] == [flag]


def test_built_in_kernels_are_asked_for_by_name():
    assert _given(Request(graph="m", delegate="none"))["use_xnnpack"] == "false"


def test_inputs_come_from_files():
    request = Request(
        graph="m", inputs={"in:0": "/d/a"}, input_shapes={"in:0": (1, 96, 96, 3)}, output="/d/out"
    )
    given = _given(request)
    assert given["input_layer"] == "in:0"
    assert given["input_layer_shape"] == "1,96,96,3"
    assert given["input_layer_value_files"] == "in::0:/d/a"
    assert given["output_filepath"] == "/d/out"


def test_the_other_program_has_other_flags():
    given = _given(Request(graph="m", operators=True), "litert")
    assert given["use_profiler"] == "true"
    assert "use_xnnpack" not in given
    gpu = _given(Request(graph="m", delegate="gpu", full_delegation=True), "litert")
    assert (gpu["use_cpu"], gpu["require_full_delegation"]) == ("false", "true")


@pytest.mark.parametrize(
    ("request_", "tool"),
    [
        (Request(graph="m", delegate="nnapi"), "litert"),
        (Request(graph="m", delegate="none"), "litert"),
        (Request(graph="m", output="o"), "litert"),
        (Request(graph="fd:1:2:3"), "tflite"),
        (Request(graph="m", delegate="external"), "tflite"),
        (Request(graph="m", inputs={"a": "x"}), "tflite"),
        (Request(graph="m", inputs={"a": "x,y"}, input_shapes={"a": (1,)}), "tflite"),
    ],
)
def test_what_cannot_be_said_is_an_error(request_, tool):
    with pytest.raises(InputError):
        arguments(request_, tool)


def test_a_line_for_the_shell_is_quoted():
    assert shell_words(("./b", "--graph=a b;c")) == "./b '--graph=a b;c'"


@pytest.mark.parametrize(
    ("name", "rows", "first", "last"),
    [
        (
            "063",
            5,
            ("LiteRT::Run[buffer registration]", 0.014),
            ("LiteRT::Run[Buffer sync]", 0.012),
        ),
        ("014", 1, ("TfLiteGpuDelegateV2", 8.671), ("TfLiteGpuDelegateV2", 8.671)),
    ],
)
def test_a_table_of_operators_is_read(name, rows, first, last):
    found = read_operators((LOGS / f"{name}.log").read_text(encoding="utf-8"))
    assert len(found) == rows
    assert (found[0].kind, found[0].average_ms) == first
    assert (found[-1].kind, found[-1].average_ms) == last


def test_a_table_whose_tabs_became_blanks_is_read_too():
    text = (LOGS / "063.log").read_text(encoding="utf-8")
    blanks = "\n".join(line.replace("\t", "   ").strip() for line in text.split("\n"))
    assert read_operators(blanks) == read_operators(text)


def test_a_run_without_profile_has_no_operators():
    assert read_operators((LOGS / "049.log").read_text(encoding="utf-8")) == ()
