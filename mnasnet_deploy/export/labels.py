"""Names of the classes, one for each output of the classifier."""

import functools
from pathlib import Path

from mnasnet_deploy.errors import InputError

__all__ = ["imagenet_labels", "parse_labels", "read_labels"]

# A hundred thousand classes with names of 160 bytes.
MAX_BYTES = 2**24


def read_labels(path: Path, classes: int) -> tuple[str, ...]:
    """Read a file with one name per line, in the order of the outputs.

    Args:
        path: UTF-8, with or without a byte order mark; lines may end as on Windows.
        classes: how many names it must hold.

    Raises:
        InputError: it cannot be read, is no UTF-8 text, holds an empty name or another number of
            names.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise InputError(
            f"cannot read the labels {path}: {error.strerror or error} (give a text file with one "
            "class per line)"
        ) from None
    if len(content) > MAX_BYTES:
        raise InputError(f"labels {path}: more than {MAX_BYTES // 2**20} MiB are no class names")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(f"labels {path}: line {line} is not UTF-8 text (save it as UTF-8)") from (
            None
        )
    labels = parse_labels(text)
    if "" in labels:
        raise InputError(
            f"labels {path}: line {labels.index('') + 1} is empty (one class per line)"
        )
    if "\0" in text:
        raise InputError(f"labels {path}: it holds zero bytes, so it is no text file")
    if len(labels) != classes:
        hint = "one line per class, in the order of the outputs"
        if len(labels) == classes + 1:
            hint += "; a first line 'background' does not belong here"
        raise InputError(f"labels {path}: {len(labels)} names for {classes} classes ({hint})")
    return labels


def parse_labels(text: str) -> tuple[str, ...]:
    """Split a labels text into its lines, without the blanks around them."""
    # Not splitlines: it would also split at form feeds and at Unicode's own separators.
    lines = [line.strip() for line in text.split("\n")]
    while lines and not lines[-1]:
        lines.pop()
    return tuple(lines)


@functools.cache
def imagenet_labels() -> tuple[str, ...]:
    """The 1000 classes of ImageNet (ILSVRC 2012) in their usual order; 388 is the giant panda."""
    file = Path(__file__).parent / "data" / "imagenet_labels.txt"
    return parse_labels(file.read_text(encoding="utf-8"))
