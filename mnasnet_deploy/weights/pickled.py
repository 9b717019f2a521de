"""PyTorch's .pth files without PyTorch, and without running what is in them.

A .pth file holds a pickle, which may name any function and have it called. Here it can name nothing
but the parts of tensors: every opcode is looked at first, and every name goes through one list.
Tensors stay in the file until they are read. Both formats: the zip archive (PyTorch 1.6 and later)
and the older sequence of pickles (torch/serialization.py, `_legacy_save`).
"""

import io
import math
import pickle
import pickletools
import struct
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.lib.stride_tricks import as_strided

from mnasnet_deploy.errors import WeightsError
from mnasnet_deploy.weights.stored import ITEM_BYTES, Stored

__all__ = ["read_pth"]

MAX_PICKLE_BYTES: Final = 2**26
MAX_OPCODES: Final = 2_000_000
MAX_ENTRIES: Final = 100_000
_LEGACY_MAGIC: Final = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL: Final = 1001

_STORAGES: Final = {
    "FloatStorage": "float32", "DoubleStorage": "float64", "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16", "LongStorage": "int64", "IntStorage": "int32",
    "ShortStorage": "int16", "CharStorage": "int8", "ByteStorage": "uint8", "BoolStorage": "bool",
}  # fmt: skip
# What torch.save writes for plain data and tensors (pickle protocol 2 to 4). No opcode that
# allocates by a number in the file, none that makes objects of classes.
_OPCODES: Final = frozenset(
    """PROTO FRAME STOP MARK POP POP_MARK DUP NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG
    LONG1 FLOAT BINFLOAT UNICODE SHORT_BINUNICODE BINUNICODE BINUNICODE8 SHORT_BINBYTES BINBYTES
    STRING BINSTRING SHORT_BINSTRING EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_LIST LIST APPEND
    APPENDS EMPTY_DICT DICT SETITEM SETITEMS GET BINGET LONG_BINGET PUT BINPUT LONG_BINPUT MEMOIZE
    GLOBAL STACK_GLOBAL REDUCE BUILD NEWOBJ BINPERSID""".split()  # noqa: SIM905  # a page of quotes
)
_MEMO: Final = frozenset(("PUT", "BINPUT", "LONG_BINPUT"))


@dataclass(frozen=True, slots=True)
class _Storage:
    """Elements that lie in the file."""

    dtype: str
    count: int
    read: Callable[[], bytes]


class _Sealed:
    """Something the pickle may hold and hand on, and cannot look into or change."""

    __slots__ = ("content",)
    content: Any

    def __init__(self, content: object) -> None:
        object.__setattr__(self, "content", content)

    def __setattr__(self, name: str, value: object) -> None:
        raise pickle.UnpicklingError("it changes what it names")


class _Callable(_Sealed):
    """The same that can be called."""

    __slots__ = ()

    def __call__(self, *arguments: Any) -> Any:
        return self.content(*arguments)


class _Ignored:
    """Stands for a trainer's options: takes anything, does nothing."""

    __slots__ = ()

    def __setstate__(self, state: object) -> None:
        """Forget it."""


def read_pth(path: Path, *, averaged: bool = True) -> tuple[dict[str, Stored], bool | None]:
    """Read the state dict of a .pth file.

    In a trainer's file, `state_dict_ema` (or `model_ema`) is taken where it is, else `state_dict`
    (or `model`); `module.` in front of all names is dropped.

    Args:
        path: the file.
        averaged: False passes the moving averages by.

    Returns:
        Tensors by name, and whether they are moving averages; None where the file does not say.

    Raises:
        WeightsError: not whole, not PyTorch's, or a pickle that names more than tensors; the
            message says what it names.
    """
    try:
        with path.open("rb") as file:
            content = _read_zip(path, file) if zipfile.is_zipfile(file) else _read_legacy(path)
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error.strerror or error}") from None
    except _BROKEN as error:
        reason = str(error).strip().splitlines()
        raise WeightsError(
            f"{path.name} is no whole PyTorch file ({reason[0] if reason else 'it ends early'})"
        ) from error
    return _state_dict(content, path.name, averaged=averaged)


_BROKEN = (
    pickle.UnpicklingError, zipfile.BadZipFile, EOFError, ValueError, TypeError, KeyError,
    IndexError, AttributeError, OverflowError, MemoryError, RecursionError, struct.error,
    NotImplementedError, RuntimeError,
)  # fmt: skip


def _state_dict(
    content: object, name: str, *, averaged: bool
) -> tuple[dict[str, Stored], bool | None]:
    found, average = content, None
    if isinstance(content, Mapping):
        keys = [("state_dict_ema", True), ("model_ema", True)] * averaged
        for key, kind in [*keys, ("state_dict", False), ("model", False)]:
            if isinstance(content.get(key), Mapping):
                found, average = content[key], kind
                break
    if not isinstance(found, Mapping):
        raise WeightsError(f"{name} holds no state dict (save model.state_dict())")
    tensors = {
        str(key): value.content
        for key, value in found.items()
        if isinstance(value, _Sealed) and isinstance(value.content, Stored)
    }
    if not tensors:
        raise WeightsError(f"{name} holds no tensors (save model.state_dict())")
    if all(key.startswith("module.") for key in tensors):
        tensors = {key.removeprefix("module."): value for key, value in tensors.items()}
    return tensors, average


# ---- the zip format


def _read_zip(path: Path, file: BinaryIO) -> object:
    file.seek(0)
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
        if len(entries) > MAX_ENTRIES:
            raise ValueError("too many entries")
        sizes: dict[str, int] = {}
        places: dict[str, zipfile.ZipInfo] = {}
        for entry in entries:
            if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
                raise ValueError("its entries are compressed, PyTorch never does that")
            sizes[entry.filename] = entry.file_size
            places[entry.filename] = entry
        pickles = [name for name in sizes if name == "data.pkl" or name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise ValueError("no data.pkl in it")
        root = pickles[0].removesuffix("data.pkl")
        order = f"{root}byteorder"
        if order in sizes and sizes[order] < 16 and archive.read(order).strip() != b"little":
            raise ValueError("it is big-endian")
        if sizes[pickles[0]] > MAX_PICKLE_BYTES:
            raise ValueError("its pickle is too large for a list of tensors")
        data = archive.read(pickles[0])

    def storage(identity: tuple[Any, ...]) -> _Storage:
        dtype, key, count = _identity(identity)
        name = f"{root}data/{key}"
        if sizes.get(name) != count * ITEM_BYTES[dtype]:
            raise ValueError(f"{name} is missing or has not {count} elements")
        return _Storage(dtype, count, partial(_read_entry, path, places[name]))

    return _load(io.BytesIO(data), path.name, storage)


def _read_entry(path: Path, entry: zipfile.ZipInfo) -> bytes:
    """The bytes of an uncompressed entry, without reading the list of all entries again."""
    try:
        with path.open("rb") as file:
            file.seek(entry.header_offset)
            # PKWARE's APPNOTE 4.3.7: lengths of the name and of the extra field end the header.
            name, extra = struct.unpack("<26xHH", file.read(30))
            file.seek(name + extra, 1)
            content = file.read(entry.file_size)
    except (OSError, struct.error) as error:
        raise WeightsError(f"{path.name}: {entry.filename} cannot be read ({error})") from error
    if len(content) != entry.file_size or zlib.crc32(content) != entry.CRC:
        raise WeightsError(f"{path.name} is damaged: the checksum of {entry.filename} fails")
    return content


# ---- the format before PyTorch 1.6


def _read_legacy(path: Path) -> object:
    size = path.stat().st_size
    with path.open("rb") as file:
        # Four pickles stand in front of the elements; none needs more than this in all.
        head = io.BytesIO(file.read(MAX_PICKLE_BYTES))

    def refuse(_: tuple[Any, ...]) -> _Storage:
        raise ValueError("a tensor where none belongs")

    if head.getvalue()[:1] != b"\x80" or _load(head, path.name, refuse) != _LEGACY_MAGIC:
        raise ValueError("it does not begin as one")
    if _load(head, path.name, refuse) != _LEGACY_PROTOCOL:
        raise ValueError("an unknown protocol")
    system = _load(head, path.name, refuse)
    if not isinstance(system, Mapping) or system.get("little_endian") is not True:
        raise ValueError("it is big-endian")
    places: dict[str, tuple[int, int]] = {}
    storages: dict[str, tuple[str, int]] = {}

    def storage(identity: tuple[Any, ...]) -> _Storage:
        dtype, key, count = _identity(identity)
        storages[key] = (dtype, count)
        return _Storage(dtype, count, lambda: _read_part(path, *places[key]))

    content = _load(head, path.name, storage)
    keys = _load(head, path.name, refuse)
    if not isinstance(keys, list) or set(map(str, keys)) != set(storages):
        raise ValueError("its list of storages does not fit")
    position = head.tell()
    for key in map(str, keys):
        dtype, count = storages[key]
        # The number of elements stands in front of them once more.
        stored = struct.unpack("<q", _read_part(path, position, 8))[0]
        length = count * ITEM_BYTES[dtype]
        if stored != count or position + 8 + length > size:
            raise ValueError("it ends early")
        places[key] = (position + 8, length)
        position += 8 + length
    return content


def _read_part(path: Path, start: int, length: int) -> bytes:
    with path.open("rb") as file:
        file.seek(start)
        content = file.read(length)
    if len(content) != length:
        raise WeightsError(f"{path.name} is truncated")
    return content


# ---- the pickle


def _identity(identity: tuple[Any, ...]) -> tuple[str, str, int]:
    """Element type, key and number of elements of ('storage', type, key, location, count, ...)."""
    kind = identity[1].content if len(identity) > 4 and isinstance(identity[1], _Sealed) else None
    if identity[:1] != ("storage",) or kind not in ITEM_BYTES:
        raise ValueError("a storage of another form")
    count = identity[4]
    if type(count) is not int or count < 0 or (len(identity) > 5 and identity[5] is not None):
        raise ValueError("a storage of another form")
    return kind, str(identity[2]), count


class _Unpickler(pickle.Unpickler):
    def __init__(
        self, file: BinaryIO, label: str, storage: Callable[[tuple[Any, ...]], _Storage]
    ) -> None:
        super().__init__(file)
        self.label, self.storage = label, storage

    def find_class(self, module: str, name: str) -> Any:
        return _lookup(module, name, self.label)

    def persistent_load(self, identity: Any) -> _Sealed:
        return _Sealed(self.storage(identity if isinstance(identity, tuple) else ()))


def _load(file: BinaryIO, label: str, storage: Callable[[tuple[Any, ...]], _Storage]) -> Any:
    start = file.tell()
    _inspect(file, label)
    file.seek(start)
    return _Unpickler(file, label, storage).load()


def _inspect(file: BinaryIO, label: str) -> None:
    """Look at every opcode before any is carried out; leave the file wherever."""
    refused: dict[str, None] = {}
    memo = 0
    for count, (opcode, argument, _) in enumerate(pickletools.genops(file)):
        if count > MAX_OPCODES:
            raise ValueError("its pickle is too long for a list of tensors")
        if opcode.name not in _OPCODES:
            raise WeightsError(
                f"{label} is not read: its pickle does more than hold tensors ({opcode.name}); "
                "save model.state_dict(), or convert it to safetensors where you trust it"
            )
        if opcode.name == "GLOBAL":
            module, _, name = str(argument).partition(" ")
            if (module, name) not in _ALLOWED:
                refused[f"{module}.{name}"] = None
        elif opcode.name in _MEMO:
            # The reader makes room up to the largest number.
            if int(str(argument)) > memo + 1_000_000:
                raise ValueError("its memo leaps")
            memo = max(memo, int(str(argument)))
    if refused:
        _refuse(label, ", ".join(refused))


def _lookup(module: str, name: str, label: str) -> Any:
    if (module, name) not in _ALLOWED:
        _refuse(label, f"{module}.{name}")
    return _ALLOWED[module, name]


def _refuse(label: str, names: str) -> None:
    raise WeightsError(
        f"{label} is not read: its pickle names {names[:400]}, and only tensors are let in; save "
        "model.state_dict(), or convert it to safetensors where you trust it"
    )


def _tensor(sealed: Any, offset: Any, size: Any, stride: Any, *_: Any) -> _Sealed:
    """What torch._utils._rebuild_tensor_v2 is called with, within the bounds of its storage."""
    numbers = (offset, *size, *stride)
    storage = sealed.content if isinstance(sealed, _Sealed) else None
    if not isinstance(storage, _Storage) or len(size) != len(stride):
        raise ValueError("a tensor of another form")
    if any(type(number) is not int or not 0 <= number < 2**48 for number in numbers):
        raise ValueError("a tensor of another form")
    count = math.prod(size)
    last = offset + sum((side - 1) * step for side, step in zip(size, stride, strict=True))
    if count and (last >= storage.count or count > storage.count):
        raise ValueError("a tensor reaches beyond its storage")
    read = partial(_gather, storage, offset, tuple(size), tuple(stride))
    return _Sealed(Stored(dtype=storage.dtype, shape=tuple(size), read=read))


def _gather(
    storage: _Storage, offset: int, size: tuple[int, ...], stride: tuple[int, ...]
) -> bytes:
    width = ITEM_BYTES[storage.dtype]
    items = np.frombuffer(storage.read(), np.dtype((np.void, width)))
    if 0 in size:
        return b""
    view = as_strided(items[offset:], size, [step * width for step in stride], writeable=False)
    return view.tobytes()


def _parameter(tensor: Any, *_: Any) -> Any:
    return tensor


_ALLOWED: Final[dict[tuple[str, str], Any]] = {
    ("collections", "OrderedDict"): _Callable(OrderedDict),
    ("torch._utils", "_rebuild_tensor_v2"): _Callable(_tensor),
    ("torch._utils", "_rebuild_tensor"): _Callable(_tensor),
    ("torch._utils", "_rebuild_parameter"): _Callable(_parameter),
    ("torch", "Size"): _Callable(tuple),
    # timm's trainer keeps its options beside the weights.
    ("argparse", "Namespace"): _Ignored,
    **{("torch", name): _Sealed(dtype) for name, dtype in _STORAGES.items()},
}
