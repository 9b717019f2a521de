"""PyTorch files written without PyTorch: its pickles, made of stand-ins with its names."""

import pickle
import struct
import sys
import types
import zipfile
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from mnasnet_deploy.arch.network import Network

_STORAGES = {
    "float32": "FloatStorage", "float64": "DoubleStorage", "float16": "HalfStorage",
    "uint16": "BFloat16Storage", "int64": "LongStorage",
}  # fmt: skip
_NORM = {"gamma": "weight", "beta": "bias", "mean": "running_mean", "variance": "running_var"}


class Tensor:
    """Pickles as a torch tensor does; uint16 counts as bfloat16."""

    def __init__(self, values: np.ndarray, parameter: bool = False) -> None:
        self.values = values
        self.parameter = parameter

    def __reduce__(self) -> tuple[Any, ...]:
        utils = sys.modules["torch._utils"]
        strides = tuple(step // self.values.itemsize for step in self.values.strides)
        arguments = (Storage(self.values), 0, self.values.shape, strides, False, OrderedDict())
        if self.parameter:
            return utils._rebuild_parameter, (Tensor(self.values), True, OrderedDict())
        return utils._rebuild_tensor_v2, arguments


class Storage:
    """What a pickler asks about by its persistent id."""

    def __init__(self, values: np.ndarray) -> None:
        base = values
        while base.base is not None and isinstance(base.base, np.ndarray):
            base = base.base
        self.values = base


@contextmanager
def torch_names() -> Iterator[types.ModuleType]:
    """`torch` and `torch._utils` importable for the pickler, for a moment."""
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    for name in ("_rebuild_tensor_v2", "_rebuild_parameter"):
        function = types.FunctionType((lambda *_: None).__code__, {}, name)
        function.__module__, function.__qualname__ = "torch._utils", name
        setattr(utils, name, function)
    for name in _STORAGES.values():
        setattr(torch, name, type(name, (), {"__module__": "torch"}))
    torch._utils = utils  # type: ignore[attr-defined]
    before = {name: sys.modules.get(name) for name in ("torch", "torch._utils")}
    sys.modules.update({"torch": torch, "torch._utils": utils})
    try:
        yield torch
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module


class _Pickler(pickle.Pickler):
    def __init__(self, file: Any, legacy: bool) -> None:
        super().__init__(file, protocol=2)
        self.legacy = legacy
        self.keys: dict[int, str] = {}
        self.storages: dict[str, np.ndarray] = {}

    def persistent_id(self, item: object) -> Any:
        if not isinstance(item, Storage):
            return None
        values = item.values
        key = self.keys.setdefault(id(values), str(len(self.keys)))
        self.storages[key] = values
        kind = getattr(sys.modules["torch"], _STORAGES[values.dtype.name])
        tail = (None,) if self.legacy else ()
        return ("storage", kind, key, "cpu", values.size, *tail)


def write_pth(path: Path, content: object, *, legacy: bool = False) -> Path:
    """Write what torch.save would write of a content whose tensors are `Tensor`s."""
    import io

    buffer = io.BytesIO()
    with torch_names():
        pickler = _Pickler(buffer, legacy)
        pickler.dump(content)
    if not legacy:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", buffer.getvalue())
            archive.writestr("archive/byteorder", "little")
            for key, values in pickler.storages.items():
                archive.writestr(f"archive/data/{key}", values.tobytes())
            archive.writestr("archive/version", "3\n")
        return path
    with path.open("wb") as file:
        pickle.dump(0x1950A86A20F9469CFC6C, file, 2)
        pickle.dump(1001, file, 2)
        pickle.dump({"protocol_version": 1001, "little_endian": True, "type_sizes": {}}, file, 2)
        file.write(buffer.getvalue())
        pickle.dump(list(pickler.storages), file, 2)
        for values in pickler.storages.values():
            file.write(struct.pack("<q", values.size) + values.tobytes())
    return path


def state_dict(
    network: Network, tensors: Mapping[str, np.ndarray], family: str
) -> dict[str, np.ndarray]:
    """Canonical tensors under the names and in the layouts of timm or torchvision."""
    names = _timm(network) if family == "timm" else _torchvision(network)
    result: dict[str, np.ndarray] = {}
    for layer in network.layers:
        if not layer.weights:
            continue
        own, norm = names[layer.weights]
        kernel = tensors[f"{layer.weights}.kernel"]
        axes = {"dense": (1, 0), "depthwise": (2, 3, 0, 1)}.get(layer.op, (3, 2, 0, 1))
        result[f"{own}.weight"] = np.ascontiguousarray(kernel.transpose(axes))
        if layer.bias:
            result[f"{own}.bias"] = tensors[f"{layer.weights}.bias"]
        if layer.batch_norm:
            for ours, theirs in _NORM.items():
                result[f"{norm}.{theirs}"] = tensors[f"{layer.weights}.bn.{ours}"]
            result[f"{norm}.num_batches_tracked"] = np.array(7, np.int64)
    return result


def as_tensors(named: Mapping[str, np.ndarray]) -> "OrderedDict[str, Tensor]":
    content = OrderedDict((name, Tensor(values)) for name, values in named.items())
    content._metadata = OrderedDict({"": {"version": 2}})  # type: ignore[attr-defined]
    return content


def _flat(network: Network) -> list[tuple[int, int, int]]:
    pairs = [
        (stage, repeat)
        for stage, block in enumerate(network.spec.blocks)
        for repeat in range(block.repeats)
    ]
    return [(index, stage, repeat) for index, (stage, repeat) in enumerate(pairs)]


def _timm(network: Network) -> dict[str, tuple[str, str]]:
    names = {
        "stem": ("conv_stem", "bn1"),
        "head": ("conv_head", "bn2"),
        "classifier": ("classifier", ""),
    }
    for index, stage, repeat in _flat(network):
        room = f"blocks.{stage}.{repeat}"
        if network.spec.blocks[stage].expansion == 1:
            inner = {"depthwise": ("conv_dw", "bn1"), "project": ("conv_pw", "bn2")}
        else:
            inner = {
                "expand": ("conv_pw", "bn1"),
                "depthwise": ("conv_dw", "bn2"),
                "project": ("conv_pwl", "bn3"),
            }
        inner |= {"se.reduce": ("se.conv_reduce", ""), "se.expand": ("se.conv_expand", "")}
        for ours, (own, norm) in inner.items():
            names[f"blocks.{index}.{ours}"] = (f"{room}.{own}", f"{room}.{norm}")
    return names


def _torchvision(network: Network) -> dict[str, tuple[str, str]]:
    names = {
        "stem": ("layers.0", "layers.1"),
        "blocks.0.depthwise": ("layers.3", "layers.4"),
        "blocks.0.project": ("layers.6", "layers.7"),
        "head": ("layers.14", "layers.15"),
        "classifier": ("classifier.1", ""),
    }
    for index, stage, repeat in _flat(network)[1:]:
        room = f"layers.{7 + stage}.{repeat}.layers"
        for place, ours in ((0, "expand"), (3, "depthwise"), (6, "project")):
            names[f"blocks.{index}.{ours}"] = (f"{room}.{place}", f"{room}.{place + 1}")
    return names
