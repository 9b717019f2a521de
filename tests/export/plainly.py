"""A network in plain NumPy, batch norm unfolded and padded as PyTorch pads: slow and obvious."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from mnasnet_deploy.arch.network import IMAGE, Layer, Network
from mnasnet_deploy.weights.canonical import Tensors


def symmetric_logits(
    network: Network, tensors: Tensors, images: np.ndarray, epsilon: float
) -> np.ndarray:
    """Logits [n, classes] in float64 of normalised images [n, side, side, 3]."""
    values = {IMAGE: images.astype(np.float64)}
    for layer in network.layers:
        inputs = [values[name] for name in layer.inputs]
        values[layer.name] = _apply(layer, inputs, tensors, epsilon)
    return values[network.layers[-1].name]


def _apply(layer: Layer, inputs: list[np.ndarray], tensors: Tensors, epsilon: float) -> np.ndarray:
    first = inputs[0]
    if layer.op == "add":
        return first + inputs[1]
    if layer.op == "multiply":
        return first * inputs[1]
    if layer.op == "sigmoid":
        return 1.0 / (1.0 + np.exp(-first))
    if layer.op == "mean":
        return first.mean(axis=(1, 2), keepdims=len(layer.output_shape) == 3)
    kernel = tensors[f"{layer.weights}.kernel"].astype(np.float64)
    if layer.op == "dense":
        return first @ kernel + tensors[f"{layer.weights}.bias"]
    result = _convolve(layer, first, kernel)
    if layer.bias:
        result = result + tensors[f"{layer.weights}.bias"]
    if layer.batch_norm:
        gamma, beta, mean, variance = (
            tensors[f"{layer.weights}.bn.{part}"].astype(np.float64)
            for part in ("gamma", "beta", "mean", "variance")
        )
        result = (result - mean) / np.sqrt(variance + epsilon) * gamma + beta
    if layer.activation == "relu":
        result = np.maximum(result, 0.0)
    return result


def _convolve(layer: Layer, values: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    size, stride = layer.kernel[0], layer.stride[0]
    side = size // 2
    values = np.pad(values, ((0, 0), (side, side), (side, side), (0, 0)))
    windows = sliding_window_view(values, (size, size), axis=(1, 2))[:, ::stride, ::stride]
    if layer.op == "depthwise":
        return np.einsum("nhwcij,ijc->nhwc", windows, kernel[..., 0])
    return np.einsum("nhwcij,ijco->nhwo", windows, kernel, optimize=True)
