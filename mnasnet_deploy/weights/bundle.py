"""TensorFlow's checkpoints (`PREFIX.index`, `PREFIX.data-00000-of-00001`) without TensorFlow.

The index is a sorted table in LevelDB's format (tensorflow/core/lib/io/table_format.txt) of
BundleHeaderProto (the empty key) and BundleEntryProto (tensorflow/core/protobuf/
tensor_bundle.proto); the data files are the tensors' bytes one behind the other. Every block and
every tensor has a CRC-32C, all of which are checked.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

from mnasnet_deploy.errors import WeightsError
from mnasnet_deploy.weights.crc32c import crc32c, unmasked
from mnasnet_deploy.weights.stored import ITEM_BYTES, Stored

__all__ = ["INDEX_MAGIC", "Bundle", "Fields", "fields_of", "read_bundle"]

INDEX_MAGIC: Final = 0xDB4775248B80FB57.to_bytes(8, "little")
"""The last eight bytes of an index."""

FOOTER_BYTES: Final = 48
MAX_INDEX_BYTES: Final = 2**26
MAX_SHARDS: Final = 4096
MAX_ENTRIES: Final = 200_000
STRING: Final = 7
_DTYPES: Final = {
    1: "float32", 2: "float64", 3: "int32", 4: "uint8", 5: "int16", 6: "int8", STRING: "string",
    9: "int64", 10: "bool", 14: "bfloat16", 19: "float16",
}  # fmt: skip
_BROKEN = (IndexError, ValueError, struct.error, KeyError, OverflowError)

Fields = dict[int, list[int | bytes]]
"""A protocol buffer message: field number -> values in order."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """What an index lists: numeric tensors by name, and how to read the texts."""

    tensors: dict[str, Stored]
    texts: dict[str, Stored]

    def text(self, name: str) -> bytes:
        """The single string a text tensor holds."""
        # Its length as a varint, a checksum of the lengths, the bytes.
        content = bytes(self.texts[name].read())
        length, start = _varint(content, 0)
        return content[start + 4 : start + 4 + length]


def read_bundle(prefix: Path) -> Bundle:
    """Read an index; the tensors' bytes are read when they are asked for.

    Args:
        prefix: `.../model.ckpt-1000`, without `.index`.

    Raises:
        WeightsError: the index or a data file is missing, cut, damaged or of another kind.
    """
    index = prefix.with_name(f"{prefix.name}.index")
    try:
        if index.stat().st_size > MAX_INDEX_BYTES:
            raise WeightsError(f"{index.name} is too large to be the index of a checkpoint")
        content = index.read_bytes()
    except OSError as error:
        raise WeightsError(f"cannot read {index}: {error.strerror or error}") from None
    try:
        entries = list(_entries(content))
        if not entries or entries[0][0] != b"":
            raise ValueError("it has no header")
        shards = _header(fields_of(entries[0][1]))
        tensors = {key.decode(): _entry(value, prefix, shards) for key, value in entries[1:]}
    except _BROKEN as error:
        raise WeightsError(
            f"{index.name} is no whole index of a TensorFlow checkpoint ({error})"
        ) from error
    missing = [shard.name for shard in _shards(prefix, shards) if not shard.is_file()]
    if missing:
        raise WeightsError(f"{prefix.name} lacks {', '.join(missing)}: copy all parts of it")
    texts = {name: stored for name, stored in tensors.items() if stored.dtype == "string"}
    rest = {name: stored for name, stored in tensors.items() if name not in texts}
    return Bundle(rest, texts)


def fields_of(message: bytes) -> Fields:
    """Take a protocol buffer message apart; numbers stay as their wire type has them.

    Raises:
        ValueError, IndexError: it is none.
    """
    fields: Fields = {}
    position = 0
    while position < len(message):
        key, position = _varint(message, position)
        value: int | bytes
        match key & 7:
            case 0:
                value, position = _varint(message, position)
            case 1:
                value, position = message[position : position + 8], position + 8
            case 2:
                length, position = _varint(message, position)
                value, position = message[position : position + length], position + length
            case 5:
                (value,) = struct.unpack_from("<I", message, position)
                position += 4
            case kind:
                raise ValueError(f"wire type {kind}")
        if position > len(message):
            raise ValueError("a message is cut")
        fields.setdefault(key >> 3, []).append(value)
    return fields


def _varint(content: bytes, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = content[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise ValueError("a number has no end")


def _entries(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of the table, in order."""
    if len(content) < FOOTER_BYTES or content[-8:] != INDEX_MAGIC:
        raise ValueError("it does not end as one")
    footer = content[-FOOTER_BYTES:]
    _, position = _varint(footer, 0)  # place and size of the meta index: nothing we need
    _, position = _varint(footer, position)
    count = 0
    for _, handle in _block(content, *_handle(footer, position)):
        for entry in _block(content, *_handle(handle, 0)):
            count += 1
            if count > MAX_ENTRIES:
                raise ValueError("too many entries")
            yield entry


def _handle(content: bytes, position: int) -> tuple[int, int]:
    offset, position = _varint(content, position)
    size, _ = _varint(content, position)
    return offset, size


def _block(content: bytes, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of one block: each key repeats a prefix of the one before it."""
    end = offset + size
    if end + 5 > len(content):
        raise ValueError("a block ends behind the file")
    if content[end] != 0:
        raise ValueError("its blocks are compressed, which TensorFlow never does")
    (stored,) = struct.unpack_from("<I", content, end + 1)
    if crc32c(content[offset : end + 1]) != unmasked(stored):
        raise ValueError("a checksum does not hold")
    block = content[offset:end]
    (restarts,) = struct.unpack_from("<I", block, size - 4)
    stop = size - 4 - 4 * restarts
    if stop < 0:
        raise ValueError("a block is cut")
    position, key = 0, b""
    while position < stop:
        shared, position = _varint(block, position)
        own, position = _varint(block, position)
        length, position = _varint(block, position)
        if shared > len(key) or position + own + length > stop:
            raise ValueError("an entry ends behind its block")
        key = key[:shared] + block[position : position + own]
        position += own
        yield key, block[position : position + length]
        position += length


def _header(fields: Fields) -> int:
    """The number of data files."""
    shards = _number(fields, 1)
    if _number(fields, 2) != 0:
        raise ValueError("it is big-endian")
    if not 1 <= shards <= MAX_SHARDS:
        raise ValueError(f"{shards} data files")
    return shards


def _entry(value: bytes, prefix: Path, shards: int) -> Stored:
    fields = fields_of(value)
    if 7 in fields:
        raise ValueError("its tensors are cut into slices, which no MnasNet's are")
    dtype = _DTYPES.get(_number(fields, 1), f"number {_number(fields, 1)}")
    shape = tuple(
        _number(fields_of(_message(dimension)), 1)
        for dimension in fields_of(_message(fields.get(2, [b""])[0])).get(2, [])
    )
    size, shard = _number(fields, 5), _number(fields, 3)
    if shard >= shards:
        raise ValueError(f"data file {shard} of {shards}")
    elements = 1
    for side in shape:
        elements *= side
    if dtype in ITEM_BYTES and elements * ITEM_BYTES[dtype] != size:
        raise ValueError(f"{size} bytes for a tensor of shape {list(shape)}")
    stored = Stored(dtype=dtype, shape=shape, read=bytes)
    path = _shards(prefix, shards)[shard]
    checksum = None if dtype == "string" else unmasked(_number(fields, 6))
    return replace(stored, read=partial(_read, path, _number(fields, 4), size, checksum))


def _read(path: Path, offset: int, size: int, checksum: int | None) -> bytes:
    try:
        with path.open("rb") as file:
            if offset + size > path.stat().st_size:
                raise WeightsError(f"{path.name} is truncated: copy it again")
            file.seek(offset)
            content = file.read(size)
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error.strerror or error}") from None
    if checksum is not None and crc32c(content) != checksum:
        raise WeightsError(f"{path.name} is damaged (a checksum does not hold): copy it again")
    return content


def _shards(prefix: Path, count: int) -> list[Path]:
    return [
        prefix.with_name(f"{prefix.name}.data-{number:05d}-of-{count:05d}")
        for number in range(count)
    ]


def _number(fields: Fields, key: int) -> int:
    value = fields.get(key, [0])[-1]
    if not isinstance(value, int):
        raise ValueError(f"field {key} is no number")
    return value


def _message(value: int | bytes) -> bytes:
    if not isinstance(value, bytes):
        raise ValueError("a number where a message belongs")
    return value
