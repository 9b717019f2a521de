"""What one measurement is, with everything needed to believe it. Standard library only.

Format history (a record of an unknown format is not read, never guessed at):
    1  first.
"""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final, Literal, Protocol

from mnasnet_deploy.errors import InputError
from mnasnet_deploy.typed_mapping import from_mapping, shorten

__all__ = [
    "SCHEMA",
    "Artifact",
    "Conditions",
    "DeviceInfo",
    "Estimate",
    "Identified",
    "Launch",
    "Record",
    "Scheme",
    "Settings",
    "Verdict",
    "check_identity",
    "instant",
    "record_from_mapping",
    "record_to_mapping",
]

SCHEMA: Final = "mnasnet.record/1"

Scheme = Literal["float32", "float16", "dynamic-int8", "int8"]
Verdict = Literal["valid", "noisy", "invalid"]

# An id names a file: no dots, no slashes, no folder can be left by it.
_ID = re.compile(r"[0-9A-Za-z][0-9A-Za-z-]{0,63}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """The measured file.

    Attributes:
        file: its name without a folder.
        sha256: of the whole file.
        size_bytes: of the whole file.
        network: `mnasnet-a1`; empty for a file this tool did not write.
        multiplier: `1.0`, `none`; empty for a foreign file.
        resolution: input side in pixels; 0 for a foreign file.
        classes: width of the output; 0 for a foreign file.
        params, multi_adds: of the network, as `mnasnet_deploy.arch.counts` counts; 0 for a foreign
            file.
        scheme: float32, float16, dynamic-int8 or int8; empty for a foreign file.
        weights: where the weights come from, in words.
        untrained: the weights were never trained, so only time and size mean anything.
        synthetic_calibration: the int8 ranges come from generated images.
    """

    file: str
    sha256: str
    size_bytes: int
    network: str = ""
    multiplier: str = ""
    resolution: int = 0
    classes: int = 0
    params: int = 0
    multi_adds: float = 0.0
    scheme: str = ""
    weights: str = ""
    untrained: bool = False
    synthetic_calibration: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceInfo:
    """What it was measured on; never a serial number.

    Attributes:
        kind: `host` (this computer), `android` (a phone) or `software-phone` (a test stand-in,
            whose numbers never mix with real ones).
        name: as a column head, `Pixel 8` or the CPU's model name.
        os: operating system with version.
        cpu: processor or SoC.
        cores: number of logical CPUs.
        memory_mib: installed memory.
        runtime: what ran the model, with version (`ai-edge-litert 2.3.0`).
        runtime_sha256: of the benchmark binary, empty where there is none.
    """

    kind: Literal["host", "android", "software-phone"]
    name: str
    os: str
    cpu: str
    cores: int
    memory_mib: int
    runtime: str
    runtime_sha256: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How it was measured.

    Attributes:
        profile: name of the device profile (`host`).
        threads: of the interpreter.
        delegate: `xnnpack` or `none` on the host.
        cpus: logical CPUs the process was pinned to; empty for no pinning.
        warmup_runs, warmup_ms: at least this many runs and at least this long, not measured.
        runs, min_ms: at least this many measured runs and at least this long, per launch.
        launches, max_launches: process runs asked for, and the limit of the stop rule.
        seed: of the order of launches.
    """

    profile: str
    threads: int
    delegate: str
    cpus: tuple[int, ...]
    warmup_runs: int
    warmup_ms: float
    runs: int
    min_ms: float
    launches: int
    max_launches: int
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """State of the device at one moment; None where it does not say.

    Attributes:
        time: UTC, ISO 8601.
        clock_mhz: current clock of the CPUs used, highest.
        clock_limit_mhz: what the governor allows now.
        clock_max_mhz: what the hardware could do.
        governor: name of the frequency governor.
        temperature_c: hottest readable sensor.
        load: busy share of all CPUs just before, 0 to 1.
        facts: anything else worth keeping, in words.
    """

    time: str
    clock_mhz: float | None = None
    clock_limit_mhz: float | None = None
    clock_max_mhz: float | None = None
    governor: str | None = None
    temperature_c: float | None = None
    load: float | None = None
    facts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """One process run. Times in ms.

    Attributes:
        block: number of the shuffled block it ran in, from 0.
        position: place within the block, from 0.
        init_ms: loading the file, delegate and tensors.
        first_ms: first inference.
        samples_ms: every measured run in order.
        median_ms, p95_ms: of the samples.
        cpu_ms: processor time of one run, mean over the samples; None where unknown.
        discarded: the named state rule that voids it, or empty. Never decided by the latency.
    """

    block: int
    position: int
    init_ms: float
    first_ms: float
    samples_ms: tuple[float, ...]
    median_ms: float
    p95_ms: float
    cpu_ms: float | None = None
    discarded: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What the launches say.

    Attributes:
        median_ms: median over launches of the launch median.
        low_ms, high_ms: distribution-free interval of that median (order statistics).
        coverage: probability the interval covers, 0 to 1.
        launches: how many counted.
    """

    median_ms: float
    low_ms: float
    high_ms: float
    coverage: float
    launches: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One measured number with its circumstances.

    Attributes:
        id: unique, sorts by time; letters, digits and `-`, since it names the record's file.
        time: UTC end of the measurement, ISO 8601 with its offset.
        tool: `mnasnet-deploy 0.1.0`.
        campaign: id of the bench run it belongs to.
        artifact, device, settings: what, on what, how.
        before, after: state of the device.
        launches: every launch, discarded ones too.
        estimate: None where no launch counted.
        peak_memory_mib: peak resident memory of a separate launch, None where not measured.
        verdict: `valid`, `noisy` or `invalid`.
        reasons: why it is not `valid`, each starting with a name in capitals.
        schema: the format.
    """

    id: str
    time: str
    tool: str
    campaign: str
    artifact: Artifact
    device: DeviceInfo
    settings: Settings
    before: Conditions
    after: Conditions
    launches: tuple[Launch, ...]
    estimate: Estimate | None
    peak_memory_mib: float | None
    verdict: Verdict
    reasons: tuple[str, ...]
    schema: str = SCHEMA


class Identified(Protocol):
    """What all kinds of records have: an id, when it was measured, and of which file."""

    @property
    def id(self) -> str:
        """Names the record's file."""

    @property
    def time(self) -> str:
        """ISO 8601."""

    @property
    def artifact(self) -> Artifact:
        """The file."""


def instant(record: Identified) -> datetime:
    """When the measurement ended, to compare records of any two computers."""
    return _parse_time(record.time)


def record_to_mapping(record: Record) -> dict[str, Any]:
    """A record as plain JSON data; `record_from_mapping` gives it back."""
    return asdict(record)


def record_from_mapping(mapping: object) -> Record:
    """Check plain JSON data and make a Record of it.

    Raises:
        InputError: another format, a missing or unknown key, a value of the wrong kind, numbers
            that cannot belong together.
    """
    if not isinstance(mapping, Mapping):
        raise InputError("not a JSON object")
    schema = mapping.get("schema")
    if schema != SCHEMA:
        raise InputError(
            f"format {shorten(schema)} is not {SCHEMA!r} (written by another version?)"
        )
    record = from_mapping(Record, mapping, "record")
    _check(record)
    return record


def check_identity(record: Identified, where: str) -> None:
    """Raise InputError where an id names no file, a sum or a time is none.

    Args:
        record: of any kind.
        where: what to call it in an error.
    """
    if not _ID.fullmatch(record.id):
        raise InputError(f"{where}.id is {shorten(record.id)}, not letters, digits and '-'")
    if not _SHA256.fullmatch(record.artifact.sha256):
        raise InputError(f"{where}.artifact.sha256 is not 64 hexadecimal digits")
    try:
        _parse_time(record.time)
    except (ValueError, OverflowError):
        raise InputError(
            f"{where}.time is {shorten(record.time)}, not an ISO 8601 time with its offset"
        ) from None


def _check(record: Record) -> None:
    """Raise where single values are of the right kind but the record says nothing with them."""
    check_identity(record, "record")
    estimate = record.estimate
    if estimate is None:
        if record.verdict != "invalid":
            raise InputError(f"record.verdict is {record.verdict!r} without an estimate")
    elif not 0.0 <= estimate.low_ms <= estimate.median_ms <= estimate.high_ms:
        raise InputError("record.estimate: the median is not inside its interval")


def _parse_time(text: str) -> datetime:
    # Python 3.10 does not read the Z.
    time = datetime.fromisoformat(text.replace("Z", "+00:00"))
    if time.tzinfo is None or not 1970 <= time.year < 9999:
        raise ValueError(text)
    return time
