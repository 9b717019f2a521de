"""What one measurement is, with everything needed to believe it. Standard library only.

Format history (a record of an unknown format is not read, never guessed at):
    1  first.
    2  phones: summaries where a program keeps no samples, its output, operators, gates let through.
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
    "OperatorTime",
    "Record",
    "Scheme",
    "Settings",
    "Summary",
    "Verdict",
    "check_identity",
    "instant",
    "record_from_mapping",
    "record_to_mapping",
]

SCHEMA: Final = "mnasnet.record/2"
_READABLE: Final = ("mnasnet.record/1", SCHEMA)

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
        build: fingerprint of the phone's system; empty on the host.
    """

    kind: Literal["host", "android", "software-phone"]
    name: str
    os: str
    cpu: str
    cores: int
    memory_mib: int
    runtime: str
    runtime_sha256: str = ""
    build: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How it was measured.

    Attributes:
        profile: `host`, and on phones what was forced: `stock` (nothing), `fixed` or `locked`;
            empty where nobody knows.
        threads: of the interpreter.
        delegate: `xnnpack` or `none` on the host; also `gpu`, `nnapi`, `external` on phones.
        cpus: logical CPUs the process was pinned to; empty for no pinning.
        warmup_runs, warmup_ms: at least this many runs and at least this long, not measured.
        runs, min_ms: at least this many measured runs and at least this long, per launch.
        launches, max_launches: process runs asked for, and the limit of the stop rule.
        seed: of the order of launches.
        prepared: brightness, radios and power modes of the phone were set for the measurement.
        allowed: gates that were let through by name (`LOW-BATTERY`).
        ambient_c: temperature of the room as the operator gave it; None where not given.
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
    prepared: bool = False
    allowed: tuple[str, ...] = ()
    ambient_c: float | None = None


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
        battery_percent: charge.
        thermal_status: of Android: 0 none, 1 light to 6 shutdown.
        facts: anything else worth keeping, in words.
        raw: everything the device said, as it said it; never a serial number.
    """

    time: str
    clock_mhz: float | None = None
    clock_limit_mhz: float | None = None
    clock_max_mhz: float | None = None
    governor: str | None = None
    temperature_c: float | None = None
    load: float | None = None
    battery_percent: float | None = None
    thermal_status: int | None = None
    facts: tuple[str, ...] = ()
    raw: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What a program says of its measured runs when it keeps no samples. Times in ms.

    Attributes:
        runs: how many.
        mean_ms, std_ms, min_ms, max_ms: of them; std is of the population.
        median_ms, p5_ms, p95_ms: None where the program does not say.
        first_run_ms: the first of them; None where the program does not say.
    """

    runs: int
    mean_ms: float
    std_ms: float
    min_ms: float
    max_ms: float
    median_ms: float | None = None
    p5_ms: float | None = None
    p95_ms: float | None = None
    first_run_ms: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorTime:
    """Time of one operator, from a profiled launch of its own (profiling slows the runs).

    Attributes:
        name: the layer it comes from (`block4/depthwise`), or what the runtime calls it.
        kind: as the runtime calls it (`Convolution (NHWC, F32) IGEMM`).
        mean_ms: in one run of the network.
        share: of all operators, 0 to 1.
    """

    name: str
    kind: str
    mean_ms: float
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """One process run. Times in ms.

    Attributes:
        block: number of the shuffled block it ran in, from 0.
        position: place within the block, from 0.
        init_ms: loading the file, delegate and tensors.
        first_ms: first inference.
        samples_ms: every measured run in order; empty where `summary` takes their place.
        median_ms, p95_ms: of the measured runs; where the program does not say, their mean and
            longest.
        cpu_ms: processor time of one run, mean over the samples; None where unknown.
        discarded: the named state rule that voids it, or empty. Never decided by the latency.
        summary: of the measured runs where there are no samples.
        facts: about this launch, in words: mean clock, share of time at the highest.
        output: all that the program printed; empty on the host.
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
    summary: Summary | None = None
    facts: tuple[str, ...] = ()
    output: str = ""


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
        operators: of a profiled launch, in the order they run; empty where not measured.
        command: how the program was called, one argument a word; empty on the host.
        imported: the numbers were read from a log that was taken by hand.
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
    operators: tuple[OperatorTime, ...] = ()
    command: str = ""
    imported: bool = False
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
    if schema not in _READABLE:
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
