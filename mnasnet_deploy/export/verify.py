"""Does a written file say what the float32 network says?

The reference is the float32 graph at the original's contract, fed with normalised images; the file
is fed by its own contract. So the check covers weights, scheme and the "feed ... read ..." line
together.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from mnasnet_deploy.errors import VerificationError
from mnasnet_deploy.export.contract import Contract
from mnasnet_deploy.export.flatfile import FlatModel, pack
from mnasnet_deploy.export.graph import Graph
from mnasnet_deploy.export.runtime import new_interpreter, run_model
from mnasnet_deploy.export.writer import INPUT_NAME, Written, write_graph
from mnasnet_deploy.results.record import Scheme

__all__ = ["FLOORS", "UNTRAINED_FLOOR", "Verification", "first_departure", "reference", "verify"]

_Pixels = npt.NDArray[np.uint8]
_Real = npt.NDArray[np.float32]

FLOORS: Final[dict[Scheme, float]] = {
    "float32": 0.99999,
    "float16": 0.9999,
    "dynamic-int8": 0.98,
    "int8": 0.95,
}
"""Smallest mean cosine of the logits with the float32 network's, trained weights.

Real weights of the block family (EfficientNet-Lite0) reach 0.984 in int8 and 0.97 on generated
images; a broken contract or layer falls far below.
"""
UNTRAINED_FLOOR: Final = 0.90
# What varies within a channel is what later layers live on; sound int8 layers keep 0.9 of it.
LAYER_COSINE = 0.7


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What a file's outputs look like beside the float32 network's.

    Attributes:
        images: how many were run.
        max_error: largest difference, in units of the largest reference magnitude.
        cosine: mean cosine of the outputs.
        cosine_min: smallest cosine.
        agreement: share of images with the same top class; None where the weights are untrained,
            where it means nothing.
        floor: what the cosine had to reach.
    """

    images: int
    max_error: float
    cosine: float
    cosine_min: float
    agreement: float | None
    floor: float


def reference(normalized: Graph, pixels: _Pixels) -> _Real:
    """Logits [images, classes] of the float32 graph at the original's contract."""
    written = write_graph(normalized, "float32")
    interpreter = new_interpreter(content=_bytes(written.model))
    return written.contract.read(run_model(interpreter, written.contract.feed(pixels)))


def verify(
    path: Path,
    contract: Contract,
    scheme: Scheme,
    pixels: _Pixels,
    logits: _Real,
    *,
    trained: bool,
) -> Verification:
    """Load a file with LiteRT's default delegates, run images, compare.

    Args:
        path: the written file.
        contract: how to feed and read it.
        scheme: decides the floor.
        pixels: RGB grey levels [images, side, side, 3].
        logits: `reference` of the same images.
        trained: whether the weights are.

    Raises:
        ModelFileError: LiteRT refuses the file.
        VerificationError: the file is not what its contract says, or gives something else.
    """
    interpreter = new_interpreter(path=path)
    _check_ends(interpreter, contract)
    got = contract.read(run_model(interpreter, contract.feed(pixels)))
    if not np.isfinite(got).all():
        raise VerificationError("the output is not finite")
    expected = _softmax(logits) if contract.output == "probabilities" else logits
    cosines = _cosines(got, expected)
    # Float schemes have no excuse in untrained weights.
    floor = UNTRAINED_FLOOR if scheme == "int8" and not trained else FLOORS[scheme]
    found = Verification(
        images=len(pixels),
        max_error=float(np.abs(got - expected).max() / max(float(np.abs(expected).max()), 1e-30)),
        cosine=float(cosines.mean()),
        cosine_min=float(cosines.min()),
        agreement=float((got.argmax(-1) == logits.argmax(-1)).mean()) if trained else None,
        floor=floor,
    )
    if found.cosine < floor:
        raise VerificationError(
            f"its outputs agree with float32 by a cosine of {found.cosine:.4f}, needed {floor}"
        )
    return found


def first_departure(graph: Graph, written: Written, pixels: _Pixels) -> tuple[str, float]:
    """Find where a scheme leaves the float32 path.

    Args:
        graph: what was written.
        written: in the scheme that fails.
        pixels: RGB grey levels [images, side, side, 3].

    Returns:
        Name of the first layer whose output falls below a cosine of 0.7 with float32 once each
        channel's mean is taken off (the worst layer where none does), and that cosine. With the
        means on, one large channel would hide that all others are lost.
    """
    names = [operation.name for operation in graph.operations]
    expected = _activations(write_graph(graph, "float32"), names, pixels)
    got = _activations(written, names, pixels)
    cosines = {}
    for name in names:
        mean = expected[name].mean(axis=0)
        varying = [(side[name] - mean).reshape(1, -1) for side in (got, expected)]
        cosines[name] = float(_cosines(*varying)[0])
    for name, cosine in cosines.items():
        if not cosine >= LAYER_COSINE:
            return name, cosine
    worst = min(cosines, key=cosines.__getitem__)
    return worst, cosines[worst]


def _activations(written: Written, names: Sequence[str], pixels: _Pixels) -> Mapping[str, _Real]:
    """Real values of every named activation: [images x height x width, channels]."""
    place = {tensor.name: number for number, tensor in enumerate(written.model.tensors)}
    numbers = [place[name] for name in names]
    model = replace(written.model, extra_outputs=tuple(numbers))
    interpreter = new_interpreter(content=_bytes(model))
    taken = interpreter.get_input_details()[0]["index"]
    found: dict[str, list[_Real]] = {name: [] for name in names}
    for image in written.contract.feed(pixels):
        interpreter.set_tensor(taken, image[np.newaxis])
        interpreter.invoke()
        for name, number in zip(names, numbers, strict=True):
            tensor = written.model.tensors[number]
            values = interpreter.get_tensor(number).astype(np.float32)
            values = values.reshape(-1, tensor.shape[-1])
            if tensor.scales is not None:
                values = (values - tensor.zero_points[0]) * tensor.scales[0]
            found[name].append(values)
    return {name: np.concatenate(values) for name, values in found.items()}


def _check_ends(interpreter: Any, contract: Contract) -> None:
    """Raise where the runtime sees other ends than the contract promises."""
    side = contract.resolution
    taken, given = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    promised = (
        ((1, side, side, 3), contract.input_dtype,
         (contract.input_scale, contract.input_zero_point)),
        ((1, contract.classes), contract.output_dtype,
         (contract.output_scale, contract.output_zero_point)),
    )  # fmt: skip
    for detail, (shape, dtype, quantization) in zip((taken, given), promised, strict=True):
        scale, zero_point = detail["quantization"]
        seen = (tuple(map(int, detail["shape"])), np.dtype(detail["dtype"]).name)
        if seen != (shape, dtype) or (float(np.float32(scale)), zero_point) != (
            float(np.float32(quantization[0])),
            quantization[1],
        ):
            raise VerificationError(
                f"its contract promises {dtype} {list(shape)} with quantization {quantization}, "
                f"LiteRT sees {seen[1]} {list(seen[0])} with {(scale, zero_point)}"
            )


def _cosines(one: _Real, other: _Real) -> npt.NDArray[np.float64]:
    """Cosine of each row; two rows of zeros agree."""
    a, b = one.astype(np.float64), other.astype(np.float64)
    products = (a * b).sum(axis=-1)
    lengths = np.sqrt((a * a).sum(axis=-1) * (b * b).sum(axis=-1))
    both_zero = ~a.any(axis=-1) & ~b.any(axis=-1)
    cosines: npt.NDArray[np.float64] = np.where(
        both_zero, 1.0, products / np.maximum(lengths, 1e-30)
    )
    return cosines


def _softmax(logits: _Real) -> _Real:
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    shares: _Real = powers / powers.sum(axis=-1, keepdims=True)
    return shares


def _bytes(model: FlatModel) -> bytes:
    return bytes(pack(model, input_name=INPUT_NAME, output_name="output"))
