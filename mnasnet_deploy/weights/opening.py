"""A file or folder of weights of any kind -> what is in it. Its content decides, not its name."""

import itertools
import json
import re
import stat
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

from safetensors import SafetensorError, deserialize

from mnasnet_deploy.errors import WeightsError
from mnasnet_deploy.weights import keras, pytorch
from mnasnet_deploy.weights.archive import extract
from mnasnet_deploy.weights.bundle import INDEX_MAGIC, read_bundle
from mnasnet_deploy.weights.canonical import METADATA_KEY, source_from_json
from mnasnet_deploy.weights.pickled import read_pth
from mnasnet_deploy.weights.scratch import scratch_folder
from mnasnet_deploy.weights.source import WeightSource
from mnasnet_deploy.weights.stored import Found, Place, Stored, collect
from mnasnet_deploy.weights.tensorflow import from_official, is_official, resolve_prefix

__all__ = ["is_there", "open_weights"]

MAX_SAFETENSORS_BYTES: Final = 2**32
MAX_DEPTH: Final = 4
MAX_NAMES: Final = 10_000
_HUB_FILES: Final = ("model.safetensors", "pytorch_model.bin")
_MARKS: Final = frozenset(("checkpoint", "saved_model.pb", *_HUB_FILES))
_HDF5 = b"\x89HDF\r\n\x1a\n"
_BUNDLE_FILE = re.compile(r"(?P<prefix>.+)\.(?:index|meta|data-\d{5}-of-\d{5})")
_SAFETENSORS_TYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64",
    "I32": "int32", "I16": "int16", "I8": "int8", "U8": "uint8", "BOOL": "bool",
}  # fmt: skip
KNOWN: Final = (
    "a checkpoint or SavedModel of TensorFlow, .pth or .safetensors of timm or torchvision, .keras "
    "or .h5 of this tool's keras_model, canonical .safetensors, or a .tgz of one of these"
)


def open_weights(path: Path, *, averaged: bool = True) -> Found:
    """Read weights of any kind known here.

    Args:
        path: a file, a folder, or the prefix of a checkpoint (`.../model.ckpt-1000`).
        averaged: moving averages where there are any; False takes the raw variables.

    Raises:
        WeightsError: missing, damaged, or of no kind known here.
        NotReadyError: a Keras file without h5py, or the disk is full.
    """
    label = path.name or path.resolve().name
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        if path.with_name(f"{label}.index").is_file():
            return _bundle(path, label, averaged=averaged)
        others = sorted(path.parent.glob("*.index")) if path.parent.is_dir() else []
        beside = f"; beside it lie {', '.join(each.stem for each in others[:8])}" if others else ""
        raise WeightsError(
            f"no weights file {path}{beside} ('mnasnet weights list' shows published ones)"
        ) from None
    except (OSError, ValueError) as error:
        raise WeightsError(f"cannot read {path}: {error}") from None
    if stat.S_ISDIR(mode):
        return _folder(path, label, averaged=averaged)
    if not stat.S_ISREG(mode):
        raise WeightsError(f"{path} is neither a file nor a folder")
    return _file(path, label, averaged=averaged)


def is_there(path: Path) -> bool:
    """Whether there is a file, a folder, or a checkpoint of that prefix."""
    try:
        return path.exists() or path.with_name(f"{path.name}.index").exists()
    except (OSError, ValueError):
        return False


def _file(path: Path, label: str, *, averaged: bool) -> Found:
    try:
        with path.open("rb") as file:
            head = file.read(512)
            file.seek(max(0, path.stat().st_size - len(INDEX_MAGIC)))
            tail = file.read()
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error.strerror or error}") from None
    if head[8:9] == b"{":
        return _of_hub(_safetensors(path, label), path)
    if tail == INDEX_MAGIC or (_BUNDLE_FILE.fullmatch(path.name) and _index_of(path).is_file()):
        return _bundle(_index_of(path).with_suffix(""), label, averaged=averaged)
    if path.name in ("saved_model.pb", "checkpoint"):
        return _folder(path.parent, path.resolve().parent.name, averaged=averaged)
    if head.startswith(_HDF5):
        return keras.from_h5(path, label)
    if head[4:8] == b"TFL3":
        raise WeightsError(f"{label} is a .tflite file: weights are read from what it was made of")
    if head.startswith(b"PK"):
        return _of_hub(_zip(path, label, averaged=averaged), path)
    if head.startswith(b"\x80"):
        return _of_hub(_pth(path, label, averaged=averaged), path)
    if head[:2] == b"\x1f\x8b" or head[:3] == b"BZh" or head[:6] == b"\xfd7zXZ\0" or (
        head[257:262] == b"ustar"
    ):  # fmt: skip
        with scratch_folder(label) as folder:
            unpacked = folder / "archive"
            extract(path, unpacked)
            try:
                return _folder(unpacked, label, averaged=averaged)
            except WeightsError as error:  # it names a file that the user has never seen
                if label in str(error):
                    raise
                raise WeightsError(f"{label}: {error}") from error
    if path.suffix == ".safetensors":  # it says what is wrong
        return _safetensors(path, label)
    raise WeightsError(f"{label} holds no weights of a kind known here: give {KNOWN}")


def _index_of(path: Path) -> Path:
    match = _BUNDLE_FILE.fullmatch(path.name)
    return path.with_name(f"{match['prefix']}.index") if match else path


def _folder(path: Path, label: str, *, averaged: bool, depth: int = 0) -> Found:
    """Look for weights in a folder, and in the one folder below it that has some."""
    try:
        entries = sorted(path.iterdir())
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error.strerror or error}") from None
    names = {entry.name for entry in entries}
    listed = "checkpoint" in names and (path / "checkpoint").is_file()
    if listed or any(entry.suffix == ".index" for entry in entries):
        prefix = resolve_prefix(path)
        graph = path.parent / "saved_model.pb" if path.name == "variables" else None
        return _bundle(prefix, label, averaged=averaged, graph=graph)
    if "saved_model.pb" in names:
        prefix = path / "variables" / "variables"
        return _bundle(prefix, label, averaged=averaged, graph=path / "saved_model.pb")
    for name in _HUB_FILES:
        if name in names:
            return _file(path / name, label, averaged=averaged)
    left = [MAX_NAMES]
    inner = [entry for entry in entries if entry.is_dir() and _promising(entry, left)]
    # Of what a publisher puts beside each other, this is what was made to be used.
    inner = [entry for entry in inner if entry.name == "saved_model"] or inner
    if len(inner) == 1 and depth < MAX_DEPTH:
        return _folder(inner[0], label, averaged=averaged, depth=depth + 1)
    if inner:
        shown = ", ".join(entry.name for entry in inner[:8])
        raise WeightsError(f"{label} holds several folders of weights: name one of {shown}")
    raise WeightsError(f"{label} holds no weights of a kind known here: give {KNOWN}")


def _promising(folder: Path, left: list[int], depth: int = 0) -> bool:
    """Whether a folder or one below it holds weights; looks at as many names as are left."""
    try:
        entries = list(itertools.islice(folder.iterdir(), left[0] + 1))
    except OSError:  # not ours to read
        return False
    left[0] -= len(entries)
    if left[0] < 0:
        raise WeightsError(
            f"{folder} and what lies beside it are more than {MAX_NAMES} files: name the weights "
            "themselves"
        )
    if any(entry.suffix == ".index" or entry.name in _MARKS for entry in entries):
        return True
    return depth < MAX_DEPTH and any(
        entry.is_dir() and not entry.is_symlink() and _promising(entry, left, depth + 1)
        for entry in entries
    )


def _bundle(prefix: Path, label: str, *, averaged: bool, graph: Path | None = None) -> Found:
    bundle = read_bundle(prefix)
    if keras.OBJECT_GRAPH in bundle.texts and not is_official(bundle.tensors):
        return keras.from_bundle(bundle, label, graph)
    return from_official(prefix, label, averaged=averaged)


def _zip(path: Path, label: str, *, averaged: bool) -> Found:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (OSError, zipfile.BadZipFile, ValueError) as error:
        raise WeightsError(f"{label} is truncated or damaged ({error})") from error
    if {"config.json", "model.weights.h5"} <= set(names):
        return keras.from_keras_file(path, label)
    if any(name == "data.pkl" or name.endswith("/data.pkl") for name in names):
        return _pth(path, label, averaged=averaged)
    raise WeightsError(f"{label} is a zip archive without weights of a kind known here")


def _pth(path: Path, label: str, *, averaged: bool) -> Found:
    named, average = read_pth(path, averaged=averaged)
    return pytorch.from_state_dict(named, label, averaged=average)


def _of_hub(found: Found, path: Path) -> Found:
    """What a file of the Hugging Face hub holds, used as the config.json beside it says."""
    config = path.with_name("config.json")
    if path.name in _HUB_FILES and found.source.family and config.is_file():
        return pytorch.with_config(found, config)
    return found


def _safetensors(path: Path, label: str) -> Found:
    """Canonical names, or those of timm and torchvision."""
    try:
        if path.stat().st_size > MAX_SAFETENSORS_BYTES:
            raise ValueError("it is larger than 4 GiB")
        content = path.read_bytes()
        named = {
            name: Stored(
                dtype=_SAFETENSORS_TYPES.get(entry["dtype"], entry["dtype"]),
                shape=tuple(entry["shape"]),
                read=partial(bytes, entry["data"]),
            )
            for name, entry in deserialize(content)  # type: ignore[no-untyped-call]
        }
        length = int.from_bytes(content[:8], "little")
        metadata = json.loads(content[8 : 8 + length]).get("__metadata__") or {}
    except (OSError, SafetensorError, ValueError, TypeError, AttributeError, KeyError,
            RecursionError) as error:  # fmt: skip
        raise WeightsError(
            f"{path.name} is not a readable safetensors file ({error}): fetch or copy it again"
        ) from error
    if pytorch.is_state_dict(named):
        return pytorch.from_state_dict(_without_module(named), label)
    if _without_module(named) is not named:
        return pytorch.from_state_dict(_without_module(named), label)
    if METADATA_KEY not in metadata and "stem.kernel" not in named:
        first = ", ".join(list(named)[:3]) or "nothing"
        raise WeightsError(f"{label} holds {first}, ...: neither canonical names nor timm's")
    places = {name: Place(name=name) for name in named}
    tensors, notes = collect(named, places, label)
    source = WeightSource(label=label, trained=True)
    if METADATA_KEY in metadata:
        source = source_from_json(metadata[METADATA_KEY], label)
    return Found(
        name=label,
        kind="canonical weights",
        tensors=tensors,
        places={name: name for name in tensors},
        unused=(),
        source=replace(source, notes=source.notes + notes),
    )


def _without_module(named: Mapping[str, Stored]) -> Mapping[str, Stored]:
    """The names without the `module.` that a parallel trainer puts in front of them."""
    if named and all(name.startswith("module.") for name in named):
        return {name.removeprefix("module."): stored for name, stored in named.items()}
    return named
