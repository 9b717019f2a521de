"""Whose operator is that: the rows of a profile under the names of our layers.

The built-in kernels report the name of their output, which is the layer's. XNNPACK reports only
what its own kernels are called, in the order of the graph, and adds or folds some of its own. Rows
and operators of one class (convolution, addition, ...) are matched in order where there are equally
many of both; otherwise the class keeps the runtime's names, since a guess would be a wrong name.
"""

import re
from collections.abc import Sequence
from typing import Final

from mnasnet_deploy.bench.benchmark_operators import Operator
from mnasnet_deploy.export.modelfile import OperatorInfo
from mnasnet_deploy.results.record import OperatorTime

__all__ = ["with_layer_names"]

# What XNNPACK calls its kernels (xnnpack/src/operators, `xnn_operator_type_to_string`) and TFLite
# its operators; the first that is found in a row's kind decides.
_CLASSES: Final = (
    ("depthwise", re.compile(r"DWConv|DEPTHWISE_CONV", re.I)),
    ("convolution", re.compile(r"Convolution|CONV_2D", re.I)),
    ("dense", re.compile(r"Fully.?Connected", re.I)),
    ("mean", re.compile(r"Global Average Pooling|\bMean\b|\bReduce\b", re.I)),
    ("sigmoid", re.compile(r"Sigmoid|LOGISTIC", re.I)),
    ("multiply", re.compile(r"\bMul(?:tiply)?\b", re.I)),
    ("add", re.compile(r"\bAdd\b", re.I)),
    ("subtract", re.compile(r"\bSub(?:tract)?\b", re.I)),
    ("pad", re.compile(r"\bPad(?:v2)?\b|Constant Pad", re.I)),
    ("softmax", re.compile(r"Soft.?max", re.I)),
    ("convert", re.compile(r"\bConvert\b|\bQUANTIZE\b|DEQUANTIZE", re.I)),
)
_NUMBERED = re.compile(r"^\[(?P<names>.*)\](?::\d+)?$")


def with_layer_names(
    rows: Sequence[Operator], operators: Sequence[OperatorInfo]
) -> tuple[OperatorTime, ...]:
    """The rows of a profile, each under the name of the layer it executes where that is certain.

    Args:
        rows: of the measured stage, in the order they ran; those that run in no inference are left
            out.
        operators: of the model file, in the order of its graph.
    """
    running = [row for row in rows if row.calls > 0]
    outputs = {operator.output for operator in operators}
    names: dict[int, str] = {}
    for number, row in enumerate(running):
        if name := _own_name(row.name, outputs):
            names[number] = name
    taken = set(names.values())
    for kind, _ in _CLASSES:
        left = [
            n for n, row in enumerate(running) if n not in names and _class_of(row.kind) == kind
        ]
        ours = [o.output for o in operators if o.output not in taken and _class_of(o.kind) == kind]
        if left and len(left) == len(ours):
            names |= dict(zip(left, ours, strict=True))
    total = sum(row.average_ms for row in running)
    return tuple(
        OperatorTime(
            name=names.get(number, row.name),
            kind=row.kind,
            mean_ms=row.average_ms,
            share=row.average_ms / total if total else 0.0,
        )
        for number, row in enumerate(running)
    )


def _own_name(name: str, outputs: set[str]) -> str | None:
    """The layer in `[block4/depthwise]:12`; None where the row names no output of the file."""
    match = _NUMBERED.match(name)
    candidates = match["names"].split(", ") if match else [name]
    return next((one for one in candidates if one in outputs), None)


def _class_of(kind: str) -> str:
    return next((name for name, pattern in _CLASSES if pattern.search(kind)), "")
