"""Records on disk: added once, never overwritten, never in the way when they are broken."""

import os
import subprocess
import sys
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from mnasnet_deploy.errors import MnasnetError, NotReadyError
from mnasnet_deploy.results import store
from mnasnet_deploy.results.codec import encode

NOW = datetime(2026, 5, 17, 3, 15, 22, 123456, tzinfo=timezone.utc)


def test_ids_sort_by_time_and_differ_within_a_millisecond():
    later = store.new_id(NOW + timedelta(milliseconds=1))
    first, second = store.new_id(NOW), store.new_id(NOW)
    assert first.startswith("20260517t031522123-")
    assert first != second
    assert max(first, second) < later


def test_ids_are_in_universal_time_wherever_they_are_made():
    elsewhere = NOW.astimezone(timezone(timedelta(hours=9)))
    assert store.new_id(elsewhere)[:18] == store.new_id(NOW)[:18]


def test_what_is_added_is_loaded_oldest_first(make_record, tmp_path):
    records = [make_record(minute=minute) for minute in (2, 0, 1)]
    for record in records:
        path = store.add(record, tmp_path / "results")
        assert path == tmp_path / "results" / "records" / f"{record.id}.json"
    loaded = store.load(tmp_path / "results")
    assert loaded.records == (records[1], records[2], records[0])
    assert loaded.problems == ()
    assert [path.name[0] != "." for path in (tmp_path / "results" / "records").iterdir()] == [
        True
    ] * 3


def test_the_order_is_of_time_not_of_text(make_record, tmp_path):
    early = replace(make_record(), id="z", time="2026-05-17T01:00:00+02:00")
    late = replace(make_record(), id="a", time="2026-05-17T00:30:00Z")
    for record in (early, late):
        store.add(record, tmp_path)
    assert store.load(tmp_path).records == (early, late)


def test_a_missing_folder_holds_no_records(tmp_path):
    assert store.load(tmp_path / "nowhere") == store.Loaded()
    assert not (tmp_path / "nowhere").exists()


def test_adding_the_same_record_again_changes_nothing(make_record, tmp_path):
    path = store.add(make_record(), tmp_path)
    before = path.stat().st_mtime_ns
    assert store.add(make_record(), tmp_path) == path
    assert path.stat().st_mtime_ns == before


def test_a_record_is_never_overwritten(make_record, tmp_path):
    record = make_record()
    path = store.add(record, tmp_path)
    with pytest.raises(MnasnetError, match="never overwritten"):
        store.add(replace(record, peak_memory_mib=None), tmp_path)
    assert store.load(tmp_path).records == (record,)
    path.write_text("half of")
    with pytest.raises(MnasnetError, match="never overwritten"):
        store.add(record, tmp_path)
    assert path.read_text() == "half of"


@pytest.mark.parametrize("blocked", ["results", "results/records"])
def test_a_folder_that_cannot_be_made_is_one_line(make_record, tmp_path, blocked):
    path = tmp_path / blocked
    path.parent.mkdir(exist_ok=True)
    path.write_text("in the way")
    with pytest.raises(NotReadyError, match="cannot write"):
        store.add(make_record(), tmp_path / "results")


def test_broken_files_are_named_skipped_and_kept(make_record, tmp_path):
    whole = make_record()
    text = encode(make_record(minute=1))
    store.add(whole, tmp_path)
    folder = tmp_path / "records"
    broken = {
        "half.json": text[: len(text) // 2].encode(),
        "empty.json": b"",
        "foreign.json": text.replace("mnasnet.record/2", "mnasnet.record/9").encode(),
        "renamed.json": text.encode(),
        "latin.json": b"\xe9\xe8",
        "deep.json": b"[" * 200_000,
        "nan.json": text.replace("21.5", "NaN").encode(),
    }
    for name, content in broken.items():
        (folder / name).write_bytes(content)
    (folder / ".hidden.json").write_bytes(b"a write that was killed")
    (folder / "notes.txt").write_bytes(b"not a record and no trouble")

    loaded = store.load(tmp_path)

    assert loaded.records == (whole,)
    assert {problem.path.name for problem in loaded.problems} == set(broken)
    for problem in loaded.problems:
        assert "skipped (and kept)" in str(problem)
        assert problem.path.read_bytes() == broken[problem.path.name]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes in this system's folders")
def test_a_hostile_folder_does_not_stop_the_reading(make_record, tmp_path, monkeypatch):
    whole = make_record()
    store.add(whole, tmp_path)
    folder = tmp_path / "records"
    (folder / "loop.json").symlink_to("loop.json")
    (folder / "nowhere.json").symlink_to("missing")
    (folder / "zero.json").symlink_to("/dev/zero")
    (folder / "folder.json").mkdir()
    os.mkfifo(folder / "pipe.json")
    with (folder / "huge.json").open("wb") as file:
        file.truncate(store.MAX_BYTES + 1)  # sparse: no disk is used

    loaded = store.load(tmp_path)

    assert loaded.records == (whole,)
    reasons = {problem.path.name: problem.reason for problem in loaded.problems}
    assert set(reasons) == {
        "loop.json", "nowhere.json", "zero.json", "folder.json", "pipe.json", "huge.json"
    }  # fmt: skip
    assert reasons["pipe.json"] == reasons["folder.json"] == reasons["zero.json"] == "not a file"
    assert "longer than" in reasons["huge.json"]


def test_a_results_folder_that_is_a_file_or_a_loop_is_a_problem_not_a_crash(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "loop").symlink_to("loop")
    for name in ("file", "loop"):
        loaded = store.load(tmp_path / name)
        assert loaded.records == ()
        assert len(loaded.problems) == 1


ADD_MANY = """
import sys
from pathlib import Path
from mnasnet_deploy.errors import MnasnetError
from mnasnet_deploy.results import store
from mnasnet_deploy.results.codec import decode
shared, target = Path(sys.argv[1]), Path(sys.argv[2])
sys.stdin.readline()
kept = 0
for path in sorted(shared.iterdir()):
    try:
        store.add(decode(path.read_bytes()), target)
        kept += 1
    except MnasnetError:
        pass
print(kept)
"""


@pytest.mark.processes
def test_two_processes_adding_at_once_lose_and_overwrite_nothing(make_record, tmp_path):
    # Both bring 30 records of the same 30 ids, but say different things: each id has one winner.
    processes = []
    for who in range(2):
        shared = tmp_path / str(who)
        shared.mkdir()
        for minute in range(30):
            record = replace(make_record(minute=minute), tool=f"process {who}")
            (shared / f"{record.id}.json").write_text(encode(record))
        processes.append(
            subprocess.Popen(
                [sys.executable, "-c", ADD_MANY, str(shared), str(tmp_path / "results")],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                cwd=tmp_path,
                text=True,
            )
        )
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    kept = [int(process.communicate(timeout=60)[0]) for process in processes]
    loaded = store.load(tmp_path / "results")
    assert loaded.problems == ()
    assert len(loaded.records) == 30
    assert sum(kept) == 30
    won = [record.tool for record in loaded.records]
    assert [won.count("process 0"), won.count("process 1")] == kept
    leftovers = list((tmp_path / "results").rglob(".*"))
    assert leftovers == []


def test_without_hard_links_a_record_is_still_never_overwritten(make_record, tmp_path, monkeypatch):
    def refuse(self: Path, target: Path) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    record = make_record()
    store.add(record, tmp_path)
    with pytest.raises(MnasnetError, match="never overwritten"):
        store.add(replace(record, tool="another"), tmp_path)
    assert store.load(tmp_path).records == (record,)
    assert [path.name for path in (tmp_path / "records").iterdir()] == [f"{record.id}.json"]
