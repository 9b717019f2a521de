"""The trained weights that are published: where, of which network, how fed, how accurate, by whom.

Nothing here promises an accuracy: what the publisher printed and what others measured with the same
file stand side by side, each with its source.
"""

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Final, Literal

from mnasnet_deploy.arch.network import Network, build_network
from mnasnet_deploy.arch.published import published_rows
from mnasnet_deploy.arch.variants import find_variant
from mnasnet_deploy.errors import WeightsError
from mnasnet_deploy.weights.source import Interpolation

__all__ = [
    "Accuracy",
    "Checkpoint",
    "Source",
    "checkpoint_of_file",
    "checkpoints",
    "find_checkpoint",
    "fits",
    "nearest",
]

Source = Literal["official", "timm", "torchvision"]

IMAGENET_CLASSES: Final = 1000
# Twelve of the README's links (1.4, 1.0 and 0.5 at 192 to 96) end in a stray blank inside the
# parenthesis; the files have none in their names.
_OFFICIAL_URL = "https://storage.googleapis.com/cloud-tpu-checkpoints/mnasnet/{name}.tgz"
_OFFICIAL_SOURCE = "README of tensorflow/tpu models/official/mnasnet"
_TIMM_URL = "https://huggingface.co/timm/{repository}/resolve/{revision}/model.safetensors"
_TIMM_SOURCE = "results-imagenet.csv of huggingface/pytorch-image-models"
_TORCHVISION_URL = "https://download.pytorch.org/models/{file}"
_TORCHVISION_SOURCE = "torchvision.models documentation"
_DEEPSPARK = "Deep-Spark/DeepSparkInference, float16 on a GPU"
_ONEFLOW = "Oneflow-Inc/models pull request 119, preprocessing not stated"
# timm's own second names for two of its models.
_TIMM_ALIASES = {"semnasnet_100": "mnasnet_a1", "mnasnet_100": "mnasnet_b1"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """On the 50,000 validation images of ImageNet-1k, in percent.

    Attributes:
        top1: share of images whose first class is right.
        top5: share whose first five hold the right one; None where no one says.
        source: who says so.
    """

    top1: float
    top5: float | None = None
    source: str

    def __str__(self) -> str:
        """In words, `75.5/92.6 % (source)`."""
        return f"{self.short} % ({self.source})"

    @property
    def short(self) -> str:
        """`75.5/92.6`, or `66.0` where no one says a top-5."""
        return f"{self.top1:.1f}" + (f"/{self.top5:.1f}" if self.top5 is not None else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """One published file of trained weights.

    Attributes:
        name: `official:mnasnet-a1-050`, `timm:semnasnet_100`: what `--weights` takes.
        source: who published it.
        network: of which architecture, `mnasnet-a1`.
        multiplier: its depth multiplier.
        resolution: side of the images it was trained and evaluated on, in pixels.
        classes: width of its classifier, no background class among them.
        url: where it was published.
        file: its name in the cache and on a mirror.
        sha256: of the file, or as many of its first digits as are known; empty where no one
            published it.
        licence: SPDX name, of the repository where the file itself carries none.
        crop: (part, whole) of a photo in evaluation: the shorter side becomes S * whole // part,
            then the centre S x S is cut out. None: the centre S / (S + 32) of the shorter side is
            cut out first, then resized (CROP_PADDING in the original's preprocessing.py).
        interpolation: how it is resized; `tf1-bilinear` has no half-pixel centres and no
            antialiasing, the two others are Pillow's. All sources normalise by ImageNet's mean and
            standard deviation.
        published: the publisher's accuracy.
        measured: what others found with this file.
        note: what to know before relying on it.
    """

    name: str
    source: Source
    network: str
    multiplier: float
    resolution: int = 224
    classes: int = IMAGENET_CLASSES
    url: str
    file: str
    sha256: str = ""
    licence: str
    crop: tuple[int, int] | None
    interpolation: Interpolation
    published: Accuracy
    measured: tuple[Accuracy, ...] = ()
    note: str = ""


@cache
def checkpoints() -> tuple[Checkpoint, ...]:
    """Every published checkpoint: the 26 official archives, then timm's, then torchvision's."""
    return (*_official(), *_TIMM, *_TORCHVISION)


def find_checkpoint(name: str) -> Checkpoint:
    """The checkpoint of that name.

    Args:
        name: as in `Checkpoint.name`, or its part behind the colon, or the file's name with or
            without its ending; timm's second names too.

    Raises:
        WeightsError: there is none; the message names the nearest.
    """
    found = _by_name().get(name.strip())
    if found is not None:
        return found
    near = nearest(name.strip())
    hint = f"did you mean '{near}'? " if near else ""
    raise WeightsError(f"unknown weights '{name}': {hint}'mnasnet weights list' shows all")


def nearest(name: str) -> str:
    """The name of the checkpoint that someone who wrote this may have meant, or nothing."""
    known = [each for each in _by_name() if name and each.startswith(name)]
    near = known[:1] or difflib.get_close_matches(name, _by_name(), n=1)
    return _by_name()[near[0]].name if near else ""


def checkpoint_of_file(file: str) -> Checkpoint | None:
    """The checkpoint whose file has this name, or None."""
    return next((known for known in checkpoints() if known.file == file), None)


def fits(checkpoint: Checkpoint, network: Network) -> bool:
    """Whether a checkpoint fills exactly this network, whatever the resolution.

    A network of the same name that was built otherwise (other classes, another divisor, a file of
    one's own) is another network.
    """
    if (checkpoint.network, checkpoint.multiplier) != (network.name, network.multiplier):
        return False
    return network == build_network(
        find_variant(checkpoint.network).spec,
        multiplier=checkpoint.multiplier,
        resolution=network.resolution,
        classes=checkpoint.classes,
    )


@cache
def _by_name() -> dict[str, Checkpoint]:
    return {name: known for known in checkpoints() for name in _names(known)}


def _names(checkpoint: Checkpoint) -> Iterator[str]:
    source, _, short = checkpoint.name.partition(":")
    stem = checkpoint.file.rpartition(".")[0]
    for name in (short, stem, checkpoint.file, _TIMM_ALIASES.get(short, short)):
        yield name
        yield f"{source}:{name}"


def _official() -> Iterator[Checkpoint]:
    for row in published_rows("mnasnet-a1"):
        note = ""
        if row.top1_repeated not in (None, row.top1):
            note = (
                f"the README prints {row.top1} and {row.top1_repeated} for top-1; the second fits "
                "its neighbours"
            )
        yield _archive(
            row.checkpoint,
            "mnasnet-a1",
            row.multiplier,
            row.resolution,
            Accuracy(top1=row.top1, top5=row.top5, source=_OFFICIAL_SOURCE),
            measured=_MEASURED_A1 if row.checkpoint == "mnasnet-a1" else (),
            note=note,
        )
    yield _archive(
        "mnasnet-small",
        "mnasnet-small",
        1.0,
        224,
        Accuracy(top1=66.0, source=f"{_OFFICIAL_SOURCE}, which says about 66"),
    )


_MEASURED_A1 = (
    Accuracy(
        top1=73.534,
        source="tensorflow/tpu issue 666, the original's preprocessing, archive of before 2020-08",
    ),
    Accuracy(
        top1=73.086,
        top5=91.336,
        source="rwightman/gen-efficientnet-pytorch, port of its .tflite, bicubic crop 0.875",
    ),
)


def _archive(
    name: str,
    network: str,
    multiplier: float,
    resolution: int,
    published: Accuracy,
    *,
    measured: tuple[Accuracy, ...] = (),
    note: str = "",
) -> Checkpoint:
    return Checkpoint(
        name=f"official:{name}",
        source="official",
        network=network,
        multiplier=multiplier,
        resolution=resolution,
        url=_OFFICIAL_URL.format(name=name),
        file=f"{name}.tgz",
        licence="Apache-2.0",
        crop=None,
        interpolation="tf1-bilinear",
        published=published,
        measured=measured,
        note=note,
    )


def _timm(
    recipe: str,
    network: str,
    multiplier: float,
    published: tuple[float, float],
    *,
    revision: str = "main",
    sha256: str = "",
    measured: tuple[Accuracy, ...] = (),
    note: str = "",
) -> Checkpoint:
    return Checkpoint(
        name=f"timm:{recipe.partition('.')[0]}",
        source="timm",
        network=network,
        multiplier=multiplier,
        url=_TIMM_URL.format(repository=recipe, revision=revision),
        file=f"{recipe}.safetensors",
        sha256=sha256,
        licence="Apache-2.0",
        crop=(7, 8),
        interpolation="bicubic",
        published=Accuracy(top1=published[0], top5=published[1], source=_TIMM_SOURCE),
        measured=measured,
        note=note,
    )


# The hashes are what Hugging Face shows for the files; a revision that is known in full is pinned.
_TIMM = (
    _timm("semnasnet_075.rmsp_in1k", "mnasnet-a1", 0.75, (73.000, 91.124)),
    _timm(
        "semnasnet_100.rmsp_in1k",
        "mnasnet-a1",
        1.0,
        (75.452, 92.608),
        sha256="af6114db10f51455c9bb5af3c1c7810aefe4e7ca16b8edeb7a52288bf1607120",
        measured=(Accuracy(top1=74.98, top5=92.44, source="osmr/imgclsmob, tensorflow2 README"),),
    ),
    _timm(
        "mnasnet_100.rmsp_in1k",
        "mnasnet-b1",
        1.0,
        (74.672, 92.108),
        revision="35e4efca71f51a0024778be325141f184af4a2bd",
        measured=(Accuracy(top1=74.28, top5=91.98, source="osmr/imgclsmob, tensorflow2 README"),),
    ),
    _timm(
        "mnasnet_small.lamb_in1k",
        "mnasnet-small",
        1.0,
        (66.204, 86.470),
        revision="ca8e2b6929aec79c74cbd9cdb8950395523d9bb6",
        sha256="ada9e8edd9ae61ed43b30e03b6602fb0ae392a9ba91f01356943b4fa9dbd08f4",
        note="its first block has a residual that the original does not have",
    ),
)


def _torchvision(
    multiplier: float,
    file: str,
    resize: int,
    published: tuple[float, float],
    *measured: Accuracy,
) -> Checkpoint:
    # The file's name ends in the first digits of its sha256.
    return Checkpoint(
        name=f"torchvision:mnasnet{str(multiplier).replace('.', '_')}",
        source="torchvision",
        network="mnasnet-b1",
        multiplier=multiplier,
        url=_TORCHVISION_URL.format(file=file),
        file=file,
        sha256=file.removesuffix(".pth").rpartition("-")[2],
        licence="BSD-3-Clause",
        crop=(224, resize),
        interpolation="bilinear",
        published=Accuracy(top1=published[0], top5=published[1], source=_TORCHVISION_SOURCE),
        measured=measured,
    )


_TORCHVISION = (
    _torchvision(
        0.5,
        "mnasnet0.5_top1_67.823-3ffadce67e.pth",
        256,
        (67.734, 87.490),
        Accuracy(top1=67.748, top5=87.452, source=_DEEPSPARK),
        Accuracy(top1=64.521, top5=85.535, source=_ONEFLOW),
    ),
    _torchvision(
        0.75,
        "mnasnet0_75-7090bc5f.pth",
        232,
        (71.180, 90.496),
        Accuracy(top1=70.841, top5=90.141, source=_DEEPSPARK),
    ),
    _torchvision(
        1.0,
        "mnasnet1.0_top1_73.512-f206786ef8.pth",
        256,
        (73.456, 91.510),
        Accuracy(top1=73.446, top5=91.483, source=_DEEPSPARK),
        Accuracy(top1=71.709, top5=90.375, source=_ONEFLOW),
    ),
    _torchvision(
        1.3,
        "mnasnet1_3-a4c69d6f.pth",
        232,
        (76.506, 93.522),
        Accuracy(top1=76.054, top5=93.244, source=_DEEPSPARK),
    ),
)
