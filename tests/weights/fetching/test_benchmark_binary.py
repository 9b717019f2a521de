"""The program that times models: fetched once, the same ever after, found without a network."""

import hashlib
import json
import struct

import pytest

from mnasnet_deploy.bench import benchmark_binary
from mnasnet_deploy.bench.benchmark_binary import cached, find_binary, published
from mnasnet_deploy.errors import InputError, NotReadyError
from mnasnet_deploy.weights.intact import incomplete

pytestmark = pytest.mark.slow

TFLITE = (
    "https://storage.googleapis.com/tensorflow-nightly-public/prod/tensorflow/release/lite/tools/"
    "nightly/latest/"
)


def program(seed=0, bits=64):
    """An ELF file whose table of sections stands at its end."""
    body = bytes([seed]) * 5000
    if bits == 64:
        head = b"\x7fELF\x02\x01\x01" + bytes(33) + struct.pack("<Q", 64 + len(body))
        head += bytes(10) + struct.pack("<HHH", 64, 3, 2)
        return head + body + bytes(3 * 64)
    head = b"\x7fELF\x01\x01\x01" + bytes(25) + struct.pack("<I", 52 + len(body))
    head += bytes(10) + struct.pack("<HHH", 40, 3, 2)
    return head + body + bytes(3 * 40)


@pytest.fixture
def served(publisher, answer):
    """`served(content)`: what the publisher gives out as the nightly program for arm64-v8a."""

    def serve(content=None, abi="arm64-v8a", version="nightly"):
        content = program() if content is None else content
        publisher.serve(f"/{published(abi, version).file}", answer(content=content))
        return hashlib.sha256(content).hexdigest()

    return serve


@pytest.fixture
def fetch(mnasnet, publisher):
    def run(*options):
        return mnasnet("benchmark-binary", "fetch", "--base-url", publisher.url, *options)

    return run


@pytest.mark.parametrize(
    ("abi", "version", "url"),
    [
        ("arm64-v8a", "nightly", f"{TFLITE}android_aarch64_benchmark_model"),
        ("armeabi-v7a", "nightly", f"{TFLITE}android_arm_benchmark_model"),
        ("linux-x86_64", "nightly", f"{TFLITE}linux_x86-64_benchmark_model"),
        (
            "arm64-v8a",
            "2.1.6",
            "https://storage.googleapis.com/litert/binaries/2.1.6/android_arm64/benchmark_model",
        ),
        (
            "arm64-v8a",
            "latest",
            "https://storage.googleapis.com/litert/binaries/latest/android_arm64/benchmark_model",
        ),
    ],
)
def test_it_is_where_it_is_published(abi, version, url):
    assert published(abi, version).url == url


@pytest.mark.parametrize(
    ("abi", "version", "said"),
    [
        ("mips", "nightly", "not published for 'mips'"),
        ("arm64-v8a", "../../etc", "is no version"),
        ("arm64-v8a", "2", "is no version"),
        ("linux-x86_64", "2.1.6", "for arm64-v8a only"),
    ],
)
def test_what_is_not_published_is_an_error_that_says_what_is(abi, version, said):
    with pytest.raises(InputError, match=said):
        published(abi, version)


def test_it_is_fetched_once_and_found_from_then_on(fetch, served, publisher, mnasnet):
    sha256 = served()
    run = fetch()
    assert run.code == 0
    path = mnasnet("benchmark-binary", "path").out.strip()
    assert run.out == f"{path}  sha256 {sha256}\n"
    assert find_binary(None, "arm64-v8a") == (benchmark_binary.fetched_file(published()), sha256)
    assert fetch("--json").code == 0
    assert len(publisher.requests) == 1


def test_another_nightly_build_is_not_taken_for_the_first_one(fetch, served, mnasnet):
    first = served()
    fetch()
    second = served(program(1))
    assert json.loads(fetch("--json").out)["sha256"] == first
    assert json.loads(fetch("--json", "--force").out)["sha256"] == second


def test_a_program_that_was_changed_in_the_cache_is_refused(fetch, served):
    served()
    fetch()
    benchmark_binary.fetched_file(published()).write_bytes(program(2))
    with pytest.raises(InputError, match="benchmark-binary fetch --force --abi arm64-v8a"):
        find_binary(None, "arm64-v8a")
    run = fetch()
    assert run.code == 2
    assert run.err.count("\n") == 1


def test_a_broken_download_goes_on_where_it_broke(fetch, publisher, answer):
    content = program()
    publisher.serve(
        f"/{published().file}", answer(content=content, sends=3000), answer(content=content)
    )
    run = fetch("--json")
    assert json.loads(run.out)["sha256"] == hashlib.sha256(content).hexdigest()
    assert publisher.requests[1][1]["Range"] == "bytes=3000-"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"<html>log in first</html>", "sent a web page"),
        (b"hello", "sent not a program for Android or Linux"),
        (program()[:4000], "it ends early"),
    ],
    ids=["page", "text", "half"],
)
def test_what_is_no_whole_program_is_not_kept(fetch, served, content, said):
    served(content)
    run = fetch()
    assert run.code == 1
    assert said in run.err
    assert "--weights" not in run.err
    assert cached("arm64-v8a") == ()


def test_without_a_network_the_url_and_the_option_are_named(mnasnet, closed_port):
    url = published().url
    for options in (["--offline"], ["--base-url", closed_port]):
        run = mnasnet("benchmark-binary", "fetch", *options)
        assert run.code == 3
        assert run.err.count("\n") == 1
        assert url in run.err
    assert "--benchmark-binary PATH" in run.err


def test_a_missing_program_says_how_to_get_it(mnasnet, tmp_path):
    with pytest.raises(NotReadyError, match="benchmark-binary fetch --abi arm64-v8a"):
        find_binary(None, "arm64-v8a")
    with pytest.raises(NotReadyError, match="published for x86"):
        find_binary(None, "x86")
    with pytest.raises(InputError, match="there is no such file"):
        find_binary(tmp_path / "none", "arm64-v8a")
    run = mnasnet("benchmark-binary", "path", "--abi", "armeabi-v7a")
    assert run.code == 3
    assert "benchmark-binary fetch --abi armeabi-v7a --version nightly" in run.err


def test_a_named_program_counts_before_the_fetched_one(fetch, served, tmp_path):
    served()
    fetch()
    mine = tmp_path / "mine"
    mine.write_bytes(b"#!/system/bin/sh\n")
    sha256 = hashlib.sha256(mine.read_bytes()).hexdigest()
    assert find_binary(mine, "arm64-v8a") == (mine, sha256)


def test_of_several_the_one_that_gives_outputs_comes_first_then_the_newest(fetch, served):
    for version in ("2.1.6", "latest", "2.10.0"):
        served(version=version)
        assert fetch("--version", version).code == 0
    assert [one.version for one in cached("arm64-v8a")] == ["2.10.0", "2.1.6", "latest"]
    served()
    fetch()
    assert cached("arm64-v8a")[0].version == "nightly"
    assert cached("armeabi-v7a") == cached("x86") == ()


def test_the_list_shows_what_there_is(fetch, served, mnasnet):
    sha256 = served(version="2.1.6")
    fetch("--version", "2.1.6")
    run = mnasnet("benchmark-binary", "list")
    assert f"arm64-v8a      2.1.6    {sha256[:12]}" in run.out
    entries = json.loads(mnasnet("benchmark-binary", "list", "--json").out)
    assert [one["version"] for one in entries if one["path"]] == ["2.1.6"]
    assert {one["schema"] for one in entries} == {"mnasnet.benchmark-binary/1"}


@pytest.mark.parametrize("bits", [32, 64])
def test_a_program_is_whole_when_its_last_table_is_there(tmp_path, bits):
    path = tmp_path / "x"
    whole = program(bits=bits)
    path.write_bytes(whole)
    assert incomplete(path, "x.elf") == ""
    for size in (len(whole) - 1, 60, 20, 4):
        path.write_bytes(whole[:size])
        assert incomplete(path, "x.elf") == "it ends early"
