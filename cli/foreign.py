"""What the file behind --weights says of itself, for commands that were not told."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mnasnet_deploy.arch.network import render_multiplier
from mnasnet_deploy.arch.variants import find_variant
from mnasnet_deploy.errors import MnasnetError

if TYPE_CHECKING:
    from mnasnet_deploy.weights.source import Preprocessing

__all__ = ["Asked", "NoEma", "complete", "preprocessing_of"]

NoEma = Annotated[
    bool,
    typer.Option("--no-ema", help="Take the raw variables of a checkpoint, not their averages."),
]


@dataclass(frozen=True, slots=True)
class Asked:
    """The options that choose networks, as they were given."""

    variant: list[str] | None
    multiplier: list[str] | None
    classes: int | None
    res: list[int] | None


def complete(
    asked: Asked, choice: str, *, averaged: bool, spec: Sequence[Path] | None, grid: bool
) -> Asked:
    """Fill in what was not asked from the file behind --weights.

    A file that cannot be read, or is of no known network, changes nothing: whoever uses it says
    why.

    Args:
        asked: the options as given.
        choice: what stands behind --weights.
        averaged: False for raw variables.
        spec: specs of the user's own; then the file is not asked for an architecture.
        grid: the published combinations; then nothing is left open.
    """
    open_ends = (asked.variant, asked.multiplier, asked.classes, asked.res)
    if grid or spec or all(open_ends) or not Path(choice).name:
        return asked
    from mnasnet_deploy.weights.resolve import is_named

    if is_named(choice):
        return _as_published(asked, choice)
    from mnasnet_deploy.weights.choice import is_random, open_choice
    from mnasnet_deploy.weights.identity import identify, shapes_of
    from mnasnet_deploy.weights.opening import is_there

    if is_random(choice) or not is_there(Path(choice)):
        return asked
    try:
        found = open_choice(choice, averaged=averaged)
    except MnasnetError:
        return asked
    known = identify(shapes_of(found.tensors))
    if known is None:
        # What torchvision has is always a B1, so it is held against one.
        only = ["b1"] if found.source.family == "torchvision" else None
        return replace(asked, variant=asked.variant or only)
    name = known.spec.name.removeprefix("mnasnet-")
    if asked.variant and [find_variant(each).name for each in asked.variant] != [name]:
        return asked
    side = found.resolution
    return Asked(
        asked.variant or [name],
        asked.multiplier or [render_multiplier(known.multiplier)],
        asked.classes or known.classes,
        asked.res or ([side] if side else None),
    )


def _as_published(asked: Asked, choice: str) -> Asked:
    """Fill in what the list of published weights says."""
    from mnasnet_deploy.weights.catalog import find_checkpoint

    known = find_checkpoint(choice)
    name = known.network.removeprefix("mnasnet-")
    if asked.variant and [find_variant(each).name for each in asked.variant] != [name]:
        return asked
    return Asked(
        asked.variant or [name],
        asked.multiplier or [render_multiplier(known.multiplier)],
        asked.classes,
        asked.res or [known.resolution],
    )


def preprocessing_of(choice: str, *, averaged: bool) -> "Preprocessing":
    """How the weights behind --weights are evaluated; the original's way where they are broken."""
    from mnasnet_deploy.weights.choice import is_random, open_choice
    from mnasnet_deploy.weights.source import Preprocessing

    if is_random(choice):
        return Preprocessing()
    try:
        return open_choice(choice, averaged=averaged).source.preprocessing
    except MnasnetError:
        return Preprocessing()
