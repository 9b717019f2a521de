"""What app frameworks look for inside a model file."""

import io
import random
import struct
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnasnet_deploy.export.contract import Contract
from mnasnet_deploy.export.labels import imagenet_labels
from mnasnet_deploy.export.metadata import (
    append_labels,
    build_metadata,
    read_labels_from_model,
    zip_labels,
)

MODEL = b"\x1c\0\0\0TFL3" + bytes(range(256)) * 40
# The tables of metadata_schema.fbs that are used: name -> fields in the order they are declared.
SCHEMA = {
    "ModelMetadata": "name description version subgraphs author license files min_parser_version",
    "SubGraphMetadata": "name description inputs outputs",
    "TensorMetadata": "name description dimension_names content process_units stats files",
    "Content": "kind properties range",
    "ImageProperties": "color_space default_size",
    "ImageSize": "width height",
    "ProcessUnit": "kind options",
    "NormalizationOptions": "mean std",
    "Stats": "max min",
    "AssociatedFile": "name description type",
}


class Table:
    """Reads a flatbuffer table by the schema above, bytes and offsets only."""

    def __init__(self, data, place, kind):
        self.data, self.place, self.kind = data, place, kind

    def _field(self, name):
        vtable = self.place - struct.unpack_from("<i", self.data, self.place)[0]
        slot = 4 + 2 * SCHEMA[self.kind].split().index(name)
        if slot >= struct.unpack_from("<H", self.data, vtable)[0]:
            return 0
        offset = struct.unpack_from("<H", self.data, vtable + slot)[0]
        return offset and self.place + offset

    def _follow(self, name):
        field = self._field(name)
        return field and field + struct.unpack_from("<I", self.data, field)[0]

    def byte(self, name):
        field = self._field(name)
        return self.data[field] if field else 0

    def number(self, name):
        return struct.unpack_from("<I", self.data, self._field(name))[0]

    def text(self, name):
        place = self._follow(name)
        if not place:
            return None
        (length,) = struct.unpack_from("<I", self.data, place)
        return self.data[place + 4 : place + 4 + length].decode()

    def floats(self, name):
        place = self._follow(name)
        (length,) = struct.unpack_from("<I", self.data, place)
        return list(struct.unpack_from(f"<{length}f", self.data, place + 4))

    def table(self, name, kind):
        return Table(self.data, self._follow(name), kind)

    def tables(self, name, kind):
        place = self._follow(name)
        if not place:
            return []
        (length,) = struct.unpack_from("<I", self.data, place)
        elements = [place + 4 + 4 * index for index in range(length)]
        return [
            Table(self.data, at + struct.unpack_from("<I", self.data, at)[0], kind)
            for at in elements
        ]


def _contract(**changes):
    values = {
        "input": "raw",
        "input_dtype": "float32",
        "input_scale": 0.0,
        "input_zero_point": 0,
        "output": "logits",
        "output_dtype": "float32",
        "output_scale": 0.0,
        "output_zero_point": 0,
        "resolution": 160,
        "classes": 3,
        "mean": (123.675, 116.28, 103.53),
        "std": (58.395, 57.12, 57.375),
    }
    return Contract(**values | changes)


def _root(labels=None, **changes):
    data = build_metadata(
        name="mnasnet-a1", description="a test", contract=_contract(**changes), labels=labels
    )
    assert data[4:8] == b"M001"
    return Table(data, struct.unpack_from("<I", data)[0], "ModelMetadata")


def _ends(root):
    (subgraph,) = root.tables("subgraphs", "SubGraphMetadata")
    (image,) = subgraph.tables("inputs", "TensorMetadata")
    (scores,) = subgraph.tables("outputs", "TensorMetadata")
    return image, scores


def _normalization(image):
    (unit,) = image.tables("process_units", "ProcessUnit")
    assert unit.byte("kind") == 1  # NormalizationOptions
    options = unit.table("options", "NormalizationOptions")
    return options.floats("mean"), options.floats("std")


def test_the_model_is_named_and_the_parser_it_needs_is_the_first():
    root = _root()
    assert root.text("name") == "mnasnet-a1"
    assert root.text("description") == "a test"
    assert root.text("min_parser_version") == "1.0.0"
    assert root.text("author") is root.text("license") is root.text("version") is None


def test_raw_input_asks_for_grey_levels_as_they_are():
    image, _ = _ends(_root())
    assert _normalization(image) == ([0.0], [1.0])
    stats = image.table("stats", "Stats")
    assert (stats.floats("min"), stats.floats("max")) == ([0.0], [255.0])


def test_normalized_input_asks_for_the_originals_numbers_of_each_channel():
    image, _ = _ends(_root(input="normalized"))
    mean, std = _normalization(image)
    assert mean == pytest.approx([123.675, 116.28, 103.53])
    assert std == pytest.approx([58.395, 57.12, 57.375])
    stats = image.table("stats", "Stats")
    assert stats.floats("min") == pytest.approx([-2.1179, -2.0357, -1.8044], abs=1e-4)
    assert stats.floats("max") == pytest.approx([2.2489, 2.4286, 2.6400], abs=1e-4)


def test_the_input_is_an_rgb_image_of_its_size():
    image, _ = _ends(_root())
    content = image.table("content", "Content")
    assert content.byte("kind") == 2  # ImageProperties
    properties = content.table("properties", "ImageProperties")
    assert properties.byte("color_space") == 1  # RGB
    size = properties.table("default_size", "ImageSize")
    assert (size.number("width"), size.number("height")) == (160, 160)


@pytest.mark.parametrize(
    ("output", "name"), [("logits", "logits"), ("probabilities", "probability")]
)
def test_the_output_says_what_its_numbers_are(output, name):
    _, scores = _ends(_root(output=output))
    assert scores.text("name") == name
    assert scores.table("content", "Content").byte("kind") == 1  # FeatureProperties


def test_labels_are_announced_only_where_there_are_any():
    _, scores = _ends(_root(labels=("a", "b", "c")))
    (file,) = scores.tables("files", "AssociatedFile")
    assert file.text("name") == "labels.txt"
    assert file.byte("type") == 2  # TENSOR_AXIS_LABELS
    _, scores = _ends(_root())
    assert scores.tables("files", "AssociatedFile") == []


def test_the_same_metadata_gives_the_same_bytes():
    arguments = {"name": "n", "description": "d", "contract": _contract(), "labels": ("a",)}
    assert build_metadata(**arguments) == build_metadata(**arguments)


def test_a_model_with_labels_is_a_model_and_a_zip_archive_that_any_tool_reads():
    data = append_labels(MODEL, imagenet_labels())
    assert data.startswith(MODEL)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        (member,) = archive.infolist()
        assert member.filename == "labels.txt"
        assert member.compress_type == zipfile.ZIP_STORED
        assert member.date_time == (1980, 1, 1, 0, 0, 0)
        assert member.header_offset == len(MODEL)
        text = archive.read(member).decode()
    assert text.splitlines() == list(imagenet_labels())
    assert read_labels_from_model(data) == imagenet_labels()
    assert append_labels(MODEL, imagenet_labels()) == data


_NAMES = st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]), min_size=1)


@given(st.lists(_NAMES.map(str.strip).filter(bool), min_size=1))
def test_labels_that_are_appended_are_read_back(names):
    assert read_labels_from_model(append_labels(MODEL, names)) == tuple(names)


def _zipped(members, compression=zipfile.ZIP_DEFLATED):
    stream = io.BytesIO(MODEL)
    with zipfile.ZipFile(stream, "a", compression) as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return stream.getvalue()


def test_labels_of_other_tools_are_read_too():
    assert read_labels_from_model(_zipped({"labelmap.txt": "a\r\nb\r\n"})) == ("a", "b")
    both = {"labels.txt": "a\nb\n", "labels_de.txt": "x\ny\n"}
    assert read_labels_from_model(_zipped(both)) == ("a", "b")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        MODEL,
        zip_labels(["a"])[:-5],
        _zipped({"one.txt": "a", "two.txt": "b"}),
        _zipped({"model.json": "{}"}),
        _zipped({"labels.txt": ""}),
        _zipped({"labels.txt": b"\xff\xfe"}),
        _zipped({"labels.txt": "a\n" * 2**23 + "b\n"}),
        _zipped({"labels.txt": "a\n"}, zipfile.ZIP_LZMA),
        _zipped({f"{number}.json": "" for number in range(100)} | {"labels.txt": "a\n"}),
    ],
    ids=[
        "nothing",
        "no archive",
        "cut archive",
        "two texts",
        "no text",
        "no names",
        "no UTF-8",
        "16 MiB of names",
        "another compression",
        "many members",
    ],
)
def test_where_no_labels_can_be_read_there_are_none(data):
    assert read_labels_from_model(data) is None


def test_a_directory_that_lies_about_a_size_is_not_believed():
    data = bytearray(_zipped({"labels.txt": "a\n" * 2**24}))
    directory = data.rfind(b"PK\x01\x02")
    data[directory + 24 : directory + 28] = struct.pack("<L", 100)
    assert read_labels_from_model(bytes(data)) in (None, ("a",) * 50)


def test_flipped_bits_in_the_archive_never_raise():
    data = append_labels(MODEL, ["cat", "dog"])
    generator = random.Random(0)
    for _ in range(2000):
        broken = bytearray(data)
        for _ in range(generator.randint(1, 3)):
            broken[generator.randrange(len(MODEL), len(data))] ^= 1 << generator.randrange(8)
        labels = read_labels_from_model(bytes(broken))
        assert labels is None or all(isinstance(label, str) for label in labels)
