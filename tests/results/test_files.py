"""Which bytes a file name means now."""

import json
import os

import pytest

from mnasnet_deploy.results import files


def _models(folder, **contents):
    folder.mkdir()
    for name, content in contents.items():
        (folder / f"{name}.tflite").write_text(content)
    return folder


def test_a_missing_folder_tells_nothing(make_record, tmp_path):
    found, problems = files.scan(tmp_path / "models", [make_record()])
    assert (found.sha256, found.complete, problems) == ({}, False, ())


def test_files_that_records_speak_of_are_hashed_by_name_or_by_size(make_record, tmp_path, building):
    folder = _models(tmp_path / "models", named="another size", sized="12345", neither="1234567")
    records = [make_record(file="named.tflite", size_bytes=5)]
    found, problems = files.scan(folder, records)
    assert found.complete
    assert found.sha256 == {
        "named.tflite": building.sha256_of("another size"),
        "sized.tflite": building.sha256_of("12345"),
    }
    assert problems == ()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes in this system's folders")
def test_what_cannot_be_hashed_is_named(make_record, tmp_path):
    folder = _models(tmp_path / "models", whole="12345")
    (folder / "loop.tflite").symlink_to("loop.tflite")
    os.mkfifo(folder / "pipe.tflite")
    (folder / "folder.tflite").mkdir()
    found, problems = files.scan(folder, [make_record(size_bytes=5)])
    assert list(found.sha256) == ["whole.tflite"]
    assert [problem.path.name for problem in problems] == [
        "folder.tflite", "loop.tflite", "pipe.tflite"
    ]  # fmt: skip


def test_a_models_folder_that_is_a_file_is_a_problem(make_record, tmp_path):
    (tmp_path / "models").write_text("")
    found, problems = files.scan(tmp_path / "models", [make_record()])
    assert not found.complete
    assert len(problems) == 1


def test_notes_read_back(tmp_path, building):
    meant = {"b|ö.tflite": building.sha256_of("1"), "a.tflite": building.sha256_of("2")}
    (tmp_path / files.NOTES_NAME).write_text(files.render_notes(meant))
    assert files.read_notes(tmp_path) == (meant, None)
    assert files.read_notes(tmp_path / "nowhere") == ({}, None)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "[" * 100_000,
        json.dumps({"schema": "mnasnet.files/2", "files": {}}),
        json.dumps({"schema": "mnasnet.files/1"}),
        json.dumps({"schema": "mnasnet.files/1", "files": {"a.tflite": "abc"}}),
        json.dumps({"schema": "mnasnet.files/1", "files": {"a.tflite": None}}),
    ],
)
def test_broken_notes_are_a_problem_not_a_crash(tmp_path, text):
    (tmp_path / files.NOTES_NAME).write_text(text)
    notes, problem = files.read_notes(tmp_path)
    assert notes == {}
    assert problem.path.name == files.NOTES_NAME


def test_notes_that_lead_in_a_circle_are_a_problem(tmp_path):
    (tmp_path / files.NOTES_NAME).symlink_to(files.NOTES_NAME)
    assert files.read_notes(tmp_path)[1] is not None
