"""Whole files or none, whoever kills the writer and whatever the disk says."""

import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from mnasnet_deploy import atomic
from mnasnet_deploy.errors import NotReadyError

# Writes the letters in turn to one file, for ever.
WRITER = """
import itertools, sys
from pathlib import Path
from mnasnet_deploy import atomic
path = Path(sys.argv[1])
for letter in itertools.cycle(b"abcdefgh"):
    atomic.write_bytes(path, bytes([letter]) * 3_000_000)
    print("written", flush=True)
"""


def test_a_file_is_written_with_its_folders(tmp_path):
    path = tmp_path / "a b" / "ü" / "x.bin"
    atomic.write_bytes(path, b"one")
    assert path.read_bytes() == b"one"
    atomic.write_text(path, "two\r\nü\n")
    assert path.read_bytes() == "two\r\nü\n".encode()
    assert [entry.name for entry in path.parent.iterdir()] == ["x.bin"]


@pytest.mark.parametrize("name", ["x" * 250, "漢" * 80, "." * 3 + "x"])
def test_a_name_may_be_as_long_as_the_system_allows(tmp_path, name):
    atomic.write_bytes(tmp_path / name, b"x")
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


@pytest.mark.slow
@pytest.mark.processes
@pytest.mark.skipif(sys.platform == "win32", reason="kills by signal")
def test_a_killed_writer_leaves_a_whole_file(tmp_path):
    path = tmp_path / "x.bin"
    seconds = random.Random(0)
    for _ in range(8):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, path], stdout=subprocess.PIPE, cwd=tmp_path
        ) as writer:
            assert writer.stdout is not None
            writer.stdout.readline()  # from here on it is always in the middle of something
            time.sleep(seconds.uniform(0, 0.02))
            writer.send_signal(signal.SIGKILL)
        content = path.read_bytes()
        assert len(content) == 3_000_000
        assert len(set(content)) == 1
    leftovers = {entry.name for entry in tmp_path.iterdir()} - {"x.bin"}
    assert all(name.startswith(".x.bin.") and name.endswith(".part") for name in leftovers)


def test_two_writers_of_one_file_leave_one_whole_file(tmp_path):
    path = tmp_path / "x.bin"
    contents = [bytes([letter]) * 200_000 for letter in b"abcd"]

    def write(content):
        for _ in range(10):
            atomic.write_bytes(path, content)

    threads = [threading.Thread(target=write, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_bytes() in contents
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.bin"]


def test_what_stops_the_writer_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "x.bin"
    path.write_bytes(b"old")

    def parts():
        yield b"new"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), atomic.staged(path, parts()):
        pass
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.bin"]


def test_a_staged_file_gets_its_name_when_the_block_is_content(tmp_path):
    path = tmp_path / "x.bin"
    with atomic.staged(path, [b"on", bytearray(b"e"), memoryview(b"!")]) as temporary:
        assert temporary.read_bytes() == b"one!"
        assert not path.exists()
    assert path.read_bytes() == b"one!"


def test_a_staged_file_that_is_refused_vanishes(tmp_path):
    path = tmp_path / "x.bin"
    path.write_bytes(b"old")
    with pytest.raises(ValueError, match="no good"), atomic.staged(path, [b"new"]):
        raise ValueError("no good")
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.bin"]


def test_of_several_writers_of_a_new_file_one_wins(tmp_path):
    path = tmp_path / "x.json"
    wins = []
    barrier = threading.Barrier(4)

    def write(text):
        barrier.wait()
        if atomic.write_new_text(path, text):
            wins.append(text)

    threads = [threading.Thread(target=write, args=(f"{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [path.read_text()] == wins
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.json"]


@pytest.mark.parametrize("write", [atomic.write_text, atomic.write_new_text])
def test_a_folder_that_cannot_be_made_is_not_ready(tmp_path, write):
    (tmp_path / "file").write_text("x")
    with pytest.raises(NotReadyError, match=r"cannot write .*x\.txt: .*choose another"):
        write(tmp_path / "file" / "x.txt", "text")


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs /proc")
def test_a_folder_that_takes_no_files_is_not_ready():
    with pytest.raises(NotReadyError, match=r"cannot write /proc/x\.txt"):
        atomic.write_text(Path("/proc/x.txt"), "text")


def test_a_target_that_is_a_folder_is_not_ready(tmp_path):
    (tmp_path / "x").mkdir()
    with pytest.raises(NotReadyError, match="cannot write"):
        atomic.write_text(tmp_path / "x", "text")
    assert [entry.name for entry in tmp_path.iterdir()] == ["x"]


@pytest.mark.skipif(sys.platform == "win32", reason="limits the size of files")
def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path):
    import resource

    path = tmp_path / "x.bin"
    path.write_bytes(b"old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(NotReadyError, match="free some space"):
            atomic.write_bytes(path, b"new" * 100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.bin"]
