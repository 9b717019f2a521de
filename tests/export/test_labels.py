"""Names of classes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnasnet_deploy.errors import InputError
from mnasnet_deploy.export.labels import imagenet_labels, parse_labels, read_labels


@pytest.fixture
def labels(tmp_path):
    """Write bytes as a labels file."""

    def write(content):
        path = tmp_path / "labels.txt"
        path.write_bytes(content)
        return path

    return write


@pytest.mark.parametrize(
    "content",
    [
        b"cat\ndog\nM\xc3\xb6we\n",
        b"cat\ndog\nM\xc3\xb6we",
        b"cat\r\ndog\r\nM\xc3\xb6we\r\n",
        b"\xef\xbb\xbfcat\ndog\nM\xc3\xb6we\n\n\n",
        b" cat \n\tdog\nM\xc3\xb6we\n",
    ],
    ids=["plain", "no end", "Windows", "mark and blank end", "blanks"],
)
def test_one_name_a_line_is_read_however_the_file_was_saved(labels, content):
    assert read_labels(labels(content), 3) == ("cat", "dog", "Möwe")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a\nb\n", "2 names for 3 classes"),
        (b"a\nb\nc\nd\n", "4 names for 3 classes.*background"),
        (b"", "0 names for 3 classes"),
        (b"a\n\nc\n", "line 2 is empty"),
        (b"a\nb\xff\nc\n", "line 2 is not UTF-8"),
        (b"a\nb\0\nc\n", "zero bytes"),
        (b"x" * (2**24 + 1), "more than 16 MiB"),
    ],
    ids=["few", "many", "none", "empty line", "Latin-1", "binary", "large"],
)
def test_a_file_that_does_not_name_every_class_is_one_clear_line(labels, content, message):
    with pytest.raises(InputError, match=f"labels.txt.*{message}") as caught:
        read_labels(labels(content), 3)
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"cannot read the labels .*nowhere.txt: No such file"):
        read_labels(tmp_path / "nowhere.txt", 3)


_NAMES = st.text(st.characters(exclude_characters="\n\0", exclude_categories=["Cs"]), min_size=1)


@given(st.lists(_NAMES.map(str.strip).filter(bool), min_size=1))
def test_names_joined_by_lines_are_read_back(names):
    assert parse_labels("\n".join(names)) == tuple(names)


def test_imagenet_has_a_thousand_different_names_in_the_published_order():
    names = imagenet_labels()
    assert len(names) == len(set(names)) == 1000
    # Numbers quoted wherever ImageNet networks are shown.
    for number, name in {
        0: "tench",
        1: "goldfish",
        207: "golden retriever",
        281: "tabby",
        285: "Egyptian cat",
        388: "giant panda",
        654: "minibus",
        895: "warplane",
        967: "espresso",
        985: "daisy",
        999: "toilet tissue",
    }.items():
        assert names[number] == name
    assert all(name == name.strip() and name.isascii() for name in names)
