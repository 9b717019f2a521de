"""Published values and, next to them, what was measured: records -> Table.

A number is shown as a file's only when it was measured on the bytes the file has now. Where the
file is not here, the bytes measured last stand for it.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial

from mnasnet_deploy.arch.published import PublishedRow, find_published, published_rows
from mnasnet_deploy.errors import SpecError
from mnasnet_deploy.report.accuracy import (
    accuracy_cell,
    accuracy_column,
    accuracy_legend,
    accuracy_order,
    accuracy_setup,
)
from mnasnet_deploy.report.contradictions import Finding, contradictions
from mnasnet_deploy.report.measured import (
    Now,
    by_stand_in,
    measured_cell,
    measured_column,
    measured_legend,
    setup_of,
    setup_order,
)
from mnasnet_deploy.report.model import Cell, Column, Legend, Part, Row, Table, clean
from mnasnet_deploy.results.accuracy import Accuracy
from mnasnet_deploy.results.codec import AnyRecord
from mnasnet_deploy.results.files import Files
from mnasnet_deploy.results.record import Artifact, Record
from mnasnet_deploy.results.store import newest_last

__all__ = ["build_table"]

CLASSES = 1000
"""Of every published network."""

_STAND_INS = "On software phones: stand-ins for tests, whose times are no phone's"

_KEYS = (
    Column(key="input_size", title="Input Size", kind="key", unit="px"),
    Column(key="depth_multiplier", title="Depth Multiplier", kind="key"),
)
_OTHER_COLUMNS = (
    Column(key="network", title="Network", kind="key"),
    *_KEYS,
    Column(key="params", title="Parameters", details=("counted, M",), kind="counted", unit="M"),
    Column(key="work", title="Multi-Adds", details=("counted, M",), kind="counted", unit="M"),
)


@dataclass(frozen=True, slots=True)
class _RowKey:
    """What one row is about: a network, or a file whose name is its user's own."""

    network: str
    multiplier: str
    resolution: int
    classes: int
    file: str = ""


@dataclass(slots=True)
class _Group:
    """The records of one file name, oldest first."""

    latencies: list[Record] = field(default_factory=list)
    accuracies: list[Accuracy] = field(default_factory=list)


def build_table(network: str, records: Iterable[AnyRecord], files: Files) -> Table:
    """Lay out the published rows of a network with everything measured.

    Args:
        network: `mnasnet-a1`; one of which nothing is published has only measured rows.
        records: of any kind; none is left out: what fits no published row has its own part, and so
            has what software phones measured.
        files: which bytes the model files have now.
    """
    every = newest_last(records)
    builder = _Builder([one for one in every if not by_stand_in(one)], files)
    stand_ins = _Builder([one for one in every if by_stand_in(one)], files)
    published = published_rows(network)
    findings = contradictions(published)
    own = [_RowKey(network, row.cells["multiplier"], row.resolution, CLASSES) for row in published]
    others = sorted(builder.artifacts.keys() - set(own), key=partial(_order, network))
    parts = []
    if published:
        title = (
            f"{network}, published and measured" if builder.artifacts else f"{network}, published"
        )
        parts.append(
            builder.part(
                title, own, _published_columns(published), partial(_published_cells, findings)
            )
        )
    if others:
        title = "Also measured" if published else "Measured"
        cells = partial(_other_cells, builder.artifacts)
        parts.append(builder.part(title, others, _OTHER_COLUMNS, cells))
    if stand_ins.groups:
        keys = sorted(stand_ins.groups, key=partial(_order, network))
        cells = partial(_other_cells, stand_ins.artifacts)
        parts.append(stand_ins.part(_STAND_INS, keys, _OTHER_COLUMNS, cells))
    legend = []
    if published:
        legend.append(Legend(mark="published", meaning=f"{published[0].source}; not measured here"))
    legend += measured_legend(parts, [*builder.latencies, *stand_ins.latencies])
    explained = {entry.mark for entry in legend}
    legend += [
        entry for entry in accuracy_legend(parts, builder.accuracies) if entry.mark not in explained
    ]
    legend += [Legend(mark="!", meaning=finding.message) for finding in findings]
    return Table(
        network=network,
        parts=tuple(parts),
        legend=tuple(legend),
        files=dict(sorted({**stand_ins.used, **builder.used}.items())),
    )


class _Builder:
    """Sorts records into rows, and fills the measured columns of any rows.

    Attributes:
        latencies, accuracies: oldest first.
        groups: the records of each row by scheme, oldest first.
        artifacts: the file of each row that was measured last.
        used: which bytes each file of a row was taken to have.
    """

    def __init__(self, records: Sequence[AnyRecord], files: Files) -> None:
        self.latencies = [record for record in records if isinstance(record, Record)]
        self.accuracies = [record for record in records if isinstance(record, Accuracy)]
        self.used: dict[str, str] = {}
        self._files = files
        last = {record.artifact.file: record.artifact.sha256 for record in records}
        self._known = {**last, **files.sha256}
        names = defaultdict(set)
        for name, sha256 in self._known.items():
            names[sha256].add(name)
        self.groups: dict[_RowKey, dict[str, _Group]] = {}
        self.artifacts: dict[_RowKey, Artifact] = {}
        for record in records:
            key = _row_key(record.artifact, names[record.artifact.sha256])
            group = self.groups.setdefault(key, {}).setdefault(record.artifact.scheme, _Group())
            if isinstance(record, Accuracy):
                group.accuracies.append(record)
            else:
                group.latencies.append(record)
            self.artifacts[key] = record.artifact

    def part(
        self,
        title: str,
        keys: Sequence[_RowKey],
        columns: Sequence[Column],
        cells: Callable[[_RowKey], list[Cell]],
    ) -> Part:
        """Rows with their own cells, accuracies behind those in percent, latencies at the end."""
        groups = [group for key in keys for group in self.groups.get(key, {}).values()]
        setups = sorted({setup_of(r) for group in groups for r in group.latencies}, key=setup_order)
        judged = sorted(
            {accuracy_setup(a) for group in groups for a in group.accuracies}, key=accuracy_order
        )
        after = [place for place, column in enumerate(columns, start=1) if column.unit == "%"]
        split = max(after, default=len(columns))
        rows = []
        for key in keys:
            own, group = cells(key), self.groups.get(key, {})
            now = {name: self._now(key.file or _usual_name(key, name)) for name in group}
            empty = _Group()
            rows.append(
                Row(
                    cells=(
                        *own[:split],
                        *(
                            accuracy_cell(
                                setup,
                                group.get(setup.scheme, empty).accuracies,
                                now.get(setup.scheme),
                            )
                            for setup in judged
                        ),
                        *own[split:],
                        *(
                            measured_cell(
                                setup,
                                group.get(setup.scheme, empty).latencies,
                                now.get(setup.scheme),
                            )
                            for setup in setups
                        ),
                    )
                )
            )
        heads = (
            *columns[:split],
            *map(accuracy_column, judged),
            *columns[split:],
            *(measured_column(setup, setups) for setup in setups),
        )
        return Part(title=title, columns=heads, rows=tuple(rows))

    def _now(self, name: str) -> Now:
        self.used[name] = self._known[name]
        absent = self._files.complete and name not in self._files.sha256
        return Now(sha256=self._known[name], absent=absent)


def _row_key(artifact: Artifact, names: Container[str]) -> _RowKey:
    """The row of a file.

    Args:
        artifact: the file as measured.
        names: of the files that have the same bytes.
    """
    network = _RowKey(
        artifact.network, artifact.multiplier, artifact.resolution, artifact.classes or CLASSES
    )
    own = replace(network, file=artifact.file)
    usual = _usual_name(network, artifact.scheme)
    # A copy under another name is the same bytes, so the same number.
    if not artifact.network or not (artifact.file == usual or usual in names):
        return own
    # Other roundings of channels (a divisor of 16) keep the name and make another network.
    if artifact.params and _params(network) not in (None, artifact.params):
        return own
    return network


def _usual_name(key: _RowKey, scheme: str) -> str:
    """The name export gives a file (`mnasnet_deploy.export.naming`, a later room)."""
    return f"{key.network}_{key.multiplier}_{key.resolution}_{scheme}.tflite"


def _published_columns(published: Sequence[PublishedRow]) -> tuple[Column, ...]:
    work = "Multi-Adds" if "multi_adds_m" in published[0].cells else "MACs"
    make = partial(Column, kind="published")
    return (
        *_KEYS,
        make(key="top1", title="Top-1", details=("published, %",), unit="%"),
        make(key="top5", title="Top-5", details=("published, %",), unit="%"),
        make(key="params", title="Parameters", details=("published, M",), unit="M"),
        make(key="work", title=work, details=("published, M",), unit="M"),
        make(key="pixel1", title="Pixel 1 latency", details=("published, float, ms",), unit="ms"),
    )


def _published_cells(findings: Sequence[Finding], key: _RowKey) -> list[Cell]:
    row = find_published(key.network, float(key.multiplier), key.resolution)
    assert row is not None
    work = "multi_adds_m" if "multi_adds_m" in row.cells else "macs_m"
    cells = _key_cells(key)
    for name, printed in (
        ("top1", "top1"),
        ("top5", "top5"),
        ("params_m", "params_m"),
        ("work_m", work),
        ("pixel1_ms", "pixel1_ms"),
    ):
        text = row.cells[printed]
        if name == "top1" and row.top1_repeated not in (None, row.top1):
            text = f"{text} or {row.cells['top1_repeated']}"
        place = (row.resolution, row.multiplier, name)
        reasons = tuple(finding.message for finding in findings if place in finding.cells)
        cells.append(
            Cell(
                kind="published",
                text=text,
                value=getattr(row, name),
                marks=("!",) * bool(reasons),
                reasons=reasons,
            )
        )
    return cells


def _other_cells(artifacts: Mapping[_RowKey, Artifact], key: _RowKey) -> list[Cell]:
    artifact = artifacts[key]
    label = clean(key.file or key.network)
    if key.classes != CLASSES:
        label += f", {key.classes} classes"
    counted = [Cell(kind="missing", text="unknown")] * 2
    if artifact.params:
        params_m, work_m = artifact.params / 1e6, artifact.multi_adds / 1e6
        counted = [
            Cell(kind="counted", text=f"{params_m:.2f}", value=params_m),
            Cell(kind="counted", text=f"{work_m:.1f}", value=work_m),
        ]
    return [Cell(kind="key", text=label, value=label), *_key_cells(key), *counted]


def _key_cells(key: _RowKey) -> list[Cell]:
    unknown = Cell(kind="missing", text="unknown")
    size, multiplier = unknown, unknown
    if key.resolution:
        size = Cell(kind="key", text=str(key.resolution), value=key.resolution)
    if key.multiplier:
        text = clean(key.multiplier)
        width = _width(text)
        multiplier = Cell(kind="key", text=text, value=text if width is None else width)
    return [size, multiplier]


@cache
def _params(key: _RowKey) -> int | None:
    """Parameters of a published architecture at any size; None for any other network."""
    # 15 ms that a table of published values does without.
    from mnasnet_deploy.arch.counts import count_network
    from mnasnet_deploy.arch.network import build_network, parse_multiplier
    from mnasnet_deploy.arch.variants import VARIANTS

    spec = next((v.spec for v in VARIANTS.values() if v.spec.name == key.network), None)
    if spec is None:
        return None
    try:
        multiplier = parse_multiplier(key.multiplier)
        network = build_network(
            spec, multiplier=multiplier, resolution=key.resolution, classes=key.classes
        )
    except SpecError:
        return None
    return count_network(network).params


def _order(network: str, key: _RowKey) -> tuple[object, ...]:
    """The network asked for first, then by name; large inputs and wide networks first."""
    width = _width(key.multiplier) or 1.0
    other = key.network != network
    return (other, key.network, -key.resolution, -width, key.multiplier, key.classes, key.file)


def _width(multiplier: str) -> float | None:
    """The multiplier as a number; None for `none` and for what is no multiplier."""
    try:
        width = float(multiplier)
    except ValueError:
        return None
    return width if math.isfinite(width) else None
