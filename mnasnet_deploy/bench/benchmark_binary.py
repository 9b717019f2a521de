"""The program that times models on a phone: where Google publishes it, and the copy kept here.

Sources: TensorFlow Lite's "Performance measurement" page (nightly builds of the TFLite tool; older
ones are not kept), and litert_cli/core/constants.py of LiteRT (its own tool, by version).
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mnasnet_deploy.errors import InputError, NotReadyError
from mnasnet_deploy.weights.fetch import Fetched, Fetcher, Progress
from mnasnet_deploy.weights.intact import sha256_of
from mnasnet_deploy.weights.web import Limits, Purpose

__all__ = [
    "ABIS",
    "DEFAULT_ABI",
    "NIGHTLY",
    "Binary",
    "cached",
    "fetch",
    "fetched_file",
    "find_binary",
    "published",
]

NIGHTLY: Final = "nightly"
DEFAULT_ABI: Final = "arm64-v8a"

_TFLITE: Final = (
    "https://storage.googleapis.com/tensorflow-nightly-public/prod/tensorflow/release/lite/tools/"
    "nightly/latest/{}_benchmark_model"
)
_LITERT: Final = "https://storage.googleapis.com/litert/binaries/{}/android_arm64/benchmark_model"

ABIS: Final = {
    "arm64-v8a": "android_aarch64",
    "armeabi-v7a": "android_arm",
    "linux-x86_64": "linux_x86-64",
    "linux-aarch64": "linux_aarch64",
    "linux-arm": "linux_arm",
}
"""What it is published for: kinds of phones as they say it, and of computers; and how."""

_PURPOSE: Final = Purpose(
    folder="benchmark", command="mnasnet benchmark-binary fetch", option="--benchmark-binary"
)
_VERSION: Final = re.compile(r"[0-9]{1,4}(\.[0-9]{1,4}){1,3}|latest")


@dataclass(frozen=True, slots=True, kw_only=True)
class Binary:
    """One published program.

    Attributes:
        abi: what it runs on: a key of `ABIS`.
        version: `nightly` for the TFLite tool; a version of LiteRT, or `latest`, for its own tool.
        url: where it is published.
        sha256: nobody publishes it, so that of the first one fetched counts.
    """

    abi: str
    version: str
    url: str
    sha256: str = ""

    @property
    def name(self) -> str:
        """The options of `mnasnet benchmark-binary` that mean it."""
        return f"--abi {self.abi} --version {self.version}"

    @property
    def file(self) -> str:
        """Its name in the cache and on a mirror."""
        return f"benchmark_model-{self.version}-{self.abi}.elf"


def published(abi: str = DEFAULT_ABI, version: str = NIGHTLY) -> Binary:
    """The program for a kind of phone.

    Raises:
        InputError: it is not published for it, or in that version.
    """
    if abi not in ABIS:
        raise InputError(
            f"benchmark_model is not published for {abi!r}, only for {', '.join(ABIS)}: name a "
            "program with --benchmark-binary PATH"
        )
    if version == NIGHTLY:
        return Binary(abi=abi, version=version, url=_TFLITE.format(ABIS[abi]))
    if not _VERSION.fullmatch(version):
        raise InputError(
            f"{version!r} is no version: use {NIGHTLY} for the TFLite tool, or for LiteRT's own "
            "tool its version (2.1.6) or latest"
        )
    if abi != DEFAULT_ABI:
        raise InputError(
            f"LiteRT's own tool is published for {DEFAULT_ABI} only: use --version {NIGHTLY}"
        )
    return Binary(abi=abi, version=version, url=_LITERT.format(version))


def fetch(
    binary: Binary,
    *,
    offline: bool = False,
    base_url: str = "",
    limits: Limits | None = None,
    force: bool = False,
    progress: Progress = lambda *_: None,
) -> Fetched[Binary]:
    """Get a program from the cache or from its publisher, and hold it against what came first.

    Args:
        binary: which.
        offline: from the cache only.
        base_url: of a mirror: a folder that holds it under the name `Binary.file`.
        limits: of time and of tries.
        force: get it anew, and trust what comes.
        progress: gets the bytes that are there, and how many there will be where that is known.

    Raises:
        InputError: the file in the cache is not what was recorded.
        NotReadyError: no network, no disk; names the URL and what to do without one.
        MnasnetError: the publisher has something else, or nothing.
    """
    fetcher = _fetcher(offline=offline, base_url=base_url, limits=limits, force=force)
    try:
        return fetcher.fetch(binary, progress)
    except NotReadyError as error:
        if binary.url in str(error):
            raise
        raise NotReadyError(
            f"{error}; or get {binary.url} elsewhere and name it with --benchmark-binary PATH"
        ) from error


def fetched_file(binary: Binary) -> Path | None:
    """Where a program lies in the cache; None if it does not."""
    fetcher = _fetcher()
    return fetcher.path(binary) if fetcher.is_cached(binary) else None


def cached(abi: str) -> tuple[Binary, ...]:
    """The programs for a kind of phone that are in the cache: the best one first.

    That is the TFLite tool, which can give the output of a model; then LiteRT's, newest first.
    """
    found = []
    pattern = re.compile(rf"benchmark_model-([0-9.]+|latest|{NIGHTLY})-{re.escape(abi)}\.elf")
    try:
        names = [path.name for path in _fetcher().folder.iterdir() if path.is_file()]
    except OSError:
        return ()
    for name in names:
        if (match := pattern.fullmatch(name)) and abi in ABIS:
            try:
                found.append(published(abi, match[1]))
            except InputError:
                continue  # a file somebody named like ours

    def rank(binary: Binary) -> tuple[int, list[int]]:
        numbers = [int(part) for part in re.findall(r"\d+", binary.version)]
        return {NIGHTLY: 2, "latest": 0}.get(binary.version, 1), numbers

    return tuple(sorted(found, key=rank, reverse=True))


def find_binary(explicit: Path | None, abi: str) -> tuple[Path, str]:
    """The program to measure with.

    Args:
        explicit: the one that was named; else the best one in the cache.
        abi: what a phone says it runs (`ro.product.cpu.abi`), or a computer's of `ABIS`.

    Returns:
        Its file, and its sha256.

    Raises:
        InputError: it cannot be read, or is not the one that was fetched.
        NotReadyError: there is none.
    """
    if explicit is not None:
        try:
            if not explicit.is_file():
                raise InputError(f"--benchmark-binary {explicit}: there is no such file")
            return explicit, sha256_of(explicit)
        except OSError as error:
            raise InputError(
                f"--benchmark-binary {explicit} cannot be read: {error.strerror or error}"
            ) from error
    for binary in cached(abi):
        if fetched := _fetcher(offline=True).cached(binary):
            return fetched.path, fetched.sha256
    if abi in ABIS:
        raise NotReadyError(
            f"no benchmark_model for {abi} is here: type `mnasnet benchmark-binary fetch --abi "
            f"{abi}`, or name one with --benchmark-binary PATH"
        )
    raise NotReadyError(
        f"no benchmark_model is published for {abi or 'this device'}: name one built for it with "
        "--benchmark-binary PATH"
    )


def _fetcher(
    *,
    offline: bool = False,
    base_url: str = "",
    limits: Limits | None = None,
    force: bool = False,
) -> Fetcher[Binary]:
    return Fetcher(offline=offline, base_url=base_url, limits=limits, force=force, purpose=_PURPOSE)
