"""From what stands behind --weights to files: published weights are found, fetched and checked.

`auto` takes official weights where they exist for exactly a network, and random ones with the
reason where they do not; `official`, `timm:NAME` and `torchvision:NAME` fail instead. Published
weights are used at the resolution they were trained on, unless another one is allowed.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from mnasnet_deploy.arch.network import Network, render_multiplier
from mnasnet_deploy.errors import InputError, MnasnetError, WeightsError
from mnasnet_deploy.weights.catalog import Checkpoint, checkpoints, find_checkpoint, fits
from mnasnet_deploy.weights.fetch import DEFAULT_JOBS, Fetcher, Progress

__all__ = ["Resolved", "is_named", "is_published", "resolve", "resolve_all"]

RANDOM = "random"
_BY_NETWORK = ("auto", "official")
_BY_NAME = ("official:", "timm:", "torchvision:")


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """The weights of one network.

    Attributes:
        network: which.
        weights: what `load_weights` takes: the path of a file, or `random`.
        checkpoint: the published one, None where it is none.
        reason: why there is none, where `auto` wanted one; else empty.
    """

    network: Network
    weights: str
    checkpoint: Checkpoint | None = None
    reason: str = ""

    @property
    def warning(self) -> str:
        """What to say before these weights are used, empty where there is nothing to say."""
        if self.reason:
            return f"{self.reason}; going on with random weights"
        if self.checkpoint and self.checkpoint.resolution != self.network.resolution:
            return (
                f"{self.checkpoint.name} was trained at {self.checkpoint.resolution} pixels: its "
                f"accuracy at {self.network.resolution} is another one"
            )
        return ""


def is_published(choice: str) -> bool:
    """Whether a choice means published weights, which `resolve` turns into a file."""
    return choice in _BY_NETWORK or is_named(choice)


def is_named(choice: str) -> bool:
    """Whether a choice is the name of one published file."""
    return choice.startswith(_BY_NAME)


def resolve(
    choice: str,
    network: Network,
    fetcher: Fetcher,
    *,
    allow_other_resolution: bool = False,
    progress: Progress = lambda *_: None,
) -> Resolved:
    """Find and fetch the weights of one network; see `resolve_all`."""
    return resolve_all(
        choice,
        [network],
        fetcher,
        allow_other_resolution=allow_other_resolution,
        progress=progress,
    )[0]


def resolve_all(
    choice: str,
    networks: Sequence[Network],
    fetcher: Fetcher,
    *,
    allow_other_resolution: bool = False,
    jobs: int = DEFAULT_JOBS,
    progress: Progress = lambda *_: None,
) -> list[Resolved]:
    """Find and fetch the weights of many networks.

    Args:
        choice: what stands behind --weights. All but `auto`, `official`, `official:NAME`,
            `timm:NAME` and `torchvision:NAME` is handed on as it is.
        networks: what the weights are for.
        fetcher: the cache, and the way to fill it.
        allow_other_resolution: take weights of the nearest resolution where there are none of the
            wanted one.
        jobs: how many files are fetched at a time.
        progress: see `fetch.Progress`.

    Returns:
        One for each network, in their order.

    Raises:
        WeightsError: no such weights, or weights of another network, neither for `auto`; or the
            file in the cache is not the one that was recorded.
        MnasnetError: they cannot be fetched; never for `auto`.
    """
    if not is_published(choice):
        return [Resolved(network=network, weights=choice) for network in networks]
    found: list[Checkpoint | MnasnetError] = []
    for network in networks:
        try:
            found.append(_find(choice, network, allow_other_resolution=allow_other_resolution))
        except InputError as error:
            if choice != "auto":
                raise
            found.append(error)
    wanted = [one for one in found if isinstance(one, Checkpoint)]
    fetched = {
        one.checkpoint: one for one in fetcher.fetch_all(wanted, jobs=jobs, progress=progress)
    }
    resolved = []
    for network, one in zip(networks, found, strict=True):
        if not isinstance(one, Checkpoint):
            resolved.append(Resolved(network=network, weights=RANDOM, reason=str(one)))
            continue
        outcome = fetched[one]
        if outcome.error is None:
            weights, reason = str(outcome.path), ""
        elif choice != "auto" or isinstance(outcome.error, WeightsError):
            # A file in the cache that changed is for its owner to look at, not to be passed over.
            raise outcome.error
        else:
            weights, reason = RANDOM, str(outcome.error)
        checkpoint = None if reason else one
        resolved.append(
            Resolved(network=network, weights=weights, checkpoint=checkpoint, reason=reason)
        )
    return resolved


def _find(choice: str, network: Network, *, allow_other_resolution: bool) -> Checkpoint:
    if choice in _BY_NETWORK:
        return _official(network, allow_other_resolution=allow_other_resolution)
    checkpoint = find_checkpoint(choice)
    if not fits(checkpoint, network):
        raise WeightsError(
            f"{checkpoint.name} is of {checkpoint.network} {checkpoint.multiplier}, not of "
            f"{_describe(network)}: {_remedy(checkpoint, network)}"
        )
    if checkpoint.resolution != network.resolution and not allow_other_resolution:
        raise WeightsError(
            f"{checkpoint.name} was trained at {checkpoint.resolution} pixels, not "
            f"{network.resolution}: use --res {checkpoint.resolution}, or --allow-other-resolution"
        )
    return checkpoint


def _official(network: Network, *, allow_other_resolution: bool) -> Checkpoint:
    """The official checkpoint of a network."""
    known = [one for one in checkpoints() if fits(one, network)]
    official = [one for one in known if one.source == "official"]
    exact = [one for one in official if one.resolution == network.resolution]
    if exact:
        return exact[0]
    if not official:
        others = " or ".join(f"--weights {one.name}" for one in known)
        hint = f": use {others}" if others else ""
        raise WeightsError(f"there are no official weights of {_describe(network)}{hint}")
    nearest = min(official, key=lambda one: abs(one.resolution - network.resolution))
    if allow_other_resolution:
        return nearest
    sides = ", ".join(str(one.resolution) for one in official)
    raise WeightsError(
        f"there are no official weights of {_describe(network)}, only at {sides}: "
        f"--allow-other-resolution takes those at {nearest.resolution}"
    )


def _remedy(checkpoint: Checkpoint, network: Network) -> str:
    if (checkpoint.network, checkpoint.multiplier) != (network.name, network.multiplier):
        short = checkpoint.network.removeprefix("mnasnet-")
        return f"use --variant {short} --multiplier {checkpoint.multiplier}"
    if checkpoint.classes != network.classes:
        return f"it has {checkpoint.classes} classes"
    return "leave out --divisor, --min-depth and --spec"


def _describe(network: Network) -> str:
    text = f"{network.name} {render_multiplier(network.multiplier)} @{network.resolution}"
    return text if network.classes == 1000 else f"{text} with {network.classes} classes"
