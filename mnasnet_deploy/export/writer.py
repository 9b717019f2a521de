"""Graph (+ ranges) -> the tensors and operators of one scheme. The default engine.

float32 and float16 differ in their constants only, dynamic-int8 stores large weights as int8 and
keeps float activations, int8 is integer from end to end. Operator versions are those
TFLiteConverter writes, so that runtimes of its time read the files.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from mnasnet_deploy.arch.network import IMAGE
from mnasnet_deploy.export.contract import Contract, DType
from mnasnet_deploy.export.flatfile import FlatModel, FlatOperator, FlatTensor, TensorType
from mnasnet_deploy.export.graph import FRONT, Graph, Operation
from mnasnet_deploy.export.quantize import (
    PIXELS,
    PROBABILITIES,
    Quantization,
    Range,
    Ranges,
    activation_quantization,
    quantize_bias,
    quantize_constant,
    quantize_weights,
    weight_scales,
)
from mnasnet_deploy.results.record import Scheme
from mnasnet_deploy.weights.canonical import FloatArray

__all__ = ["INPUT_NAME", "Written", "write_graph"]

INPUT_NAME: Final = "image"
AXES_NAME: Final = "height_and_width"

# Versions TFLiteConverter (TF 2.21) gives the operators, and the oldest runtime it names for them.
# In dynamic-int8 it writes FULLY_CONNECTED 12 (runtime 2.17) for weights with a scale for each row;
# with one scale in all it is version 9, which runtimes from 2.3 on read.
_FLOAT_VERSIONS = {"DEQUANTIZE": 3}
_DYNAMIC_VERSIONS = {"CONV_2D": 5, "DEPTHWISE_CONV_2D": 6, "FULLY_CONNECTED": 9}
_INT8_VERSIONS = {
    "CONV_2D": 3,
    "DEPTHWISE_CONV_2D": 3,
    "FULLY_CONNECTED": 4,
    "MEAN": 2,
    "ADD": 2,
    "MUL": 2,
    "SUB": 2,
    "PAD": 2,
    "LOGISTIC": 2,
    "SOFTMAX": 2,
    "DEQUANTIZE": 2,
}
# The same converter's word on the oldest runtime for an operator at a version; 1.5.0 for others.
_RUNTIMES = {
    ("MEAN", 1): (1, 6, 0),
    ("SUB", 1): (1, 6, 0),
    ("LOGISTIC", 1): (1, 14, 0),
    ("DEQUANTIZE", 3): (1, 15, 0),
    ("DEPTHWISE_CONV_2D", 6): (2, 3, 0),
    ("FULLY_CONNECTED", 9): (2, 3, 0),
    ("CONV_2D", 5): (2, 4, 0),
    **dict.fromkeys(_INT8_VERSIONS.items(), (1, 14, 0)),
}
# The converter leaves smaller weights in float: they cost little and quantizing them gains nothing.
MIN_DYNAMIC_ELEMENTS = 1024


@dataclass(frozen=True, slots=True)
class Written:
    """A model ready to be packed, and what it takes and gives."""

    model: FlatModel
    contract: Contract

    def min_runtime(self) -> str:
        """Oldest runtime that knows every operator at its version, `2.4.0`."""
        versions = [
            _RUNTIMES.get((operator.kind, operator.version), (1, 5, 0))
            for operator in self.model.operators
        ]
        return ".".join(map(str, max(versions)))


def write_graph(graph: Graph, scheme: Scheme, ranges: Ranges | None = None) -> Written:
    """Lay a graph out in one scheme.

    Args:
        graph: the float operators.
        scheme: float32, float16, dynamic-int8 or int8.
        ranges: of every operation's output, for int8 only.
    """
    if scheme == "int8":
        if ranges is None:
            raise ValueError("int8 needs the range of every activation")
        return _Int8Writer(graph, ranges).write()
    return _FloatWriter(graph, scheme).write()


class _FloatWriter:
    """float32, float16 and dynamic-int8: float activations throughout."""

    def __init__(self, graph: Graph, scheme: Scheme) -> None:
        self.graph = graph
        self.scheme: Scheme = scheme
        self.versions = _DYNAMIC_VERSIONS if scheme == "dynamic-int8" else _FLOAT_VERSIONS
        self.model = FlatModel()
        self.numbers: dict[str, int] = {}
        self.body: list[FlatOperator] = []

    def write(self) -> Written:
        self.numbers[IMAGE] = self.model.add(
            FlatTensor(name=INPUT_NAME, shape=self.graph.input_shape, type="float32")
        )
        for operation in self.graph.operations:
            self._operation(operation)
        # float16 constants are widened by DEQUANTIZE operators, all of them in front.
        self.model.operators += self.body
        self.model.input = self.numbers[IMAGE]
        self.model.output = self.numbers[self.graph.operations[-1].name]
        real: tuple[DType, Quantization] = ("float32", Quantization(0.0, 0))
        return Written(self.model, _contract(self.graph, real, real))

    def _operation(self, operation: Operation) -> None:
        inputs = [self.numbers[name] for name in operation.inputs]
        if operation.kernel is not None:
            inputs.append(self._kernel(operation, operation.kernel))
        if operation.bias is not None:
            inputs.append(self._constant(f"{operation.name}/bias", operation.bias))
        inputs += _integer_inputs(operation, self.model, self.numbers)
        output = self.model.add(
            FlatTensor(name=operation.name, shape=operation.shape, type="float32")
        )
        self.numbers[operation.name] = output
        self.body.append(_flat_operator(operation, self.versions, inputs, output, self.scheme))

    def _kernel(self, operation: Operation, kernel: FloatArray) -> int:
        name = f"{operation.name}/kernel" if operation.kind != "SUB" else f"{operation.name}/mean"
        if self.scheme == "dynamic-int8" and kernel.size >= MIN_DYNAMIC_ELEMENTS:
            axis = _channel_axis(operation)
            return self.model.add(_int8_kernel(name, kernel, axis, weight_scales(kernel, axis)))
        return self._constant(name, kernel)

    def _constant(self, name: str, values: FloatArray) -> int:
        if self.scheme != "float16":
            return self.model.add(
                FlatTensor(name=name, shape=values.shape, type="float32", data=values)
            )
        limit = np.finfo(np.float16).max
        half = np.clip(values, -limit, limit).astype(np.float16)
        narrow = self.model.add(
            FlatTensor(name=f"{name}/float16", shape=values.shape, type="float16", data=half)
        )
        wide = self.model.add(FlatTensor(name=name, shape=values.shape, type="float32"))
        self.model.operators.append(
            FlatOperator(
                kind="DEQUANTIZE",
                version=self.versions["DEQUANTIZE"],
                inputs=(narrow,),
                output=wide,
            )
        )
        return wide


class _Int8Writer:
    """int8: integer from end to end; other types at the ends through QUANTIZE and DEQUANTIZE."""

    def __init__(self, graph: Graph, ranges: Ranges) -> None:
        self.graph = graph
        self.ranges = ranges
        self.model = FlatModel()
        self.numbers: dict[str, int] = {}
        self.quantizations: dict[str, Quantization] = {}

    def write(self) -> Written:
        dtype = self.graph.options.integer_io
        inner = self._image_quantization()
        self.quantizations[IMAGE] = inner
        outer_input = self._end(INPUT_NAME, self.graph.input_shape, dtype, inner)
        self.model.input = outer_input
        self.numbers[IMAGE] = outer_input
        if dtype != "int8":
            self.numbers[IMAGE] = self._activation(
                f"{INPUT_NAME}/int8", self.graph.input_shape, inner
            )
            self._append("QUANTIZE", [outer_input], self.numbers[IMAGE])
        for operation in self.graph.operations:
            self._operation(operation)
        last = self.graph.operations[-1]
        result = self.quantizations[last.name]
        self.model.output = self.numbers[last.name]
        if dtype != "int8":
            self.model.output = self._end(f"{last.name}/{dtype}", last.shape, dtype, result)
            kind = "DEQUANTIZE" if dtype == "float32" else "QUANTIZE"
            self._append(kind, [self.numbers[last.name]], self.model.output)
        return Written(
            self.model,
            _contract(
                self.graph,
                (dtype, _outer(inner, dtype)),
                (dtype, _outer(result, dtype)),
            ),
        )

    def _image_quantization(self) -> Quantization:
        """The image's range is known without calibration: grey levels end at 0 and 255."""
        if self.graph.options.input == "raw":
            return PIXELS
        mean, std = self.graph.network.mean, self.graph.network.std
        low = min((0.0 - m) / s for m, s in zip(mean, std, strict=True))
        high = max((255.0 - m) / s for m, s in zip(mean, std, strict=True))
        return activation_quantization(Range(low, high))

    def _operation(self, operation: Operation) -> None:
        source = self.quantizations[operation.inputs[0]]
        result = self._result_quantization(operation)
        self.quantizations[operation.name] = result
        inputs = [self.numbers[name] for name in operation.inputs]
        if operation.kind == "SUB":
            inputs.append(self._mean(operation))
        elif operation.kernel is not None and operation.bias is not None:
            inputs += self._weights(operation, operation.kernel, operation.bias, source, result)
        inputs += _integer_inputs(operation, self.model, self.numbers)
        output = self._activation(operation.name, operation.shape, result)
        self.numbers[operation.name] = output
        self.model.operators.append(
            _flat_operator(operation, _INT8_VERSIONS, inputs, output, "int8")
        )

    def _result_quantization(self, operation: Operation) -> Quantization:
        if operation.kind == "PAD":  # zeros are the zero point of what is padded
            return self.quantizations[operation.inputs[0]]
        if operation.kind in ("LOGISTIC", "SOFTMAX"):
            return PROBABILITIES
        if operation.name == FRONT:
            mean = self.graph.network.mean
            return activation_quantization(Range(0.0 - max(mean), 255.0 - min(mean)))
        return activation_quantization(self.ranges[operation.name])

    def _weights(
        self,
        operation: Operation,
        kernel: FloatArray,
        bias: FloatArray,
        source: Quantization,
        result: Quantization,
    ) -> list[int]:
        axis = _channel_axis(operation)
        scales = weight_scales(
            kernel, axis, bias=bias, input_scale=source.scale, output_scale=result.scale
        )
        return [
            self.model.add(_int8_kernel(f"{operation.name}/kernel", kernel, axis, scales)),
            self.model.add(
                FlatTensor(
                    name=f"{operation.name}/bias",
                    shape=bias.shape,
                    type="int32",
                    data=quantize_bias(bias, source.scale, scales),
                    scales=(scales * np.float32(source.scale)).astype(np.float32),
                )
            ),
        ]

    def _mean(self, operation: Operation) -> int:
        mean = np.array(self.graph.network.mean, np.float32)
        stored, quantization = quantize_constant(mean)
        return self.model.add(
            FlatTensor(
                name=f"{operation.name}/mean",
                shape=stored.shape,
                type="int8",
                data=stored,
                scales=np.array([quantization.scale], np.float32),
                zero_points=(quantization.zero_point,),
            )
        )

    def _activation(self, name: str, shape: tuple[int, ...], quantization: Quantization) -> int:
        return self._end(name, shape, "int8", quantization)

    def _end(self, name: str, shape: tuple[int, ...], dtype: DType, inner: Quantization) -> int:
        """Add an activation stored as `dtype` with the same real values as an int8 one."""
        if dtype == "float32":
            return self.model.add(FlatTensor(name=name, shape=shape, type="float32"))
        outer = _outer(inner, dtype)
        kind: TensorType = dtype
        return self.model.add(
            FlatTensor(
                name=name,
                shape=shape,
                type=kind,
                scales=np.array([outer.scale], np.float32),
                zero_points=(outer.zero_point,),
            )
        )

    def _append(self, kind: str, inputs: list[int], output: int) -> None:
        self.model.operators.append(
            FlatOperator(
                kind=kind, version=_INT8_VERSIONS.get(kind, 1), inputs=tuple(inputs), output=output
            )
        )


def _flat_operator(
    operation: Operation,
    versions: dict[str, int],
    inputs: list[int],
    output: int,
    scheme: Scheme,
) -> FlatOperator:
    return FlatOperator(
        kind=operation.kind,
        version=versions.get(operation.kind, 1),
        inputs=tuple(inputs),
        output=output,
        stride=operation.stride,
        valid=operation.valid,
        activation=operation.activation,
        keep_dims=operation.keep_dims,
        hybrid=scheme == "dynamic-int8",
    )


def _integer_inputs(operation: Operation, model: FlatModel, numbers: dict[str, int]) -> list[int]:
    """Numbers of the constants a MEAN or a PAD reads beside its data, each added once."""
    if operation.kind == "MEAN":
        name, values = AXES_NAME, np.array([1, 2], np.int32)
    elif operation.kind == "PAD":
        pads = [(0, 0), *operation.pads, (0, 0)]
        name, values = f"{operation.name}/sizes", np.array(pads, np.int32)
    else:
        return []
    if name not in numbers:
        numbers[name] = model.add(
            FlatTensor(name=name, shape=values.shape, type="int32", data=values)
        )
    return [numbers[name]]


def _channel_axis(operation: Operation) -> int | None:
    """Axis with a weight scale of its own, None for one scale in all.

    FULLY_CONNECTED has one: with a scale for each row, which TFLiteConverter writes today under the
    same operator version, runtimes before 2.11 run without complaint and give constants.
    """
    return {"DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": None}.get(operation.kind, 0)


def _int8_kernel(name: str, kernel: FloatArray, axis: int | None, scales: FloatArray) -> FlatTensor:
    return FlatTensor(
        name=name,
        shape=kernel.shape,
        type="int8",
        data=quantize_weights(kernel, axis, scales),
        scales=scales,
        axis=axis or 0,
    )


def _outer(inner: Quantization, dtype: DType) -> Quantization:
    """The same real values stored as another type: uint8 is int8 plus 128."""
    if dtype == "float32":
        return Quantization(0.0, 0)
    return Quantization(inner.scale, inner.zero_point + (128 if dtype == "uint8" else 0))


def _contract(
    graph: Graph, taken: tuple[DType, Quantization], given: tuple[DType, Quantization]
) -> Contract:
    network, options = graph.network, graph.options
    return Contract(
        input=options.input,
        input_dtype=taken[0],
        input_scale=taken[1].scale,
        input_zero_point=taken[1].zero_point,
        output=options.output,
        output_dtype=given[0],
        output_scale=given[1].scale,
        output_zero_point=given[1].zero_point,
        resolution=network.resolution,
        classes=network.classes,
        mean=network.mean,
        std=network.std,
    )
