"""`mnasnet show RECORD` says what was measured, how, and which operators take longest."""

import importlib.util
import json
from dataclasses import replace
from pathlib import Path

import pytest

from mnasnet_deploy.results import store
from mnasnet_deploy.results.record import OperatorTime, record_from_mapping

OPERATORS = tuple(
    OperatorTime(name=f"block{number}/depthwise", kind="DWConv", mean_ms=number / 10,
                 share=number / 210)
    for number in range(1, 21)
)  # fmt: skip


@pytest.fixture(scope="module")
def building():
    path = Path(__file__).parents[1] / "results" / "building.py"
    spec = importlib.util.spec_from_file_location("record_building", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def phone_record(building, tmp_path, monkeypatch):
    """A record of a phone in `results`, with operators."""
    monkeypatch.chdir(tmp_path)
    device = replace(building.PHONE, build="sailfish-user 10", runtime_sha256="ab" * 32)
    made = building.make_record(
        device=device, mode="fixed", allowed=("WARM",), cpus=(2, 3), verdict="noisy",
        reasons=("WIDE-INTERVAL: the interval is +-3.1% of the median, over 2%",),
    )  # fmt: skip
    record = replace(made, operators=OPERATORS, command="./benchmark_model --graph=net.tflite")
    store.add(record)
    return record


def test_a_record_is_shown_by_its_id_its_start_and_its_file(mnasnet, phone_record):
    by_id = mnasnet("show", phone_record.id)
    assert by_id.code == 0
    for said in (
        phone_record.artifact.file,
        "Pixel 1, MSM8996, Android 10, sailfish-user 10",
        "benchmark_model 2.16, sha256 abababababababab",
        "1 thread, xnnpack, on CPU 2, 3, fixed mode",
        "1.52 [1.50, 1.55] ms, 97.9% interval of 10 launches",
        "WIDE-INTERVAL: the interval is",
        "WARM",
        "./benchmark_model --graph=net.tflite",
    ):
        assert said in by_id.out
    assert "depthwise" not in by_id.out
    assert mnasnet("show", phone_record.id[:14]).out == by_id.out
    path = store.record_path(Path("results"), phone_record.id)
    assert mnasnet("show", path).out == by_id.out
    assert mnasnet("show", phone_record.id[:3], "--ops").code == 0


def test_the_slowest_operators_come_first_and_the_rest_is_summed(mnasnet, phone_record):
    out = mnasnet("show", phone_record.id, "--ops").out
    lines = [line for line in out.splitlines() if "depthwise" in line]
    assert lines[0].split() == ["block20/depthwise", "DWConv", "2.0000", "9.5%"]
    assert len(lines) == 15
    assert out.splitlines()[-1] == "5 more take 7.1%"


def test_as_json_it_is_the_whole_record(mnasnet, phone_record):
    found = json.loads(mnasnet("show", phone_record.id, "--json").out)
    assert record_from_mapping(found) == phone_record


def test_a_record_without_operators_says_where_there_are_some(mnasnet, building, phone_record):
    other = building.make_record(minute=1)
    store.add(other)
    run = mnasnet("show", other.id, "--ops")
    assert run.code == 2
    assert run.err.startswith(f"error: record {other.id} holds no operators: benchmark_model")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["20200101t"], "no record 20200101t in results"),
        (["2026", "--ops"], "2 records start with 2026 in results"),
        (["half.json"], "half.json is no record: not whole JSON"),
        (["--ops"], "--ops needs a RECORD"),
        (["20260517t", "--snippet", "python"], "--snippet is for a .tflite file"),
        (["20260517t", "--variant", "a1"], "a FILE or the options of a network"),
    ],
)
def test_what_is_no_record_is_one_line(mnasnet, building, phone_record, arguments, said):
    store.add(building.make_record(minute=1))
    Path("half.json").write_text('{"schema": "mnasnet.rec')
    run = mnasnet("show", *arguments)
    assert run.code == 2
    (line,) = run.err.splitlines()
    assert said in line


def test_a_hostile_record_shows_no_control_characters(mnasnet, building, phone_record):
    made = building.make_record(minute=2, device=replace(building.PHONE, name="\x1b[31mred"))
    store.add(made)
    assert "\x1b" not in mnasnet("show", made.id).out
