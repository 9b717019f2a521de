"""Text between markers; all else stays byte for byte."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnasnet_deploy.errors import InputError
from mnasnet_deploy.report.splice import find_blocks, splice

BEGIN, END = b"<!-- mnasnet:table:begin -->", b"<!-- mnasnet:table:end -->"
NEWLINES = st.sampled_from([b"\n", b"\r\n", b"\r"])
# Any bytes at all, in lines; no line is a marker or opens a code block.
LINES = st.lists(
    st.binary(max_size=20).filter(
        lambda line: (
            not {*b"\r\n"} & set(line) and b"mnasnet" not in line and line[:1] not in b" `~"
        )
    )
    | st.sampled_from([b"", b"# Title", b"| a | b |", b"text <!-- mnasnet:table:begin -->"]),
    max_size=5,
)
TEXTS = st.text(max_size=40).filter(lambda text: "mnasnet:" not in text and "\r" not in text)


def _splice(document, text):
    return splice(document, find_blocks(document), lambda block: text)


@given(before=LINES, old=LINES, after=LINES, newline=NEWLINES, text=TEXTS, last=st.booleans())
def test_only_what_is_between_the_markers_changes(before, old, after, newline, text, last):
    head = b"".join(line + newline for line in (*before, BEGIN))
    middle = b"".join(line + newline for line in old)
    tail = END + newline + newline.join(after) if last or after else END
    made = _splice(head + middle + tail, text)
    assert made.startswith(head)
    assert made.endswith(tail)
    expected = (text.rstrip("\n") + "\n").encode().replace(b"\n", newline)
    assert made[len(head) : len(made) - len(tail)] == expected
    assert _splice(made, text) == made


@given(gaps=st.lists(LINES, min_size=2, max_size=4), texts=st.lists(TEXTS, min_size=3, max_size=3))
def test_several_places_are_filled_each_with_its_own(gaps, texts):
    blocks = len(gaps) - 1
    parts = []
    for index, gap in enumerate(gaps):
        parts += gap
        if index < blocks:
            parts += [BEGIN, b"old", END]
    document = b"\n".join(parts) + b"\n"
    order = iter(texts)
    made = splice(document, find_blocks(document), lambda block: next(order))
    assert len(find_blocks(made)) == blocks
    found = [block.content(made) for block in find_blocks(made)]
    assert found == [text.rstrip("\n") + "\n" for text in texts[:blocks]]


def test_a_document_without_markers_has_no_places():
    assert find_blocks(b"# Title\n\nSay `<!-- mnasnet:table:begin -->` to begin.\n") == []


@pytest.mark.parametrize("fence", ["```", "~~~", "````md", "  ```"])
def test_a_code_block_may_show_the_markers(fence):
    close = fence.strip().rstrip("md")
    shown = f"{fence}\n{BEGIN.decode()}\n{END.decode()}\n{close}\n".encode()
    real = BEGIN + b"\nold\n" + END + b"\n"
    assert find_blocks(shown) == []
    assert len(find_blocks(shown + real)) == 1
    assert _splice(shown + real, "new") == shown + BEGIN + b"\nnew\n" + END + b"\n"


def test_inline_code_fences_do_not_swallow_the_rest():
    assert len(find_blocks(b"```a``` b\n" + BEGIN + b"\n" + END)) == 1


def test_fences_between_the_markers_hide_no_end():
    document = BEGIN + b"\n```\n" + END + b"\n"
    assert _splice(document, "x") == BEGIN + b"\nx\n" + END + b"\n"


def test_the_marker_names_the_network():
    document = b"  <!--mnasnet:table:begin network=mobilenet-v2-->  \n" + END
    (block,) = find_blocks(document)
    assert (block.attributes, block.line) == ({"network": "mobilenet-v2"}, 1)


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (b"a\n" + BEGIN + b"\n", "line 2: the table that begins here has no"),
        (BEGIN, "line 1: the table that begins here has no"),
        (b"\n\n" + END, "line 3: the end of a table that does not begin"),
        (BEGIN + b"\n" + BEGIN + b"\n" + END, "line 2: a second table begins"),
        (b"<!-- mnasnet:table:begin colour=blue -->\n" + END, "network=NAME"),
        (b"<!-- mnasnet:table:begin mnasnet-a1 -->\n" + END, "network=NAME"),
    ],
)
def test_markers_that_make_no_place_are_one_clear_line(document, said):
    with pytest.raises(InputError, match=said) as caught:
        find_blocks(document)
    assert "\n" not in str(caught.value)
