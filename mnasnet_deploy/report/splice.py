"""Text between markers in a Markdown document; all else stays as it is, byte for byte.

    <!-- mnasnet:table:begin network=mnasnet-a1 -->
    (made)
    <!-- mnasnet:table:end -->

A marker stands alone on its line, and not inside a fenced code block: documentation may show it.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from mnasnet_deploy.errors import InputError

__all__ = ["Block", "find_blocks", "splice"]

_MARKER = re.compile(rb"[ \t]*<!--[ \t]*mnasnet:table:(begin|end)\b([^\r\n]*?)-->[ \t]*")
_FENCE = re.compile(rb" {0,3}(`{3,}|~{3,})([^\r\n]*)")
_ATTRIBUTE = re.compile(r"([a-z]+)=(\S+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """The place between two markers.

    Attributes:
        line: number of the begin marker's line, from 1.
        attributes: what the begin marker says (`network=mnasnet-a1`).
        start, end: byte offsets of what lies between the markers' lines.
        newline: as the begin marker's line ends.
    """

    line: int
    attributes: Mapping[str, str]
    start: int
    end: int
    newline: bytes

    def content(self, document: bytes) -> str:
        """What lies between the markers, with plain newlines."""
        text = document[self.start : self.end].decode(errors="replace")
        return text.replace("\r\n", "\n").replace("\r", "\n")


def find_blocks(document: bytes) -> list[Block]:
    """Find the marked places, in order.

    Raises:
        InputError: a marker without its partner, or one that says something unknown.
    """
    blocks: list[Block] = []
    begun: tuple[int, Mapping[str, str], int, bytes] | None = None
    fence: bytes | None = None
    offset = 0
    for number, line in enumerate(document.splitlines(keepends=True), start=1):
        body = line.rstrip(b"\r\n")
        if not begun:  # what is between the markers is replaced, so its fences hide no marker
            fence = _next_fence(fence, body)
        marker = _MARKER.fullmatch(body) if fence is None else None
        if marker and marker[1] == b"begin":
            if begun:
                raise InputError(f"line {number}: a second table begins before the first ends")
            newline = line[len(body) :] or b"\n"
            begun = (number, _attributes(marker[2], number), offset + len(line), newline)
        elif marker:
            if begun is None:
                raise InputError(f"line {number}: the end of a table that does not begin")
            first, attributes, start, newline = begun
            blocks.append(
                Block(line=first, attributes=attributes, start=start, end=offset, newline=newline)
            )
            begun = None
        offset += len(line)
    if begun:
        raise InputError(
            f"line {begun[0]}: the table that begins here has no '<!-- mnasnet:table:end -->' "
            "on a line of its own"
        )
    return blocks


def splice(document: bytes, blocks: Sequence[Block], render: Callable[[Block], str]) -> bytes:
    """Put text between the markers.

    Args:
        document: that the blocks were found in.
        blocks: in order.
        render: the text of a block, with plain newlines; it holds no marker.
    """
    parts, done = [], 0
    for block in blocks:
        text = render(block).rstrip("\n") + "\n"
        parts += [document[done : block.start], text.encode().replace(b"\n", block.newline)]
        done = block.end
    return b"".join((*parts, document[done:]))


def _next_fence(fence: bytes | None, body: bytes) -> bytes | None:
    """The code fence that is open behind a line, None outside of code."""
    match = _FENCE.fullmatch(body)
    if match is None:
        return fence
    if fence is None:
        # A back-tick behind opening back-ticks makes it inline code.
        opens = match[1].startswith(b"~") or b"`" not in match[2]
        return match[1] if opens else None
    closes = match[1].startswith(fence) and not match[2].strip()
    return None if closes else fence


def _attributes(text: bytes, number: int) -> Mapping[str, str]:
    attributes = {}
    for word in text.decode(errors="replace").split():
        match = _ATTRIBUTE.fullmatch(word)
        if match is None or match[1] != "network":
            raise InputError(
                f"line {number}: the marker says {word!r}; it may say network=NAME and no more"
            )
        attributes[match[1]] = match[2]
    return attributes
