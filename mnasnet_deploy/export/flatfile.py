"""A model as plain tensors and operators -> the bytes of a .tflite file.

Written directly over the schema classes: every constant lies inside the flatbuffer (no
`Buffer.offset`, which older runtimes do not know), 16-byte aligned, in a fixed order, so the same
model gives the same bytes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import flatbuffers
import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema

from mnasnet_deploy.arch.variants import Activation

__all__ = [
    "FILE_IDENTIFIER",
    "FlatModel",
    "FlatOperator",
    "FlatTensor",
    "add_metadata",
    "metadata_places",
    "pack",
]

TensorType = Literal["float32", "float16", "int8", "uint8", "int32"]

ALIGNMENT = 16
FILE_IDENTIFIER = b"TFL3"
SCHEMA_VERSION = 3

_TYPES: dict[TensorType, int] = {
    "float32": schema.TensorType.FLOAT32,
    "float16": schema.TensorType.FLOAT16,
    "int8": schema.TensorType.INT8,
    "uint8": schema.TensorType.UINT8,
    "int32": schema.TensorType.INT32,
}
_ACTIVATIONS: dict[Activation, int] = {
    "none": schema.ActivationFunctionType.NONE,
    "relu": schema.ActivationFunctionType.RELU,
    "relu6": schema.ActivationFunctionType.RELU6,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FlatTensor:
    """One tensor.

    Attributes:
        name: as profilers and visualisers show it.
        shape: with the batch.
        type: of its elements.
        data: the constant, or None for an activation.
        scales, zero_points: quantization parameters, one or one per channel; None for none.
        axis: the channels' axis where there are several scales.
    """

    name: str
    shape: tuple[int, ...]
    type: TensorType
    data: npt.NDArray[np.generic] | None = None
    scales: npt.NDArray[np.float32] | None = None
    zero_points: tuple[int, ...] = (0,)
    axis: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class FlatOperator:
    """One operator over tensor numbers."""

    kind: str
    version: int
    inputs: tuple[int, ...]
    output: int
    stride: tuple[int, int] = (1, 1)
    valid: bool = False
    activation: Activation = "none"
    keep_dims: bool = False
    hybrid: bool = False


@dataclass(slots=True, kw_only=True)
class FlatModel:
    """Tensors and operators being collected; becomes a file by `pack`.

    Attributes:
        tensors, operators: in the order they are written.
        input, output: tensor numbers.
        extra_outputs: activations that can be read as well; the signature leaves them out.
        description: in words.
        metadata: named buffers.
    """

    tensors: list[FlatTensor] = field(default_factory=list)
    operators: list[FlatOperator] = field(default_factory=list)
    input: int = 0
    output: int = 0
    extra_outputs: tuple[int, ...] = ()
    description: str = ""
    metadata: Mapping[str, bytes] = field(default_factory=dict)

    def add(self, tensor: FlatTensor) -> int:
        """Add a tensor; returns its number."""
        self.tensors.append(tensor)
        return len(self.tensors) - 1


def pack(model: FlatModel, *, input_name: str, output_name: str) -> bytearray:
    """Write a model with one subgraph and a `serving_default` signature.

    Args:
        model: what to write.
        input_name: of the input in the signature.
        output_name: of the output in the signature.
    """
    size = sum(t.data.nbytes for t in model.tensors if t.data is not None)
    builder = flatbuffers.Builder(size + 4096 + 512 * (len(model.tensors) + len(model.operators)))

    # Buffer 0 is empty by convention: tensors without data point at it.
    vectors = [0]
    buffer_of = [0] * len(model.tensors)
    for number, tensor in enumerate(model.tensors):
        if tensor.data is not None:
            buffer_of[number] = len(vectors)
            vectors.append(_bytes(builder, np.ascontiguousarray(tensor.data)))
    metadata_buffers: list[tuple[str, int]] = []
    for name, content in model.metadata.items():
        metadata_buffers.append((name, len(vectors)))
        vectors.append(_bytes(builder, np.frombuffer(content, np.uint8)))
    buffers = _offsets(builder, [_buffer(builder, vector) for vector in vectors])

    codes, code_numbers = _operator_codes(builder, model.operators)
    tensors = _offsets(
        builder,
        [_tensor(builder, t, b) for t, b in zip(model.tensors, buffer_of, strict=True)],
    )
    operators = _offsets(
        builder,
        [
            _operator(builder, operator, code_numbers[operator.kind, operator.version])
            for operator in model.operators
        ],
    )
    subgraph = _subgraph(builder, model, tensors, operators)
    signature = _signature(builder, model, input_name, output_name)
    metadata = _offsets(builder, [_metadata(builder, *entry) for entry in metadata_buffers])
    description = builder.CreateString(model.description)

    subgraphs = _offsets(builder, [subgraph])
    signatures = _offsets(builder, [signature])
    schema.ModelStart(builder)
    schema.ModelAddVersion(builder, SCHEMA_VERSION)
    schema.ModelAddOperatorCodes(builder, codes)
    schema.ModelAddSubgraphs(builder, subgraphs)
    schema.ModelAddDescription(builder, description)
    schema.ModelAddBuffers(builder, buffers)
    schema.ModelAddMetadata(builder, metadata)
    schema.ModelAddSignatureDefs(builder, signatures)
    builder.Finish(schema.ModelEnd(builder), file_identifier=FILE_IDENTIFIER)
    return bytearray(builder.Output())


def add_metadata(data: bytes, metadata: Mapping[str, bytes], description: str) -> bytearray:
    """Repack a file another writer made, with more metadata buffers and its own description."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(data, 0))
    for name, content in metadata.items():
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(content, np.uint8)
        entry = schema.MetadataT()
        entry.name, entry.buffer = name, len(model.buffers)
        model.buffers.append(buffer)
        model.metadata = [*(model.metadata or []), entry]
    model.description = description
    builder = flatbuffers.Builder(len(data) + 65_536)
    builder.Finish(model.Pack(builder), file_identifier=FILE_IDENTIFIER)
    return bytearray(builder.Output())


def metadata_places(data: bytes | bytearray) -> dict[str, tuple[int, int]]:
    """Where each metadata buffer lies in a file: start and length by name.

    Raises:
        ValueError: a number or an offset is out of range (or whatever else flatbuffers meet in
            bytes that are none).
    """
    model = schema.Model.GetRootAs(data, 0)
    places = {}
    buffers = model.BuffersLength()
    for index in range(model.MetadataLength()):
        entry = model.Metadata(index)
        if not 0 <= entry.Buffer() < buffers:
            raise ValueError(f"metadata buffer {entry.Buffer()} is out of range")
        table = model.Buffers(entry.Buffer())._tab  # only way to a vector's place
        field = table.Offset(4)
        if field:
            start, length = int(table.Vector(field)), int(table.VectorLen(field))
            if start + length > len(data):
                raise ValueError("a metadata buffer ends behind the file")
            places[entry.Name().decode()] = (start, length)
    return places


def _bytes(builder: Any, data: npt.NDArray[np.generic]) -> int:
    """Write raw bytes as an aligned vector, in one copy; returns its offset."""
    content = data.reshape(-1).view(np.uint8)
    builder.StartVector(1, len(content), ALIGNMENT)
    start = builder.Head() - len(content)
    builder.head = start
    builder.Bytes[start : start + len(content)] = content.data
    return int(builder.EndVector())


def _offsets(builder: Any, offsets: Sequence[int]) -> int:
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return int(builder.EndVector())


def _integers(builder: Any, values: Sequence[int]) -> int:
    return int(builder.CreateNumpyVector(np.array(values, np.int32)))


def _buffer(builder: Any, vector: int) -> int:
    schema.BufferStart(builder)
    if vector:
        schema.BufferAddData(builder, vector)
    return int(schema.BufferEnd(builder))


def _operator_codes(
    builder: Any, operators: Sequence[FlatOperator]
) -> tuple[int, dict[tuple[str, int], int]]:
    """Write one operator code for each kind and version, in order of first use."""
    numbers: dict[tuple[str, int], int] = {}
    offsets = []
    for operator in operators:
        key = (operator.kind, operator.version)
        if key in numbers:
            continue
        numbers[key] = len(numbers)
        code = getattr(schema.BuiltinOperator, operator.kind)
        schema.OperatorCodeStart(builder)
        # Runtimes before 2.4 read the one-byte field, all seven kinds fit it.
        schema.OperatorCodeAddDeprecatedBuiltinCode(builder, code)
        schema.OperatorCodeAddBuiltinCode(builder, code)
        schema.OperatorCodeAddVersion(builder, operator.version)
        offsets.append(int(schema.OperatorCodeEnd(builder)))
    return _offsets(builder, offsets), numbers


def _tensor(builder: Any, tensor: FlatTensor, buffer: int) -> int:
    name = builder.CreateString(tensor.name)
    shape = _integers(builder, tensor.shape)
    quantization = 0
    if tensor.scales is not None:
        scales = builder.CreateNumpyVector(tensor.scales)
        zeros = np.resize(np.array(tensor.zero_points, np.int64), tensor.scales.size)
        zero_points = builder.CreateNumpyVector(zeros)
        schema.QuantizationParametersStart(builder)
        schema.QuantizationParametersAddScale(builder, scales)
        schema.QuantizationParametersAddZeroPoint(builder, zero_points)
        schema.QuantizationParametersAddQuantizedDimension(builder, tensor.axis)
        quantization = schema.QuantizationParametersEnd(builder)
    schema.TensorStart(builder)
    schema.TensorAddShape(builder, shape)
    schema.TensorAddType(builder, _TYPES[tensor.type])
    schema.TensorAddBuffer(builder, buffer)
    schema.TensorAddName(builder, name)
    if quantization:
        schema.TensorAddQuantization(builder, quantization)
    schema.TensorAddHasRank(builder, True)
    return int(schema.TensorEnd(builder))


def _operator(builder: Any, operator: FlatOperator, code: int) -> int:
    inputs = _integers(builder, operator.inputs)
    outputs = _integers(builder, [operator.output])
    options, kind = _operator_options(builder, operator)
    schema.OperatorStart(builder)
    schema.OperatorAddOpcodeIndex(builder, code)
    schema.OperatorAddInputs(builder, inputs)
    schema.OperatorAddOutputs(builder, outputs)
    if kind:
        schema.OperatorAddBuiltinOptionsType(builder, getattr(schema.BuiltinOptions, kind))
        schema.OperatorAddBuiltinOptions(builder, options)
    return int(schema.OperatorEnd(builder))


def _operator_options(builder: Any, operator: FlatOperator) -> tuple[int, str]:
    """Write the options table of an operator; returns its offset and its name in the schema."""
    activation = _ACTIVATIONS[operator.activation]
    height, width = operator.stride
    padding = schema.Padding.VALID if operator.valid else schema.Padding.SAME
    match operator.kind:
        case "CONV_2D":
            schema.Conv2DOptionsStart(builder)
            schema.Conv2DOptionsAddPadding(builder, padding)
            schema.Conv2DOptionsAddStrideW(builder, width)
            schema.Conv2DOptionsAddStrideH(builder, height)
            schema.Conv2DOptionsAddFusedActivationFunction(builder, activation)
            return schema.Conv2DOptionsEnd(builder), "Conv2DOptions"
        case "DEPTHWISE_CONV_2D":
            schema.DepthwiseConv2DOptionsStart(builder)
            schema.DepthwiseConv2DOptionsAddPadding(builder, padding)
            schema.DepthwiseConv2DOptionsAddStrideW(builder, width)
            schema.DepthwiseConv2DOptionsAddStrideH(builder, height)
            schema.DepthwiseConv2DOptionsAddDepthMultiplier(builder, 1)
            schema.DepthwiseConv2DOptionsAddFusedActivationFunction(builder, activation)
            return schema.DepthwiseConv2DOptionsEnd(builder), "DepthwiseConv2DOptions"
        case "FULLY_CONNECTED":
            schema.FullyConnectedOptionsStart(builder)
            schema.FullyConnectedOptionsAddFusedActivationFunction(builder, activation)
            schema.FullyConnectedOptionsAddAsymmetricQuantizeInputs(builder, operator.hybrid)
            return schema.FullyConnectedOptionsEnd(builder), "FullyConnectedOptions"
        case "MEAN":
            schema.ReducerOptionsStart(builder)
            schema.ReducerOptionsAddKeepDims(builder, operator.keep_dims)
            return schema.ReducerOptionsEnd(builder), "ReducerOptions"
        case "PAD":
            schema.PadOptionsStart(builder)
            return schema.PadOptionsEnd(builder), "PadOptions"
        case "SOFTMAX":
            schema.SoftmaxOptionsStart(builder)
            schema.SoftmaxOptionsAddBeta(builder, 1.0)
            return schema.SoftmaxOptionsEnd(builder), "SoftmaxOptions"
        case "ADD":
            schema.AddOptionsStart(builder)
            return schema.AddOptionsEnd(builder), "AddOptions"
        case "MUL":
            schema.MulOptionsStart(builder)
            return schema.MulOptionsEnd(builder), "MulOptions"
        case "SUB":
            schema.SubOptionsStart(builder)
            return schema.SubOptionsEnd(builder), "SubOptions"
        case _:  # LOGISTIC, QUANTIZE, DEQUANTIZE have no fields to set
            return 0, ""


def _subgraph(builder: Any, model: FlatModel, tensors: int, operators: int) -> int:
    inputs = _integers(builder, [model.input])
    outputs = _integers(builder, [model.output, *model.extra_outputs])
    name = builder.CreateString("main")
    schema.SubGraphStart(builder)
    schema.SubGraphAddTensors(builder, tensors)
    schema.SubGraphAddInputs(builder, inputs)
    schema.SubGraphAddOutputs(builder, outputs)
    schema.SubGraphAddOperators(builder, operators)
    schema.SubGraphAddName(builder, name)
    return int(schema.SubGraphEnd(builder))


def _signature(builder: Any, model: FlatModel, input_name: str, output_name: str) -> int:
    def tensor_map(name: str, tensor: int) -> int:
        text = builder.CreateString(name)
        schema.TensorMapStart(builder)
        schema.TensorMapAddName(builder, text)
        schema.TensorMapAddTensorIndex(builder, tensor)
        return int(schema.TensorMapEnd(builder))

    inputs = _offsets(builder, [tensor_map(input_name, model.input)])
    outputs = _offsets(builder, [tensor_map(output_name, model.output)])
    key = builder.CreateString("serving_default")
    schema.SignatureDefStart(builder)
    schema.SignatureDefAddInputs(builder, inputs)
    schema.SignatureDefAddOutputs(builder, outputs)
    schema.SignatureDefAddSignatureKey(builder, key)
    schema.SignatureDefAddSubgraphIndex(builder, 0)
    return int(schema.SignatureDefEnd(builder))


def _metadata(builder: Any, name: str, buffer: int) -> int:
    text = builder.CreateString(name)
    schema.MetadataStart(builder)
    schema.MetadataAddName(builder, text)
    schema.MetadataAddBuffer(builder, buffer)
    return int(schema.MetadataEnd(builder))
