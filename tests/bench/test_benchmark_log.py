"""Outputs of `benchmark_model` are read right, or refused with a reason; never wrong as a result."""

# ruff: noqa: E501 - lines as the program prints them

import json
from dataclasses import asdict, fields
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnasnet_deploy.bench.benchmark_log import Reading, read_output

LOGS = Path(__file__).parents[1] / "data" / "bench_logs"
WANTED = json.loads((LOGS / "wanted.json").read_text(encoding="utf-8"))
CONTENT = {name: (LOGS / f"{name}.log").read_bytes() for name in WANTED}
NUMBERS = [f.name for f in fields(Reading) if f.name.endswith(("_ms", "_mib")) or f.name == "runs"]

OK = b"""INFO: STARTING!
INFO: Loaded model m.tflite
INFO: Initialized session in 5.579ms.
INFO: Running benchmark for at least 1 iterations and at least 0.5 seconds but terminate if exceeding 150 seconds.
INFO: count=3 first=1033 curr=1001 min=1001 max=1033 avg=1012.3 std=15 p5=1001 median=1003 p95=1033

INFO: Running benchmark for at least 50 iterations and at least 1 seconds but terminate if exceeding 150 seconds.
INFO: count=50 first=1005 curr=1000 min=998 max=1040 avg=1003.5 std=7 p5=999 median=1002 p95=1020

INFO: Inference timings in us: Init: 5579, First inference: 1033, Warmup (avg): 1012.3, Inference (avg): 1003.5
"""


def _close(got, wanted):
    if got is None or wanted is None:
        return got is wanted
    return abs(got - wanted) <= 1e-5 * max(1.0, abs(wanted))


@pytest.mark.parametrize("name", WANTED)
def test_a_log_from_the_wild_is_read_right(name):
    reading, wanted = read_output(CONTENT[name]), WANTED[name]
    for field in NUMBERS:
        answers = wanted[field]
        assert any(_close(getattr(reading, field), one) for one in answers), field
    assert reading.delegate in wanted["delegate"]
    if wanted["ok"] is not None:
        assert reading.ok == wanted["ok"]
    if wanted["ok"] is False:
        assert reading.error_summary in wanted["error_summary"]
    if wanted["coverage"]:
        assert reading.delegation.coverage == wanted["coverage"]
    if wanted["kernels"]:
        assert reading.delegation.kernels == wanted["kernels"]


def test_all_logs_at_hand_are_read_right(outside_data):
    logs = list((outside_data / "bench_logs").glob("*.log"))
    assert logs
    for log in logs:
        wanted = json.loads(log.with_suffix(".json").read_text())
        reading = read_output(log.read_bytes())
        for field in ("inference_avg", "init", "median"):
            answers = [wanted[f"{field}_us"], *wanted.get("alt", {}).get(f"{field}_us", [])]
            if f"{field}_us" in wanted.get("optional_fields", ()):
                answers.append(None)
            answers = [None if one is None else one / 1e3 for one in answers]
            assert any(_close(getattr(reading, f"{field}_ms"), a) for a in answers), log.name


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (
            (b"count=50 first", b"ERROR: Node number 3 failed to invoke.\nINFO: count=50 first"),
            None,
        ),
        ((b"avg=1003.5 std=7", b"avg=1103.5 std=7"), "its summary and its statistics disagree"),
        (
            (b"count=50 first=1005 curr=1000 min=998 max=1040 avg=1003.5 std=7", b"count=0"),
            "nothing was run",
        ),
        (
            (b"INFO: Inference timings", b"Segmentation fault\nINFO: Inference timings"),
            "Segmentation fault",
        ),
    ],
)
def test_what_contradicts_a_result_voids_it(change, error):
    text = OK.replace(*change)
    assert text != OK
    reading = read_output(text)
    assert reading.ok == (error is None)
    assert reading.error_summary == error


def test_a_failed_invoke_still_prints_a_summary_and_is_no_result():
    text = OK + b"ERROR: Node number 3 (CONV_2D) failed to invoke.\nERROR: Benchmarking failed.\n"
    reading = read_output(text)
    assert not reading.ok
    assert reading.error_summary == "Node number 3 (CONV_2D) failed to invoke."


def test_an_exit_code_decides():
    assert read_output(OK, exit_code=0).ok
    assert not read_output(OK, exit_code=139).ok


def test_flags_the_program_does_not_know_are_told():
    reading = read_output(b"WARN: Unconsumed cmdline flags: --use_nnapi=true\n" + OK)
    assert reading.ok
    assert reading.unknown_flags == "--use_nnapi=true"
    assert "does not know --use_nnapi=true" in reading.warnings[0]


def test_fewer_runs_than_asked_for_are_told():
    reading = read_output(OK.replace(b"count=50 ", b"count=20 "))
    assert reading.warnings == ("20 runs instead of 50: the time ran out",)


@pytest.mark.parametrize(
    ("line", "delegate", "coverage", "refused"),
    [
        (b"INFO: Explicitly applied GPU delegate, and the model graph will be completely executed by the delegate.", "GPU", "full", ()),
        (b"Applied GPU delegate, and the model graph will be partially executed w/ the delegate.", "GPU", "partial", ()),
        (b"INFO: Though GPU delegate is explicitly applied, the model graph will not be executed by the delegate.", None, "none", ("GPU",)),
        (b"WARN: GPU acceleration is unsupported on this platform.\nINFO: Created TensorFlow Lite XNNPACK delegate for CPU.", "XNNPACK", "implicit", ("GPU",)),
        (b"VERBOSE: Replacing 60 out of 64 node(s) with delegate (LITERT_CL) node, yielding 3 partitions for subgraph 0 (main).", "GPU", "partial", ()),
    ],
)  # fmt: skip
def test_what_really_ran_is_not_what_was_asked(line, delegate, coverage, refused):
    found = read_output(line + b"\n" + OK).delegation
    assert (found.name, found.coverage, found.refused) == (delegate, coverage, refused)


def test_soft_complaints_of_the_gpu_are_no_failure():
    text = (
        b"ERROR: Following operations are not supported by GPU delegate:\n"
        b"UNPACK: Operation is not supported.\nERROR: Falling back to OpenGL\n"
    )
    assert read_output(text + OK).ok


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_truncated_log_is_no_other_result(data):
    name = data.draw(st.sampled_from(sorted(CONTENT)))
    content = CONTENT[name]
    whole = read_output(content)
    part = read_output(content[: data.draw(st.integers(0, len(content)))])
    if part.ok:
        for field in NUMBERS:
            got = getattr(part, field)
            answers = [getattr(whole, field), *WANTED[name][field]]
            assert got is None or any(_close(got, one) for one in answers), field
    else:
        assert part.error_summary


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_spliced_logs_and_flipped_bytes_never_crash_the_reader(data):
    one, two = (CONTENT[data.draw(st.sampled_from(sorted(CONTENT)))] for _ in range(2))
    start = data.draw(st.integers(0, len(one)))
    mixed = bytearray(one[:start] + two[data.draw(st.integers(0, len(two))) :])
    for _ in range(data.draw(st.integers(0, 8))):
        if mixed:
            mixed[data.draw(st.integers(0, len(mixed) - 1))] = data.draw(st.integers(0, 255))
    reading = read_output(bytes(mixed), exit_code=data.draw(st.sampled_from([None, 0, 1])))
    assert reading.ok == (reading.error_summary is None)
    if reading.ok:
        assert reading.inference_avg_ms is not None
        assert reading.inference_avg_ms >= 0


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400))
def test_any_bytes_are_no_result(content):
    assert not read_output(content).ok


def test_line_ends_and_prefixes_do_not_matter():
    plain = asdict(read_output(OK))
    for changed in (
        OK.replace(b"\n", b"\r\n"),
        OK.replace(b"INFO: ", b""),
        b"".join(b"07-14 13:14:52.097 22838 22838 I tflite  : " + line.replace(b"INFO: ", b"") + b"\n" for line in OK.splitlines()),
        b"".join(b"\x1b[32m" + line + b"\x1b[0m\n" for line in OK.splitlines()),
    ):  # fmt: skip
        assert asdict(read_output(changed)) == plain
