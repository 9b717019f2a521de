"""`mnasnet benchmark-binary`: the program that times models on a phone."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from mnasnet_deploy.errors import NotReadyError

from . import console
from .published import fetching

if TYPE_CHECKING:
    from pathlib import Path

    from mnasnet_deploy.bench.benchmark_binary import Binary

__all__ = ["app"]

SCHEMA = "mnasnet.benchmark-binary/1"

app = typer.Typer(help="Get benchmark_model, which times models on phones.")

Abi = Annotated[
    str,
    typer.Option(
        "--abi",
        metavar="ABI",
        help="What it runs on: arm64-v8a (every Pixel), armeabi-v7a, linux-x86_64, linux-aarch64, "
        "linux-arm.",
    ),
]
Version = Annotated[
    str,
    typer.Option(
        "--version",
        metavar="VERSION",
        help="nightly: the TFLite tool; 2.1.6, another version, or latest: LiteRT's own tool.",
    ),
]


@app.callback()
def _group() -> None:
    """Get benchmark_model, which times models on phones."""


@app.command("fetch")
def fetch(
    abi: Abi = "arm64-v8a",
    version: Version = "nightly",
    offline: Annotated[
        bool,
        typer.Option("--offline", envvar="MNASNET_OFFLINE", help="Take it from the cache only."),
    ] = False,
    base_url: Annotated[
        str,
        typer.Option(
            "--base-url",
            metavar="URL",
            help="Mirror: a folder that holds it under the name it has in the cache.",
        ),
    ] = "",
    timeout: Annotated[
        float,
        typer.Option(metavar="SECONDS", min=0.1, max=600, help="Wait so long for a connection."),
    ] = 3.0,
    force: Annotated[
        bool, typer.Option("--force", help="Fetch it again, and trust what comes.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print a JSON object.")] = False,
) -> None:
    """Fetch it from its publisher into the cache, or check the one that is there.

    What broke off is resumed. Its sha256 is recorded when it first comes, asked for ever after, and
    part of every record made with it: the nightly build changes, the one you measure with does
    not until you say --force.

    Example:
        mnasnet benchmark-binary fetch
    """
    from mnasnet_deploy.bench.benchmark_binary import fetch as get
    from mnasnet_deploy.bench.benchmark_binary import published
    from mnasnet_deploy.weights.web import Limits

    binary = published(abi, version)
    with fetching() as progress:
        fetched = get(
            binary,
            offline=offline,
            base_url=base_url,
            limits=Limits(connect_s=timeout),
            force=force,
            progress=progress,
        )
    if json:
        console.emit_json(_entry(binary, fetched.path, fetched.sha256))
    else:
        console.out(f"{fetched.path}  sha256 {fetched.sha256}")


@app.command("list")
def list_(
    json: Annotated[bool, typer.Option("--json", help="Print a JSON list.")] = False,
) -> None:
    """List what can be fetched, and what is in the cache.

    Example:
        mnasnet benchmark-binary list
    """
    from mnasnet_deploy.bench.benchmark_binary import ABIS, cached, fetched_file, published

    known = {(one.abi, one.version): one for one in (published(abi) for abi in ABIS)}
    known |= {(one.abi, one.version): one for abi in ABIS for one in cached(abi)}
    found = [(one, fetched_file(one)) for one in known.values()]
    if json:
        console.emit_json([_entry(one, path, _recorded(path)) for one, path in found])
        return
    rows = [
        (one.abi, one.version, _recorded(path)[:12] if path else "-", one.url)
        for one, path in found
    ]
    console.out(console.columns([("abi", "version", "sha256", "url"), *rows], left=4))
    console.say("others: --version 2.1.6, or another version of LiteRT, for arm64-v8a")


@app.command("path")
def path(abi: Abi = "arm64-v8a", version: Version = "nightly") -> None:
    """Print where the fetched program is.

    Example:
        mnasnet benchmark-binary path --abi linux-x86_64
    """
    from mnasnet_deploy.bench.benchmark_binary import fetched_file, published

    binary = published(abi, version)
    found = fetched_file(binary)
    if found is None:
        raise NotReadyError(
            f"it is not there yet: type `mnasnet benchmark-binary fetch {binary.name}`"
        )
    console.out(str(found))


def _recorded(path: "Path | None") -> str:
    """The sha256 that was recorded; empty where none was."""
    from mnasnet_deploy.weights.cache import read_receipt

    receipt = read_receipt(path) if path else None
    return receipt.sha256 if receipt else ""


def _entry(binary: "Binary", path: "Path | None", sha256: str) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "abi": binary.abi,
        "version": binary.version,
        "url": binary.url,
        "path": str(path) if path else None,
        "sha256": sha256 or None,
    }
