"""`mnasnet weights show|check|convert`: what a file of weights is, and where it differs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mnasnet_deploy.errors import InputError, MnasnetError, WeightsError

from . import console
from .foreign import Asked, NoEma, complete
from .networks import Classes, Divisor, MinDepth, OneMultiplier, OneResolution, OneVariant, Specs
from .networks import one_network as choose
from .published import BaseUrl, Offline, published_file

if TYPE_CHECKING:
    from mnasnet_deploy.arch.network import Network
    from mnasnet_deploy.weights.stored import Found

__all__ = ["check", "convert", "show"]

SCHEMA = "mnasnet.weights-file/1"
CHECK_SCHEMA = "mnasnet.weights-check/1"
MAX_SHOWN = 12
_RESIDUALS = {
    "declared": "by declared widths",
    "real": "by real widths: in the first block of mnasnet-small, too",
}

Source = Annotated[
    str,
    typer.Argument(
        metavar="SRC",
        help="Checkpoint (.tgz, folder, prefix), SavedModel, .pth, .safetensors, .keras or .h5; or "
        "a name that 'mnasnet weights list' shows.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def show(
    source: Source,
    no_ema: NoEma = False,
    offline: Offline = False,
    base_url: BaseUrl = "",
    json: Json = False,
) -> None:
    """Show what a file of weights is, which network it is of, and how it wants to be used.

    Example:
        mnasnet weights show semnasnet_100.pth
    """
    from mnasnet_deploy.weights.choice import open_choice

    source = published_file(source, offline=offline, base_url=base_url)
    found = open_choice(source, averaged=not no_ema)
    if json:
        console.emit_json(_mapping(found))
    else:
        console.out(_text(found, source))


def check(
    source: Source,
    variant: OneVariant = None,
    multiplier: OneMultiplier = None,
    res: OneResolution = None,
    classes: Classes = None,
    spec: Specs = None,
    divisor: Divisor = 8,
    min_depth: MinDepth = None,
    no_ema: NoEma = False,
    offline: Offline = False,
    base_url: BaseUrl = "",
    json: Json = False,
) -> None:
    """Hold a file of weights against a network and list where it differs.

    What is not named is taken from the file, as far as its shapes tell.

    Example:
        mnasnet weights check model.ckpt-1000 --variant a1 --multiplier 0.5
    """
    from mnasnet_deploy.weights.choice import open_choice, weights_of
    from mnasnet_deploy.weights.identity import differences, shapes_of

    source = published_file(source, offline=offline, base_url=base_url)
    found = open_choice(source, averaged=not no_ema)
    network = _network(
        source, variant, multiplier, res, classes, spec, divisor, min_depth, averaged=not no_ema
    )
    lines = [f"nothing takes {name}" for name in found.unused]
    lines += differences(network, shapes_of(found.tensors))
    problem = ""
    try:
        weights_of(found, network)
    except MnasnetError as error:
        problem = str(error)
    if json:
        console.emit_json(
            {
                "schema": CHECK_SCHEMA,
                "network": _name(network),
                "fits": not problem,
                "problem": problem,
                "differences": lines,
                "file": _mapping(found),
            }
        )
    else:
        console.out(_text(found, source))
        for line in _shown(lines) if problem else [f"fits {_name(network)}"]:
            console.out(line)
    if problem:
        many = f" in {len(lines)} places" if len(lines) > 1 else ""
        if not lines or len(problem) < 400:
            raise WeightsError(problem)
        raise WeightsError(f"{found.name} differs from {_name(network)}{many}")


def convert(
    source: Source,
    target: Annotated[
        Path, typer.Argument(metavar="DST.safetensors", help="The canonical file to write.")
    ],
    variant: OneVariant = None,
    multiplier: OneMultiplier = None,
    res: OneResolution = None,
    classes: Classes = None,
    spec: Specs = None,
    divisor: Divisor = 8,
    min_depth: MinDepth = None,
    no_ema: NoEma = False,
    offline: Offline = False,
    base_url: BaseUrl = "",
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
) -> None:
    """Write weights of any kind as a canonical .safetensors file that keeps where they come from.

    What is not named is taken from the file, as far as its shapes tell.

    Example:
        mnasnet weights convert semnasnet_100.pth a1.safetensors
    """
    if target.suffix != ".safetensors":
        raise InputError(f"{target}: the name must end in .safetensors")
    if target.exists() and not force:
        raise InputError(f"{target} exists: use --force to overwrite it, or another name")
    from mnasnet_deploy.weights.canonical import write_safetensors
    from mnasnet_deploy.weights.choice import open_choice, weights_of

    source = published_file(source, offline=offline, base_url=base_url)
    found = open_choice(source, averaged=not no_ema)
    network = _network(
        source, variant, multiplier, res, classes, spec, divisor, min_depth, averaged=not no_ema
    )
    weights = weights_of(found, network)
    write_safetensors(target, weights)
    for note in weights.source.notes:
        console.say(f"note: {note}")
    console.out(f"{target}  {_name(network)}  from {found.kind} {found.name}")


def _shown(lines: list[str]) -> list[str]:
    if len(lines) <= MAX_SHOWN:
        return lines
    return [*lines[:MAX_SHOWN], f"... and {len(lines) - MAX_SHOWN} more (--json lists all)"]


def _network(
    source: str,
    variant: list[str] | None,
    multiplier: list[str] | None,
    res: list[int] | None,
    classes: int | None,
    spec: list[Path] | None,
    divisor: int,
    min_depth: int | None,
    *,
    averaged: bool,
) -> "Network":
    asked = Asked(variant, multiplier, classes, res)
    asked = complete(asked, source, averaged=averaged, spec=spec, grid=False)
    return choose(
        variant=asked.variant,
        multiplier=asked.multiplier,
        res=asked.res,
        classes=asked.classes,
        spec=spec,
        divisor=divisor,
        min_depth=min_depth,
    )


def _name(network: "Network") -> str:
    from mnasnet_deploy.arch.network import render_multiplier

    multiplier = render_multiplier(network.multiplier)
    return f"{network.name} {multiplier} with {network.classes} classes"


def _mapping(found: "Found") -> dict[str, Any]:
    from dataclasses import asdict

    from mnasnet_deploy.arch.network import render_multiplier
    from mnasnet_deploy.weights.identity import identify, shapes_of

    known = identify(shapes_of(found.tensors))
    return {
        "schema": SCHEMA,
        "name": found.name,
        "kind": found.kind,
        "network": known.spec.name if known else None,
        "multiplier": render_multiplier(known.multiplier) if known else None,
        "classes": known.classes if known else None,
        "resolution": found.resolution,
        "source": asdict(found.source),
        "tensors": {
            name: {"shape": list(values.shape), "name": found.places[name]}
            for name, values in found.tensors.items()
        },
        "unused": list(found.unused),
    }


def _levels(levels: tuple[float, ...] | None) -> str:
    """Of the grey levels 0..255, red, green and blue."""
    return " ".join(f"{level:g}" for level in levels) if levels else "the architecture's own"


def _text(found: "Found", path: str) -> str:
    from mnasnet_deploy.weights.choice import published_as
    from mnasnet_deploy.weights.identity import identify, shapes_of

    source = found.source
    known = identify(shapes_of(found.tensors))
    values = sum(array.size for array in found.tensors.values())
    averages = {True: "moving averages", False: "raw variables", None: "not said"}
    epsilon = source.batch_norm_epsilon
    rows = [
        ("file", f"{found.name}, {found.kind}"),
        ("network", str(known) if known else "none that is known here"),
        ("tensors", f"{len(found.tensors)}, {values:,} values"),
        ("trained", f"on {source.dataset or 'unknown data'}" if source.trained else "UNTRAINED"),
        ("values", averages[source.averaged]),
        ("padding", source.padding),
        ("epsilon", f"{epsilon:g}" if epsilon else "the architecture's own"),
        ("residual", _RESIDUALS[source.residual]),
        ("photos", str(source.preprocessing)),
        ("mean", _levels(source.mean)),
        ("std", _levels(source.std)),
    ]
    if found.resolution:
        rows.append(("input", f"{found.resolution} x {found.resolution} pixels"))
    if source.label != found.name:
        rows.append(("made from", source.label))
    if source.licence:
        rows.append(("licence", source.licence))
    if known_as := published_as(source, Path(path)):
        rows.append(("published", str(known_as.published)))
        rows += [("measured", str(accuracy)) for accuracy in known_as.measured]
        rows += [("note", known_as.note)] if known_as.note else []
    rows += [("note", note) for note in source.notes]
    if found.unused:
        rows.append(("unused", ", ".join(found.unused)))
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)
