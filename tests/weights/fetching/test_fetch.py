"""Files come whole or not at all, whatever the server does, and never change unnoticed."""

import hashlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace

import pytest

from mnasnet_deploy.errors import InputError, MnasnetError, NotReadyError, WeightsError
from mnasnet_deploy.weights import fetch, intact
from mnasnet_deploy.weights.catalog import find_checkpoint
from mnasnet_deploy.weights.fetch import Fetcher
from mnasnet_deploy.weights.web import Limits

pytestmark = pytest.mark.slow


def test_a_file_comes_once_and_then_lies_there(
    publisher, answer, make_fetcher, checkpoint, place, archive, whole
):
    publisher.serve(place, answer(content=archive))
    fetcher = make_fetcher()
    assert fetcher.cached(checkpoint) is None
    seen = []
    outcome = fetcher.fetch(checkpoint, lambda _, done, total: seen.append((done, total)))
    assert (outcome.status, outcome.size_bytes) == ("fetched", len(archive))
    assert outcome.sha256 == hashlib.sha256(archive).hexdigest()
    assert seen == sorted(seen)
    assert seen[-1] == (len(archive), len(archive))
    assert whole(fetcher.path(checkpoint), archive)
    again = make_fetcher().fetch(checkpoint)
    assert again == replace(outcome, status="cached")
    assert len(publisher.requests) == 1
    headers = publisher.requests[0][1]
    assert headers["User-Agent"].startswith("mnasnet-deploy/")
    assert "Range" not in headers


# ---- the same bytes for ever


def test_another_file_than_was_published_is_refused(publisher, answer, make_fetcher, lies_there):
    known = find_checkpoint("torchvision:mnasnet0_5")
    publisher.serve(f"/{known.file}", answer(content=b"\x80\x02" + bytes(1000)))
    fetcher = make_fetcher()
    with pytest.raises(MnasnetError, match=r"not the published file .*published 3ffadce67e\)"):
        fetcher.fetch(known)
    assert lies_there() == set()


def test_a_file_that_comes_again_must_be_the_recorded_one(
    publisher, answer, make_fetcher, checkpoint, place, archive, make_archive, whole
):
    publisher.serve(place, answer(content=archive), answer(content=make_archive(1)))
    fetcher = make_fetcher()
    path = fetcher.fetch(checkpoint).path
    path.unlink()
    with pytest.raises(MnasnetError, match=r"not the file that was recorded .*fetch --force"):
        fetcher.fetch(checkpoint)
    assert not path.exists()
    forced = make_fetcher(force=True)
    forced.fetch(checkpoint)
    assert whole(forced.path(checkpoint), make_archive(1))
    assert make_fetcher().fetch(checkpoint).status == "cached"


@pytest.mark.parametrize("offline", [False, True])
def test_a_changed_file_is_not_used_and_says_how_to_heal(
    publisher, answer, make_fetcher, checkpoint, place, archive, offline
):
    publisher.serve(place, answer(content=archive))
    path = make_fetcher().fetch(checkpoint).path
    changed = bytearray(archive)
    changed[1000] ^= 1
    path.write_bytes(changed)
    with pytest.raises(WeightsError, match=r"not the file that was recorded .* --force official:"):
        make_fetcher(offline=offline).fetch(checkpoint)
    make_fetcher(force=True).fetch(checkpoint)
    assert path.read_bytes() == archive


def test_a_file_put_there_by_hand_is_recorded(publisher, make_fetcher, checkpoint, archive):
    fetcher = make_fetcher(offline=True)
    path = fetcher.path(checkpoint)
    path.parent.mkdir(parents=True)
    path.write_bytes(archive)
    assert fetcher.fetch(checkpoint).status == "cached"
    path.write_bytes(archive + b"\0")
    with pytest.raises(WeightsError, match="not the file that was recorded"):
        fetcher.fetch(checkpoint)
    assert publisher.requests == []


def test_a_broken_file_put_there_by_hand_is_named(make_fetcher, checkpoint, archive):
    fetcher = make_fetcher(offline=True)
    path = fetcher.path(checkpoint)
    path.parent.mkdir(parents=True)
    path.write_bytes(archive[:100_000])
    with pytest.raises(WeightsError, match=r"mnasnet-a1-050\.tgz: it ends early"):
        fetcher.fetch(checkpoint)


def test_a_known_sha256_holds_for_files_put_there_by_hand(make_fetcher):
    fetcher, known = make_fetcher(offline=True), find_checkpoint("torchvision:mnasnet0_5")
    path = fetcher.path(known)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"\x80\x02" + bytes(1000))
    with pytest.raises(WeightsError, match="not the published file"):
        fetcher.fetch(known)


@pytest.mark.parametrize("text", ["", "[]", '{"sha256": 1}', '{"schema": "x/1"}', "[" * 100_000])
def test_a_receipt_that_cannot_be_read_is_named(
    publisher, answer, make_fetcher, checkpoint, place, archive, text
):
    publisher.serve(place, answer(content=archive))
    path = make_fetcher().fetch(checkpoint).path
    path.with_name(f"{path.name}.json").write_text(text)
    with pytest.raises(WeightsError, match=r"tgz\.json is not readable .*delete it"):
        make_fetcher().fetch(checkpoint)


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_one_may_only_read_will_do(make_fetcher, checkpoint, archive):
    fetcher = make_fetcher(offline=True)
    path = fetcher.path(checkpoint)
    path.parent.mkdir(parents=True)
    path.write_bytes(archive)
    path.parent.chmod(0o500)
    try:
        assert fetcher.fetch(checkpoint).status == "cached"
    finally:
        path.parent.chmod(0o700)


def test_offline_asks_no_one_and_says_where_to_put_it(publisher, make_fetcher, checkpoint):
    fetcher = make_fetcher(offline=True)
    with pytest.raises(NotReadyError, match=r"\(offline\); put http://\S+/mnasnet-a1-050.tgz at "):
        fetcher.fetch(checkpoint)
    assert publisher.requests == []
    assert not fetcher.folder.exists()


@pytest.mark.parametrize(
    "url", ["ftp://x/y", "mirror", "http://", "http://u:p@h/x", "http://h:x/", "https://h/?a=b"]
)
def test_a_mirror_is_a_plain_address(tmp_path, url):
    with pytest.raises(InputError, match="--base-url"):
        Fetcher(tmp_path, base_url=url)


# ---- several at once


def test_many_files_come_at_once_and_failures_are_results(
    publisher, answer, make_fetcher, archive, make_archive
):
    names = ["mnasnet-a1", "mnasnet-a1-075", "mnasnet-a1-050", "mnasnet-a1-035"]
    wanted = [find_checkpoint(name) for name in names]
    for index, one in enumerate(wanted[:3]):
        publisher.serve(f"/{one.file}", answer(content=make_archive(index)))
    found = list(make_fetcher().fetch_all([*wanted, wanted[0]], jobs=3))
    assert {one.checkpoint for one in found} == set(wanted)
    status = {one.checkpoint.name: one.status for one in found}
    assert status.pop("official:mnasnet-a1-035") == "failed"
    assert set(status.values()) == {"fetched"}
    assert len(publisher.requests) == 4


def test_a_bug_in_a_thread_reaches_the_caller(
    publisher, answer, make_fetcher, checkpoint, place, archive
):
    publisher.serve(place, answer(content=archive))

    def broken(*_):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(make_fetcher().fetch_all([checkpoint], progress=broken))


def test_two_threads_fetch_a_file_once(
    publisher, answer, make_fetcher, checkpoint, place, archive, hasty
):
    publisher.serve(
        place, answer(content=archive, sends=100_000, holds=True), answer(content=archive)
    )
    status = []

    def run(fetcher):
        status.append(fetcher.fetch(checkpoint).status)

    threads = [threading.Thread(target=run, args=(make_fetcher(limits=hasty),)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(status) == ["cached", "cached", "fetched"]
    assert len(publisher.requests) == 2  # the second is the rest


FETCHING = """
import sys
from pathlib import Path
from mnasnet_deploy.weights.catalog import find_checkpoint
from mnasnet_deploy.weights.fetch import Fetcher
fetcher = Fetcher(Path(sys.argv[1]), base_url=sys.argv[2])
print("started", flush=True)
print(fetcher.fetch(find_checkpoint("official:mnasnet-a1-050")).status, flush=True)
"""


def _start(tmp_path, url):
    return subprocess.Popen(
        [sys.executable, "-c", FETCHING, tmp_path / "cache", url],
        stdout=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    )


@pytest.mark.processes
def test_two_processes_fetch_a_file_once(
    publisher, answer, make_fetcher, checkpoint, place, archive, tmp_path, whole
):
    publisher.serve(place, answer(content=archive, chunked=True, holds=True))
    with _start(tmp_path, publisher.url) as one, _start(tmp_path, publisher.url) as other:
        for process in (one, other):
            assert process.stdout.readline() == "started\n"
        publisher.released.set()
        ended = [process.stdout.read() for process in (one, other)]
    assert sorted(ended) == ["cached\n", "fetched\n"]
    assert len(publisher.requests) == 1
    assert whole(make_fetcher().path(checkpoint), archive)


@pytest.mark.processes
@pytest.mark.skipif(sys.platform == "win32", reason="kills by signal")
def test_a_killed_fetch_is_resumed_by_the_next(
    publisher, answer, make_fetcher, checkpoint, place, archive, tmp_path, whole
):
    publisher.serve(
        place, answer(content=archive, sends=200_000, holds=True), answer(content=archive)
    )
    part = tmp_path / "cache" / "weights" / f".{checkpoint.file}.part"
    with _start(tmp_path, publisher.url) as process:
        deadline = time.monotonic() + 30
        while not (part.exists() and part.stat().st_size == 200_000):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    fetcher = make_fetcher()
    assert not fetcher.is_cached(checkpoint)
    fetcher.fetch(checkpoint)
    assert publisher.requests[1][1]["Range"] == "bytes=200000-"
    assert whole(fetcher.path(checkpoint), archive)


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_an_interrupted_fetch_keeps_what_it_has(
    publisher, answer, make_fetcher, checkpoint, place, archive, share, whole
):
    publisher.serve(place, answer(content=archive))

    def press(_, done, total):
        if done >= share * total:
            raise KeyboardInterrupt

    fetcher = make_fetcher()
    with pytest.raises(KeyboardInterrupt):
        fetcher.fetch(checkpoint, press)
    fetcher.fetch(checkpoint)
    assert whole(fetcher.path(checkpoint), archive)
    ranges = [headers.get("Range") for _, headers in publisher.requests]
    if share == 1.0:
        assert ranges == [None]  # nothing was missing
    else:
        assert re.fullmatch(r"bytes=[1-9]\d+-", ranges[1])


def test_what_a_power_cut_spoiled_is_fetched_anew(
    publisher, answer, make_fetcher, checkpoint, place, archive, whole
):
    publisher.serve(place, answer(content=archive))

    def press(_, done, total):
        if done >= total / 2:
            raise KeyboardInterrupt

    fetcher = make_fetcher()
    with pytest.raises(KeyboardInterrupt):
        fetcher.fetch(checkpoint, press)
    part = fetcher.folder / f".{checkpoint.file}.part"
    part.write_bytes(archive[:1000] + bytes(part.stat().st_size - 1000))
    fetcher.fetch(checkpoint)
    assert whole(fetcher.path(checkpoint), archive)


@pytest.mark.parametrize("note", ["", "[]", "{}", '{"url": 1, "validator": "x", "total": 1}'])
def test_a_part_of_unknown_origin_is_not_used(
    publisher, answer, make_fetcher, checkpoint, place, archive, note, whole
):
    publisher.serve(place, answer(content=archive))
    fetcher = make_fetcher()
    fetcher.folder.mkdir(parents=True)
    part = fetcher.folder / f".{checkpoint.file}.part"
    part.write_bytes(bytes(1000))
    part.with_name(f"{part.name}.json").write_text(note)
    fetcher.fetch(checkpoint)
    assert whole(fetcher.path(checkpoint), archive)


# ---- the disk


@pytest.mark.skipif(sys.platform == "win32", reason="limits the size of files")
def test_a_full_disk_is_said_and_what_came_is_kept(
    publisher, answer, make_fetcher, checkpoint, place, archive, whole
):
    import resource

    publisher.serve(place, answer(content=archive))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    fetcher = make_fetcher()
    try:
        with pytest.raises(NotReadyError, match=r"cannot write .*free some space.*MNASNET_CACHE"):
            fetcher.fetch(checkpoint)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert not fetcher.is_cached(checkpoint)
    fetcher.fetch(checkpoint)
    assert whole(fetcher.path(checkpoint), archive)
    assert publisher.requests[1][1]["Range"] == "bytes=100000-"


def test_a_cache_that_cannot_be_made_is_said(publisher, tmp_path, checkpoint):
    (tmp_path / "file").write_text("x")
    fetcher = Fetcher(tmp_path / "file", base_url=publisher.url)
    with pytest.raises(NotReadyError, match=r"cannot write .*MNASNET_CACHE"):
        fetcher.fetch(checkpoint)


def test_the_limits_are_what_is_promised():
    assert Limits().connect_s == 3.0
    assert fetch.DEFAULT_JOBS > 1
    assert intact.MAX_BYTES >= 200_000_000  # a trainer's checkpoint of the largest network: 100 MB
