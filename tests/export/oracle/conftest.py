"""Reading .tflite files apart, and the networks that both sides export."""

import functools
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from ai_edge_litert import schema_py_generated as schema

from mnasnet_deploy.arch.network import Network, build_network
from mnasnet_deploy.arch.variants import find_variant
from mnasnet_deploy.export.graph import Options
from mnasnet_deploy.export.images import CalibrationSet
from mnasnet_deploy.export.synthetic import synthetic_calibration
from mnasnet_deploy.results.record import Scheme
from mnasnet_deploy.weights.canonical import Weights
from mnasnet_deploy.weights.initial import initial_weights

_KINDS = {v: k for k, v in vars(schema.BuiltinOperator).items() if isinstance(v, int)}
_TYPES = {v: k for k, v in vars(schema.TensorType).items() if isinstance(v, int)}
_DTYPES = {
    "FLOAT32": np.float32,
    "FLOAT16": np.float16,
    "INT8": np.int8,
    "UINT8": np.uint8,
    "INT32": np.int32,
}

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Tensor:
    """A tensor as it stands in the file; `data` is None for an activation."""

    name: str
    type: str
    shape: tuple[int, ...]
    data: Array | None
    scales: Array
    zero_points: Array
    axis: int


@dataclass(frozen=True)
class Operator:
    """An operator with the tensors it touches; None for an input that is left out."""

    kind: str
    version: int
    inputs: tuple[Tensor | None, ...]
    output: Tensor
    options: dict[str, Any]

    @property
    def kernel(self) -> Tensor | None:
        """The weights of a convolution or matrix."""
        has = self.kind in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
        return self.inputs[1] if has else None


@dataclass(frozen=True)
class File:
    """What a .tflite file holds."""

    operators: tuple[Operator, ...]
    metadata: dict[str, bytes]
    signature: tuple[str, tuple[str, ...], tuple[str, ...]]
    constants_outside: int

    @property
    def body(self) -> list[Operator]:
        """The operators without those that widen float16 constants."""
        return [operator for operator in self.operators if not _widens(operator)]

    @property
    def widening(self) -> list[Operator]:
        """The DEQUANTIZE operators over float16 constants."""
        return [operator for operator in self.operators if _widens(operator)]


def _widens(operator: Operator) -> bool:
    source = operator.inputs[0]
    return operator.kind == "DEQUANTIZE" and source is not None and source.data is not None


def _take_apart(data: bytes) -> File:
    model = schema.ModelT.InitFromPackedBuf(data, 0)
    graph = model.subgraphs[0]

    def numbers(values: Any, dtype: type) -> Array:
        return np.array([] if values is None else values, dtype)

    tensors = []
    for tensor in graph.tensors:
        kind, content = _TYPES[tensor.type], model.buffers[tensor.buffer].data
        shape = tuple(int(side) for side in tensor.shape)
        constant = None
        if content is not None and len(content):
            constant = np.frombuffer(bytes(content), _DTYPES[kind]).reshape(shape)
        quantization = tensor.quantization or schema.QuantizationParametersT()
        tensors.append(
            Tensor(
                name=tensor.name.decode(),
                type=kind,
                shape=shape,
                data=constant,
                scales=numbers(quantization.scale, np.float32),
                zero_points=numbers(quantization.zeroPoint, np.int64),
                axis=quantization.quantizedDimension,
            )
        )
    operators = []
    for operator in graph.operators:
        code = model.operatorCodes[operator.opcodeIndex]
        operators.append(
            Operator(
                kind=_KINDS[code.builtinCode],
                version=code.version,
                inputs=tuple(None if i < 0 else tensors[i] for i in operator.inputs),
                output=tensors[operator.outputs[0]],
                options=dict(vars(operator.builtinOptions)) if operator.builtinOptions else {},
            )
        )
    definition = (model.signatureDefs or [None])[0]
    signature = ("", (), ())
    if definition is not None:
        signature = (
            definition.signatureKey.decode(),
            tuple(item.name.decode() for item in definition.inputs),
            tuple(item.name.decode() for item in definition.outputs),
        )
    return File(
        operators=tuple(operators),
        # The quantizer moves what is over a KiB out of the flatbuffer, metadata too.
        metadata={
            m.name.decode(): b"" if (data := model.buffers[m.buffer].data) is None else bytes(data)
            for m in model.metadata
        },
        signature=signature,
        constants_outside=sum(1 for buffer in model.buffers if buffer.offset),
    )


def _lively_weights(network: Network) -> Weights:
    """Initial weights whose statistics still match, with no constant that is 0, 1 or twice there.

    The converter drops biases that are zero and shares constants that are equal; trained weights
    have neither.
    """
    weights = initial_weights(network, seed=1)
    random = np.random.default_rng(2)
    tensors = {}
    for name, values in weights.tensors.items():
        if name.endswith((".gamma", ".variance")):
            values = values * random.uniform(0.8, 1.25, values.shape)
        elif name.endswith((".beta", ".mean", ".bias")):
            values = values + random.normal(0.0, 0.1, values.shape)
        tensors[name] = values.astype(np.float32)
    return Weights(tensors=tensors, source=weights.source)


def _calibration(network: Network, count: int) -> CalibrationSet:
    """Generated images, one of which is black and white somewhere: the input's range is known."""
    images = synthetic_calibration(count, network.resolution)
    pixels = images.pixels.copy()
    pixels[0, 0, 0], pixels[0, 0, 1] = 0, 255
    return replace(images, pixels=pixels)


def _network(variant: str, multiplier: float | None, resolution: int) -> Network:
    spec = find_variant(variant).spec
    return build_network(spec, multiplier=multiplier, resolution=resolution)


@functools.lru_cache(maxsize=2)
def _frozen(network: Network, options: Options) -> Any:
    """The Keras model of a network with lively weights, traced for one image and frozen."""
    import tensorflow
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    from mnasnet_deploy.export.tensorflow import export_model

    model = export_model(network, _lively_weights(network), options)
    side = network.resolution
    image = tensorflow.TensorSpec((1, side, side, 3), name="image")
    function = tensorflow.function(model).get_concrete_function(image)
    return convert_variables_to_constants_v2(function)


def _convert_quickly(
    network: Network,
    scheme: Scheme,
    options: Options,
    pixels: npt.NDArray[np.uint8] | None = None,
) -> bytes:
    """TFLiteConverter on the frozen graph of lively weights.

    It writes the operators that from_keras_model writes, in a fifth of the time.
    """
    import tensorflow

    from mnasnet_deploy.export.tensorflow import configure

    frozen = _frozen(network, options)
    converter = tensorflow.lite.TFLiteConverter.from_concrete_functions([frozen])
    configure(converter, network, scheme, options, pixels)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return bytes(converter.convert())


def _run(data: bytes, images: Array) -> npt.NDArray[np.float32]:
    """Real outputs of a file with float32 or quantized ends for real inputs [n, ...]."""
    from mnasnet_deploy.export.runtime import new_interpreter, run_model

    interpreter = new_interpreter(content=data)
    taken, given = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    if taken["dtype"] != np.float32:
        scale, zero_point = taken["quantization"]
        limits = np.iinfo(taken["dtype"])
        stored = np.rint(images / np.float32(scale)) + zero_point
        images = np.clip(stored, limits.min, limits.max).astype(taken["dtype"])
    outputs = run_model(interpreter, images).astype(np.float32)
    if given["dtype"] != np.float32:
        scale, zero_point = given["quantization"]
        outputs = (outputs - zero_point) * np.float32(scale)
    return outputs


@pytest.fixture(scope="session")
def tensorflow() -> Any:
    """TensorFlow, imported before the guard against processes stands: its import starts one."""
    import tensorflow

    return tensorflow


@pytest.fixture(scope="session")
def take_apart() -> Callable[[bytes], File]:
    return _take_apart


@pytest.fixture(scope="session")
def network_of() -> Callable[..., Network]:
    return _network


@pytest.fixture(scope="session")
def lively_weights() -> Callable[[Network], Weights]:
    return _lively_weights


@pytest.fixture(scope="session")
def calibration_for() -> Callable[[Network, int], CalibrationSet]:
    return _calibration


@pytest.fixture(scope="session")
def convert_quickly() -> Callable[..., bytes]:
    return _convert_quickly


@pytest.fixture(scope="session")
def run_file() -> Callable[[bytes, Array], npt.NDArray[np.float32]]:
    return _run


@pytest.fixture(scope="session")
def assert_same_operators() -> Callable[[File, File], None]:
    """Fail where two files differ in kinds, order, versions, options, shapes or element types."""

    def outline(operators: Sequence[Operator]) -> list[tuple[Any, ...]]:
        return [
            (
                operator.kind,
                operator.version,
                operator.options,
                [(t.type, t.shape, t.data is not None) if t else None for t in operator.inputs],
                (operator.output.type, operator.output.shape),
            )
            for operator in operators
        ]

    def compare(ours: File, theirs: File) -> None:
        for mine, reference in zip(outline(ours.body), outline(theirs.body), strict=True):
            assert mine == reference
        # The converter widens constants in the order of a hash.
        widened = [sorted(outline(file.widening), key=str) for file in (ours, theirs)]
        assert widened[0] == widened[1]
        for file in (ours, theirs):
            front = file.operators[: len(file.widening)]
            assert [operator.kind for operator in front] == ["DEQUANTIZE"] * len(front)

    return compare
