"""`mnasnet weights`: published weights and files of weights."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mnasnet_deploy.arch.network import render_multiplier
from mnasnet_deploy.errors import InputError

from . import console
from .networks import Classes, Divisor, MinDepth, OneMultiplier, OneResolution, OneVariant, Specs
from .networks import one_network as choose
from .published import BaseUrl, Offline, fetching
from .weights_files import check, convert, show

if TYPE_CHECKING:
    from mnasnet_deploy.weights.catalog import Accuracy, Checkpoint
    from mnasnet_deploy.weights.fetch import Fetched

__all__ = ["app"]

LIST_SCHEMA = "mnasnet.weights/1"
FETCHED_SCHEMA = "mnasnet.fetched/1"
GRID_NETWORK = "mnasnet-a1"

app = typer.Typer(help="List and fetch published weights, make files of weights.")


@app.callback()
def _group() -> None:
    """List and fetch published weights, make files of weights."""


@app.command("list")
def list_(
    json: Annotated[bool, typer.Option("--json", help="Print a JSON list.")] = False,
) -> None:
    """List the published weights with their accuracy, as published and as others measured it.

    Accuracies are top-1/top-5 in percent on ImageNet's 50,000 validation images. The sources of
    all numbers are in --json.

    Example:
        mnasnet weights list
    """
    from mnasnet_deploy.weights.catalog import checkpoints
    from mnasnet_deploy.weights.fetch import Fetcher

    fetcher: Fetcher[Checkpoint] = Fetcher(offline=True)
    known = checkpoints()
    if json:
        console.emit_json(
            [
                {
                    "schema": LIST_SCHEMA,
                    **asdict(one),
                    "path": str(fetcher.path(one)),
                    "cached": fetcher.is_cached(one),
                }
                for one in known
            ]
        )
        return
    heads = ("name", "network", "mult", "res", "published", "measured", "licence", "cached")
    rows = [
        (
            one.name,
            one.network,
            render_multiplier(one.multiplier),
            str(one.resolution),
            _accuracies([one.published]),
            _accuracies(one.measured),
            one.licence,
            "yes" if fetcher.is_cached(one) else "-",
        )
        for one in known
    ]
    console.out(console.columns([heads, *rows], left=2))
    for one in known:
        if one.note:
            console.say(f"{one.name}: {one.note}")
    console.say(f"cache: {fetcher.folder}")


@app.command("fetch")
def fetch(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME...",
            help="As 'mnasnet weights list' names them.",
            autocompletion=lambda: _names(),
        ),
    ] = None,
    grid: Annotated[
        bool, typer.Option("--grid", help="The 25 official archives of mnasnet-a1.")
    ] = False,
    offline: Offline = False,
    base_url: BaseUrl = "",
    jobs: Annotated[int, typer.Option(metavar="N", min=1, max=32, help="Files at a time.")] = 4,
    timeout: Annotated[
        float,
        typer.Option(metavar="SECONDS", min=0.1, max=600, help="Wait so long for a connection."),
    ] = 3.0,
    force: Annotated[
        bool, typer.Option("--force", help="Fetch again, and trust what comes.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print a JSON list.")] = False,
) -> None:
    """Fetch published weights into the cache, or check the ones that are there.

    What broke off is resumed. The sha256 of a file is recorded when it first comes and asked for
    ever after. Proxies are taken from HTTPS_PROXY and NO_PROXY; the cache is where MNASNET_CACHE
    says, or the system's folder for caches.

    Example:
        mnasnet weights fetch official:mnasnet-a1-050 timm:semnasnet_100
    """
    from mnasnet_deploy.weights.catalog import checkpoints, find_checkpoint
    from mnasnet_deploy.weights.fetch import Fetcher
    from mnasnet_deploy.weights.web import Limits

    wanted = [find_checkpoint(name) for name in names or ()]
    if grid:
        wanted += [
            one for one in checkpoints() if (one.source, one.network) == ("official", GRID_NETWORK)
        ]
    if not wanted:
        raise InputError("name the weights to fetch ('mnasnet weights list' shows them), or --grid")
    fetcher: Fetcher[Checkpoint] = Fetcher(
        offline=offline, base_url=base_url, limits=Limits(connect_s=timeout), force=force
    )
    outcomes = []
    told: set[str] = set()
    with fetching() as progress:
        for outcome in fetcher.fetch_all(wanted, jobs=jobs, progress=progress):
            outcomes.append(outcome)
            if outcome.error and str(outcome.error) not in told:
                told.add(str(outcome.error))
                console.say(f"error: {outcome.error}")
            elif not outcome.error and not json:
                console.out(_line(outcome))
    if json:
        console.emit_json([_entry(outcome) for outcome in outcomes])
    codes = {outcome.error.exit_code for outcome in outcomes if outcome.error}
    if codes:
        if len(outcomes) > 1:
            failed = sum(outcome.error is not None for outcome in outcomes)
            console.say(f"{failed} of {len(outcomes)} files failed")
        raise typer.Exit(codes.pop() if len(codes) == 1 else 1)


app.command("show")(show)
app.command("check")(check)
app.command("convert")(convert)


@app.command("init")
def init(
    out: Annotated[Path, typer.Option(metavar="FILE", help="The .safetensors file to write.")],
    variant: OneVariant = None,
    multiplier: OneMultiplier = None,
    res: OneResolution = None,
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


def _names() -> list[str]:
    from mnasnet_deploy.weights.catalog import checkpoints

    return [one.name for one in checkpoints()]


def _accuracies(found: "Sequence[Accuracy]") -> str:
    return ", ".join(one.short for one in found) or "-"


def _line(outcome: "Fetched[Checkpoint]") -> str:
    return (
        f"{outcome.path}  {outcome.size_bytes / 2**20:.2f} MiB  sha256 {outcome.sha256[:12]}  "
        f"{outcome.status}"
    )


def _entry(outcome: "Fetched[Checkpoint]") -> dict[str, Any]:
    error = outcome.error
    return {
        "schema": FETCHED_SCHEMA,
        "name": outcome.checkpoint.name,
        "path": str(outcome.path),
        "status": outcome.status,
        "size_bytes": outcome.size_bytes,
        "sha256": outcome.sha256,
        "error": str(error) if error else "",
        "exit_code": error.exit_code if error else 0,
    }
