"""Files to evaluate: what each is, how its photos are prepared, what it was calibrated on."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from mnasnet_deploy.errors import InputError, ModelFileError, WeightsError
from mnasnet_deploy.evaluate.classes import match_classes
from mnasnet_deploy.evaluate.dataset import DataSet
from mnasnet_deploy.evaluate.shard import Subject
from mnasnet_deploy.export.contract import Contract, DType
from mnasnet_deploy.export.metadata import read_labels_from_model
from mnasnet_deploy.export.modelfile import ModelFile, TensorInfo
from mnasnet_deploy.results.accuracy import Published
from mnasnet_deploy.results.record import Artifact
from mnasnet_deploy.weights.catalog import find_checkpoint
from mnasnet_deploy.weights.source import Preprocessing

__all__ = [
    "LEVELS", "WAYS", "Candidate", "Foreign", "Levels", "Way", "candidate", "find_sibling",
]  # fmt: skip

Way = Literal["official", "timm", "torchvision", "torchvision-232"]
Levels = Literal["raw", "unit", "signed", "imagenet"]
WAYS: Final[Mapping[Way, Preprocessing]] = {
    "official": Preprocessing(),
    "timm": Preprocessing(interpolation="bicubic", crop=(7, 8)),
    "torchvision": Preprocessing(interpolation="bilinear", crop=(224, 256)),
    "torchvision-232": Preprocessing(interpolation="bilinear", crop=(224, 232)),
}
_Triple = tuple[float, float, float]
LEVELS: Final[Mapping[Levels, tuple[_Triple, _Triple]]] = {
    "raw": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    "unit": ((0.0, 0.0, 0.0), (255.0, 255.0, 255.0)),
    "signed": ((127.5, 127.5, 127.5), (127.5, 127.5, 127.5)),
    # ImageNet's mean and standard deviation in grey levels, as in all networks of this tool.
    "imagenet": ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
}
"""Mean and standard deviation that turn grey levels into what a file takes."""
_DTYPES: Final[Mapping[str, DType]] = {"FLOAT32": "float32", "INT8": "int8", "UINT8": "uint8"}
_MAX_SIDECAR_BYTES = 2**26


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreign:
    """How to feed files that this tool did not write; they do not say it themselves.

    Attributes:
        way: how a photo is cropped and resized.
        levels: what grey levels become.
    """

    way: Way
    levels: Levels


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A file with all that is known of it.

    Attributes:
        subject: what a worker needs.
        artifact: what a record says.
        weights_sha256: of the weights; empty for a foreign file.
        publisher: whose code trained them.
        published: the accuracy its publisher gives, at this very size.
        calibration: sha256 and name of the images its int8 ranges come from.
        reasons: what to know before believing its accuracy, each with a name in capitals.
    """

    subject: Subject
    artifact: Artifact
    weights_sha256: str
    publisher: str
    published: Published | None
    calibration: Mapping[str, str]
    reasons: tuple[str, ...]

    @property
    def path(self) -> Path:
        """Of the file."""
        return Path(self.subject.path)


def candidate(
    model: ModelFile, artifact: Artifact, data: DataSet, foreign: Foreign | None
) -> Candidate:
    """Find out how a file is fed and judged.

    Args:
        model: as read; intact, or without checksums.
        artifact: the same as records name it.
        data: what it is held against.
        foreign: for a file this tool did not write.

    Raises:
        ModelFileError: it classifies no images, or nobody says how to feed it.
        InputError: the classes of the data do not fit it.
    """
    facts = model.facts
    if facts is not None:
        contract, preprocessing = facts.contract, facts.weights.preprocessing
    elif foreign is None:
        raise ModelFileError(
            f"{model.path.name} was not written by this tool, so how to feed it is not known: say "
            "it with --preprocessing and --levels (see 'mnasnet eval --help')"
        )
    else:
        contract, preprocessing = _foreign_contract(model, foreign), WAYS[foreign.way]
    names = read_labels_from_model(model.path.read_bytes())
    if names is not None and len(names) != contract.classes:
        names = None
    try:
        truth = match_classes(data.labels, contract.classes, names, folders=data.folders)
    except InputError as error:
        hint = "; is one of these folders the right --data?" if data.nested else ""
        raise InputError(f"{model.path.name}: {error}{hint}") from None
    calibration = _calibration(model)
    return Candidate(
        subject=Subject(
            path=str(model.path.absolute()),
            sha256=model.sha256,
            contract=contract,
            preprocessing=preprocessing,
            truth=truth,
            calibration=frozenset(calibration or ()),
        ),
        artifact=artifact,
        weights_sha256=facts.weights.sha256 if facts else "",
        publisher=facts.weights.family if facts else "",
        published=_published(model),
        calibration=calibration or {},
        reasons=tuple(_reasons(model, known=calibration is not None)),
    )


def find_sibling(of: Candidate, among: Sequence[Candidate]) -> Candidate | None:
    """The float32 file of the same network and weights, for any other scheme."""
    own = of.artifact
    if own.scheme in ("", "float32"):
        return None
    for other in among:
        theirs = other.artifact
        if (theirs.scheme, theirs.network, theirs.multiplier, theirs.resolution) == (
            "float32", own.network, own.multiplier, own.resolution,
        ) and of.weights_sha256 == other.weights_sha256:  # fmt: skip
            return other
    return None


def _foreign_contract(model: ModelFile, foreign: Foreign) -> Contract:
    """What a file of somebody else takes and gives, as far as its ends say."""
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise ModelFileError(
            f"{model.path.name}: {len(model.inputs)} inputs and {len(model.outputs)} outputs; a "
            "classifier has one of each"
        )
    taken, given = model.inputs[0], model.outputs[0]
    shape = taken.shape
    if len(shape) != 4 or shape[0] != 1 or shape[1] != shape[2] or shape[3] != 3 or shape[1] < 1:
        raise ModelFileError(
            f"{model.path.name}: takes {list(shape)}, and only square RGB images [1, S, S, 3] are "
            "fed here"
        )
    if len(given.shape) != 2 or given.shape[0] != 1 or given.shape[1] < 2:
        raise ModelFileError(
            f"{model.path.name}: gives {list(given.shape)}, and only scores [1, classes] are read "
            "here"
        )
    mean, std = LEVELS[foreign.levels]
    return Contract(
        input="raw" if foreign.levels == "raw" else "normalized",
        input_dtype=_dtype(model, taken),
        input_scale=taken.scale,
        input_zero_point=taken.zero_point,
        output="logits",
        output_dtype=_dtype(model, given),
        output_scale=given.scale,
        output_zero_point=given.zero_point,
        resolution=shape[1],
        classes=given.shape[1],
        mean=mean,
        std=std,
    )


def _dtype(model: ModelFile, end: TensorInfo) -> DType:
    dtype = _DTYPES.get(end.type)
    if dtype is None or (dtype != "float32" and not end.scale > 0):
        raise ModelFileError(
            f"{model.path.name}: its end '{end.name}' is {end.type}, and only float32 and "
            "quantized int8 or uint8 are fed and read here"
        )
    return dtype


def _calibration(model: ModelFile) -> dict[str, str] | None:
    """Images of the int8 ranges, from the sidecar; None where it cannot be told.

    Of a file without a calibration on photos there are none.
    """
    facts = model.facts
    if facts is None or facts.calibration is None or facts.calibration.synthetic:
        return {}
    try:
        path = model.path.with_suffix(".json")
        if path.stat().st_size > _MAX_SIDECAR_BYTES:
            return None
        sidecar = json.loads(path.read_text(encoding="utf-8"))
        if sidecar["sha256"] != model.sha256:
            return None
        return {
            str(image["sha256"]): str(image["name"]) for image in sidecar["calibration"]["images"]
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _reasons(model: ModelFile, *, known: bool) -> list[str]:
    facts = model.facts
    found = []
    if facts is None:
        found.append("FOREIGN (not written by this tool: fed as the options say)")
    elif facts.untrained:
        found.append(f"UNTRAINED (the weights are {facts.weights.label}: classes mean nothing)")
    if facts and facts.calibration and facts.calibration.synthetic:
        found.append("SYNTHETIC-CALIBRATION (int8 ranges come from generated images)")
    if not known:
        found.append(
            "CALIBRATION-UNKNOWN (no sidecar of this file: whether it was calibrated on these "
            "images cannot be told)"
        )
    return found


def _published(model: ModelFile) -> Published | None:
    """What the publisher says of these weights at this resolution, where they are published."""
    facts = model.facts
    if facts is None or facts.untrained:
        return None
    try:
        known = find_checkpoint(facts.weights.label)
    except WeightsError:
        return None
    network = facts.network
    asked = (known.source, known.network, known.multiplier, known.resolution, known.classes)
    if asked != (facts.weights.family, network.name, network.multiplier, network.resolution,
                 network.classes):  # fmt: skip
        return None
    said = known.published
    return Published(top1=said.top1, top5=said.top5, source=f"{known.name}, {said.source}")
