"""The options that choose networks, written once, and what they mean together."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from mnasnet_deploy.arch.network import (
    Network,
    build_network,
    parse_multiplier,
    render_multiplier,
)
from mnasnet_deploy.arch.published import published_rows
from mnasnet_deploy.arch.variants import VARIANTS, Variant, find_variant, spec_from_mapping
from mnasnet_deploy.errors import InputError, SpecError

__all__ = [
    "Classes",
    "Divisor",
    "Grid",
    "MinDepth",
    "Multipliers",
    "OneMultiplier",
    "OneResolution",
    "OneVariant",
    "Resolutions",
    "Specs",
    "Variants",
    "networks",
    "one_network",
]

DEFAULT_VARIANT = "a1"
GRID_NETWORK = "mnasnet-a1"


def _variant(default: str) -> Any:
    return typer.Option(
        "--variant",
        metavar="NAME",
        autocompletion=lambda: list(VARIANTS),
        help=f"Published architecture: {', '.join(VARIANTS)} ({default}).",
    )


def _multiplier(default: str) -> Any:
    return typer.Option(
        "--multiplier",
        metavar="NUMBER",
        help="Depth multiplier above 0, at most 8, or 'none' for no rounding of channels "
        f"({default}).",
    )


def _resolution(default: str) -> Any:
    return typer.Option(
        "--res", metavar="PIXELS", help=f"Side of the square input, 32 to 2048 ({default})."
    )


Variants = Annotated[list[str] | None, _variant("repeatable; default a1")]
Multipliers = Annotated[
    list[str] | None, _multiplier("repeatable; default none for d1 and d1-320, else 1.0")
]
Resolutions = Annotated[
    list[int] | None, _resolution("repeatable; default 320 for d1-320, else 224")
]
# For commands of one network, which weights that are given may tell. Lists as well: of two that
# are named neither is dropped without a word.
_OR_WEIGHTS = "or what the weights given are of"
OneVariant = Annotated[list[str] | None, _variant(f"default a1, {_OR_WEIGHTS}")]
OneMultiplier = Annotated[
    list[str] | None, _multiplier(f"default none for d1 and d1-320, else 1.0, {_OR_WEIGHTS}")
]
OneResolution = Annotated[
    list[int] | None, _resolution(f"default 320 for d1-320, else 224, {_OR_WEIGHTS}")
]
Classes = Annotated[
    int | None,
    typer.Option(metavar="N", help="Number of classes (default 1000, or what the spec says)."),
]
Specs = Annotated[
    list[Path] | None,
    typer.Option(
        "--spec", metavar="FILE", help="Architecture of your own as a YAML file (repeatable)."
    ),
]
Divisor = Annotated[
    int, typer.Option(metavar="N", help="Round channels to multiples of this, 1 to 256.")
]
MinDepth = Annotated[
    int | None,
    typer.Option(metavar="N", help="Never fewer channels than this (default: the divisor)."),
]
Grid = Annotated[
    bool,
    typer.Option("--grid", help="The 25 published combinations of mnasnet-a1."),
]


def networks(
    *,
    variant: Sequence[str] | None = None,
    multiplier: Sequence[str] | None = None,
    res: Sequence[int] | None = None,
    classes: int | None = None,
    spec: Sequence[Path] | None = None,
    divisor: int = 8,
    min_depth: int | None = None,
    grid: bool = False,
) -> tuple[Network, ...]:
    """Build every network the options name: architectures x multipliers x resolutions.

    The order is that of the options, each network once. Without `--variant`, `--spec` and `--grid`
    it is `a1`; without `--multiplier` or `--res` each architecture has its own defaults.

    Raises:
        SpecError: an unknown variant, a number out of range, a spec that makes no network, two
            architectures under one name.
        InputError: a spec file that cannot be read, or options that exclude each other.
    """
    if grid:
        pairs = _grid(variant, multiplier, res, spec)
        chosen = [(find_variant(GRID_NETWORK), pairs)]
    else:
        multipliers = [parse_multiplier(text) for text in multiplier or ()]
        chosen = [
            (
                architecture,
                [
                    (number, side)
                    for number in multipliers or (architecture.multiplier,)
                    for side in res or (architecture.resolution,)
                ],
            )
            for architecture in _architectures(variant, spec)
        ]
    built = (
        build_network(
            architecture.spec,
            multiplier=number,
            resolution=side,
            classes=classes,
            divisor=divisor,
            min_depth=min_depth,
        )
        for architecture, pairs in chosen
        for number, side in pairs
    )
    return tuple(dict.fromkeys(built))


def one_network(
    *,
    variant: Sequence[str] | None = None,
    multiplier: Sequence[str] | None = None,
    res: Sequence[int] | None = None,
    classes: int | None = None,
    spec: Sequence[Path] | None = None,
    divisor: int = 8,
    min_depth: int | None = None,
) -> Network:
    """Build the single network the options name; errors as in `networks`.

    Raises:
        InputError: the options name several; the message lists them.
    """
    found = networks(
        variant=variant,
        multiplier=multiplier,
        res=res,
        classes=classes,
        spec=spec,
        divisor=divisor,
        min_depth=min_depth,
    )
    if len(found) > 1:
        names = ", ".join(
            f"{network.name} {render_multiplier(network.multiplier)} @{network.resolution}"
            for network in found
        )
        raise InputError(f"this command takes one network, {len(found)} were named: {names}")
    return found[0]


def _grid(*others: object) -> list[tuple[float | None, int]]:
    if any(others):
        raise InputError(
            "--grid names its own variant, multipliers and resolutions: leave out --variant, "
            "--multiplier, --res and --spec"
        )
    return [(row.multiplier, row.resolution) for row in published_rows(GRID_NETWORK)]


def _architectures(
    variant: Iterable[str] | None, spec: Iterable[Path] | None
) -> tuple[Variant, ...]:
    """Look up variants and read spec files; no name may mean two things."""
    if not variant and not spec:
        return (find_variant(DEFAULT_VARIANT),)
    # Brings the YAML parser, which few runs need.
    from mnasnet_deploy import strict_yaml

    found = {known.spec.name: known for known in map(find_variant, variant or ())}
    published = {known.spec.name: known for known in VARIANTS.values()}
    for path in spec or ():
        own = spec_from_mapping(strict_yaml.read(path), source=str(path))
        other = found.get(own.name) or published.get(own.name)
        if other and other.spec != own:
            raise SpecError(
                f"{path}: the name '{own.name}' belongs to another architecture; choose another"
            )
        found.setdefault(own.name, Variant(name=own.name, spec=own))
    return tuple(found.values())
