"""The options of `mnasnet bench`, and what they mean together."""

import re
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mnasnet_deploy.errors import InputError
from mnasnet_deploy.results.record import Settings

if TYPE_CHECKING:
    from mnasnet_deploy.bench.devices import PhoneOptions

__all__ = ["again", "every_settings", "phone_options", "require_compatible"]

HOST = "host"
MAX_RUNS = 20_000
MAX_LAUNCHES = 100
MAX_SECONDS = 3600.0
MAX_THREADS = 256
MS_PER_S = 1000.0
AMBIENT_C = (-40.0, 80.0)
"""Phones are rated for less; beyond it is a slip of the keyboard."""

DELEGATES = ("xnnpack", "none", "gpu", "nnapi", "external")
Mode = Literal["stock", "fixed", "locked"]

# Going on with a campaign takes from the command line only where things are now.
WITH_RESUME = frozenset(
    {"resume", "files", "models", "device", "results", "adb", "benchmark_binary", "profile",
     "external_delegate", "timeout", "cool_down", "plan", "require_valid", "json"}
)  # fmt: skip

Devices = Annotated[
    list[str] | None,
    typer.Option(
        "--device",
        metavar="NAME",
        help="What to measure on: host (this machine, the default), adb (the phone attached), "
        "adb:SERIAL, adb:SERIAL@HOST:PORT (on another adb server) or adb:all (repeatable).",
    ),
]
Launches = Annotated[
    int,
    typer.Option(
        metavar="N", min=1, max=MAX_LAUNCHES, help="Fresh processes for each file, at least."
    ),
]
MostLaunches = Annotated[
    int,
    typer.Option(
        metavar="N",
        min=1,
        max=MAX_LAUNCHES,
        help="Stop adding launches here, even where the interval is wider than 1 %.",
    ),
]
Runs = Annotated[
    int,
    typer.Option(
        metavar="N", min=1, max=MAX_RUNS, help="Measured inferences of a launch, at least."
    ),
]
MinSeconds = Annotated[
    float, typer.Option(metavar="S", help="Measure a launch for so long, at least.")
]
WarmupRuns = Annotated[
    int, typer.Option(metavar="N", min=0, max=MAX_RUNS, help="Inferences before measuring.")
]
WarmupSeconds = Annotated[float, typer.Option(metavar="S", help="Warm up for so long, at least.")]
Threads = Annotated[
    list[int] | None,
    typer.Option(
        metavar="N",
        min=1,
        max=MAX_THREADS,
        help="Threads of the interpreter (repeatable; default 1).",
    ),
]
Delegates = Annotated[
    list[str] | None,
    typer.Option(
        "--delegate",
        metavar="NAME",
        autocompletion=lambda: list(DELEGATES),
        help=f"What executes the network: {', '.join(DELEGATES)}; none is the built-in kernels "
        "(repeatable; default xnnpack).",
    ),
]
ExternalDelegate = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Shared object of '--delegate external'."),
]
Cpus = Annotated[
    str | None,
    typer.Option(
        metavar="LIST", help="Pin to these logical CPUs, such as 0,2-3 (Linux and phones)."
    ),
]
Cluster = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Cores of a phone to pin to: fast, middle or little (default: the fastest kind that "
        "has as many as there are threads).",
    ),
]
ModeOption = Annotated[
    Mode,
    typer.Option(
        help="What is forced on a phone: stock nothing, fixed its fixed-performance mode, locked "
        "its clocks (needs root). All of it is put back."
    ),
]
Prepare = Annotated[
    bool,
    typer.Option(
        "--prepare",
        help="On a phone set brightness, airplane mode and power modes too, and put them back.",
    ),
]
Allow = Annotated[
    list[str] | None,
    typer.Option(
        "--allow",
        metavar="GATE",
        help="Measure though this gate refuses, such as LOW-BATTERY; its name stays with the "
        "numbers (repeatable).",
    ),
]
Ambient = Annotated[
    float | None,
    typer.Option(metavar="CELSIUS", help="Temperature of the room, to be kept with the numbers."),
]
ProfileOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="Profile of the phone, or a YAML file (default: the one that fits)."
    ),
]
BenchmarkBinary = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="The benchmark_model program that runs the files, on a phone or on host.",
    ),
]
AdbOption = Annotated[
    Path | None,
    typer.Option("--adb", metavar="FILE", help="The adb program (default: $ADB, then PATH)."),
]
Seed = Annotated[
    int | None,
    typer.Option(
        metavar="N", min=0, max=2**32 - 1, help="Of the order of launches (default: drawn)."
    ),
]
Timeout = Annotated[
    float,
    typer.Option(metavar="S", help="Give a process up that takes so much longer than planned."),
]
CoolDown = Annotated[
    float,
    typer.Option(
        "--cool-down",
        metavar="S",
        help="Wait so long at most, each time, for a warm phone to cool down.",
    ),
]
Resume = Annotated[
    str | None,
    typer.Option(
        metavar="[ID]",
        help="Go on with a campaign and measure exactly what is missing (default: the newest "
        "unfinished one).",
    ),
]
PlanOption = Annotated[
    bool, typer.Option("--plan", help="Print what would run and how long it takes, and stop.")
]
Results = Annotated[Path, typer.Option(metavar="DIR", help="Folder the records are added to.")]
RequireValid = Annotated[
    bool, typer.Option("--require-valid", help="Exit with 1 where a result is noisy, too.")
]


def every_settings(
    *,
    launches: int,
    max_launches: int,
    runs: int,
    min_seconds: float,
    warmup_runs: int,
    warmup_seconds: float,
    threads: Sequence[int] | None,
    delegates: Sequence[str] | None,
    cpus: str | None,
    mode: str,
    prepare: bool,
    allow: Sequence[str] | None,
    ambient: float | None,
    seed: int | None,
) -> list[Settings]:
    """One for each combination of threads and delegate, each once.

    Raises:
        InputError: a value out of its range, or a list that is none.
    """
    if ambient is not None and not AMBIENT_C[0] <= ambient <= AMBIENT_C[1]:  # also false for NaN
        raise InputError(f"--ambient {ambient:g}: give degrees Celsius")
    for name in delegates or ():
        if name not in DELEGATES:
            raise InputError(f"unknown delegate '{name}' (there are: {', '.join(DELEGATES)})")
    for name in allow or ():
        if not re.fullmatch(r"[A-Z][A-Z-]*", name):
            raise InputError(f"--allow '{name}': give the name of a gate, such as LOW-BATTERY")
    drawn = secrets.randbits(32) if seed is None else seed
    return [
        Settings(
            profile=mode,
            threads=count,
            delegate=delegate,
            cpus=_cpus(cpus),
            warmup_runs=warmup_runs,
            warmup_ms=seconds("--warmup-seconds", warmup_seconds) * MS_PER_S,
            runs=runs,
            min_ms=seconds("--min-seconds", min_seconds) * MS_PER_S,
            launches=launches,
            max_launches=max(launches, max_launches),
            seed=drawn,
            prepared=prepare,
            allowed=tuple(sorted(set(allow or ()))),
            ambient_c=ambient,
        )
        for delegate in dict.fromkeys(delegates or ["xnnpack"])
        for count in dict.fromkeys(threads or [1])
    ]


def phone_options(
    *,
    names: Sequence[str],
    delegates: Sequence[str] | None,
    cpus: str | None,
    cluster: str | None,
    profile: str | None,
    adb: Path | None,
    benchmark_binary: Path | None,
    external_delegate: Path | None,
    timeout: float,
    cool_down: float,
) -> "PhoneOptions":
    """How devices are reached and what runs there.

    The names of the devices are empty, and the delegates None, where they are not known yet.

    Raises:
        InputError: options that exclude each other, or that the devices named do not have.
    """
    from mnasnet_deploy.bench.devices import PhoneOptions

    phones = [name for name in names if name != HOST]
    if names and not phones:
        for option, value in (("--cluster", cluster), ("--profile", profile), ("--adb", adb)):
            if value is not None:
                raise InputError(f"{option} is for phones: name one with --device, or leave it out")
    if cpus is not None and cluster is not None:
        raise InputError("give --cpus or --cluster, not both")
    if benchmark_binary is not None and phones and HOST in names:
        raise InputError(
            "--benchmark-binary is a program for phones or for this machine: measure the host and "
            "the phones one after the other"
        )
    if delegates is not None:
        asked = "external" in delegates
        if asked and external_delegate is None:
            raise InputError("--delegate external needs --external-delegate FILE")
        if external_delegate is not None and not asked:
            raise InputError("--external-delegate goes with '--delegate external'")
    for option, path in (
        ("--benchmark-binary", benchmark_binary),
        ("--external-delegate", external_delegate),
        ("--adb", adb),
    ):
        if path is not None and not path.is_file():
            raise InputError(f"{option} {path}: no such file")
    return PhoneOptions(
        benchmark_binary=benchmark_binary,
        external_delegate=external_delegate,
        adb=adb,
        profile=profile or "",
        cluster=cluster or "",
        patience_s=seconds("--timeout", timeout),
        cool_s=seconds("--cool-down", cool_down),
    )


def again(
    names: Sequence[str],
    *,
    benchmark_binary: Path | None,
    external_delegate: Path | None,
    adb: Path | None,
    profile: str | None,
) -> tuple[str, ...]:
    """The options that `--resume` needs again, since no plan holds a path or a serial."""
    words: list[str] = []
    if any("@" in name for name in names):  # other phones are found among those attached
        words += [word for name in names for word in ("--device", name)]
    for option, value in (
        ("--benchmark-binary", benchmark_binary),
        ("--external-delegate", external_delegate),
        ("--adb", adb),
        ("--profile", profile),
    ):
        words += [option, str(value)] if value is not None else []
    return tuple(words)


def require_compatible(context: typer.Context) -> None:
    """Raise InputError where the command line says what the plan of a campaign says already."""
    for parameter in context.command.params:
        name = parameter.name or ""
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE" and name not in WITH_RESUME:
            option = parameter.opts[0]
            raise InputError(f"--resume takes its settings from the campaign: leave out {option}")


def seconds(option: str, value: float) -> float:
    """A time given to an option; InputError where it is none."""
    if not 0 <= value <= MAX_SECONDS:  # also false for NaN
        raise InputError(f"{option} {value:g}: give seconds from 0 to {MAX_SECONDS:g}")
    return value


def _cpus(text: str | None) -> tuple[int, ...]:
    """`0,2-3` as CPU numbers in order, each once."""
    found: set[int] = set()
    for part in text.split(",") if text is not None else ():
        match = re.fullmatch(r"\s*(\d{1,4})(?:-(\d{1,4}))?\s*", part, re.ASCII)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if first > last:
            raise InputError(f"--cpus '{text}': give CPU numbers and ranges, such as 0,2-3")
        found.update(range(first, last + 1))
    return tuple(sorted(found))
