"""Which output of a file is the right one: class folders and label files against a classifier."""

import functools
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from mnasnet_deploy.errors import InputError

__all__ = ["IMAGENET_CLASSES", "imagenet_synsets", "match_classes"]

IMAGENET_CLASSES = 1000
WITH_BACKGROUND = 1001


@functools.cache
def imagenet_synsets() -> dict[str, int]:
    """WordNet's names of the 1000 classes of ImageNet (ILSVRC 2012), `n02510455`: 388."""
    file = Path(__file__).parent / "data" / "imagenet_synsets.txt"
    return {name: index for index, name in enumerate(file.read_text(encoding="ascii").split())}


def match_classes(
    labels: Sequence[str], classes: int, names: Sequence[str] | None, *, folders: bool
) -> tuple[int, ...]:
    """Find the output for each label of a data set.

    Labels are, whichever fits all of them first: names of classes in the file; synsets of
    ImageNet; numbers from 0; folders in the order of the alphabet, one for each class. A classifier
    of 1001 classes has ImageNet's behind a background at 0: synsets, numbers and 1000 folders
    count from 1 there.

    Args:
        labels: of the data set, each once, in the order of the alphabet.
        classes: width of the classifier.
        names: of the outputs, as the file has them; None where it has none.
        folders: the labels are the folders of a data set, all of them.

    Returns:
        The output for each label, in the order of `labels`.

    Raises:
        InputError: nothing fits all labels.
    """
    complete = folders and len(labels) == classes
    shift = int(classes == WITH_BACKGROUND and not complete)
    if names is not None and set(labels) <= set(names):
        twice = [name for name, count in Counter(names).items() if count > 1 and name in labels]
        if twice:
            raise InputError(
                f"{_quoted(twice[0])} names {Counter(names)[twice[0]]} classes of the file: label "
                "by number or by synset"
            )
        return tuple(names.index(label) for label in labels)
    synsets = imagenet_synsets()
    if classes in (IMAGENET_CLASSES, WITH_BACKGROUND) and set(labels) <= synsets.keys():
        return tuple(synsets[label] + shift for label in labels)
    if all(label.isascii() and label.isdigit() for label in labels):
        return _numbers(labels, classes, shift)
    if folders and len(labels) in (classes, classes - shift):
        return tuple(range(shift, shift + len(labels)))
    raise InputError(_misfit(labels, classes, names, folders=folders))


def _numbers(labels: Sequence[str], classes: int, shift: int) -> tuple[int, ...]:
    numbers = [int(label) for label in labels]
    if len(set(numbers)) != len(numbers):
        twice = next(n for n, count in Counter(numbers).items() if count > 1)
        raise InputError(f"two labels are the number {twice}: write each number one way")
    if max(numbers) + shift >= classes:
        background = ", counted from 0 without the background" if shift else ", counted from 0"
        raise InputError(
            f"label {max(numbers)} does not fit {classes} classes (0 to "
            f"{classes - 1 - shift}{background})"
        )
    return tuple(number + shift for number in numbers)


def _misfit(
    labels: Sequence[str], classes: int, names: Sequence[str] | None, *, folders: bool
) -> str:
    """Why nothing fits, and what would."""
    known = set(names or ()) | (imagenet_synsets().keys() if classes >= IMAGENET_CLASSES else set())
    strange = next((label for label in labels if label not in known), labels[0])
    what = "class folder" if folders else "label"
    ways = ["numbers from 0"]
    if classes in (IMAGENET_CLASSES, WITH_BACKGROUND):
        ways.append("synsets (n01440764)")
    if names:
        ways.append(f"names in the file ({_quoted(names[0])})")
    if folders:
        ways.append(f"{classes} folders in the order of the alphabet")
    count = f"1 {what} does" if len(labels) == 1 else f"{len(labels)} {what}s do"
    return (
        f"{count} not fit {classes} classes, such as {_quoted(strange)} (give {', or '.join(ways)})"
    )


def _quoted(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:37]}...")
