"""What one accuracy is, with everything needed to believe it. Standard library only.

Format history (a record of an unknown format is not read, never guessed at):
    1  first.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from mnasnet_deploy.errors import InputError
from mnasnet_deploy.results.record import Artifact, check_identity
from mnasnet_deploy.typed_mapping import from_mapping, shorten

__all__ = [
    "SCHEMA",
    "Accuracy",
    "Agreement",
    "EvaluationData",
    "Published",
    "Share",
    "accuracy_from_mapping",
]

SCHEMA: Final = "mnasnet.accuracy/1"
_SHA256 = re.compile(r"[0-9a-f]{64}")
# Rounding of a stored percentage against one computed again.
_ROUNDING = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """How many of the images, in percent.

    Attributes:
        correct: how many.
        percent: of the images that could be read.
        low, high: Wilson's interval, 95 %.
    """

    correct: int
    percent: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationData:
    """The images.

    Attributes:
        name: of their folder, never its path.
        digest: sha256 over names, labels and content of all of them, in order.
        images: how many counted.
        found: how many the folder holds; more than asked for where only some were evaluated.
        unreadable: how many of those asked for could not be read and count nowhere.
        unreadable_names: of the first of them.
        labels: how many different labels there are.
    """

    name: str
    digest: str
    images: int
    found: int
    unreadable: int
    unreadable_names: tuple[str, ...]
    labels: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """The same images through the float32 file of the same network and weights.

    Attributes:
        file, sha256: the float32 file.
        same_percent: share of images with the same first class.
        both, only_this, only_other, neither: images whose first class is right in both, in one,
            in none.
        p_value: McNemar's, two-sided: so unequal a pair of `only_this` and `only_other` or a more
            unequal one, where both are equally likely.
        test: `exact`, or `continuity` for the corrected approximation to many of them.
    """

    file: str
    sha256: str
    same_percent: float
    both: int
    only_this: int
    only_other: int
    neither: int
    p_value: float
    test: Literal["exact", "continuity"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What the publisher of the weights says, in percent, on ImageNet's 50,000 validation images.

    Attributes:
        top1: share of images whose first class is right.
        top5: whose first five hold the right one; None where no one says.
        source: who says so.
    """

    top1: float
    top5: float | None
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """One measured accuracy with its circumstances.

    Attributes:
        id: unique, sorts by time; names the record's file.
        time: UTC end of the evaluation, ISO 8601 with its offset.
        tool: `mnasnet-deploy 0.1.0`.
        artifact: the file.
        publisher: whose code trained the weights (`official`, `timm`, `torchvision`), empty for
            others; `artifact.weights` says which.
        preprocessing: of the photos, in words.
        data: the images.
        top1, top5: shares whose first class, whose first five, are right.
        agreement: with the float32 file, None where it was not evaluated along.
        published: by who made the weights; None where nobody did, or not at this size.
        runtime: what ran the model, with version.
        machines: processors it ran on.
        cpu_ms: processor time of an image, the photo's share included.
        reasons: what to know before believing it, each starting with a name in capitals.
        schema: the format.
    """

    id: str
    time: str
    tool: str
    artifact: Artifact
    publisher: str
    preprocessing: str
    data: EvaluationData
    top1: Share
    top5: Share
    agreement: Agreement | None
    published: Published | None
    runtime: str
    machines: tuple[str, ...]
    cpu_ms: float
    reasons: tuple[str, ...]
    schema: str = SCHEMA


def accuracy_from_mapping(mapping: object) -> Accuracy:
    """Check plain JSON data and make an Accuracy of it; `dataclasses.asdict` is the way back.

    Raises:
        InputError: another format, a missing or unknown key, a value of the wrong kind, numbers
            that cannot belong together.
    """
    if not isinstance(mapping, Mapping):
        raise InputError("not a JSON object")
    schema = mapping.get("schema")
    if schema != SCHEMA:
        raise InputError(f"format {shorten(schema)} is not {SCHEMA!r}")
    accuracy = from_mapping(Accuracy, mapping, "accuracy")
    check_identity(accuracy, "accuracy")
    _check(accuracy)
    return accuracy


def _check(accuracy: Accuracy) -> None:
    """Raise where single values are of the right kind but the record says nothing with them."""
    data, agreement = accuracy.data, accuracy.agreement
    if not _SHA256.fullmatch(data.digest):
        raise InputError("accuracy.data.digest is not 64 hexadecimal digits")
    if data.images < 1 or data.unreadable < 0 or data.images + data.unreadable > data.found:
        raise InputError("accuracy.data: its numbers of images do not fit together")
    for name, share in (("top1", accuracy.top1), ("top5", accuracy.top5)):
        _check_share(f"accuracy.{name}", share, data.images)
    if accuracy.top1.correct > accuracy.top5.correct:
        raise InputError("accuracy: more images are right in top1 than in top5")
    if agreement is not None:
        counts = (agreement.both, agreement.only_this, agreement.only_other, agreement.neither)
        if min(counts) < 0 or sum(counts) != data.images:
            raise InputError("accuracy.agreement: its counts are not those of the images")
        if agreement.both + agreement.only_this != accuracy.top1.correct:
            raise InputError("accuracy.agreement: its counts are not those of top1")


def _check_share(where: str, share: Share, images: int) -> None:
    if not 0 <= share.correct <= images:
        raise InputError(f"{where}.correct is not among {images} images")
    if abs(share.percent - 100 * share.correct / images) > _ROUNDING:
        raise InputError(f"{where}.percent is not its share")
    if not 0 <= share.low <= share.percent <= share.high <= 100:
        raise InputError(f"{where}: the share is not inside its interval")
