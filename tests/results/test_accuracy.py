"""Accuracies as records: to the disk and back, strict about what cannot be."""

import json
from dataclasses import asdict, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnasnet_deploy.errors import InputError
from mnasnet_deploy.results import store
from mnasnet_deploy.results.accuracy import Agreement, accuracy_from_mapping
from mnasnet_deploy.results.codec import decode, encode

from .building import make_accuracy, make_record


def test_an_accuracy_goes_to_text_and_back():
    accuracy = make_accuracy(published=(68.9, None), only_this=3, only_other=5)
    assert decode(encode(accuracy).encode()) == accuracy


@given(st.integers(0, 50), st.integers(0, 50), st.text(max_size=20))
def test_any_accuracy_goes_to_text_and_back(correct, more, name):
    accuracy = make_accuracy(correct=correct, images=correct + more + 1, file=f"{name}.tflite")
    assert decode(encode(accuracy).encode()) == accuracy


def test_both_kinds_live_in_one_folder(tmp_path):
    first, second, third = make_accuracy(minute=3), make_accuracy(minute=1), make_record(minute=2)
    for record in (first, second, third, first):
        store.add(record, tmp_path)
    loaded = store.load(tmp_path)
    assert loaded.accuracies == (second, first)
    assert loaded.records == (third,)
    assert loaded.everything == (second, third, first)
    assert loaded.problems == ()


def test_an_accuracy_of_another_format_is_named_and_kept(tmp_path):
    accuracy = make_accuracy()
    path = store.add(accuracy, tmp_path)
    path.write_text(path.read_text().replace("mnasnet.accuracy/1", "mnasnet.accuracy/7"))
    loaded = store.load(tmp_path)
    assert loaded.accuracies == ()
    assert "mnasnet.accuracy/7" in loaded.problems[0].reason
    assert path.exists()


def change(mapping, where, value):
    for key in where[:-1]:
        mapping = mapping[key]
    mapping[where[-1]] = value


@pytest.mark.parametrize(
    ("where", "value", "message"),
    [
        (("top1", "correct"), 101, "top1.correct is not among 100 images"),
        (("top1", "percent"), 3.0, "top1.percent is not its share"),
        (("top1", "low"), 99.0, "not inside its interval"),
        (("top5", "correct"), 1, "top5.percent is not its share"),
        (("data", "images"), 0, "numbers of images do not fit"),
        (("data", "found"), 99, "numbers of images do not fit"),
        (("data", "digest"), "abc", "data.digest is not 64"),
        (("agreement", "neither"), 7, "counts are not those of the images"),
        (("agreement", "test"), "guess", "not one of exact, continuity"),
        (("artifact", "sha256"), "x", "accuracy.artifact.sha256 is not 64"),
        (("id",), "../x", "accuracy.id is"),
        (("time",), "yesterday", "accuracy.time is"),
        (("cpu_ms",), None, "accuracy.cpu_ms is None, not a number"),
        (("unknown",), 1, "unknown key 'unknown'"),
    ],
)
def test_what_cannot_be_is_refused_by_name(where, value, message):
    mapping = json.loads(json.dumps(asdict(make_accuracy(only_this=3, only_other=5))))
    change(mapping, where, value)
    with pytest.raises(InputError, match=message):
        accuracy_from_mapping(mapping)


def test_counts_of_a_pair_are_those_of_the_accuracy():
    accuracy = make_accuracy(only_this=3, only_other=5)
    assert isinstance(accuracy.agreement, Agreement)
    moved = replace(
        accuracy.agreement,
        both=accuracy.agreement.both - 1,
        neither=accuracy.agreement.neither + 1,
    )
    with pytest.raises(InputError, match="not those of top1"):
        accuracy_from_mapping(asdict(replace(accuracy, agreement=moved)))


def test_no_object_is_no_accuracy():
    with pytest.raises(InputError, match="not a JSON object"):
        accuracy_from_mapping([])
    with pytest.raises(InputError, match="format None"):
        accuracy_from_mapping({})
