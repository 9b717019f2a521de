"""The reference engine: the same network through Keras and Google's TFLiteConverter.

A hundred times slower than the writer and in need of TensorFlow, but independent of it: this is
what `--engine tensorflow` runs, what the tests hold the writer against, and where a network is
picked up for training. TensorFlow is imported inside the functions only.
"""

import contextlib
import io
import os
import sys
import warnings
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema

from mnasnet_deploy.arch.network import IMAGE, Layer, Network
from mnasnet_deploy.errors import NotReadyError, SpecError
from mnasnet_deploy.export.contract import Contract, DType
from mnasnet_deploy.export.graph import FRONT, Options
from mnasnet_deploy.results.record import Scheme
from mnasnet_deploy.weights.canonical import FloatArray, Weights, check

if TYPE_CHECKING:
    import keras

__all__ = ["configure", "convert", "export_model", "keras_model", "layer_name"]

BATCH_NORM_MOMENTUM = 0.99
"""Of the moving statistics while training; from the original's mnasnet_models.py."""

_STATISTICS = ("gamma", "beta", "mean", "variance")
_DTYPES: dict[int, DType] = {
    schema.TensorType.FLOAT32: "float32",
    schema.TensorType.INT8: "int8",
    schema.TensorType.UINT8: "uint8",
}
_Pixels = npt.NDArray[np.uint8]


def layer_name(name: str) -> str:
    """Name of a network's layer in Keras, which allows no slash: `block4_se_reduce`.

    A layer's batch norm is named `block4_depthwise_bn`, its activation
    `block4_depthwise_activation`, the zeros in front of it, where PyTorch's padding is not SAME,
    `block4_depthwise_pad`.
    """
    return name.replace("/", "_")


def keras_model(network: Network, weights: Weights) -> "keras.Model":
    """Build a network as a trainable Keras model with batch norm unfolded.

    It takes normalised images float32 [n, resolution, resolution, 3], named `image`, and gives
    logits float32 [n, classes]. Layers are named by `layer_name`.

    Args:
        network: what to build, padded and with the epsilon that the source of the weights asks for.
        weights: canonical tensors, copied exactly.

    Raises:
        WeightsError: the weights do not fit the network.
        SpecError: a depthwise convolution with unequal strides, which TensorFlow does not run.
        NotReadyError: TensorFlow is not installed.
    """
    check(network, weights.tensors, weights.source.label)
    network = weights.source.adapt(network)
    _refuse_unequal_strides(network)
    keras = _load_tensorflow().keras
    side = network.resolution
    with _quiet():
        values = {IMAGE: keras.Input((side, side, 3), name=IMAGE)}
        for layer in network.layers:
            inputs = [values[name] for name in layer.inputs]
            values[layer.name] = _apply(keras, network, layer, inputs)
        logits = values[network.layers[-1].name]
        model = keras.Model(values[IMAGE], logits, name=layer_name(network.name))
        _fill(model, network, weights.tensors)
    return model


def export_model(network: Network, weights: Weights, options: Options) -> "keras.Model":
    """Build the model that is converted: `keras_model` with the chosen ends around it.

    Raw pixels are normalised as the writer does it: one subtraction of the mean in front, the
    standard deviation divides the stem's kernel. Errors as in `keras_model`.
    """
    network = weights.source.adapt(network)
    if options.input == "raw":
        weights = _divided_by_std(network, weights)
    model = keras_model(network, weights)
    if options.input == "normalized" and not options.softmax:
        return model
    keras = _load_tensorflow().keras
    side = network.resolution
    image = keras.Input((side, side, 3), name=IMAGE)
    centred = image
    if options.input == "raw":
        mean = np.array(network.mean, np.float32)
        centred = keras.layers.Lambda(lambda values: values - mean, name=FRONT)(image)
    output = model(centred)
    if options.softmax:
        output = keras.layers.Softmax(name="softmax")(output)
    return keras.Model(image, output, name=f"{model.name}_export")


def convert(
    network: Network,
    weights: Weights,
    scheme: Scheme,
    *,
    options: Options | None = None,
    pixels: _Pixels | None = None,
) -> tuple[bytes, Contract]:
    """Export through TFLiteConverter.from_keras_model.

    Args:
        network: what to export.
        weights: canonical tensors.
        scheme: float32, float16, dynamic-int8 or int8.
        options: the file's two ends; the defaults of `Options` where None.
        pixels: calibration images for int8, RGB grey levels [n, resolution, resolution, 3].

    Returns:
        The bytes of a .tflite file without this tool's facts and app metadata, and what it takes
        and gives.

    Raises:
        WeightsError, SpecError, NotReadyError: as in `keras_model`.
    """
    options = options or Options()
    network = weights.source.adapt(network)
    model = export_model(network, weights, options)
    tensorflow = _load_tensorflow()
    with _quiet():
        converter = tensorflow.lite.TFLiteConverter.from_keras_model(model)
        configure(converter, network, scheme, options, pixels)
        data = bytes(converter.convert())
    return data, _contract(network, options, data)


def configure(
    converter: Any,
    network: Network,
    scheme: Scheme,
    options: Options,
    pixels: _Pixels | None = None,
) -> None:
    """Set a TFLiteConverter up for one scheme; arguments as for `convert`."""
    tensorflow = _load_tensorflow()
    if scheme == "float32":
        return
    converter.optimizations = [tensorflow.lite.Optimize.DEFAULT]
    if scheme == "float16":
        converter.target_spec.supported_types = [tensorflow.float16]
        return
    # One scale for the whole classifier, as the writer has it: with one for each row old runtimes
    # refuse the operator (dynamic-int8, before 2.17) or silently give constants (int8).
    converter._experimental_disable_per_channel_quantization_for_dense_layers = True
    if scheme == "int8":
        if pixels is None:
            raise ValueError("int8 needs calibration images")
        dtype = getattr(tensorflow, options.integer_io)
        converter.representative_dataset = lambda: _representative(network, options, pixels)
        converter.target_spec.supported_ops = [tensorflow.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = dtype
        converter.inference_output_type = dtype


def _representative(
    network: Network, options: Options, pixels: _Pixels
) -> Iterator[list[FloatArray]]:
    """Yield calibration images as the model takes them.

    The range of the input is known and not to be measured: two pixels of the first image are set to
    black and white, so that raw pixels get scale 1 and the file takes the bytes as they are.
    """
    mean, std = np.array(network.mean, np.float32), np.array(network.std, np.float32)
    for index, image in enumerate(pixels):
        values = image[np.newaxis].astype(np.float32)
        if index == 0:
            values[0, 0, 0], values[0, 0, 1] = 0.0, 255.0
        yield [values if options.input == "raw" else (values - mean) / std]


def _contract(network: Network, options: Options, data: bytes) -> Contract:
    """What a converted file takes and gives, read from the file."""
    subgraph = schema.Model.GetRootAs(data, 0).Subgraphs(0)
    input_dtype, input_scale, input_zero_point = _end(subgraph.Tensors(subgraph.Inputs(0)))
    output_dtype, output_scale, output_zero_point = _end(subgraph.Tensors(subgraph.Outputs(0)))
    return Contract(
        input=options.input,
        input_dtype=input_dtype,
        input_scale=input_scale,
        input_zero_point=input_zero_point,
        output=options.output,
        output_dtype=output_dtype,
        output_scale=output_scale,
        output_zero_point=output_zero_point,
        resolution=network.resolution,
        classes=network.classes,
        mean=network.mean,
        std=network.std,
    )


def _end(tensor: Any) -> tuple[DType, float, int]:
    dtype = _DTYPES[tensor.Type()]
    if dtype == "float32":
        return dtype, 0.0, 0
    quantization = tensor.Quantization()
    return dtype, float(quantization.Scale(0)), int(quantization.ZeroPoint(0))


def _refuse_unequal_strides(network: Network) -> None:
    for layer in network.layers:
        if layer.op == "depthwise" and layer.stride[0] != layer.stride[1]:
            raise SpecError(
                f"{layer.name} has strides {layer.stride[0]} and {layer.stride[1]}, and TensorFlow "
                "runs no depthwise convolution with unequal strides: use the default engine"
            )


def _apply(keras: Any, network: Network, layer: Layer, inputs: list[Any]) -> Any:
    """Lay one layer, its batch norm and its activation over their inputs."""
    name = layer_name(layer.name)
    values = inputs if len(inputs) > 1 else inputs[0]
    if layer.padding == "symmetric":
        values = keras.layers.ZeroPadding2D(layer.pads, name=f"{name}_pad")(values)
    output = _operator(keras, layer, name)(values)
    if layer.batch_norm:
        output = keras.layers.BatchNormalization(
            momentum=BATCH_NORM_MOMENTUM, epsilon=network.batch_norm_epsilon, name=f"{name}_bn"
        )(output)
    if layer.activation != "none":
        ceiling = 6.0 if layer.activation == "relu6" else None
        output = keras.layers.ReLU(max_value=ceiling, name=f"{name}_activation")(output)
    return output


def _operator(keras: Any, layer: Layer, name: str) -> Any:
    layers = keras.layers
    channels = layer.output_shape[-1]
    padding = "valid" if layer.padding == "symmetric" else "same"
    if layer.op == "conv":
        return layers.Conv2D(
            channels,
            layer.kernel,
            strides=layer.stride,
            padding=padding,
            use_bias=layer.bias,
            name=name,
        )
    if layer.op == "depthwise":
        return layers.DepthwiseConv2D(
            layer.kernel, strides=layer.stride, padding=padding, use_bias=layer.bias, name=name
        )
    if layer.op == "mean":
        return layers.GlobalAveragePooling2D(keepdims=len(layer.output_shape) == 3, name=name)
    if layer.op == "sigmoid":
        return layers.Activation("sigmoid", name=name)
    if layer.op == "multiply":
        return layers.Multiply(name=name)
    if layer.op == "add":
        return layers.Add(name=name)
    return layers.Dense(channels, use_bias=layer.bias, name=name)


def _fill(model: Any, network: Network, tensors: Mapping[str, FloatArray]) -> None:
    for layer in network.layers:
        if not layer.weights:
            continue
        name = layer_name(layer.name)
        parts = ["kernel", "bias"] if layer.bias else ["kernel"]
        model.get_layer(name).set_weights([tensors[f"{layer.weights}.{part}"] for part in parts])
        if layer.batch_norm:
            model.get_layer(f"{name}_bn").set_weights(
                [tensors[f"{layer.weights}.bn.{part}"] for part in _STATISTICS]
            )


def _divided_by_std(network: Network, weights: Weights) -> Weights:
    """The same weights for images that are centred but not scaled."""
    tensors = dict(weights.tensors)
    std = np.array(network.std, np.float32).reshape(3, 1)
    for layer in network.layers:
        if IMAGE in layer.inputs:
            name = f"{layer.weights}.kernel"
            tensors[name] = tensors[name] / std
    return Weights(tensors=tensors, source=weights.source)


def _load_tensorflow() -> Any:
    """Import TensorFlow without its log noise.

    Raises:
        NotReadyError: it is not installed, or does not import.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        with _quiet():
            import tensorflow
    except ImportError as error:
        raise NotReadyError(
            f"this needs TensorFlow ({error}): pip install 'mnasnet-deploy[tensorflow]'"
        ) from error
    return tensorflow


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep what TensorFlow tells the screen off it.

    Python prints (`Saved artifact at ...`), C++ writes to the descriptor whatever the log level is
    (`oneDNN custom operations are on ...`), and a warning about the statistics of quantized inputs
    is false: they are measured.
    """
    sys.stderr.flush()
    saved, silent = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(silent, 2)
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(silent)
