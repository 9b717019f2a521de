"""Keras files of this tool's own `keras_model` -> canonical weights.

    .keras          a zip: config.json says what the layers are, model.weights.h5 holds the tensors
    .weights.h5     those tensors alone
    .h5             the older form of both
    SavedModel      a TensorFlow bundle; names stand in its object graph. Needs no h5py.

Names are those of `export.tensorflow.layer_name`: `block4_se_reduce/kernel`,
`block4_depthwise_bn/gamma`. What the optimizer and the training loop keep is passed by.
"""

import contextlib
import io
import json
import re
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

from mnasnet_deploy.errors import NotReadyError, WeightsError
from mnasnet_deploy.weights.bundle import Bundle, fields_of
from mnasnet_deploy.weights.source import WeightSource
from mnasnet_deploy.weights.stored import (
    ITEM_BYTES,
    MAX_ELEMENTS,
    Found,
    Named,
    Place,
    Stored,
    collect,
)

__all__ = ["OBJECT_GRAPH", "from_bundle", "from_h5", "from_keras_file"]

OBJECT_GRAPH: Final = "_CHECKPOINTABLE_OBJECT_GRAPH"
MAX_CONFIG_BYTES: Final = 2**26
MAX_WEIGHTS_BYTES: Final = 4 * MAX_ELEMENTS
MAX_DEPTH: Final = 16
PYTORCH_EPSILON: Final = 1e-5

_NAME = re.compile(
    r"(?:.*/)?(?P<layer>stem|head|classifier|block(?P<block>\d{1,3})_(?P<inner>expand|depthwise"
    r"|project|se_reduce|se_expand))(?P<norm>_bn)?/"
    r"(?P<part>kernel|depthwise_kernel|bias|gamma|beta|moving_mean|moving_variance)"
)
_PARTS = {"depthwise_kernel": "kernel", "moving_mean": "mean", "moving_variance": "variance"}
# Variables of a layer in the order Keras numbers them, by the number of its axes or its kind.
_NORM_PARTS = ("gamma", "beta", "moving_mean", "moving_variance")
_KERNEL_PARTS = ("kernel", "bias")
_PAD = re.compile(r"(?:stem|block\d+_depthwise)_pad")
_PAD_IN_GRAPH = re.compile(rb"(?:stem|block\d+_depthwise)_pad")
_SNAKE = {
    "Conv2D": "conv2d", "DepthwiseConv2D": "depthwise_conv2d", "Dense": "dense",
    "BatchNormalization": "batch_normalization",
}  # fmt: skip
_BROKEN_H5 = (OSError, KeyError, RuntimeError, ValueError, TypeError, AttributeError, MemoryError)
_BROKEN_ZIP = (zipfile.BadZipFile, LookupError, ValueError, TypeError, AttributeError, EOFError,
               RecursionError, NotImplementedError, RuntimeError)  # fmt: skip


def from_keras_file(path: Path, label: str) -> Found:
    """Read a .keras file.

    Raises:
        WeightsError: not a whole .keras file, or not of `keras_model`.
        NotReadyError: h5py is not installed.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            limits = {"config.json": MAX_CONFIG_BYTES, "model.weights.h5": MAX_WEIGHTS_BYTES}
            for name, limit in limits.items():
                if archive.getinfo(name).file_size > limit:
                    raise ValueError(f"{name} is too large")
            config = json.loads(archive.read("config.json"))
            content = archive.read("model.weights.h5")
        layers, wrapped = _network_layers(config)
        names = {str(layer["config"]["name"]) for layer in layers}
        epsilons = {
            float(layer["config"]["epsilon"])
            for layer in layers
            if layer["class_name"] == "BatchNormalization"
        }
        side = _side(layers)
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error.strerror or error}") from None
    except _BROKEN_ZIP as error:
        raise WeightsError(f"{label} is no whole .keras file ({error})") from error
    if len(epsilons) > 1:
        raise WeightsError(f"{label} has batch norms with different epsilons: {sorted(epsilons)}")
    notes = ("what stands around the network in its model is left out",) * wrapped
    with _opened(io.BytesIO(content), label) as file:
        named = dict(_h5_tensors(file, _numbered(layers), label))
        return _found(
            named, "Keras file", label, names, epsilon=next(iter(epsilons), None), side=side,
            notes=notes,
        )  # fmt: skip


def from_h5(path: Path, label: str) -> Found:
    """Read a .weights.h5 or .h5 file.

    Raises:
        WeightsError: not a whole HDF5 file, or not of `keras_model`.
        NotReadyError: h5py is not installed.
    """
    with _opened(path, label) as file:
        layers: set[str] = set()
        named = dict(_h5_tensors(file, {}, label, layers))
        return _found(named, "Keras weights in HDF5", label, layers)


def from_bundle(bundle: Bundle, label: str, graph: Path | None) -> Found:
    """Read the variables of a SavedModel, or of a checkpoint of tf.train.Checkpoint.

    Args:
        bundle: what its index lists.
        label: the name a user knows it by.
        graph: saved_model.pb, where there is one: it tells whether pads stand in the model.

    Raises:
        WeightsError: not of `keras_model`.
    """
    named = {}
    try:
        for node in fields_of(bundle.text(OBJECT_GRAPH)).get(1, []):
            for attribute in fields_of(_bytes(node)).get(2, []):
                fields = fields_of(_bytes(attribute))
                name, key = (_bytes(fields.get(i, [b""])[0]).decode() for i in (2, 3))
                if name and key in bundle.tensors:
                    named[name] = bundle.tensors[key]
    except (ValueError, IndexError, KeyError) as error:
        raise WeightsError(f"{label}: its object graph is not readable ({error})") from error
    layers: set[str] = set()
    if graph is not None:
        try:
            with graph.open("rb") as file:
                content = file.read(MAX_CONFIG_BYTES)
        except OSError as error:
            raise WeightsError(f"cannot read {graph}: {error.strerror or error}") from None
        layers |= {match[0].decode() for match in _PAD_IN_GRAPH.finditer(content)}
        if b"block0_add" in content:
            layers.add("block0_add")
    return _found(named, "SavedModel of Keras", label, layers)


def _found(
    named: Named,
    kind: str,
    label: str,
    layers: Iterable[str],
    *,
    epsilon: float | None = None,
    side: int | None = None,
    notes: tuple[str, ...] = (),
) -> Found:
    """Map names; the layers beside them tell padding and residual."""
    places: dict[str, Place] = {}
    unused = []
    for name in named:
        match = _NAME.fullmatch(name)
        if match is None:
            if not _is_training(name):
                unused.append(name)
            continue
        room = match["layer"]
        if match["block"]:
            room = f"blocks.{int(match['block'])}.{match['inner'].replace('_', '.')}"
        part = _PARTS.get(match["part"], match["part"])
        places[f"{room}.bn.{part}" if match["norm"] else f"{room}.{part}"] = Place(name=name)
    if "stem.kernel" not in places:
        first = ", ".join(list(named)[:3]) or "nothing"
        raise WeightsError(
            f"{label} is not of this tool's keras_model: it holds {first} and no stem/kernel"
        )
    tensors, converted = collect(named, places, label)
    known = set(layers)
    symmetric = any(map(_PAD.fullmatch, known))
    if epsilon is None and symmetric:
        epsilon = PYTORCH_EPSILON
        notes = (*notes, f"it does not say its epsilon: {epsilon:g}, PyTorch's, as its padding")
    return Found(
        name=label,
        kind=kind,
        tensors=tensors,
        places={canonical: place.name for canonical, place in places.items()},
        unused=tuple(unused),
        source=WeightSource(
            label=label,
            trained=True,
            padding="symmetric" if symmetric else "same",
            residual="real" if symmetric or "block0_add" in known else "declared",
            batch_norm_epsilon=epsilon,
            notes=(*notes, *converted),
        ),
        resolution=side,
    )


def _is_training(name: str) -> bool:
    """Whether a name is of an optimizer, a metric, a counter or a random generator."""
    return bool(
        re.search(
            r"(?:^|/)(?:optimizer|adam\w*|sgd|rmsprop|iteration|learning_rate|seed_generator\w*"
            r"|count|total|save_counter|_?optimizer_variables|compile_metrics|metrics?)(?:/|$|:)",
            name,
            re.IGNORECASE,
        )
    )


# ---- config.json


def _network_layers(config: Any, depth: int = 0) -> tuple[list[dict[str, Any]], bool]:
    """The layers of the model that holds `stem`, and whether another model stands around it."""
    layers = config["config"]["layers"]
    if any(layer["config"].get("name") == "stem" for layer in layers):
        return layers, depth > 0
    for layer in layers:
        if "layers" in layer["config"] and depth < MAX_DEPTH:
            with contextlib.suppress(LookupError):
                return _network_layers(layer, depth + 1)
    raise LookupError("no layer 'stem' in it: it is not of this tool's keras_model")


def _side(layers: Iterable[Mapping[str, Any]]) -> int | None:
    """Side of the input, where the model has a square one."""
    for layer in layers:
        if layer["class_name"] == "InputLayer":
            shape: list[Any] = list(layer["config"].get("batch_shape") or ())
            if len(shape) == 4 and shape[1] == shape[2] and type(shape[1]) is int:
                return int(shape[1])
    return None


def _numbered(layers: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Keras' name of a layer in the HDF5 file (`conv2d_3`) -> its own name."""
    counts: dict[str, int] = {}
    names = {}
    for layer in layers:
        kind = _SNAKE.get(layer["class_name"])
        if kind:
            number = counts.get(kind, 0)
            counts[kind] = number + 1
            names[f"{kind}_{number}" if number else kind] = str(layer["config"]["name"])
    return names


# ---- HDF5


@contextlib.contextmanager
def _opened(source: Path | io.BytesIO, label: str) -> Iterator[Any]:
    try:
        import h5py
    except ImportError as error:
        raise NotReadyError(
            f"reading Keras' HDF5 needs h5py ({error}): pip install 'mnasnet-deploy[tensorflow]'"
        ) from error
    try:
        file = h5py.File(source, "r")
    except _BROKEN_H5 as error:
        raise WeightsError(f"{label} is no whole HDF5 file ({error})") from error
    try:
        with file:
            yield file
    except _BROKEN_H5 as error:
        raise WeightsError(f"{label} is a damaged HDF5 file ({error})") from error


def _h5_tensors(
    file: Any, numbered: Mapping[str, str], label: str, layers: set[str] | None = None
) -> Iterator[tuple[str, Stored]]:
    """Names and tensors; the names of all layers are collected on the way."""
    for path, item, owner in _walk(file, (), ""):
        if item is None:
            if layers is not None and owner:
                layers.add(owner)
            continue
        if path[0] == "optimizer" or "optimizer_weights" in path or item.dtype.kind != "f":
            continue
        if path[-2:-1] == ("vars",):
            layer = owner or numbered.get(path[-3] if len(path) > 2 else "", "")
            if not layer and len(path) > 2:
                raise WeightsError(
                    f"{label} does not name its layers: save the whole model as .keras"
                )
            number = int(path[-1])
            parts = _NORM_PARTS if layer.endswith("_bn") else _KERNEL_PARTS
            yield f"{layer}/{parts[number] if number < len(parts) else number}", _stored(item)
        else:  # the older form names everything: model_weights/stem/stem/kernel:0
            yield "/".join(path[-2:]).removesuffix(":0"), _stored(item)


def _walk(
    group: Any, path: tuple[str, ...], owner: str
) -> Iterator[tuple[tuple[str, ...], Any, str]]:
    """Datasets below a group that lie in this very file; groups give (path, None, layer)."""
    import h5py

    if len(path) > MAX_DEPTH:
        raise ValueError("nested too deep")
    name = group.attrs.get("name", "") if path and path[-1] == "vars" else ""
    owner = name.decode() if isinstance(name, bytes) else str(name)
    if not owner and len(path) > 1 and path[0] == "model_weights":
        owner = path[1]
    yield path, None, owner
    for key in group:
        if not isinstance(group.get(key, getlink=True), h5py.HardLink):
            raise ValueError(f"{key} lies in another file")
        item = group[key]
        if isinstance(item, h5py.Group):
            yield from _walk(item, (*path, key), "")
        elif isinstance(item, h5py.Dataset):
            yield (*path, key), item, owner


def _stored(dataset: Any) -> Stored:
    size = int(dataset.size)
    if dataset.external is not None or dataset.is_virtual:
        raise ValueError(f"{dataset.name} lies in another file")
    if size * dataset.dtype.itemsize > dataset.id.get_storage_size():
        raise ValueError(f"{dataset.name} is compressed or not whole")
    kind = str(dataset.dtype.name)
    if kind not in ITEM_BYTES:
        raise ValueError(f"{dataset.name} is of type {kind}")
    return Stored(dtype=kind, shape=tuple(map(int, dataset.shape)), read=partial(_read, dataset))


def _read(dataset: Any) -> bytes:
    values = dataset[()]
    return bytes(values.astype(values.dtype.newbyteorder("<")).tobytes())


def _bytes(value: int | bytes) -> bytes:
    if not isinstance(value, bytes):
        raise ValueError("a number where a message belongs")
    return value
