"""A lock on a file holds against everyone else, and ends with its file."""

from pathlib import Path

from mnasnet_deploy.locking import try_lock


def test_a_lock_is_one_holders_until_the_file_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with path.open("ab") as first, path.open("ab") as second:
        assert try_lock(first)
        assert not try_lock(second)
    with path.open("rb") as third:
        assert try_lock(third)
