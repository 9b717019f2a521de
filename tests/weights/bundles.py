"""Small TensorFlow checkpoints in the original trainer's names, written by hand."""

import struct
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import numpy as np

from mnasnet_deploy.arch.network import Network, build_network
from mnasnet_deploy.arch.variants import VARIANTS
from mnasnet_deploy.weights.canonical import Weights
from mnasnet_deploy.weights.crc32c import crc32c
from mnasnet_deploy.weights.initial import initial_weights

EMA = "/ExponentialMovingAverage"
_DTYPES = {"float32": 1, "float64": 2, "int64": 9, "float16": 19, "uint16": 14}
_BN = {"gamma": "gamma", "beta": "beta", "mean": "moving_mean", "variance": "moving_variance"}


def tiny(variant: str = "a1", classes: int = 10, multiplier: float = 0.35) -> Network:
    return build_network(
        VARIANTS[variant].spec, multiplier=multiplier, resolution=64, classes=classes
    )


@cache
def trained(network: Network, seed: int = 3) -> Weights:
    """Weights no two tensors of which are equal, with every statistic awkward."""
    weights = initial_weights(network, seed)
    generator = np.random.default_rng(seed)
    tensors = {}
    for name, values in weights.tensors.items():
        if name.endswith((".gamma", ".beta", ".mean", ".bias")):
            values = values + generator.normal(0, 0.3, values.shape)
        elif name.endswith(".variance"):
            values = values * generator.uniform(0.01, 2.0, values.shape)
        tensors[name] = values.astype(np.float32)
    return Weights(tensors=tensors, source=weights.source)


def official_names(
    network: Network, tensors: Mapping[str, np.ndarray], *, keras: bool = True, suffix: str = ""
) -> dict[str, np.ndarray]:
    """The tensors under the original's names.

    With `keras` the numbers of the convolutions count through the graph, stem and head last.
    """
    model = network.name
    inner = f"{model}/mnas_net_model" if keras else model
    result = {}
    count = 0 if keras else None
    layers = [layer for layer in network.layers if layer.weights]
    order = [each for each in layers if each.weights.startswith("blocks")]
    order += [each for each in layers if not each.weights.startswith("blocks")]
    inside: dict[str, int] = {}
    norms: dict[str, int] = {}
    for layer in order:
        parts = layer.weights.split(".")
        scope = f"mnas_blocks_{parts[1]}" if parts[0] == "blocks" else f"mnas_{parts[0]}"
        here = f"{scope}/se" if "se" in parts else scope
        if layer.op == "dense":
            here, name = "mnas_head", "dense"
        elif layer.op == "depthwise":
            number = int(parts[1])
            name = f"depthwise_conv2d_{number}" if keras and number else "depthwise_conv2d"
        else:
            if count is not None:
                number, count = count, count + 1
            else:
                number = inside.get(here, 0)
                inside[here] = number + 1
            name = f"conv2d_{number}" if number else "conv2d"
        kernel = "depthwise_kernel" if layer.op == "depthwise" else "kernel"
        result[f"{inner}/{here}/{name}/{kernel}{suffix}"] = tensors[f"{layer.weights}.kernel"]
        if layer.bias:
            result[f"{inner}/{here}/{name}/bias{suffix}"] = tensors[f"{layer.weights}.bias"]
        if layer.batch_norm:
            number = norms.get(scope, 0)
            norms[scope] = number + 1
            norm = f"batch_normalization_{number}" if number else "batch_normalization"
            for ours, theirs in _BN.items():
                values = tensors[f"{layer.weights}.bn.{ours}"]
                result[f"{model}/{scope}/{norm}/{theirs}{suffix}"] = values
    return result


def write_bundle(prefix: Path, tensors: Mapping[str, np.ndarray], shards: int = 1) -> Path:
    """Write a checkpoint as TensorFlow does; uint16 arrays count as bfloat16.

    Returns:
        The prefix.
    """
    prefix.parent.mkdir(parents=True, exist_ok=True)
    data = [b""] * shards
    entries = [(b"", _field(1, shards) + _field(2, 0) + _message(3, _field(1, 1)))]
    for number, name in enumerate(sorted(tensors)):
        values = np.ascontiguousarray(tensors[name])
        content, shard = values.tobytes(), number % shards
        shape = b"".join(_message(2, _field(1, side)) for side in values.shape)
        entry = _field(1, _DTYPES[values.dtype.name]) + _message(2, shape)
        entry += _field(3, shard) + _field(4, len(data[shard])) + _field(5, len(content))
        entry += _varint(6 << 3 | 5) + struct.pack("<I", _masked(content))
        entries.append((name.encode(), entry))
        data[shard] += content
    for shard, content in enumerate(data):
        prefix.with_name(f"{prefix.name}.data-{shard:05d}-of-{shards:05d}").write_bytes(content)
    prefix.with_name(f"{prefix.name}.index").write_bytes(_table(entries))
    return prefix


def _table(entries: list[tuple[bytes, bytes]]) -> bytes:
    file, handles = b"", []
    for start in range(0, len(entries), 40):
        block = _block(entries[start : start + 40])
        last = entries[start : start + 40][-1][0]
        handles.append((last, _varint(len(file)) + _varint(len(block))))
        file += _sealed(block)
    meta = _block([])
    place = _varint(len(file)) + _varint(len(meta))
    file += _sealed(meta)
    index = _block(handles)
    place += _varint(len(file)) + _varint(len(index))
    return file + _sealed(index) + place.ljust(40, b"\0") + struct.pack("<Q", 0xDB4775248B80FB57)


def _block(entries: list[tuple[bytes, bytes]]) -> bytes:
    content, previous = b"", b""
    for key, value in entries:
        shared = 0
        while shared < min(len(key), len(previous)) and key[shared] == previous[shared]:
            shared += 1
        content += _varint(shared) + _varint(len(key) - shared) + _varint(len(value))
        content += key[shared:] + value
        previous = key
    return content + struct.pack("<II", 0, 1)


def _sealed(block: bytes) -> bytes:
    return block + b"\0" + struct.pack("<I", _masked(block + b"\0"))


def _masked(content: bytes) -> int:
    value = crc32c(content)
    return ((value >> 15 | value << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _varint(value: int) -> bytes:
    result = b""
    while value > 0x7F:
        result += bytes([value & 0x7F | 0x80])
        value >>= 7
    return result + bytes([value])


def _field(key: int, value: int) -> bytes:
    return _varint(key << 3) + _varint(value)


def _message(key: int, content: bytes) -> bytes:
    return _varint(key << 3 | 2) + _varint(len(content)) + content
