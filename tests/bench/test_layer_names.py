"""Rows of a profile under the names of our layers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnasnet_deploy.bench.benchmark_operators import Operator
from mnasnet_deploy.bench.layer_names import with_layer_names
from mnasnet_deploy.export import modelfile
from mnasnet_deploy.export.modelfile import OperatorInfo

GRAPH = tuple(
    OperatorInfo(kind=kind, version=1, output=output, output_type="FLOAT32")
    for kind, output in [
        ("SUB", "front"),
        ("CONV_2D", "stem"),
        ("DEPTHWISE_CONV_2D", "block0/depthwise"),
        ("CONV_2D", "block0/project"),
        ("MEAN", "block1/se/mean"),
        ("LOGISTIC", "block1/se/sigmoid"),
        ("MUL", "block1/se/multiply"),
        ("ADD", "block1/add"),
        ("FULLY_CONNECTED", "classifier"),
    ]
)
XNNPACK = [
    "Subtract (ND, F32)",
    "Convolution (NHWC, F32) IGEMM",
    "Convolution (NHWC, F32) DWConv",
    "Convolution (NHWC, F32) GEMM",
    "Mean (ND) F32",
    "Sigmoid (NC, F32)",
    "Multiply (ND, F32)",
    "Add (ND, F32)",
    "Fully Connected (NC, F32) GEMM",
]


def row(kind, name, ms=1.0, calls=1):
    return Operator(kind=kind, name=name, average_ms=ms, share=0.1, calls=calls)


def names(rows, operators=GRAPH):
    return [one.name for one in with_layer_names(rows, operators)]


def test_built_in_kernels_are_known_by_their_output():
    rows = [row(o.kind, f"[{o.output}]:{n}") for n, o in enumerate(GRAPH)]
    assert names(rows) == [operator.output for operator in GRAPH]


def test_xnnpack_kernels_are_matched_in_the_order_of_the_graph():
    rows = [row(kind, f"Delegate/{kind}:{n}") for n, kind in enumerate(XNNPACK)]
    assert names(rows) == [operator.output for operator in GRAPH]


def test_a_class_with_another_count_keeps_the_names_of_the_runtime():
    rows = [row(XNNPACK[1], "Delegate/a:0"), row(XNNPACK[2], "Delegate/b:1")]
    assert names(rows) == ["Delegate/a:0", "block0/depthwise"]


def test_rows_that_run_in_no_inference_are_left_out():
    rows = [row("AllocateTensors", "AllocateTensors/0", calls=0), row("SUB", "[front]:0", 3.0)]
    (only,) = with_layer_names(rows, GRAPH)
    assert (only.name, only.mean_ms, only.share) == ("front", 3.0, 1.0)


def test_the_operators_of_an_exported_file_are_told_apart(tiny_int8):
    operators = modelfile.read(tiny_int8).operators
    rows = [row(operator.kind, f"Delegate/{n}") for n, operator in enumerate(operators)]
    assert names(rows, operators) == [operator.output for operator in operators]


@given(st.lists(st.tuples(st.sampled_from(XNNPACK), st.floats(0, 1e3), st.integers(0, 2))))
def test_no_layer_is_named_twice_and_shares_add_up(found):
    rows = [row(kind, f"Delegate/{n}", ms, calls) for n, (kind, ms, calls) in enumerate(found)]
    named = with_layer_names(rows, GRAPH)
    layers = [one.name for one in named if not one.name.startswith("Delegate/")]
    assert len(set(layers)) == len(layers)
    if total := sum(one.mean_ms for one in named):
        assert sum(one.share for one in named) == pytest.approx(1.0)
        assert total == pytest.approx(sum(r.average_ms for r in rows if r.calls))
