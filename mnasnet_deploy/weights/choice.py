"""What a user may write behind --weights, and the weights it means."""

import difflib
import functools
from dataclasses import replace
from pathlib import Path
from typing import Final

from mnasnet_deploy.arch.network import Network, build_network, render_multiplier
from mnasnet_deploy.errors import WeightsError
from mnasnet_deploy.weights.canonical import Weights, check, tensor_shapes
from mnasnet_deploy.weights.catalog import Checkpoint, checkpoint_of_file, nearest
from mnasnet_deploy.weights.identity import Identity, identify, shapes_of
from mnasnet_deploy.weights.initial import MAX_SEED, initial_weights
from mnasnet_deploy.weights.opening import is_there, open_weights
from mnasnet_deploy.weights.source import WeightSource
from mnasnet_deploy.weights.stored import Found

__all__ = [
    "CHOICES",
    "is_random",
    "load_source",
    "load_weights",
    "open_choice",
    "published_as",
    "weights_of",
]

CHOICES: Final = (
    "auto, official, official:NAME, timm:NAME, torchvision:NAME ('mnasnet weights list' shows the "
    "names), random, random:SEED, or a file or folder of weights"
)
_WORDS = ("auto", "official", "random")


def load_weights(choice: str, network: Network, *, averaged: bool = True) -> Weights:
    """Load the weights a choice means for a network.

    Args:
        choice: `random` (seed 0), `random:SEED`, or a path: see `opening.open_weights`. Names of
            published weights become paths before, see `resolve`.
        network: what they must fit.
        averaged: moving averages where the file has any; False takes the raw variables.

    Raises:
        WeightsError: none of these, or weights that do not fit.
        NotReadyError: a Keras file without h5py.
    """
    if is_random(choice):
        return initial_weights(network, _seed(choice))
    if not choice or not is_there(Path(choice)):
        near = [*difflib.get_close_matches(choice, _WORDS, n=1), *filter(None, [nearest(choice)])]
        hint = f"did you mean '{near[0]}'? Use" if near else "use"
        raise WeightsError(f"no weights file '{choice}': {hint} {CHOICES}")
    return weights_of(open_choice(choice, averaged=averaged), network)


def open_choice(choice: str, *, averaged: bool = True) -> Found:
    """What is in the file or folder a choice names; see `opening.open_weights`.

    A published file brings its licence, which few of them hold. The last file stays at hand:
    several networks are often made of one.
    """
    path = Path(choice)
    if not is_there(path) and (near := nearest(choice)):
        raise WeightsError(f"no weights file '{choice}': did you mean '{near}'?")
    try:
        status = path.stat()
        state = (status.st_mtime_ns, status.st_size)
    except (OSError, ValueError):
        return open_weights(path, averaged=averaged)
    if not path.is_file():  # a folder's own state says little of what lies in it
        return open_weights(path, averaged=averaged)
    return _opened(path.absolute(), averaged, state)


@functools.lru_cache(maxsize=1)
def _opened(path: Path, averaged: bool, _state: tuple[int, int]) -> Found:
    found = open_weights(path, averaged=averaged)
    known = published_as(found.source, path)
    if known is None or found.source.licence:
        return found
    return replace(found, source=replace(found.source, licence=known.licence))


def published_as(source: WeightSource, path: Path) -> Checkpoint | None:
    """The published checkpoint that a file is by its name and by whose it is, or None."""
    known = checkpoint_of_file(path.name)
    return known if known and known.source == source.family else None


def load_source(choice: str, network: Network, *, averaged: bool = True) -> WeightSource:
    """What the weights a choice means ask for; errors as in `load_weights`."""
    if is_random(choice):
        return WeightSource(label=f"random:{_seed(choice)}", trained=False)
    return load_weights(choice, network, averaged=averaged).source


def is_random(choice: str) -> bool:
    """Whether a choice means untrained weights, which fit every network."""
    return choice == "random" or choice.startswith("random:")


def weights_of(found: Found, network: Network) -> Weights:
    """Hold what was found in a file against a network.

    Raises:
        WeightsError: it is of another network, which is named where it is known; or tensors are
            left unused or unfilled, mis-shaped, or not finite: all are listed.
    """
    label = found.name
    known = identify(shapes_of(found.tensors), specs=(network.spec,), asked=network.multiplier)
    if known and not found.unused and not _is_of(known, network):
        raise WeightsError(_mismatch(label, known, network))
    if found.unused:
        lacking = [name for name in _needed(network) if name not in found.tensors]
        missing = f"; missing {', '.join(lacking)}" if lacking else ""
        raise WeightsError(
            f"{label} does not fit {network.name}: nothing there takes "
            f"{', '.join(found.unused)}{missing}"
        )
    check(network, found.tensors, label)
    # In the network's order, so that one network's weights have one digest and one file.
    tensors = {name: found.tensors[name] for name in _needed(network)}
    return Weights(tensors=tensors, source=found.source)


def _needed(network: Network) -> list[str]:
    return list(tensor_shapes(network))


def _is_of(known: Identity, network: Network) -> bool:
    same = build_network(known.spec, multiplier=known.multiplier, classes=known.classes)
    return tensor_shapes(same) == tensor_shapes(network)


def _mismatch(label: str, known: Identity, network: Network) -> str:
    wanted = Identity(spec=network.spec, multiplier=network.multiplier, classes=network.classes)
    options = []
    if known.spec.name != network.name:
        options.append(f"--variant {known.spec.name.removeprefix('mnasnet-')}")
    if known.multiplier != network.multiplier:
        options.append(f"--multiplier {render_multiplier(known.multiplier)}")
    if known.classes != network.classes:
        options.append(f"--classes {known.classes}")
    hint = f"use {' '.join(options)}" if options else "leave out --divisor and --min-depth"
    if known.classes == 1001:
        hint += "; with 1001 classes the first is usually a background the labels have to name"
    return f"{label} is of {known}, not of {wanted}: {hint}"


def _seed(choice: str) -> int:
    text = choice.removeprefix("random:") if ":" in choice else "0"
    if not text.isascii() or not text.isdigit() or int(text[:20]) > MAX_SEED:
        raise WeightsError(f"weights '{choice}': the seed must be 0 to {MAX_SEED}")
    return int(text)
