"""The published results grids, each cell with its source, as printed.

Where a grid contradicts itself, `mnasnet_deploy.report.lint` finds it by computing and the table
flags the cell.
"""

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path

__all__ = ["PublishedRow", "find_published", "published_rows"]

_SOURCES = {
    "mnasnet-a1": (
        "published_mnasnet_a1.csv",
        "README of tensorflow/tpu models/official/mnasnet; latency on a Pixel 1, float",
    ),
    "mobilenet-v2": (
        "published_mobilenet_v2.csv",
        "README of tensorflow/models research/slim mobilenet; latency on a Pixel 1, float",
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedRow:
    """One row as printed.

    Attributes:
        network: `mnasnet-a1` or `mobilenet-v2`.
        resolution: input side in pixels.
        multiplier: depth multiplier.
        top1, top5: ImageNet accuracy in percent. Where the source contradicts itself (160, 0.35)
            `top1` is the printed column and `top1_repeated` the other.
        params_m: millions of parameters.
        work_m: the README's Multi-Adds (mnasnet-a1) or MACs (mobilenet-v2), in millions.
        pixel1_ms: latency on a Pixel 1 in ms.
        top1_repeated: the ninth cell of the MnasNet README, None where there is none.
        checkpoint: name of the published archive, empty where there is none.
        cells: the row as text, by column name.
        source: where it was printed.
    """

    network: str
    resolution: int
    multiplier: float
    top1: float
    top5: float
    params_m: float
    work_m: float
    pixel1_ms: float
    top1_repeated: float | None
    checkpoint: str
    cells: dict[str, str]
    source: str


@cache
def published_rows(network: str = "mnasnet-a1") -> tuple[PublishedRow, ...]:
    """The published rows of a network in printed order; empty where nothing is published."""
    if network not in _SOURCES:
        return ()
    file, source = _SOURCES[network]
    # Not importlib.resources: it loads zipfile and tempfile, 8 ms on every table.
    text = Path(__file__).with_name(file).read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return tuple(_row(network, cells, source) for cells in csv.DictReader(lines))


def find_published(network: str, multiplier: float | None, resolution: int) -> PublishedRow | None:
    """The published row of exactly this combination, or None."""
    for row in published_rows(network):
        if (row.multiplier, row.resolution) == (multiplier, resolution):
            return row
    return None


def _row(network: str, cells: dict[str, str], source: str) -> PublishedRow:
    repeated = cells.get("top1_repeated")
    return PublishedRow(
        network=network,
        resolution=int(cells["resolution"]),
        multiplier=float(cells["multiplier"]),
        top1=float(cells["top1"]),
        top5=float(cells["top5"]),
        params_m=float(cells["params_m"]),
        work_m=float(cells.get("multi_adds_m") or cells["macs_m"]),
        pixel1_ms=float(cells["pixel1_ms"]),
        top1_repeated=float(repeated) if repeated else None,
        checkpoint=cells.get("checkpoint", ""),
        cells=cells,
        source=source,
    )
