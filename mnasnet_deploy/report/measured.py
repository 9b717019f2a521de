"""Measured values of a table: which column a record belongs to, which record a cell shows."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace

from mnasnet_deploy.report.model import Cell, Column, Legend, Part, clean
from mnasnet_deploy.results.codec import AnyRecord
from mnasnet_deploy.results.record import Record

__all__ = [
    "ABSENT",
    "NOISY",
    "SCHEME_ORDER",
    "STAND_IN",
    "SYNTHETIC",
    "UNTRAINED",
    "Now",
    "Setup",
    "artifact_marks",
    "by_stand_in",
    "device_title",
    "format_ms",
    "measured_cell",
    "measured_column",
    "measured_legend",
    "reason_names",
    "setup_of",
    "setup_order",
]

NOISY, UNTRAINED, SYNTHETIC, ABSENT = "~noisy", "u", "s", "a"
STAND_IN = "software-phone"
"""Kind of the devices that only tests have."""

NOT_MEASURED = "not measured"
CHANGED = "file changed since measured"

FORCED = ("fixed", "locked")
"""Modes that are no phone's own way: see `Settings.profile`."""
SCHEME_ORDER = ("float32", "float16", "dynamic-int8", "int8")
_KINDS = {"host": "host: ", "android": "", "software-phone": "software phone: "}
_NAME = re.compile(r"[A-Z][A-Z0-9_-]*")


def by_stand_in(record: AnyRecord) -> bool:
    """Whether a software phone measured it: a stand-in of the tests, whose times are no phone's."""
    return isinstance(record, Record) and record.device.kind == STAND_IN


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What must be equal for two numbers to stand in one column.

    Attributes:
        kind, device, runtime: what it ran on and what ran it, with version.
        scheme: of the file; empty for a foreign one.
        threads, delegate: of the interpreter.
        cpus: the CPUs it was pinned to, empty for none.
        mode: what was forced on a phone, empty for nothing (`stock`, and the host).
        prepared: brightness, radios and power modes of the phone were set.
        build: of the phone's system; empty on the host.
        program: sha256 of the program that ran it, empty where there is none.
    """

    kind: str
    device: str
    runtime: str
    scheme: str
    threads: int
    delegate: str
    cpus: tuple[int, ...]
    mode: str = ""
    prepared: bool = False
    build: str = ""
    program: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Now:
    """The bytes a file name means.

    Attributes:
        sha256: of the file.
        absent: no file of the name is here; it is the hash of the one measured last.
    """

    sha256: str
    absent: bool


def setup_of(record: Record) -> Setup:
    """The column a record belongs to."""
    return Setup(
        kind=record.device.kind,
        device=clean(record.device.name),
        runtime=clean(record.device.runtime),
        scheme=clean(record.artifact.scheme),
        threads=record.settings.threads,
        delegate=clean(record.settings.delegate),
        cpus=record.settings.cpus,
        mode=clean(record.settings.profile) if record.settings.profile in FORCED else "",
        prepared=record.settings.prepared,
        build=clean(record.device.build),
        program=clean(record.device.runtime_sha256),
    )


def setup_order(setup: Setup) -> tuple[object, ...]:
    """Real devices before stand-ins, one device's columns together, schemes as exported."""
    known = setup.scheme in SCHEME_ORDER
    return (
        list(_KINDS).index(setup.kind),
        setup.device,
        SCHEME_ORDER.index(setup.scheme) if known else len(SCHEME_ORDER),
        setup.scheme,
        setup.threads,
        setup.delegate,
        setup.cpus,
        setup.mode,
        setup.prepared,
        setup.runtime,
        setup.build,
        setup.program,
    )


def measured_column(setup: Setup, setups: Sequence[Setup] = ()) -> Column:
    """The head of a setup's column.

    Args:
        setup: the column's.
        setups: of all columns; builds and programs are named where nothing else differs.
    """
    how = [
        setup.scheme or "unknown scheme",
        f"{setup.threads} thread{'s' * (setup.threads != 1)}",
        setup.delegate if setup.delegate != "none" else "no delegate",
    ]
    if setup.cpus:
        how.append(f"CPU {', '.join(map(str, setup.cpus))}")
    if setup.mode:
        how.append(f"{setup.mode} mode")
    if setup.prepared:
        how.append("prepared")
    facts = {field.name: getattr(setup, field.name) for field in fields(setup)}
    kind = facts.pop("kind")
    late = {name: facts.pop(name) for name in ("mode", "prepared", "build", "program")}
    facts |= {name: value for name, value in late.items() if value}
    alike = [one for one in setups if replace(one, build="", program="") == replace(
        setup, build="", program="")]  # fmt: skip
    telling = []
    if len({one.build for one in alike}) > 1:
        telling.append(f"build {setup.build or 'unknown'}")
    if len({one.program for one in alike}) > 1:
        telling.append(f"program {setup.program[:8] or 'unknown'}")
    return Column(
        key="/".join(str(value) for value in (kind, *facts.values()) if value != ()),
        title=device_title(setup.kind, setup.device),
        details=(", ".join(how), setup.runtime, *telling, "measured, ms"),
        kind="measured",
        unit="ms",
        facts={"device_kind": kind, **facts},
    )


def device_title(kind: str, name: str) -> str:
    """A device's name that says at once what is no phone."""
    if kind == STAND_IN:
        name = name.removesuffix(" (software phone)")
    return f"{_KINDS[kind]}{clean(name)}"


def measured_cell(setup: Setup, records: Sequence[Record], now: Now | None) -> Cell:
    """The newest measurement that counts, or why there is none.

    Args:
        setup: the column.
        records: of one file name, oldest first, of any setup.
        now: the bytes that name means; None where there is no record of it.
    """
    here = [record for record in records if setup_of(record) == setup]
    if not here or now is None:
        return Cell(kind="missing", text=NOT_MEASURED)
    same = [record for record in here if record.artifact.sha256 == now.sha256]
    if not same:
        return Cell(kind="missing", text=CHANGED, record=here[-1].id)
    for record in reversed(same):
        if record.verdict != "invalid" and record.estimate is not None:
            return _number(record, absent=now.absent)
    names = reason_names(same[-1].reasons) or ["no reason given"]
    return Cell(
        kind="missing",
        text=f"invalid: {', '.join(names)}",
        reasons=tuple(map(clean, same[-1].reasons)),
        record=same[-1].id,
    )


def artifact_marks(record: Record) -> tuple[str, ...]:
    """Marks of a record's verdict, of gates let through, and of what its file is made from."""
    marks = {
        NOISY: record.verdict == "noisy",
        UNTRAINED: record.artifact.untrained,
        SYNTHETIC: record.artifact.synthetic_calibration,
    }
    held = (mark for mark, holds in marks.items() if holds)
    return (*held, *map(clean, record.settings.allowed))


def reason_names(reasons: Iterable[str]) -> list[str]:
    """The names in capitals that reasons start with, or the reasons themselves, cut short."""
    names = []
    for reason in map(clean, reasons):
        match = _NAME.match(reason)
        names.append(match[0] if match and len(match[0]) > 1 else reason[:40])
    return list(dict.fromkeys(names))


def format_ms(median_ms: float, low_ms: float, high_ms: float) -> str:
    """A median and its interval: `1.52 [1.50, 1.55]`.

    Three figures of the median, or four where three would hide that the interval has a width.
    """
    decimals = 3 if median_ms < 1 else 2 if median_ms < 10 else 1 if median_ms < 100 else 0
    if high_ms > low_ms and (high_ms - low_ms) / 2 < 10.0**-decimals:
        decimals += 1
    median, low, high = (f"{time:.{decimals}f}" for time in (median_ms, low_ms, high_ms))
    return f"{median} [{low}, {high}]"


def measured_legend(parts: Sequence[Part], records: Sequence[Record]) -> Iterator[Legend]:
    """Explain what occurs in the measured columns.

    Args:
        parts: the table's.
        records: at least those the table shows.
    """
    columns = [column for part in parts for column in part.columns if column.unit == "ms"]
    columns = [column for column in columns if column.kind == "measured"]
    if not columns:
        return
    ids = {record.id for record in records}
    cells = [c for part in parts for row in part.rows for c in row.cells if c.record in ids]
    cells = [cell for cell in cells if cell.kind == "measured"]
    shown = {cell.record for cell in cells}
    used = [record for record in records if record.id in shown]
    coverages = [record.estimate.coverage for record in used if record.estimate]
    interval = ""
    if coverages:
        interval = f" [distribution-free interval, coverage {100 * min(coverages):.1f} % or more]"
    yield Legend(
        mark="measured",
        meaning=f"median over launches (processes) of the launch's median, in ms{interval}; "
        "newest measurement of the file's present bytes",
    )
    kinds = {column.facts["device_kind"] for column in columns}
    if "host" in kinds:
        yield Legend(mark="host", meaning="a computer, no stand-in for a phone")
    if STAND_IN in kinds:
        yield Legend(mark="software phone", meaning="a test stand-in; its times are no phone's")
    noisy = [reason for record in used if record.verdict == "noisy" for reason in record.reasons]
    names = f" ({', '.join(sorted(reason_names(noisy)))})" if noisy else ""
    meanings = {
        NOISY: f"measured, but unsteady{names}: trust it less",
        UNTRAINED: "untrained weights: time and size only",
        SYNTHETIC: "int8 ranges calibrated on generated images",
        ABSENT: "the file is not here; measured on the last bytes it had",
    }
    marks = {mark for cell in cells for mark in cell.marks}
    for mark, meaning in meanings.items():
        if mark in marks:
            yield Legend(mark=mark, meaning=meaning)
    for gate in sorted(marks - meanings.keys()):
        yield Legend(mark=gate, meaning="measured though this gate refuses (--allow)")


def _number(record: Record, *, absent: bool) -> Cell:
    estimate = record.estimate
    assert estimate is not None
    return Cell(
        kind="measured",
        text=format_ms(estimate.median_ms, estimate.low_ms, estimate.high_ms),
        value=estimate.median_ms,
        low=estimate.low_ms,
        high=estimate.high_ms,
        marks=(*artifact_marks(record), *((ABSENT,) if absent else ())),
        reasons=tuple(map(clean, record.reasons)),
        record=record.id,
    )
