"""`mnasnet weights`: files of weights."""

from pathlib import Path
from typing import Annotated

import typer

from mnasnet_deploy.arch.network import render_multiplier
from mnasnet_deploy.errors import InputError

from . import console
from .networks import Classes, Divisor, MinDepth, Multipliers, Resolutions, Specs, Variants
from .networks import one_network as choose
from .weights_files import check, convert, show

__all__ = ["app"]

app = typer.Typer(help="Make files of weights.")


@app.callback()
def _group() -> None:
    """Make files of weights."""


app.command("show")(show)
app.command("check")(check)
app.command("convert")(convert)


@app.command("init")
def init(
    out: Annotated[Path, typer.Option(metavar="FILE", help="The .safetensors file to write.")],
    variant: Variants = None,
    multiplier: Multipliers = None,
    res: Resolutions = None,
    classes: Classes = None,
    spec: Specs = None,
    divisor: Divisor = 8,
    min_depth: MinDepth = None,
    seed: Annotated[
        int, typer.Option(metavar="N", min=0, max=2**32 - 1, help="Of the random kernels.")
    ] = 0,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
) -> None:
    """Write untrained weights in canonical names, to look at or to fill.

    Kernels are seeded and scaled so that activations stay sane through all blocks; the file says
    that it is untrained, and so does everything made from it.

    Example:
        mnasnet weights init --variant a1 --multiplier 0.5 --res 160 --out start.safetensors
    """
    if out.suffix != ".safetensors":
        raise InputError(f"--out {out}: the name must end in .safetensors")
    if out.exists() and not force:
        raise InputError(f"{out} exists: use --force to overwrite it, or another --out")
    network = choose(
        variant=variant,
        multiplier=multiplier,
        res=res,
        classes=classes,
        spec=spec,
        divisor=divisor,
        min_depth=min_depth,
    )
    from mnasnet_deploy.weights.canonical import write_safetensors
    from mnasnet_deploy.weights.initial import initial_weights

    weights = initial_weights(network, seed)
    write_safetensors(out, weights)
    values = sum(array.size for array in weights.tensors.values())
    console.out(
        f"{out}  {network.name} {render_multiplier(network.multiplier)} @{network.resolution}  "
        f"{len(weights.tensors)} tensors, {values:,} values  {weights.source.label}  UNTRAINED"
    )
