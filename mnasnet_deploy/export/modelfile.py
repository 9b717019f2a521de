"""Read a .tflite file without running it: operators, ends, facts, and whether it is intact.

Only Python looks at the bytes here, so a broken file can be wrong but cannot crash the process.
"""

import hashlib
import struct
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ai_edge_litert import schema_py_generated as schema

from mnasnet_deploy.arch.network import render_multiplier
from mnasnet_deploy.errors import ModelFileError
from mnasnet_deploy.export.facts import BUFFER_NAME, Facts, checksums_hold, decode_facts
from mnasnet_deploy.export.flatfile import FILE_IDENTIFIER, metadata_places
from mnasnet_deploy.results.record import Artifact

__all__ = ["ModelFile", "OperatorInfo", "TensorInfo", "artifact", "read"]

MAX_BYTES = 2**31 - 1
# The largest network this tool can describe has about 2,300 operators.
MAX_ITEMS = 20_000

_OPERATORS = {
    value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)
}
_TYPES = {value: name for name, value in vars(schema.TensorType).items() if isinstance(value, int)}
# Whatever a flatbuffer with wrong offsets makes of itself.
_BROKEN = (struct.error, IndexError, ValueError, TypeError, AttributeError, UnicodeDecodeError,
           OverflowError, MemoryError)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorInfo:
    """One end of a model: name, element type (`FLOAT32`), shape, scale and zero point."""

    name: str
    type: str
    shape: tuple[int, ...]
    scale: float
    zero_point: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorInfo:
    """One operator: TFLite's name, version, and the name and type of its output."""

    kind: str
    version: int
    output: str
    output_type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFile:
    """A parsed file.

    Attributes:
        path: where it lies.
        sha256, size_bytes: of the whole file.
        facts: None for a file this tool did not write.
        intact: whether the checksums in it hold; None where there are none, so nobody can tell.
        inputs, outputs: of its first subgraph.
        operators: in the order they run.
        min_runtime: oldest runtime that reads it, as the file says; empty where it does not.
    """

    path: Path
    sha256: str
    size_bytes: int
    facts: Facts | None
    intact: bool | None
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    operators: tuple[OperatorInfo, ...]
    min_runtime: str

    def require_intact(self) -> None:
        """Raise where the file changed since it was written.

        Raises:
            ModelFileError: a checksum in it does not hold.
        """
        if self.intact is False:
            raise ModelFileError(
                f"{self.path.name}: changed since it was written (its checksum does not hold); "
                "export it again"
            )

    def operator_counts(self) -> dict[str, int]:
        """How often each kind of operator stands in the file, most frequent first."""
        return dict(Counter(operator.kind for operator in self.operators).most_common())


def read(path: Path) -> ModelFile:
    """Parse a file.

    Raises:
        ModelFileError: missing, empty, truncated, not TFLite, or with offsets out of range.
    """
    data = _load(path)
    name = path.name
    if len(data) == 0:
        raise ModelFileError(f"{name}: the file is empty")
    if len(data) < 20 or data[4:8] != FILE_IDENTIFIER:
        raise ModelFileError(f"{name}: not a TFLite file (no TFL3 mark)")
    try:
        model = schema.Model.GetRootAs(data, 0)
        inputs, outputs, operators = _graph(model)
        _limit(model.MetadataLength(), model.BuffersLength())
        buffers = metadata_places(data)
    except _BROKEN as error:
        raise ModelFileError(f"{name}: truncated or broken TFLite file ({error})") from error
    facts, intact = None, None
    if BUFFER_NAME in buffers:
        start, length = buffers[BUFFER_NAME]
        intact = checksums_hold(data, start, length)
        if intact:
            facts = decode_facts(bytes(data[start : start + length]), name)
    start, length = buffers.get("min_runtime_version", (0, 0))
    return ModelFile(
        path=path,
        sha256=hashlib.sha256(data).hexdigest(),
        size_bytes=len(data),
        facts=facts,
        intact=intact,
        inputs=inputs,
        outputs=outputs,
        operators=operators,
        min_runtime=bytes(data[start : start + length]).rstrip(b"\0").decode(errors="replace"),
    )


def artifact(model: ModelFile) -> Artifact:
    """The file as a measurement names it."""
    facts = model.facts
    if facts is None:
        return Artifact(file=model.path.name, sha256=model.sha256, size_bytes=model.size_bytes)
    return Artifact(
        file=model.path.name,
        sha256=model.sha256,
        size_bytes=model.size_bytes,
        network=facts.network.name,
        multiplier=render_multiplier(facts.network.multiplier),
        resolution=facts.network.resolution,
        classes=facts.network.classes,
        params=facts.network.params,
        multi_adds=facts.network.multi_adds,
        scheme=facts.scheme,
        weights=facts.weights.label,
        untrained=facts.untrained,
        synthetic_calibration=facts.calibration is not None and facts.calibration.synthetic,
    )


def _load(path: Path) -> bytes:
    try:
        if path.is_dir():
            raise ModelFileError(f"{path} is a folder: name the .tflite files in it")
        if path.is_file() and path.stat().st_size > MAX_BYTES:
            raise ModelFileError(f"{path.name}: larger than 2 GiB, no TFLite file is")
        return path.read_bytes()
    except OSError as error:
        raise ModelFileError(f"{path}: {error.strerror or error}") from error


def _graph(
    model: Any,
) -> tuple[tuple[TensorInfo, ...], tuple[TensorInfo, ...], tuple[OperatorInfo, ...]]:
    if model.SubgraphsLength() < 1:
        raise ValueError("no subgraph")
    subgraph = model.Subgraphs(0)
    _limit(subgraph.OperatorsLength(), subgraph.TensorsLength(), model.OperatorCodesLength())
    operators = []
    for index in range(subgraph.OperatorsLength()):
        operator = subgraph.Operators(index)
        code = model.OperatorCodes(_within(operator.OpcodeIndex(), model.OperatorCodesLength()))
        builtin = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        for place in range(operator.InputsLength()):
            if operator.Inputs(place) != -1:  # an optional input that is not there
                _within(operator.Inputs(place), subgraph.TensorsLength())
        output = _tensor(subgraph, operator.Outputs(0))
        operators.append(
            OperatorInfo(
                kind=_OPERATORS.get(builtin, f"operator {builtin}"),
                version=code.Version(),
                output=output.name,
                output_type=output.type,
            )
        )
    inputs = tuple(_tensor(subgraph, subgraph.Inputs(i)) for i in range(subgraph.InputsLength()))
    outputs = tuple(_tensor(subgraph, subgraph.Outputs(i)) for i in range(subgraph.OutputsLength()))
    if not inputs or not outputs:
        raise ValueError("no input or no output")
    return inputs, outputs, tuple(operators)


def _tensor(subgraph: Any, number: int) -> TensorInfo:
    tensor = subgraph.Tensors(_within(number, subgraph.TensorsLength()))
    quantization = tensor.Quantization()
    quantized = quantization is not None and quantization.ScaleLength() > 0
    _limit(tensor.ShapeLength())
    return TensorInfo(
        name=(tensor.Name() or b"").decode(),
        type=_TYPES.get(tensor.Type(), f"type {tensor.Type()}"),
        shape=tuple(int(tensor.Shape(i)) for i in range(tensor.ShapeLength())),
        scale=float(quantization.Scale(0)) if quantized else 0.0,
        zero_point=int(quantization.ZeroPoint(0)) if quantized else 0,
    )


def _within(number: int, length: int) -> int:
    if not 0 <= number < length:
        raise ValueError(f"number {number} is out of range, there are {length}")
    return number


def _limit(*counts: int) -> None:
    if max(counts) > MAX_ITEMS:
        raise ValueError(f"{max(counts)} items")
