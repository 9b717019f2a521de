"""Reading files apart without running them; whatever is broken is one clear error."""

from pathlib import Path

import flatbuffers
import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import given, settings
from hypothesis import strategies as st

from mnasnet_deploy.errors import ModelFileError
from mnasnet_deploy.export import modelfile
from mnasnet_deploy.export.facts import BUFFER_NAME, decode_facts
from mnasnet_deploy.export.flatfile import metadata_places
from mnasnet_deploy.export.runtime import run_in_child

from .building import builder_of, foreign


@pytest.fixture(scope="module")
def content() -> bytes:
    return bytes(builder_of().build("int8").data)


@pytest.fixture
def file(content: bytes, tmp_path: Path) -> Path:
    path = tmp_path / "mödel 1.tflite"
    path.write_bytes(content)
    return path


def broken(content: bytes, change: str) -> bytes:
    """A foreign model with one number out of range."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(foreign(content), 0))
    operator = model.subgraphs[0].operators[3]
    if change == "tensor":
        operator.inputs = [operator.inputs[0], 99_999]
    elif change == "output":
        operator.outputs = [77_777]
    elif change == "negative":
        operator.inputs = [-7]
    else:
        operator.opcodeIndex = 55
    builder = flatbuffers.Builder(len(content))
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def test_a_file_says_what_it_is_and_that_it_is_intact(file: Path) -> None:
    model = modelfile.read(file)
    assert model.intact
    assert model.facts is not None
    assert (model.facts.network.name, model.facts.scheme) == ("mnasnet-a1", "int8")
    assert model.facts.untrained
    assert model.facts.calibration is not None
    assert model.facts.calibration.synthetic
    assert model.operator_counts()["CONV_2D"] == 49
    assert model.inputs[0].type == "UINT8"
    assert model.min_runtime == "1.14.0"
    artifact = modelfile.artifact(model)
    assert (artifact.network, artifact.multiplier, artifact.scheme) == (
        "mnasnet-a1",
        "0.35",
        "int8",
    )
    assert artifact.untrained
    assert artifact.synthetic_calibration


def test_nothing_in_a_file_is_a_path(content: bytes) -> None:
    start, length = metadata_places(content)[BUFFER_NAME]
    assert str(Path.home()).encode() not in content
    assert b"tmp" not in content[start : start + length]


def test_facts_survive_the_way_through_the_file(content: bytes) -> None:
    built = builder_of().build("int8")
    start, length = metadata_places(content)[BUFFER_NAME]
    assert decode_facts(content[start : start + length], "x") == built.facts


@settings(max_examples=60, deadline=None)
@given(data=st.data())
@pytest.mark.slow
def test_a_flipped_bit_anywhere_is_noticed(
    content: bytes, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    place = data.draw(st.integers(8, len(content) - 1))
    changed = bytearray(content)
    changed[place] ^= 1 << data.draw(st.integers(0, 7))
    path = tmp_path_factory.getbasetemp() / "flipped.tflite"
    path.write_bytes(changed)
    try:
        model = modelfile.read(path)
    except ModelFileError:
        return
    if model.intact is not None:  # a flip in the buffer's name makes it a foreign file
        assert not model.intact
        with pytest.raises(ModelFileError, match="changed since"):
            model.require_intact()


@pytest.mark.parametrize("keep", [0, 1, 7, 8, 19, 20, 100, 5_000, -1, -16, -1000])
def test_a_truncated_file_is_not_taken_for_whole(content: bytes, tmp_path: Path, keep: int) -> None:
    path = tmp_path / "cut.tflite"
    path.write_bytes(content[:keep])
    try:
        intact = modelfile.read(path).intact
    except ModelFileError:
        intact = False
    assert intact is False


@settings(max_examples=100, deadline=None)
@given(tail=st.binary(max_size=300))
def test_random_bytes_behind_the_mark_never_crash_the_reader(
    tmp_path_factory: pytest.TempPathFactory, tail: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "random.tflite"
    path.write_bytes(b"\x1c\0\0\0TFL3" + tail)
    with pytest.raises(ModelFileError):
        modelfile.read(path)


@pytest.mark.parametrize("content", [b"", b"x", b"PK\3\4" + bytes(60), bytes(4096)])
def test_what_is_not_tflite_says_so(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "other.tflite"
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match=r"empty|not a TFLite"):
        modelfile.read(path)


def test_a_missing_file_and_a_folder_are_errors(tmp_path: Path) -> None:
    for path in (tmp_path / "none.tflite", tmp_path):
        with pytest.raises(ModelFileError):
            modelfile.read(path)


def test_a_foreign_file_has_no_checksum_to_tell_by(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "foreign.tflite"
    path.write_bytes(foreign(content))
    model = modelfile.read(path)
    assert (model.facts, model.intact) == (None, None)
    assert model.operator_counts()["CONV_2D"] == 49
    model.require_intact()


@pytest.mark.parametrize("change", ["tensor", "output", "negative", "code"])
def test_numbers_out_of_range_are_found_without_running_the_file(
    content: bytes, tmp_path: Path, change: str
) -> None:
    path = tmp_path / "broken.tflite"
    path.write_bytes(broken(content, change))
    with pytest.raises(ModelFileError, match="out of range"):
        modelfile.read(path)


@pytest.mark.processes
@pytest.mark.slow
def test_a_file_that_breaks_the_runtime_breaks_a_child_only(
    content: bytes, file: Path, tmp_path: Path
) -> None:
    run_in_child(file)
    for change in ("tensor", "negative", "code"):
        path = tmp_path / f"{change}.tflite"
        path.write_bytes(broken(content, change))
        with pytest.raises(ModelFileError) as raised:
            run_in_child(path)
        assert "\n" not in str(raised.value)
