"""The whole set-up from this computer to a measured phone, step by step, and what to do next."""

import importlib.metadata
import importlib.util
import os
import shlex
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mnasnet_deploy.bench.adb import Adb, find_adb
from mnasnet_deploy.bench.benchmark_binary import ABIS, DEFAULT_ABI, find_binary
from mnasnet_deploy.bench.survey import Attached, survey
from mnasnet_deploy.errors import MnasnetError

__all__ = ["Checkup", "Step", "examine"]

RUNTIME: Final = "ai-edge-litert"
NEEDED_BYTES: Final = 1 << 30
EXPORT: Final = "mnasnet export --variant a1 --float32"
NOT_ATTACHED: Final = (
    "none is attached: switch on USB debugging in the phone's developer options (seven taps on the "
    "build number in its settings show them), plug it in, unlock it, tap Allow"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing that was looked at.

    Attributes:
        name: of it.
        ok: whether it is as it must be; None where it need not be.
        text: what it is, or what is wrong and how it is mended.
        command: that mends it; empty where hands are needed.
    """

    name: str
    ok: bool | None
    text: str
    command: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkup:
    """What came out.

    Attributes:
        steps: everything that was looked at.
        command: to type next.
    """

    steps: tuple[Step, ...]
    command: str

    @property
    def ok(self) -> bool:
        """Whether a phone can be measured on now."""
        return all(step.ok is not False for step in self.steps)


def examine(
    *,
    models: Path,
    results: Path,
    adb: str | None = None,
    benchmark_binary: Path | None = None,
) -> Checkup:
    """Look at everything a measurement on a phone needs; nothing is changed, nothing fetched.

    Args:
        models: folder of the exported files.
        results: folder of the records.
        adb: the adb program, as for `find_adb`.
        benchmark_binary: the program that times models, as for `find_binary`.
    """
    steps = [_runtime(), _models(models), _results(results)]
    ready: tuple[Attached, ...] = ()
    try:
        found = find_adb(adb)
        steps.append(_adb(found))
        attached = survey(found)
        steps += _phones(attached)
        ready = tuple(one for one in attached if one.ready)
    except MnasnetError as error:
        _, _, command = str(error).partition("is not installed: ")
        steps.append(Step(name="adb", ok=False, text=str(error), command=command))
    abis = {one.state.props.get("ro.product.cpu.abi", "") for one in ready if one.state}
    steps += [_binary(benchmark_binary, abi) for abi in sorted(abis or {DEFAULT_ABI})]
    options = []
    for word, value, usual in (
        ("--models", models, Path("models")),
        ("--results", results, Path("results")),
        ("--adb", adb, None),
        ("--benchmark-binary", benchmark_binary, None),
    ):
        options += [] if value in (usual, None) else [word, str(value)]
    return Checkup(steps=tuple(steps), command=_next(steps, ready, options))


def _next(steps: Iterable[Step], ready: Sequence[Attached], options: Sequence[str]) -> str:
    for step in steps:
        if step.ok is False:
            return step.command or shlex.join(["mnasnet", "doctor", *options])
    devices = [word for one in ready for word in ("--device", f"adb:{one.listed.serial}")]
    return shlex.join(["mnasnet", "bench", *devices, *options])


def _runtime() -> Step:
    if importlib.util.find_spec("ai_edge_litert") is None:
        command = f"pip install {RUNTIME}"
        text = f"{RUNTIME} is not installed: {command}"
        return Step(name="runtime", ok=False, text=text, command=command)
    version = importlib.metadata.version(RUNTIME)
    return Step(name="runtime", ok=True, text=f"{RUNTIME} {version}")


def _models(models: Path) -> Step:
    count = sum(1 for _ in models.glob("*.tflite")) if models.is_dir() else 0
    if count:
        text = f"{count} .tflite file{'s' if count > 1 else ''} in {models}"
        return Step(name="models", ok=True, text=text)
    command = EXPORT if models == Path("models") else f"{EXPORT} --out {shlex.quote(str(models))}"
    text = f"no .tflite files in {models}: {command}"
    return Step(name="models", ok=False, text=text, command=command)


def _results(results: Path) -> Step:
    place = next(one for one in (results, *results.absolute().parents) if one.is_dir())
    if not os.access(place, os.W_OK):
        text = f"{place} cannot be written: name another folder with --results DIR"
        return Step(name="results", ok=False, text=text)
    free = shutil.disk_usage(place).free
    if free < NEEDED_BYTES:
        text = f"only {free >> 20} MiB are free for {results}: free some space"
        return Step(name="results", ok=False, text=text)
    return Step(name="results", ok=True, text=f"{free >> 30} GiB are free for {results}")


def _adb(adb: Adb) -> Step:
    running = adb.server_version() is not None
    where = f"its server runs at {adb.server}" if running else "no server runs yet"
    return Step(name="adb", ok=True, text=f"{adb.version} at {adb.program}, {where}")


def _phones(attached: Sequence[Attached]) -> list[Step]:
    if not attached:
        return [Step(name="phone", ok=False, text=NOT_ATTACHED)]
    otherwise = None if any(one.ready for one in attached) else False
    return [
        Step(
            name="phone",
            ok=True if one.ready else otherwise,
            text=": ".join(
                filter(
                    None,
                    (
                        f"{one.listed.serial} {one.name}".rstrip(),
                        "; ".join(trouble.text for trouble in one.troubles),
                    ),
                )
            ),
        )
        for one in attached
    ]


def _binary(named: Path | None, abi: str) -> Step:
    try:
        path, sha256 = find_binary(named, abi)
    except MnasnetError as error:
        fetch = f"mnasnet benchmark-binary fetch --abi {abi}" if abi in ABIS and not named else ""
        return Step(name="benchmark_model", ok=False, text=str(error), command=fetch)
    return Step(name="benchmark_model", ok=True, text=f"{path} (sha256 {sha256[:12]})")
