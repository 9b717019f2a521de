"""`mnasnet weights list`, `mnasnet weights fetch` and `mnasnet export --weights` as commands."""

import contextlib
import json
import time

import pytest

from mnasnet_deploy.cli import console
from mnasnet_deploy.weights.catalog import checkpoints

pytestmark = pytest.mark.slow

SMALL = ("--variant", "a1", "--multiplier", "0.35", "--res", "96", "--verify-images", "1")


def test_list_shows_every_file_with_both_accuracies(mnasnet, publisher, make_fetcher, archive):
    run = mnasnet("weights", "list")
    assert run.code == 0
    lines = run.out.splitlines()
    assert len(lines) == 1 + len(checkpoints())
    line = next(line for line in lines if line.startswith("official:mnasnet-a1 "))
    assert line.split() == [
        "official:mnasnet-a1", "mnasnet-a1", "1.0", "224", "75.2/92.5", "73.5,", "73.1/91.3",
        "Apache-2.0", "-",
    ]  # fmt: skip
    assert "the README prints 52.3 and 59.3" in run.err
    assert f"cache: {make_fetcher().folder}" in run.err
    assert publisher.requests == []


def test_list_tells_a_program_the_sources_and_what_is_cached(
    mnasnet, make_fetcher, checkpoint, archive
):
    path = make_fetcher().path(checkpoint)
    path.parent.mkdir(parents=True)
    path.write_bytes(archive)
    found = json.loads(mnasnet("weights", "list", "--json").out)
    assert {one["schema"] for one in found} == {"mnasnet.weights/1"}
    assert [one["name"] for one in found if one["cached"]] == [checkpoint.name]
    one = next(one for one in found if one["cached"])
    assert one["path"] == str(path)
    assert one["published"]["top1"] == 68.9
    assert "tensorflow/tpu" in one["published"]["source"]
    assert mnasnet("weights", "list").out.count(" yes") == 1


def test_fetch_prints_a_line_for_each_file(
    mnasnet, publisher, answer, make_fetcher, checkpoint, place, archive, whole
):
    publisher.serve(place, answer(content=archive))
    run = mnasnet("weights", "fetch", "mnasnet-a1-050", "--base-url", publisher.url)
    path = make_fetcher().path(checkpoint)
    assert (run.code, run.err) == (0, "")
    assert run.out.startswith(f"{path}  0.29 MiB  sha256 ")
    assert run.out.endswith("  fetched\n")
    assert whole(path, archive)
    assert mnasnet("weights", "fetch", "mnasnet-a1-050", "--offline").out.endswith("  cached\n")


def test_fetch_says_that_force_and_offline_exclude_each_other(mnasnet):
    run = mnasnet("weights", "fetch", "mnasnet-a1-050", "--force", "--offline")
    assert run.code == 2
    assert "leave one out" in run.err


def test_fetch_of_the_grid_goes_on_after_failures(mnasnet, publisher, answer, archive):
    publisher.serve("/mnasnet-a1.tgz", answer(content=archive))
    run = mnasnet("weights", "fetch", "--grid", "--json", "--base-url", publisher.url)
    found = json.loads(run.out)
    assert run.code == 1
    assert len(found) == 25
    assert {one["schema"] for one in found} == {"mnasnet.fetched/1"}
    assert [one["name"] for one in found if one["status"] == "fetched"] == ["official:mnasnet-a1"]
    assert {one["exit_code"] for one in found} == {0, 1}
    assert run.err.endswith("24 of 25 files failed\n")


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        ([], 2, "name the weights to fetch"),
        (["mnasnet-a2"], 2, "unknown weights 'mnasnet-a2': did you mean 'official:mnasnet-a1'?"),
        (["mnasnet-a1", "--base-url", "mirror"], 2, "--base-url 'mirror': use http://"),
        (["mnasnet-a1", "--offline"], 3, "official:mnasnet-a1 is not in the cache"),
        (["mnasnet-a1", "--jobs", "0"], 2, "'--jobs'"),
    ],
)
def test_fetch_says_what_is_wrong_in_one_line(mnasnet, arguments, code, text):
    run = mnasnet("weights", "fetch", *arguments)
    assert run.code == code
    assert run.err.startswith("error: ")
    assert text in run.err
    assert run.err.count("\n") == 1


def test_one_reason_for_many_files_is_said_once(mnasnet, closed_port):
    run = mnasnet("weights", "fetch", "--grid", "--base-url", closed_port)
    assert run.code == 3
    assert run.err.count("cannot reach 127.0.0.1") == 1
    assert run.err.endswith("25 of 25 files failed\n")


def test_the_environment_may_forbid_the_network_and_name_the_mirror(
    mnasnet, publisher, answer, place, archive, monkeypatch
):
    publisher.serve(place, answer(content=archive))
    monkeypatch.setenv("MNASNET_BASE_URL", publisher.url)
    monkeypatch.setenv("MNASNET_OFFLINE", "1")
    assert mnasnet("weights", "fetch", "mnasnet-a1-050").code == 3
    monkeypatch.delenv("MNASNET_OFFLINE")
    assert mnasnet("weights", "fetch", "mnasnet-a1-050").code == 0


@pytest.mark.slow
def test_without_a_network_a_command_costs_three_seconds(mnasnet, black_hole):
    start = time.monotonic()
    run = mnasnet("weights", "fetch", "--grid", "--base-url", black_hole)
    assert time.monotonic() - start < 4.5
    assert run.code == 3
    assert "no answer within 3 s" in run.err


def test_the_bar_counts_the_bytes_of_all_files_together(
    mnasnet, publisher, answer, archive, make_archive, monkeypatch
):
    moves = []

    @contextlib.contextmanager
    def progress(description, total, *, in_bytes):
        assert (total, in_bytes) == (0, True)
        yield lambda steps, *, added: moves.append((steps, added))

    monkeypatch.setattr(console, "progress", progress)
    other = make_archive(1)
    publisher.serve("/mnasnet-a1.tgz", answer(content=archive, sends=100_000, etag=None),
                    answer(content=archive))  # fmt: skip
    publisher.serve("/mnasnet-small.tgz", answer(content=other, chunked=True))
    run = mnasnet("weights", "fetch", "mnasnet-a1", "mnasnet-small", "--base-url", publisher.url)
    assert run.code == 0
    both = len(archive) + len(other)
    assert [sum(column) for column in zip(*moves, strict=True)] == [both, both]
    assert min(steps for steps, _ in moves) < 0  # what had to come again


# ---- export


def test_export_goes_on_untrained_with_the_reason(mnasnet, tmp_path, closed_port):
    run = mnasnet(
        "export", *SMALL, "--weights", "auto", "--base-url", closed_port, "--out", tmp_path
    )
    assert run.code == 0
    assert "UNTRAINED" in run.out
    first = run.err.splitlines()[0]
    assert first.startswith("warning: mnasnet-a1 0.35 @96: cannot reach 127.0.0.1 (")
    assert first.endswith("; going on with random weights")
    assert "never trained" in run.err
    sidecar = json.loads((tmp_path / "mnasnet-a1_0.35_96_float32.json").read_text())
    assert sidecar["facts"]["weights"]["trained"] is False


def test_export_says_one_reason_for_many_networks(mnasnet, tmp_path):
    run = mnasnet(
        "export", "--variant", "a1", "--multiplier", "0.35", "--res", "32", "--res", "40",
        "--verify-images", "1", "--weights", "auto", "--jobs", "1", "--out", tmp_path,
    )  # fmt: skip
    assert run.code == 0
    assert run.err.count("going on with random weights") == 1
    assert "mnasnet-a1 0.35 @32 (and 1 more network): there are no official weights" in run.err


@pytest.mark.parametrize(
    ("choice", "code", "text"),
    [
        ("official", 3, "cannot reach 127.0.0.1"),
        ("timm:semnasnet_100", 2, "is of mnasnet-a1 1.0, not of mnasnet-a1 0.35 @96"),
        ("timm:nothing", 2, "unknown weights"),
    ],
)
def test_export_fails_where_other_weights_than_auto_cannot_be_had(
    mnasnet, tmp_path, closed_port, choice, code, text
):
    run = mnasnet(
        "export", *SMALL, "--weights", choice, "--base-url", closed_port, "--out", tmp_path / "x"
    )
    assert run.code == code
    assert text in run.err
    assert run.err.count("\n") == 1
    assert not (tmp_path / "x").exists()


def test_export_offline_asks_no_one(mnasnet, tmp_path, publisher):
    run = mnasnet(
        "export", *SMALL, "--weights", "official", "--offline", "--base-url", publisher.url,
        "--out", tmp_path,
    )  # fmt: skip
    assert run.code == 3
    assert "is not in the cache" in run.err
    assert publisher.requests == []


def test_export_hands_on_the_file_that_was_fetched(mnasnet, tmp_path, publisher, answer, archive):
    publisher.serve("/mnasnet-a1_d0.35_i96.tgz", answer(content=archive))
    run = mnasnet(
        "export", *SMALL, "--weights", "official", "--base-url", publisher.url, "--out", tmp_path
    )
    # It is no checkpoint: what is inside is for the reader to refuse, by the name of the file.
    assert run.code == 2
    assert "mnasnet-a1_d0.35_i96.tgz" in run.err
