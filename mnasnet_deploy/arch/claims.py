"""What the published pages say around their grids, as printed, and what others measured since."""

from dataclasses import dataclass
from typing import Final

__all__ = [
    "ACCURACY_CHECKS",
    "PRINTED_HEADERS",
    "SPEED_CLAIMS",
    "WORK_CLAIMS",
    "AccuracyCheck",
    "SpeedClaim",
    "WorkClaim",
]

_MNASNET_README = "README of tensorflow/tpu models/official/mnasnet"

PRINTED_HEADERS: Final[dict[str, tuple[str, ...]]] = {
    "mnasnet-a1": (
        "Input Size",
        "Depth Multiplier",
        "Top-1 Accuracy",
        "Top-5 Accuracy",
        "Parameters(M)",
        "Multi-Adds (M)",
        "Pixel 1 latency (ms)",
        "ckpt",
    ),
}
"""The head of the printed table, where it is known; its cells are the columns of the CSV file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkClaim:
    """Size and work of a network (multiplier 1.0, 224 pixels) as prose says it.

    Attributes:
        network: as in file names.
        quote: the words.
        params_m, work_m: millions of parameters and of multiply-adds.
        source: where.
    """

    network: str
    quote: str
    params_m: float
    work_m: float
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeedClaim:
    """How much faster one network is than another, as prose says it.

    Attributes:
        network, multiplier, resolution: the fast one.
        other: the network it is compared with, at equal accuracy.
        quote: the words.
        factor: times faster.
        lower_percent: per cent that the latency is lower.
        source: where.
    """

    network: str
    multiplier: float
    resolution: int
    other: str
    quote: str
    factor: float
    lower_percent: float
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AccuracyCheck:
    """An evaluation of the published weights by someone else.

    Attributes:
        network, multiplier, resolution: which weights.
        top1: per cent on the ImageNet validation set.
        images: how many it was measured on.
        source: by whom, and how.
    """

    network: str
    multiplier: float
    resolution: int
    top1: float
    images: int
    source: str


WORK_CLAIMS: Final = (
    WorkClaim(
        network="mnasnet-a1",
        quote="3.9M parameters and 312M Multiply-Adds",
        params_m=3.9,
        work_m=312,
        source=_MNASNET_README,
    ),
    WorkClaim(
        network="mnasnet-small",
        quote="2.0M parameters and 68M Multiply-Adds",
        params_m=2.0,
        work_m=68,
        source=_MNASNET_README,
    ),
)
SPEED_CLAIMS: Final = (
    SpeedClaim(
        network="mnasnet-a1",
        multiplier=1.0,
        resolution=224,
        other="mobilenet-v2",
        quote="1.8x faster throughput (55% lower latency)",
        factor=1.8,
        lower_percent=55,
        source=_MNASNET_README,
    ),
)
ACCURACY_CHECKS: Final = (
    AccuracyCheck(
        network="mnasnet-a1",
        multiplier=1.0,
        resolution=224,
        top1=73.534,
        images=50_000,
        source="tensorflow/tpu issue 666, with the original preprocessing",
    ),
    AccuracyCheck(
        network="mnasnet-a1",
        multiplier=1.0,
        resolution=224,
        top1=73.086,
        images=50_000,
        source="R. Wightman's port of the published TFLite file, bicubic, crop 0.875",
    ),
)
