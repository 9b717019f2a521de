"""What executed the graph, from the lines of `benchmark_model` and of the runtime."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

__all__ = ["Delegation", "delegation_of"]

_REPLACED = re.compile(
    r"Replacing (?P<taken>\d+)(?: out of (?P<all>\d+))? node\(s\) with delegate "
    r"\((?P<name>\w+)\) node, yielding (?P<partitions>\d+) partitions"
)
_APPLIED = re.compile(
    r"(?:Explicitly applied|Applied) (?P<name>\w+) delegate(?:, and the model graph will be "
    r"(?P<how>completely|partially) executed)?(?:.*w/ (?P<kernels>\d+) delegate kernels)?"
)
_NOT_RUN = re.compile(r"Though (?P<name>\w+) delegate is explicitly applied")
_UNSUPPORTED = re.compile(r"\b(?P<name>GPU|NNAPI) acceleration is unsupported on this platform")
_NO_HEXAGON = re.compile(r"Could not create Hexagon delegate")
_NOT_APPLIED = re.compile(r"Failed to apply (?P<name>\w+) delegate")
_CREATED = re.compile(r"Created TensorFlow Lite XNNPACK delegate for CPU")
_DELEGATE_NAMES: Final = {
    "TfLiteXNNPackDelegate": "XNNPACK",
    "TfLiteGpuDelegateV2": "GPU",
    "TfLiteGpuDelegate": "GPU",
    "LITERT_CL": "GPU",
    "TfLiteNnapiDelegate": "NNAPI",
    "TfLiteHexagonDelegate": "Hexagon",
    "TfLiteCoreMlDelegate": "COREML",
    "DispatchDelegate": "NPU",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Delegation:
    """What executed the graph.

    Attributes:
        name: XNNPACK, GPU, NNAPI, ...: the delegate that executes nodes; None where the built-in
            kernels do, or the output does not say.
        coverage: full; partial; none (it was applied and takes nothing); implicit (the runtime
            applied it by itself); None where the output does not say.
        nodes, of_nodes: it took so many of so many; None where unsaid.
        kernels: number of delegated parts; None where unsaid.
        refused: delegates that were asked for and do not run, in order.
    """

    name: str | None = None
    coverage: Literal["full", "partial", "none", "implicit"] | None = None
    nodes: int | None = None
    of_nodes: int | None = None
    kernels: int | None = None
    refused: tuple[str, ...] = ()


def delegation_of(lines: Iterable[str]) -> Delegation:
    """Which delegate executes nodes, from the lines of the tool and of the runtime."""
    name: str | None = None
    coverage: Literal["full", "partial", "none", "implicit"] | None = None
    nodes = of_nodes = kernels = None
    implicit = False
    refused: list[str] = []
    for text in lines:
        if match := _APPLIED.search(text):
            name = match["name"]
            if match["how"]:
                coverage = "full" if match["how"] == "completely" else "partial"
            kernels = int(match["kernels"]) if match["kernels"] else kernels
        elif match := _NOT_RUN.search(text):
            refused.append(match["name"])
            coverage = coverage or "none"
        elif match := _UNSUPPORTED.search(text) or _NOT_APPLIED.search(text):
            refused.append(match["name"])
        elif _NO_HEXAGON.search(text):
            refused.append("Hexagon")
        elif match := _REPLACED.search(text):
            nodes = int(match["taken"])
            of_nodes = int(match["all"]) if match["all"] else None
            by = _DELEGATE_NAMES.get(match["name"], match["name"])
            implicit = implicit or by == "XNNPACK"
            if by != "XNNPACK" and name is None and nodes:
                name = by
                coverage = "full" if nodes == of_nodes else "partial" if of_nodes else None
        elif _CREATED.search(text):
            implicit = True
        elif match := re.search(r"Created (\d+) GPU delegate kernels", text):
            kernels = int(match[1])
    if name is None and implicit and not refused:
        name, coverage = "XNNPACK", "implicit"
    elif name is None and implicit and "XNNPACK" not in refused:
        name, coverage = "XNNPACK", coverage or "implicit"
    return Delegation(
        name=name,
        coverage=coverage,
        nodes=nodes,
        of_nodes=of_nodes,
        kernels=kernels,
        refused=tuple(dict.fromkeys(refused)),
    )
