"""The options that reach published weights, and what is seen while they come."""

import contextlib
import threading
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from mnasnet_deploy.arch.network import Network, render_multiplier

from . import console

if TYPE_CHECKING:
    from mnasnet_deploy.weights.catalog import Checkpoint
    from mnasnet_deploy.weights.fetch import Progress
    from mnasnet_deploy.weights.resolve import Resolved

__all__ = ["BaseUrl", "Offline", "fetching", "published_file", "published_weights"]

Offline = Annotated[
    bool,
    typer.Option("--offline", envvar="MNASNET_OFFLINE", help="Take weights from the cache only."),
]
BaseUrl = Annotated[
    str,
    typer.Option(
        "--base-url",
        metavar="URL",
        envvar="MNASNET_BASE_URL",
        help="Mirror to fetch weights from: a folder that holds the published files.",
    ),
]


@contextlib.contextmanager
def fetching() -> "Iterator[Progress]":
    """A bar that counts the bytes of several files together."""
    seen: dict[str, tuple[int, int]] = {}
    lock = threading.Lock()
    with console.progress("fetching", 0, in_bytes=True) as advance:

        def progress(checkpoint: "Checkpoint", done: int, total: int | None) -> None:
            with lock:
                before, known = seen.get(checkpoint.name, (0, 0))
                expected = max(total or 0, done)
                seen[checkpoint.name] = (done, expected)
                advance(done - before, added=expected - known)

        yield progress


def published_weights(
    choice: str,
    networks: Sequence[Network],
    *,
    allow_other_resolution: bool,
    offline: bool,
    base_url: str,
) -> list[str]:
    """Turn a choice of published weights into files, with a warning where that cannot be.

    Args:
        choice: what stands behind --weights.
        networks: what the weights are for.
        allow_other_resolution: take weights of the nearest resolution where none fit exactly.
        offline: take them from the cache only.
        base_url: of a mirror.

    Returns:
        What `load_weights` takes, for each network.

    Raises:
        MnasnetError: there are none, or they cannot be fetched, neither for `auto`; or the cache
            holds a file that changed.
    """
    from mnasnet_deploy.weights.fetch import Fetcher
    from mnasnet_deploy.weights.resolve import is_published, resolve_all

    if not is_published(choice):
        return [choice] * len(networks)
    fetcher = Fetcher(offline=offline, base_url=base_url)
    with fetching() as progress:
        resolved = resolve_all(
            choice,
            networks,
            fetcher,
            allow_other_resolution=allow_other_resolution,
            progress=progress,
        )
    _warn(resolved)
    return [one.weights for one in resolved]


def published_file(source: str, *, offline: bool, base_url: str) -> str:
    """Turn the name of a published file into its path; anything else stays as it is.

    Raises:
        MnasnetError: there is none of that name, or it cannot be fetched.
    """
    from mnasnet_deploy.weights.catalog import find_checkpoint
    from mnasnet_deploy.weights.fetch import Fetcher
    from mnasnet_deploy.weights.resolve import is_named

    if not is_named(source):
        return source
    fetcher = Fetcher(offline=offline, base_url=base_url)
    with fetching() as progress:
        return str(fetcher.fetch(find_checkpoint(source), progress).path)


def _warn(resolved: "Sequence[Resolved]") -> None:
    """One line for all networks without weights, and one for each that takes another's."""
    without = [one for one in resolved if one.reason]
    if without:
        more = {1: "", 2: " (and 1 more network)"}.get(
            len(without), f" (and {len(without) - 1} more networks)"
        )
        console.warn(f"{_label(without[0].network)}{more}: {without[0].warning}")
    for one in resolved:
        if one.warning and not one.reason:
            console.warn(f"{_label(one.network)}: {one.warning}")


def _label(network: Network) -> str:
    return f"{network.name} {render_multiplier(network.multiplier)} @{network.resolution}"
