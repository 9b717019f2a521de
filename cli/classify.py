"""`mnasnet classify`: what a file makes of some photos."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mnasnet_deploy.errors import ModelFileError

from . import console

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from mnasnet_deploy.export.contract import Contract
    from mnasnet_deploy.export.facts import Facts
    from mnasnet_deploy.export.modelfile import ModelFile

    Real = npt.NDArray[np.float32]

__all__ = ["classify"]

SCHEMA = "mnasnet.classification/1"


def classify(
    file: Annotated[Path, typer.Argument(metavar="FILE.tflite", help="A file of mnasnet export.")],
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="JPEG or PNG photos.")],
    top: Annotated[
        int, typer.Option("--top", min=1, metavar="N", help="Show this many classes.")
    ] = 5,
    json: Annotated[bool, typer.Option("--json", help="Print a JSON list.")] = False,
) -> None:
    """Name what is on photos.

    They are cropped and resized as the original evaluates, and fed as the file asks for.

    Example:
      mnasnet classify models/mnasnet-a1_1.0_224_int8.tflite cat.jpg --top 3
    """
    import numpy as np

    from mnasnet_deploy.export import modelfile
    from mnasnet_deploy.export.images import load_pixels

    model = modelfile.read(file)
    facts = _facts(model)
    labels = _labels(file, facts.contract.classes)
    side, preprocessing = facts.contract.resolution, facts.weights.preprocessing
    pixels = np.stack([load_pixels(image, side, preprocessing) for image in images])
    scores = _run(file, facts.contract, pixels)
    if facts.untrained:
        console.warn(
            f"{file.name} holds untrained weights ({facts.weights.label}): its classes mean nothing"
        )
    found = [
        _ranking(facts.contract, own, labels, min(top, facts.contract.classes)) for own in scores
    ]
    if json:
        shared = {
            "schema": SCHEMA,
            "file": file.name,
            "sha256": model.sha256,
            "output": facts.contract.output,
            "untrained": facts.untrained,
        }
        console.emit_json(
            [
                shared | {"image": str(image), "top": ranking}
                for image, ranking in zip(images, found, strict=True)
            ]
        )
        return
    for image, ranking in zip(images, found, strict=True):
        console.out(f"{image}\n{_table(facts.contract, ranking)}")


def _facts(model: "ModelFile") -> "Facts":
    """What the file says of itself; only a file that is intact and says it is run here."""
    model.require_intact()
    if model.facts is None:
        raise ModelFileError(
            f"{model.path.name} was not written by this tool, so how to feed and read it is not "
            "known (export it with mnasnet export)"
        )
    return model.facts


def _labels(file: Path, classes: int) -> tuple[str, ...] | None:
    """The names in the file, or None where it holds none for its classes."""
    from mnasnet_deploy.export.metadata import read_labels_from_model

    labels = read_labels_from_model(file.read_bytes())
    return labels if labels and len(labels) == classes else None


def _run(file: Path, contract: "Contract", pixels: Any) -> "Real":
    """Feed RGB images [n, side, side, 3]; returns the real scores [n, classes]."""
    import numpy as np

    from mnasnet_deploy.export.runtime import new_interpreter, run_model

    scores = contract.read(run_model(new_interpreter(path=file), contract.feed(pixels)))
    if not np.isfinite(scores).all():
        raise ModelFileError(f"{file.name} gives NaN or infinite scores; export it again")
    return scores


def _ranking(
    contract: "Contract", scores: "Real", labels: Sequence[str] | None, top: int
) -> list[dict[str, Any]]:
    """The best classes of one image, the lower number first where scores are equal."""
    import numpy as np

    order = np.argsort(-scores, kind="stable")[:top]
    if contract.output == "probabilities":
        probabilities = scores.astype(np.float64)
    else:
        powers = np.exp(scores.astype(np.float64) - scores.max())
        probabilities = powers / powers.sum()
    return [
        {
            "class": int(number),
            "name": labels[number] if labels else None,
            "score": float(scores[number]),
            "probability": float(probabilities[number]),
        }
        for number in order
    ]


def _table(contract: "Contract", ranking: list[dict[str, Any]]) -> str:
    """Rank, class and probability of each, and the logit where there is one."""
    logits = contract.output == "logits"
    rows = [["", "class", "probability"] + ["logit"] * logits]
    for rank, entry in enumerate(ranking, start=1):
        named = f"{entry['class']} {entry['name'] or ''}".rstrip()
        row = [f"{rank:>3}", named, f"{entry['probability']:.4f}"]
        rows.append(row + [f"{entry['score']:.3f}"] * logits)
    return console.columns(rows, left=2)
