"""What app frameworks (MediaPipe, TFLite Support) look for inside a model file.

Two pieces: a `TFLMetadata` flatbuffer, stored in the model's metadata under `TFLITE_METADATA`, that
says how to feed and read the model; and the class names as `labels.txt` in a zip archive behind the
model's last byte. The flatbuffer's numbers below are those of `metadata_schema.fbs` (file
identifier M001), the fields of each table counted from 0 in the order they are declared there.
"""

import io
import struct
import zipfile
import zlib
from collections.abc import Sequence
from typing import Any, Final

import flatbuffers

from mnasnet_deploy.export.contract import Contract
from mnasnet_deploy.export.labels import parse_labels

__all__ = [
    "LABELS_FILE",
    "METADATA_NAME",
    "append_labels",
    "build_metadata",
    "read_labels_from_model",
    "zip_labels",
]

METADATA_NAME: Final = "TFLITE_METADATA"
LABELS_FILE: Final = "labels.txt"

IDENTIFIER = b"M001"
# The oldest metadata parser that knows everything written here.
MIN_PARSER_VERSION = "1.0.0"
# Members of the unions ContentProperties and ProcessUnitOptions, and of two enums.
FEATURE_PROPERTIES, IMAGE_PROPERTIES = 1, 2
NORMALIZATION_OPTIONS = 1
COLOR_SPACE_RGB = 1
TENSOR_AXIS_LABELS = 2

# A label archive is small; what claims more is not read.
MAX_LABELS_BYTES = 2**24
MAX_MEMBERS = 64
# The end record and the longest comment that may follow it.
ZIP_TAIL = 22 + 65535


def build_metadata(
    *,
    name: str,
    description: str,
    contract: Contract,
    labels: Sequence[str] | None = None,
    version: str = "",
    author: str = "",
    license_name: str = "",
) -> bytes:
    """Describe a classifier to app frameworks.

    Args:
        name: of the model.
        description: in words, for people.
        contract: what it takes and gives.
        labels: the class names, if they will be appended to the file (`append_labels`).
        version: of the model.
        author: who made it.
        license_name: what it may be used for.

    Returns:
        The content of the metadata buffer `TFLITE_METADATA`.
    """
    builder = flatbuffers.Builder(1024)
    image = _input_tensor(builder, contract)
    scores = _output_tensor(builder, contract, with_labels=labels is not None)
    inputs, outputs = _tables(builder, [image]), _tables(builder, [scores])
    subgraph = _table(builder, 10, {2: inputs, 3: outputs})
    texts = {0: name, 1: description, 2: version, 4: author, 5: license_name, 7: MIN_PARSER_VERSION}
    fields = {field: builder.CreateString(text) for field, text in texts.items() if text}
    fields[3] = _tables(builder, [subgraph])
    builder.Finish(_table(builder, 8, fields), file_identifier=IDENTIFIER)
    return bytes(builder.Output())


def append_labels(model: bytes, labels: Sequence[str]) -> bytes:
    """Put the class names behind a model; the result is a model and a zip archive at once."""
    return model + zip_labels(labels, start=len(model))


def zip_labels(labels: Sequence[str], *, start: int = 0) -> bytes:
    """Pack class names as `labels.txt` in a zip archive, uncompressed and dated 1980.

    Written by hand because Python's `zipfile` puts facts about itself into the archive, and the
    same labels must give the same bytes.

    Args:
        labels: one for each class, in order.
        start: how many bytes will stand in front of the archive.
    """
    content = "".join(f"{label}\n" for label in labels).encode()
    file_name = LABELS_FILE.encode()
    # Version 2.0, UTF-8 names, stored, midnight of 1 January 1980.
    shared = struct.pack(
        "<5H3L2H",
        *(20, 0x800, 0, 0, 0x21),
        *(zlib.crc32(content), len(content), len(content)),
        *(len(file_name), 0),
    )
    local = b"PK\x03\x04" + shared + file_name
    # A plain file that its owner may write and all may read, as Unix says it.
    attributes = struct.pack("<3H2L", 0, 0, 0, 0o100644 << 16, start)
    entry = b"PK\x01\x02" + struct.pack("<H", 3 << 8 | 20) + shared + attributes + file_name
    directory = start + len(local) + len(content)
    end = b"PK\x05\x06" + struct.pack("<4H2LH", 0, 0, 1, 1, len(entry), directory, 0)
    return local + content + entry + end


def read_labels_from_model(data: bytes) -> tuple[str, ...] | None:
    """Read the class names behind a model, written by this tool or by another.

    Args:
        data: the whole file; nothing in it is trusted.

    Returns:
        One name for each class, or None where the file holds no readable labels: no archive, a
        broken or oversized one, no `labels.txt` and not exactly one other text file.
    """
    if data.rfind(b"PK\x05\x06", max(0, len(data) - ZIP_TAIL)) < 0:
        return None
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            member = _labels_member(archive)
            if member is None:
                return None
            with archive.open(member) as file:
                # The size in the directory may lie: what is read counts.
                content = file.read(MAX_LABELS_BYTES + 1)
        if len(content) > MAX_LABELS_BYTES:
            return None
        return parse_labels(content.decode("utf-8-sig")) or None
    except (
        zipfile.BadZipFile,
        zlib.error,
        struct.error,
        UnicodeDecodeError,
        EOFError,
        OSError,
        RuntimeError,  # encrypted, or a compression nobody knows
        ValueError,
        OverflowError,
    ):
        return None


def _labels_member(archive: zipfile.ZipFile) -> zipfile.ZipInfo | None:
    members = archive.infolist()
    if len(members) > MAX_MEMBERS:
        return None
    texts = [member for member in members if member.filename.endswith(".txt")]
    named = [member for member in texts if member.filename == LABELS_FILE]
    chosen = named or texts
    if len(chosen) != 1 or chosen[0].file_size > MAX_LABELS_BYTES:
        return None
    # The other compressions can ask for gigabytes before they give a byte.
    known = chosen[0].compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
    return chosen[0] if known else None


def _input_tensor(builder: Any, contract: Contract) -> int:
    """Write the metadata of the image."""
    if contract.input == "raw":
        mean, std = [0.0], [1.0]
        text = "RGB image, grey levels 0..255 as they are: the normalisation is inside the model."
    else:
        mean, std = list(contract.mean), list(contract.std)
        text = "RGB image, (grey level - mean) / std for each channel."
    low = [(0.0 - m) / s for m, s in zip(mean, std, strict=True)]
    high = [(255.0 - m) / s for m, s in zip(mean, std, strict=True)]
    normalization = _table(builder, 2, {0: _floats(builder, mean), 1: _floats(builder, std)})
    unit = _union(builder, 2, 0, NORMALIZATION_OPTIONS, normalization)
    size = _table(builder, 2, numbers={0: contract.resolution, 1: contract.resolution})
    image = _table(builder, 2, {1: size}, bytes_={0: COLOR_SPACE_RGB})
    fields = {
        0: builder.CreateString("image"),
        1: builder.CreateString(text),
        3: _union(builder, 3, 0, IMAGE_PROPERTIES, image),
        4: _tables(builder, [unit]),
        5: _stats(builder, low, high),
    }
    return _table(builder, 7, fields)


def _output_tensor(builder: Any, contract: Contract, *, with_labels: bool) -> int:
    """Write the metadata of the scores."""
    probabilities = contract.output == "probabilities"
    fields = {
        0: builder.CreateString("probability" if probabilities else "logits"),
        1: builder.CreateString(
            "Probability of each class." if probabilities else "Score of each class before softmax."
        ),
        3: _union(builder, 3, 0, FEATURE_PROPERTIES, _table(builder, 0)),
    }
    if probabilities:
        fields[5] = _stats(builder, [0.0], [1.0])
    if with_labels:
        texts = {
            0: builder.CreateString(LABELS_FILE),
            1: builder.CreateString("Names of the classes, in the order of the scores."),
        }
        file = _table(builder, 5, texts, bytes_={2: TENSOR_AXIS_LABELS})
        fields[6] = _tables(builder, [file])
    return _table(builder, 7, fields)


def _table(
    builder: Any,
    size: int,
    offsets: dict[int, int] | None = None,
    *,
    bytes_: dict[int, int] | None = None,
    numbers: dict[int, int] | None = None,
) -> int:
    """Write a table of `size` fields: offsets to what is written, single bytes, 32-bit numbers."""
    builder.StartObject(size)
    for field, offset in (offsets or {}).items():
        builder.PrependUOffsetTRelativeSlot(field, offset, 0)
    for field, number in (numbers or {}).items():
        builder.PrependUint32Slot(field, number, 0)
    for field, byte in (bytes_ or {}).items():
        builder.PrependUint8Slot(field, byte, 0)
    return int(builder.EndObject())


def _union(builder: Any, size: int, field: int, kind: int, member: int) -> int:
    """Write a table whose only content is a union: its type in `field`, its value behind it."""
    return _table(builder, size, {field + 1: member}, bytes_={field: kind})


def _tables(builder: Any, offsets: Sequence[int]) -> int:
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return int(builder.EndVector())


def _floats(builder: Any, values: Sequence[float]) -> int:
    builder.StartVector(4, len(values), 4)
    for value in reversed(values):
        builder.PrependFloat32(value)
    return int(builder.EndVector())


def _stats(builder: Any, low: Sequence[float], high: Sequence[float]) -> int:
    """Write the smallest and largest value of a tensor, of all channels or of each."""
    return _table(builder, 2, {0: _floats(builder, high), 1: _floats(builder, low)})
