"""`mnasnet show`: the layers of a network, what a file is, what a record says."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from mnasnet_deploy.arch.counts import Counts, count_layer, count_network
from mnasnet_deploy.arch.network import Layer, Network, render_multiplier
from mnasnet_deploy.errors import InputError

from . import console
from .networks import (
    Classes,
    Divisor,
    MinDepth,
    OneMultiplier,
    OneResolution,
    OneVariant,
    Specs,
    one_network,
)

__all__ = ["show"]

SCHEMA = "mnasnet.network/1"
DEFAULT_DIVISOR = 8
DEFAULT_RESULTS = Path("results")


def show(
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="[FILE|RECORD]",
            help="A .tflite file instead of a network; or a record, by its id, the start of it or "
            "its file.",
        ),
    ] = None,
    variant: OneVariant = None,
    multiplier: OneMultiplier = None,
    res: OneResolution = None,
    classes: Classes = None,
    spec: Specs = None,
    divisor: Divisor = DEFAULT_DIVISOR,
    min_depth: MinDepth = None,
    snippet: Annotated[
        Literal["python", "kotlin"] | None,
        typer.Option(help="With FILE: print the lines that feed this very file and read it."),
    ] = None,
    operators: Annotated[
        bool, typer.Option("--ops", help="With RECORD: the operators that take longest.")
    ] = False,
    results: Annotated[
        Path, typer.Option(metavar="DIR", help="With RECORD: folder of the results.")
    ] = DEFAULT_RESULTS,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show a network's layers, a .tflite file, or a record.

    MACs count convolutions and the classifier; multi-adds are counted as in the published table.

    Example:
        mnasnet show --variant a1 --multiplier 0.5 --res 160
        mnasnet show models/mnasnet-a1_0.5_160_int8.tflite --snippet python
        mnasnet show 20261124t082334708-701b005a-0001 --ops
    """
    if file is not None:
        if any((variant, multiplier, res, classes, spec, min_depth)) or divisor != DEFAULT_DIVISOR:
            raise InputError("show takes a FILE or the options of a network, not both")
        if operators or results != DEFAULT_RESULTS or _names_record(file):
            if snippet is not None:
                raise InputError("--snippet is for a .tflite file: leave out --ops and --results")
            from .show_record import show_record

            show_record(file, results, operators=operators, json=json)
            return
        # Reading a file needs NumPy and LiteRT; showing a network does not.
        from .show_file import show_file

        show_file(file, snippet=snippet, json=json)
        return
    if operators:
        raise InputError("--ops needs a RECORD: 'mnasnet results list' shows their ids")
    if snippet is not None:
        raise InputError("--snippet needs a FILE: mnasnet show models/FILE.tflite --snippet python")
    network = one_network(
        variant=variant,
        multiplier=multiplier,
        res=res,
        classes=classes,
        spec=spec,
        divisor=divisor,
        min_depth=min_depth,
    )
    if json:
        console.emit_json(_mapping(network))
    else:
        console.out(_text(network))


def _names_record(file: Path) -> bool:
    """Whether it is a record's file, or looks like a record's id and is no file."""
    if file.suffix == ".json":
        return True
    return re.fullmatch(r"\d{8}t[0-9a-f-]*", str(file)) is not None and not file.exists()


def _mapping(network: Network) -> dict[str, Any]:
    total = count_network(network)
    return {
        "schema": SCHEMA,
        "name": network.name,
        "multiplier": render_multiplier(network.multiplier),
        "resolution": network.resolution,
        "classes": network.classes,
        "divisor": network.divisor,
        "min_depth": network.min_depth,
        "params": total.params,
        "macs": total.macs,
        "multi_adds": total.multi_adds,
        "layers": [_layer_mapping(layer, total) for layer in network.layers],
    }


def _layer_mapping(layer: Layer, total: Counts) -> dict[str, Any]:
    counts = count_layer(layer)
    return {
        "name": layer.name,
        "op": layer.op,
        "inputs": list(layer.inputs),
        "kernel": list(layer.kernel),
        "stride": list(layer.stride),
        "activation": layer.activation,
        "input_shape": list(layer.input_shape),
        "output_shape": list(layer.output_shape),
        "params": counts.params,
        "macs": counts.macs,
        "multi_adds": counts.multi_adds,
        "macs_share": counts.macs / total.macs,
    }


def _text(network: Network) -> str:
    total = count_network(network)
    side = network.resolution
    rows = [("layer", "op", "kernel", "stride", "output", "parameters", "MACs", "share")]
    for layer in network.layers:
        counts = count_layer(layer)
        convolves = layer.op in ("conv", "depthwise")
        rows.append(
            (
                layer.name,
                layer.op,
                _times(layer.kernel) if convolves else "",
                _times(layer.stride) if convolves else "",
                _times(layer.output_shape),
                f"{counts.params:,}" if counts.params else "",
                f"{counts.macs:,}" if counts.macs else "",
                f"{counts.macs / total.macs:.1%}" if counts.macs else "",
            )
        )
    rows.append(("total", "", "", "", "", f"{total.params:,}", f"{total.macs:,}", "100.0%"))
    title = (
        f"{network.name}, multiplier {render_multiplier(network.multiplier)}, "
        f"input {side}x{side}x3, {network.classes} classes"
    )
    totals = console.columns(
        [
            ("parameters", f"{total.params:,}"),
            ("MACs", f"{total.macs:,}"),
            ("multi-adds", f"{total.multi_adds:,.0f}"),
        ]
    )
    return f"{title}\n\n{console.columns(rows, left=2)}\n\n{totals}"


def _times(sides: tuple[int, ...]) -> str:
    return "x".join(map(str, sides))
