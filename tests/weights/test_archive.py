"""Archives nobody vouches for: unpacked whole, or refused in one line with nothing left behind."""

import io
import os
import tarfile
from pathlib import Path

import pytest

from mnasnet_deploy.errors import WeightsError
from mnasnet_deploy.weights import archive as module
from mnasnet_deploy.weights.archive import extract


def write(path: Path, members: list[tuple[tarfile.TarInfo, bytes]], mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        for member, content in members:
            tar.addfile(member, io.BytesIO(content))
    return path


def plain(name: str, content: bytes = b"abc") -> tuple[tarfile.TarInfo, bytes]:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    return member, content


def special(name: str, kind: bytes, target: str = "") -> tuple[tarfile.TarInfo, bytes]:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member, b""


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_files_and_folders_come_out_as_they_went_in(tmp_path: Path, mode: str) -> None:
    content = os.urandom(3 * 2**20 + 17)
    members = [
        special("net", tarfile.DIRTYPE),
        plain("net/variables/a", content),
        plain("./net/b", b""),
    ]
    extract(write(tmp_path / "a.tgz", members, mode), tmp_path / "new" / "out")
    assert (tmp_path / "new" / "out" / "net" / "variables" / "a").read_bytes() == content
    assert (tmp_path / "new" / "out" / "net" / "b").read_bytes() == b""


REFUSED = {
    "parent": [plain("../evil")],
    "parent inside": [plain("a/../../evil")],
    "absolute": [plain("/etc/evil")],
    "backslash": [plain("..\\evil")],
    "drive": [plain("c:/evil")],
    "symbolic link": [special("a", tarfile.SYMTYPE, "/etc/passwd")],
    "hard link": [plain("a"), special("b", tarfile.LNKTYPE, "a")],
    "link, then a file through it": [special("a", tarfile.SYMTYPE, ".."), plain("a/evil")],
    "named pipe": [special("a", tarfile.FIFOTYPE)],
    "device": [special("a", tarfile.CHRTYPE)],
    "a name twice": [plain("a"), plain("a")],
    "a file as folder": [plain("a"), plain("a/b")],
    "deep": [plain("a/" * 40 + "b")],
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_leads_out_or_is_no_file_is_refused(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / "archive.tgz", [plain("good"), *REFUSED[name]])
    with pytest.raises(WeightsError) as raised:
        extract(path, tmp_path / "out")
    assert "\n" not in str(raised.value)
    assert str(raised.value).startswith("archive.tgz: ")
    assert [entry.name for entry in tmp_path.iterdir()] == ["archive.tgz"]


@pytest.mark.parametrize("keep", [0, 1, 10, 100, 4000, -9, -1])
def test_a_truncated_archive_leaves_nothing(tmp_path: Path, keep: int) -> None:
    whole = write(tmp_path / "archive.tgz", [plain("a", os.urandom(20_000)), plain("b")])
    whole.write_bytes(whole.read_bytes()[:keep])
    with pytest.raises(WeightsError, match=r"archive\.tgz"):
        extract(whole, tmp_path / "out")
    assert [entry.name for entry in tmp_path.iterdir()] == ["archive.tgz"]


def test_a_damaged_archive_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "archive.tgz", [plain("a", os.urandom(20_000))])
    content = bytearray(path.read_bytes())
    content[5000:5100] = b"\0" * 100
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"archive\.tgz"):
        extract(path, tmp_path / "out")


def test_ten_gigabytes_that_a_header_promises_are_refused_at_once(tmp_path: Path) -> None:
    member = tarfile.TarInfo("bomb")
    member.size = 10 * 2**30
    (tmp_path / "archive.tar").write_bytes(member.tobuf() + b"\0" * 10_240)
    with pytest.raises(WeightsError, match="MiB"):
        extract(tmp_path / "archive.tar", tmp_path / "out")


def test_files_that_are_too_much_together_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.tgz", [plain(f"f{i}", bytes(2**20)) for i in range(5)])
    assert path.stat().st_size < 2**15  # a bomb of a thousand times its size
    monkeypatch.setattr(module, "MAX_BYTES", 3 * 2**20)
    with pytest.raises(WeightsError, match="more than 3 MiB"):
        extract(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_header_that_would_fill_the_memory_is_refused(tmp_path: Path) -> None:
    """An extended header is read whole by the tar reader, whatever it claims to be."""
    path = tmp_path / "a.tgz"
    with tarfile.open(path, "w:gz", format=tarfile.PAX_FORMAT) as tar:
        member, content = plain("a")
        member.pax_headers = {"comment": "x" * (8 * 2**20)}
        tar.addfile(member, io.BytesIO(content))
    with pytest.raises(WeightsError, match="too large"):
        extract(path, tmp_path / "out")


def test_too_many_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_MEMBERS", 5)
    path = write(tmp_path / "a.tar", [plain(f"f{i}") for i in range(6)], "w")
    with pytest.raises(WeightsError, match="more than 5 files"):
        extract(path, tmp_path / "out")


def test_no_archive_at_all(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("<html>404</html>" * 100)
    with pytest.raises(WeightsError, match="no archive"):
        extract(tmp_path / "page.html", tmp_path / "out")
    with pytest.raises(WeightsError, match="no archive"):
        extract(tmp_path / "missing", tmp_path / "out")
