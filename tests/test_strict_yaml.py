"""YAML as plain data: what could grow, refer to itself or run code is refused in one line."""

import time
from pathlib import Path

import pytest

from mnasnet_deploy import strict_yaml
from mnasnet_deploy.errors import InputError

LAUGHS = "a: &a [x, x]\n" + "".join(
    f"{new}: &{new} [*{old}, *{old}, *{old}, *{old}, *{old}, *{old}, *{old}, *{old}, *{old}]\n"
    for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)


def _wrong(text):
    with pytest.raises(InputError) as caught:
        strict_yaml.load(text, source="x.yaml")
    line = str(caught.value)
    assert line.startswith("x.yaml: ")
    assert "\n" not in line
    return line


def test_plain_data_reads_as_it_is():
    text = "name: x\nlist: [1, 2.5, true, null]\nmap: {a: b}\n"
    assert strict_yaml.load(text, source="x") == {
        "name": "x",
        "list": [1, 2.5, True, None],
        "map": {"a": "b"},
    }


def test_a_billion_laughs_are_refused_at_once():
    start = time.perf_counter()
    assert "aliases are not allowed" in _wrong(LAUGHS)
    assert time.perf_counter() - start < 1


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("a: &a 1\nb: *a\n", "line 2: aliases are not allowed"),
        ("a: &a [*a]\n", "aliases are not allowed"),
        ("&a a: *a\n", "aliases are not allowed"),
        ("a: &a {b: 1}\nc: {<<: *a}\n", "aliases are not allowed"),
        ("<<: {b: 1}\n", "keys must be plain words"),
        ("a: 1\nb: 2\na: 3\n", "line 3: the key 'a' appears twice"),
        ("m: {a: 1, a: 2}\n", "the key 'a' appears twice"),
        ("? [a, b]\n: 1\n", "keys must be plain words"),
        ("1: a\n", "the key 1 is not a word"),
        ("a: !!python/object/apply:os.system [true]\n", "could not determine a constructor"),
        ("a: !mine 3\n", "could not determine a constructor"),
        ("a: [1, 2\n", "line 2"),
        ("a: b: c\n", "line 1"),
        ("a: 1\n---\nb: 2\n", "line 2"),
        ("a: \x00\n", "special characters"),
        ("- a\n- b\n", "found a list"),
        ("text", "found text"),
        ("", "found nothing"),
        ("3", "found int"),
        ("a: " + "[" * 9 + "]" * 9, "nested deeper than 8"),
        ("a: " + "[" * 20000, "nested deeper than 8"),
        ("a: " + "x" * 70_000, "larger than 64 KiB"),
        ("a: 2001-13-45\n", "not readable"),
    ],
)
def test_anything_more_than_plain_data_is_one_line(text, named):
    assert named in _wrong(text)


def test_a_file_is_read_and_named_in_its_errors(tmp_path):
    path = tmp_path / "with space ü.yaml"
    path.write_text("a: 1\n", encoding="utf-8")
    assert strict_yaml.read(path) == {"a": 1}
    path.write_text("a: *b\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"with space ü\.yaml"):
        strict_yaml.read(path)


def test_a_file_that_cannot_be_opened_is_wrong_input(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        strict_yaml.read(tmp_path / "missing.yaml")
    with pytest.raises(InputError, match="directory"):
        strict_yaml.read(tmp_path)


def test_a_file_that_is_no_text_is_wrong_input(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="not UTF-8"):
        strict_yaml.read(path)


def test_an_endless_file_is_not_read_to_its_end():
    zero = Path("/dev/zero")
    if not zero.exists():
        pytest.skip("this system has no /dev/zero")
    with pytest.raises(InputError, match="larger than 64 KiB"):
        strict_yaml.read(zero)


def test_keys_are_held_against_what_is_allowed():
    def check(mapping):
        strict_yaml.require_keys(mapping, source="p.yaml", required=["a"], optional=["b"])

    check({"a": 1})
    check({"a": 1, "b": 2})
    with pytest.raises(InputError, match="unknown key 'c', 'd'"):
        check({"a": 1, "c": 2, "d": 3})
    with pytest.raises(InputError, match="missing key 'a'"):
        check({"b": 2})
