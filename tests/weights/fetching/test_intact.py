"""A file that is cut, damaged or something else is known by what is inside it."""

import gzip
import io
import json
import random
import zipfile

import numpy as np
import pytest
from safetensors.numpy import save

from mnasnet_deploy.weights import intact
from mnasnet_deploy.weights.intact import foreign, incomplete

TENSORS = {"a": np.arange(100, dtype=np.float32), "b": np.ones((2, 3), np.float32)}


def _zip(entries=None):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in (
            entries or {"x/data.pkl": b"p" * 500, "x/data/0": bytes(900)}
        ).items():
            archive.writestr(name, content)
    return stream.getvalue()


WHOLE = {
    "x.tgz": gzip.compress(random.Random(0).randbytes(50_000)),
    "x.tar.gz": gzip.compress(b"x") + bytes(512),
    "x.safetensors": save(TENSORS, {"format": "pt"}),
    "x.pth": _zip({"x/data.pkl": b"p" * 500, "x/data/0": bytes(900)}),
    "old.pth": b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.",
    "x.bin": b"anything",
}


@pytest.mark.parametrize("name", WHOLE)
def test_a_whole_file_passes(tmp_path, name):
    path = tmp_path / "part"
    path.write_bytes(WHOLE[name])
    assert incomplete(path, name) == ""


@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
@pytest.mark.parametrize("name", ["x.tgz", "x.safetensors", "x.pth"])
def test_a_cut_file_does_not(tmp_path, name, share):
    content = WHOLE[name]
    path = tmp_path / "part"
    path.write_bytes(content[: max(20, int(share * len(content)))])
    assert "ends early" in incomplete(path, name)


def test_one_changed_byte_in_an_archive_is_seen(tmp_path):
    path = tmp_path / "part"
    content = bytearray(WHOLE["x.tgz"])
    content[-6] ^= 1  # the checksum
    path.write_bytes(content)
    assert "damaged" in incomplete(path, "x.tgz")
    content = bytearray(WHOLE["x.pth"])
    content[100] ^= 1
    path.write_bytes(content)
    assert "damaged" in incomplete(path, "x.pth")


@pytest.mark.parametrize(
    "header",
    [
        b"not json",
        b"[]",
        b'{"a": 1}',
        b'{"a": {"data_offsets": []}}',
        b'{"a": {"data_offsets": [0, "1"]}}',
        b"{" * 5000,
        b'{"a":' * 5000,
    ],
)
def test_a_header_that_makes_no_sense_is_seen(tmp_path, header):
    path = tmp_path / "part"
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(8))
    assert incomplete(path, "x.safetensors") != ""


def test_a_header_that_lies_about_lengths_is_seen(tmp_path):
    path = tmp_path / "part"
    content = WHOLE["x.safetensors"]
    path.write_bytes(content + b"\0")
    assert "longer" in incomplete(path, "x.safetensors")
    path.write_bytes((2**62).to_bytes(8, "little") + content[8:])
    assert "ends early" in incomplete(path, "x.safetensors")
    header = json.dumps({"a": {"data_offsets": [0, 2**62]}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    assert "ends early" in incomplete(path, "x.safetensors")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.tgz", gzip.compress(bytes(3_000_000))),
        ("x.pth", _zip({"x": bytes(3_000_000)})),
    ],
)
def test_a_bomb_is_not_unpacked(tmp_path, monkeypatch, name, content):
    monkeypatch.setattr(intact, "MAX_BYTES", 2_000_000)
    path = tmp_path / "part"
    path.write_bytes(content)
    assert "unpacks to more than" in incomplete(path, name)


@pytest.mark.parametrize("name", ["x.tgz", "x.safetensors", "x.pth"])
def test_one_kind_is_not_taken_for_another(name):
    for other in ("x.tgz", "x.safetensors", "x.pth"):
        assert (foreign(name, WHOLE[other][:64]) == "") == (name == other)
    assert foreign(name, b"") == "nothing at all"
    assert foreign(name, b"\n<html>") == "a web page"
