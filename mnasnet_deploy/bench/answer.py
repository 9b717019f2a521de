"""The right answer, not only the time: one fixed image, here and there.

A delegate that computes something else can be as fast as it likes. The image is a generated one
(`export/synthetic.py`), fed as the file's contract says; a file of others gets noise of its input's
type. Outputs are compared around their mean, since what all classes share decides nothing.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from mnasnet_deploy.export.modelfile import ModelFile, TensorInfo
from mnasnet_deploy.export.runtime import run_in_child
from mnasnet_deploy.export.synthetic import dead_leaves

__all__ = ["Question", "difference", "question"]

SEED: Final = 2**41
"""No calibration and no verification draws it."""
FLOORS: Final = {"float32": 0.9999, "float16": 0.999, "dynamic-int8": 0.98, "int8": 0.98}
"""Least correlation of the outputs, by scheme, on a CPU. Other processors sum in another order,
and int8 kernels round the last bit differently; a swapped or stale output has none."""
HALF_PRECISION_FLOOR: Final = 0.98
"""GPUs and NPUs compute in float16 or in int8 of their own."""
_BYTES: Final = {"FLOAT32": np.float32, "UINT8": np.uint8, "INT8": np.int8, "INT32": np.int32}

_Array = npt.NDArray[np.generic]


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked of a file, and what it answers on this computer.

    Attributes:
        input_name: of the tensor it goes into.
        input_shape: of the same.
        stored: the bytes it takes.
        expected: first output on this computer, in its own element type, flat.
        scale, zero_point: of a quantized output; scale 0 for real numbers.
        scheme: of the file; empty for a file of others.
    """

    input_name: str
    input_shape: tuple[int, ...]
    stored: bytes
    expected: _Array
    scale: float
    zero_point: int
    scheme: str


def question(model: ModelFile) -> Question | None:
    """Run the file on the fixed image here.

    Returns:
        None where the file takes or gives something this cannot make or compare: more than one
        input, strings, dynamic shapes.

    Raises:
        ModelFileError: the runtime of this computer refuses the file or crashes on it.
    """
    if len(model.inputs) != 1 or not model.outputs:
        return None
    taken, given = model.inputs[0], model.outputs[0]
    if not taken.shape or min(taken.shape) < 1 or taken.shape[0] != 1:
        return None
    stored = _image(model, taken)
    if stored is None or given.type not in _BYTES:
        return None
    outputs = run_in_child(model.path, stored)
    if outputs is None:
        return None
    return Question(
        input_name=taken.name,
        input_shape=taken.shape,
        stored=stored.tobytes(),
        expected=outputs.ravel(),
        scale=given.scale,
        zero_point=given.zero_point,
        scheme=model.facts.scheme if model.facts else "",
    )


def difference(asked: Question, answer: bytes, delegate: str) -> str:
    """How an answer differs from the expected one; empty where it is right.

    Args:
        asked: the question.
        answer: raw bytes of all outputs, as `--output_filepath` writes them; the first counts.
        delegate: what computed it.
    """
    wanted = asked.expected.nbytes
    if len(answer) < wanted:
        return f"it wrote {len(answer)} bytes of output, {wanted} are due"
    got = np.frombuffer(answer[:wanted], asked.expected.dtype)
    there, here = _real(asked, got), _real(asked, asked.expected)
    if not np.isfinite(there).all():
        return "its output is not finite"
    found = _correlation(there, here)
    exact = delegate in ("xnnpack", "none")
    floor = FLOORS.get(asked.scheme, HALF_PRECISION_FLOOR) if exact else HALF_PRECISION_FLOOR
    if found >= floor:
        return ""
    return (
        f"its answer to a fixed image correlates by {found:.4f} with the one of this computer "
        f"({floor:g} is the least); class {int(there.argmax())} leads there, "
        f"{int(here.argmax())} here"
    )


def _image(model: ModelFile, taken: TensorInfo) -> _Array | None:
    if model.facts is not None:
        return model.facts.contract.feed(dead_leaves(1, model.facts.network.resolution, SEED))
    if taken.type not in _BYTES:
        return None
    noise = np.random.Generator(np.random.PCG64(SEED)).random(taken.shape, np.float32)
    kind: npt.DTypeLike = _BYTES[taken.type]
    if taken.type == "FLOAT32":
        return np.subtract(noise, 0.5, dtype=np.float32)
    low, high = (0, 100) if taken.type == "INT32" else (np.iinfo(kind).min, np.iinfo(kind).max)
    stored: _Array = (low + noise * (high - low)).astype(kind)
    return stored


def _real(asked: Question, stored: _Array) -> npt.NDArray[np.float64]:
    values = stored.astype(np.float64)
    return (values - asked.zero_point) * asked.scale if asked.scale else values


def _correlation(one: npt.NDArray[np.float64], other: npt.NDArray[np.float64]) -> float:
    if np.allclose(one, other, rtol=1e-4):  # also where a constant has nothing to correlate
        return 1.0
    one, other = one - one.mean(), other - other.mean()
    size = math.sqrt(float(one @ one) * float(other @ other))
    return float(one @ other) / size if size else 0.0
