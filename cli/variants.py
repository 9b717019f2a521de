"""`mnasnet variants`: the published architectures with their sizes."""

from typing import Annotated, Any

import typer

from mnasnet_deploy.arch.counts import count_network
from mnasnet_deploy.arch.network import build_network, render_multiplier
from mnasnet_deploy.arch.variants import VARIANTS, Variant

from . import console

__all__ = ["variants"]

SCHEMA = "mnasnet.variant/1"


def variants(
    json: Annotated[bool, typer.Option("--json", help="Print a JSON list.")] = False,
) -> None:
    """List the published architectures with their sizes.

    Each at its own multiplier and resolution, with 1000 classes.

    Example:
        mnasnet variants
    """
    entries = [_entry(variant) for variant in VARIANTS.values()]
    if json:
        console.emit_json(entries)
        return
    header = ("variant", "multiplier", "resolution", "blocks", "parameters", "MACs", "multi-adds")
    rows = [
        (
            entry["variant"],
            entry["multiplier"],
            str(entry["resolution"]),
            str(entry["blocks"]),
            f"{entry['params']:,}",
            f"{entry['macs']:,}",
            f"{entry['multi_adds']:,.0f}",
        )
        for entry in entries
    ]
    console.out(console.columns([header, *rows]))


def _entry(variant: Variant) -> dict[str, Any]:
    network = build_network(
        variant.spec, multiplier=variant.multiplier, resolution=variant.resolution
    )
    counts = count_network(network)
    return {
        "schema": SCHEMA,
        "variant": variant.name,
        "name": network.name,
        "multiplier": render_multiplier(network.multiplier),
        "resolution": network.resolution,
        "classes": network.classes,
        "blocks": sum(block.repeats for block in variant.spec.blocks),
        "params": counts.params,
        "macs": counts.macs,
        "multi_adds": counts.multi_adds,
    }
