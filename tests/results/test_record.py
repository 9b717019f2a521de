"""Records as text, and the text that is no record."""

import json
from dataclasses import replace
from datetime import timedelta, timezone

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mnasnet_deploy.errors import InputError
from mnasnet_deploy.results.codec import decode, encode
from mnasnet_deploy.results.record import (
    Artifact,
    Conditions,
    DeviceInfo,
    Estimate,
    Launch,
    OperatorTime,
    Record,
    Settings,
    Summary,
    instant,
    record_from_mapping,
    record_to_mapping,
)

NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
MAYBE = st.none() | NUMBERS
TEXT = st.text(max_size=8)
TIMES = st.datetimes(
    timezones=st.integers(-720, 720).map(lambda minutes: timezone(timedelta(minutes=minutes)))
).filter(lambda time: 1970 <= time.year < 9999)
ESTIMATES = st.builds(
    lambda bounds, coverage, launches: Estimate(
        low_ms=bounds[0],
        median_ms=bounds[1],
        high_ms=bounds[2],
        coverage=coverage,
        launches=launches,
    ),
    st.lists(st.floats(0.0, 1e9), min_size=3, max_size=3).map(sorted),
    st.floats(0.0, 1.0),
    st.integers(),
)
LAUNCHES = st.builds(
    Launch,
    init_ms=NUMBERS,
    first_ms=NUMBERS,
    samples_ms=st.lists(NUMBERS, max_size=4).map(tuple),
    median_ms=NUMBERS,
    p95_ms=NUMBERS,
    cpu_ms=MAYBE,
    discarded=TEXT,
    summary=st.none()
    | st.builds(
        Summary,
        mean_ms=NUMBERS,
        std_ms=NUMBERS,
        min_ms=NUMBERS,
        max_ms=NUMBERS,
        median_ms=MAYBE,
        first_run_ms=MAYBE,
    ),
    output=TEXT,
)
CONDITIONS = st.builds(
    Conditions,
    clock_mhz=MAYBE,
    clock_limit_mhz=MAYBE,
    clock_max_mhz=MAYBE,
    temperature_c=MAYBE,
    load=MAYBE,
)
RECORDS = st.builds(
    Record,
    id=st.from_regex(r"[0-9A-Za-z][0-9A-Za-z-]{0,63}", fullmatch=True),
    time=TIMES.map(lambda time: time.isoformat()),
    artifact=st.builds(
        Artifact,
        sha256=st.from_regex(r"[0-9a-f]{64}", fullmatch=True),
        multi_adds=NUMBERS,
    ),
    device=st.builds(DeviceInfo),
    settings=st.builds(Settings, warmup_ms=NUMBERS, min_ms=NUMBERS),
    before=CONDITIONS,
    after=CONDITIONS,
    launches=st.lists(LAUNCHES, max_size=2).map(tuple),
    estimate=ESTIMATES,
    peak_memory_mib=MAYBE,
    reasons=st.lists(TEXT, max_size=2).map(tuple),
    operators=st.lists(st.builds(OperatorTime, mean_ms=NUMBERS, share=NUMBERS), max_size=2).map(
        tuple
    ),
    schema=st.just("mnasnet.record/2"),
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(RECORDS)
def test_a_record_reads_back_from_its_text(record):
    text = encode(record)
    assert decode(text.encode()) == record
    assert text.isascii()
    instant(record)


def test_a_record_of_the_first_format_is_read(make_record):
    mapping = record_to_mapping(make_record())
    for key in ("operators", "command", "imported"):
        del mapping[key]
    for key in ("summary", "facts", "output"):
        del mapping["launches"][0][key]
    mapping["schema"] = "mnasnet.record/1"
    read = record_from_mapping(mapping)
    assert read.schema == "mnasnet.record/1"
    assert decode(encode(read).encode()) == read


def test_one_launch_is_one_line(make_record):
    record = make_record()
    two = replace(record, launches=record.launches * 2)
    lines = encode(two).splitlines()
    assert sum("samples_ms" in line for line in lines) == 2


def test_whole_numbers_are_read_as_floats_where_floats_are_meant(make_record):
    mapping = record_to_mapping(make_record())
    mapping["peak_memory_mib"] = 21
    assert record_from_mapping(mapping).peak_memory_mib == 21.0


def _set(mapping, key, value):
    *parents, last = key.split(".")
    for parent in parents:
        mapping = mapping[int(parent)] if isinstance(mapping, list) else mapping[parent]
    if value is None:
        del mapping[last]
    else:
        mapping[last] = value


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("schema", "mnasnet.record/3", "format 'mnasnet.record/3'"),
        ("schema", None, "format None"),
        ("artifact", None, "artifact"),
        ("artifact.sha256", "abc", "64 hexadecimal digits"),
        ("artifact.colour", "blue", "unknown key 'colour'"),
        ("artifact", [1], "artifact is not an object"),
        ("settings.threads", True, "settings.threads is True, not int"),
        ("settings.threads", 1.0, "settings.threads is 1.0, not int"),
        ("settings.cpus", 3, "settings.cpus is not a list"),
        ("device.kind", "toaster", "device.kind is 'toaster', not one of host, android"),
        ("device.kind", ["host"], "not one of"),
        ("device.name", "x" * 1000, None),
        ("device.name", 7, "device.name is 7, not str"),
        ("launches.0.samples_ms", ["1.5"], "samples_ms is '1.5', not a number"),
        ("launches.0.samples_ms", [10**400], "samples_ms is not finite"),
        ("launches.0.cpu_ms", False, "cpu_ms is False, not a number"),
        ("id", "../../etc/passwd", "record.id"),
        ("id", "", "record.id"),
        ("time", "yesterday", "record.time"),
        ("time", "2026-05-17T00:00:00", "its offset"),
        ("time", "2026-05-17T00:00:00Z", None),
        ("estimate.low_ms", 99.0, "not inside its interval"),
        ("estimate.low_ms", -1.0, "not inside its interval"),
        ("verdict", "splendid", "not one of valid, noisy, invalid"),
    ],
)
def test_what_is_wrong_with_a_record_is_named(make_record, key, value, said):
    mapping = json.loads(json.dumps(record_to_mapping(make_record())))
    _set(mapping, key, value)
    if said is None:
        record_from_mapping(mapping)
        return
    with pytest.raises(InputError) as caught:
        record_from_mapping(mapping)
    assert said in str(caught.value)
    assert len(str(caught.value)) < 200


def test_a_valid_record_has_an_estimate(make_record):
    assert (
        record_from_mapping(
            record_to_mapping(make_record(verdict="invalid", estimated=False))
        ).estimate
        is None
    )
    with pytest.raises(InputError, match="'noisy' without an estimate"):
        record_from_mapping(record_to_mapping(make_record(verdict="noisy", estimated=False)))


def test_a_record_that_would_not_read_back_is_a_bug_when_it_is_written(make_record):
    record = make_record()
    for broken in (
        replace(record, peak_memory_mib=float("nan")),
        replace(record, id="a/b"),
        replace(record, reasons=["a list"]),
    ):
        with pytest.raises(ValueError, match=r"JSON|not a record"):
            encode(broken)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "not whole JSON"),
        (b"[" * 100_000, "nested too deep"),
        (b'{"a":' * 100_000, "nested too deep"),
        (b"\xff\xfe{}", "not UTF-8"),
        (b'{"schema": NaN}', "NaN is not a number"),
        (b'{"schema": -Infinity}', "-Infinity is not a number"),
        (b'{"schema": 1, "schema": 2}', "stands twice"),
        (b'{"schema": ' + b"9" * 100_000 + b"}", ""),
        (b"null", "not a JSON object"),
        (b'"mnasnet.record/1"', "not a JSON object"),
    ],
)
def test_text_that_is_no_record_is_refused_with_its_reason(content, said):
    with pytest.raises(InputError) as caught:
        decode(content)
    assert said in str(caught.value)
    assert len(str(caught.value)) < 300
