"""Canonical weights: names and shapes a Network needs, their check, their file, their folding.

Float32, channels last, batch norm unfolded: `stem.kernel [3,3,3,c]`, `blocks.4.expand.kernel
[1,1,ci,f]`, `blocks.4.depthwise.kernel [k,k,f,1]`, `blocks.4.se.reduce.kernel|bias`,
`blocks.4.project.kernel [1,1,f,co]`, `head.kernel`, `classifier.kernel [ci,classes]`,
`classifier.bias`; behind every batch-normalised kernel `.bn.gamma|beta|mean|variance [c]`.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from mnasnet_deploy import atomic
from mnasnet_deploy.arch.network import Layer, Network
from mnasnet_deploy.errors import InputError, WeightsError
from mnasnet_deploy.typed_mapping import from_mapping
from mnasnet_deploy.weights.source import WeightSource

__all__ = [
    "METADATA_KEY",
    "FloatArray",
    "Folded",
    "Tensors",
    "WeightSource",
    "Weights",
    "check",
    "digest",
    "fold",
    "kernel_shape",
    "read_safetensors",
    "source_from_json",
    "tensor_shapes",
    "write_safetensors",
]

FloatArray = npt.NDArray[np.float32]
Tensors = Mapping[str, FloatArray]
"""Canonical name -> float32 array."""

METADATA_KEY = "mnasnet.weight_source"
MAX_LISTED = 1000
_STATISTICS = ("gamma", "beta", "mean", "variance")


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """Tensors by canonical name, and where they come from."""

    tensors: Tensors
    source: WeightSource


@dataclass(frozen=True, slots=True, kw_only=True)
class Folded:
    """Kernel and bias of one layer with batch norm folded in.

    Attributes:
        kernel: conv [kh,kw,in,out], depthwise [kh,kw,channels,1], dense [in,out].
        bias: [out].
    """

    kernel: FloatArray
    bias: FloatArray


def kernel_shape(layer: Layer) -> tuple[int, ...]:
    """Shape of a layer's canonical kernel."""
    outputs = layer.output_shape[-1]
    if layer.op == "dense":
        return (layer.input_shape[-1], outputs)
    if layer.op == "depthwise":
        return (*layer.kernel, outputs, 1)
    return (*layer.kernel, layer.input_shape[-1], outputs)


def tensor_shapes(network: Network) -> dict[str, tuple[int, ...]]:
    """Every tensor a network needs, by canonical name, in the order of its layers."""
    return dict(_shapes(network))


def check(network: Network, tensors: Mapping[str, npt.NDArray[np.generic]], label: str) -> None:
    """Raise where tensors do not fit a network, naming all that is wrong at once.

    Raises:
        WeightsError: missing, unexpected, mis-shaped or non-float32 tensors, NaN or infinite
            values, a variance below 0.
    """
    shapes = tensor_shapes(network)
    problems = [f"missing {name} {list(shape)}" for name, shape in shapes.items()
                if name not in tensors]  # fmt: skip
    problems += [f"unexpected {name}" for name in tensors if name not in shapes]
    for name, shape in shapes.items():
        if name not in tensors:
            continue
        array = tensors[name]
        if array.shape != shape:
            problems.append(f"{name} is {list(array.shape)}, needs {list(shape)}")
        elif array.dtype != np.float32:
            problems.append(f"{name} is {array.dtype}, needs float32")
        elif not np.isfinite(array).all():
            problems.append(f"{name} holds NaN or infinite values")
        elif name.endswith(".bn.variance") and array.size and array.min() < 0:
            problems.append(f"{name} holds a negative variance")
    if problems:
        raise WeightsError(
            f"{label} does not fit {network.name} (multiplier {network.multiplier}, "
            f"{network.classes} classes): {_list(problems)}"
        )


def fold(network: Network, tensors: Tensors) -> dict[str, Folded]:
    """Fold batch norm into kernels and biases, by `Layer.weights`.

    The per-channel factor is taken in float64 and rounded once, so that two right
    implementations differ in the last bit only.
    """
    folded = {}
    for layer in network.layers:
        if not layer.weights:
            continue
        kernel = tensors[f"{layer.weights}.kernel"]
        if layer.batch_norm:
            gamma, beta, mean, variance = (
                tensors[f"{layer.weights}.bn.{part}"].astype(np.float64) for part in _STATISTICS
            )
            factor = gamma / np.sqrt(variance + network.batch_norm_epsilon)
            bias = (beta - mean * factor).astype(np.float32)
            axis = (-1, 1) if layer.op == "depthwise" else (-1,)
            kernel = kernel * factor.astype(np.float32).reshape(axis)
        else:
            bias = tensors[f"{layer.weights}.bias"]
        folded[layer.weights] = Folded(kernel=kernel, bias=bias)
    return folded


def digest(tensors: Tensors) -> str:
    """SHA-256 over names, shapes and values; two files with the same weights share it."""
    state = hashlib.sha256()
    for name in sorted(tensors):
        array = np.ascontiguousarray(tensors[name])
        state.update(f"{name}{array.shape}{array.dtype}".encode())
        state.update(array.view(np.uint8).reshape(-1).data)
    return state.hexdigest()


def write_safetensors(path: Path, weights: Weights) -> None:
    """Write weights in canonical names; the same weights give the same bytes.

    Raises:
        NotReadyError: the file cannot be written.
    """
    # One metadata key: the library writes several in no fixed order.
    metadata = {METADATA_KEY: json.dumps(asdict(weights.source), sort_keys=True)}
    atomic.write_bytes(path, save(dict(weights.tensors), metadata))


def read_safetensors(path: Path, network: Network) -> Weights:
    """Read a canonical weights file and hold it against a network.

    A file without this tool's metadata was made elsewhere: it counts as trained, on nothing known.

    Raises:
        WeightsError: the file cannot be read, or does not fit; see `check`.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise WeightsError(f"no weights file {path}") from None
    except (OSError, SafetensorError, ValueError, TypeError, AttributeError) as error:
        raise WeightsError(
            f"{path} is not a readable safetensors file ({error}): fetch or copy it again"
        ) from error
    check(network, tensors, path.name)
    source = WeightSource(label=path.name, trained=True)
    if METADATA_KEY in metadata:
        source = source_from_json(metadata[METADATA_KEY], path.name)
    return Weights(tensors=tensors, source=source)


def source_from_json(text: str, label: str) -> WeightSource:
    """Read the source that stands in a file's metadata.

    Raises:
        WeightsError: it is not one.
    """
    try:
        return from_mapping(WeightSource, json.loads(text), "source")
    except (InputError, ValueError, RecursionError) as error:
        raise WeightsError(f"{label}: the weight source in it is not readable ({error})") from error


def _shapes(network: Network) -> Iterator[tuple[str, tuple[int, ...]]]:
    for layer in network.layers:
        if not layer.weights:
            continue
        yield f"{layer.weights}.kernel", kernel_shape(layer)
        outputs = (layer.output_shape[-1],)
        if layer.bias:
            yield f"{layer.weights}.bias", outputs
        if layer.batch_norm:
            for part in _STATISTICS:
                yield f"{layer.weights}.bn.{part}", outputs


def _list(problems: list[str]) -> str:
    shown = "; ".join(problems[:MAX_LISTED])
    more = len(problems) - MAX_LISTED
    return f"{shown}; and {more} more" if more > 0 else shown
