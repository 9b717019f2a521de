"""A folder of labelled images: by class folders, as ImageNet's validation set, or by a file."""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mnasnet_deploy.errors import ImageError, InputError
from mnasnet_deploy.export.images import find_images, rank, shown

__all__ = ["SHARD_IMAGES", "DataSet", "LabelledImage", "find_dataset"]

SHARD_IMAGES: Final = 128
"""Images of a shard at most: half a second of work for one network, 19 MB of pixels at 224."""
LAST_IMAGES: Final = 32
"""Images of the last shards. They get smaller towards the end, so that all workers end together."""
SHARDS_LEFT: Final = 16
"""So many shards, at least, are to be left for as long as they can be made smaller."""
MAX_LABELS_BYTES = 2**26
_SEPARATOR = re.compile(r"[\s,]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledImage:
    """One image.

    Attributes:
        path: of the file, absolute.
        name: path below the data folder, with `/`.
        label: place of its label among those of the data set.
    """

    path: str
    name: str
    label: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSet:
    """Labelled images, in an order of chance that is always the same.

    Attributes:
        name: of the folder, never its path.
        images: in shards of up to `SHARD_IMAGES`, each a sample of all classes.
        labels: each once, in the order of the alphabet.
        folders: the labels are class folders.
        nested: no image lies in them but in folders of theirs, as one folder too high has it.
        found: how many images there are; more than `images` where only some were asked for.
        state: sha256 over names, labels, sizes and times of change: while it stays, what was done
            with the images holds.
    """

    name: str
    images: tuple[LabelledImage, ...]
    labels: tuple[str, ...]
    folders: bool
    nested: bool
    found: int
    state: str

    @property
    def shards(self) -> tuple[tuple[LabelledImage, ...], ...]:
        """The units of work."""
        shards, start = [], 0
        while left := len(self.images) - start:
            size = min(SHARD_IMAGES, max(LAST_IMAGES, left // SHARDS_LEFT), left)
            shards.append(self.images[start : start + size])
            start += size
        return tuple(shards)


def find_dataset(
    folder: Path, labels: Path | None = None, *, samples: int | None = None, seed: int = 0
) -> DataSet:
    """List the labelled images of a folder.

    Args:
        folder: one folder for each class, or any images where `labels` is given.
        labels: a text file with a line `name label` for each image.
        samples: take only so many; the seed chooses.
        seed: of the order, which depends on an image's name only.

    Raises:
        ImageError: no folder, no images, images outside of class folders.
        InputError: the labels cannot be read, or do not fit the images.
    """
    paths = find_images(folder)
    if not paths:
        raise ImageError(f"no JPEG or PNG images in {folder} or below (name a folder of photos)")
    relative = {path: path.relative_to(folder) for path in paths}
    if labels is None:
        known = _class_folders(folder)
        outside = [path for path in paths if len(relative[path].parts) == 1]
        if outside:
            raise ImageError(
                f"{len(outside)} of {len(paths)} images in {folder} lie in no class folder, such "
                f"as {shown(relative[outside[0]])} (one folder for each class, or --labels FILE)"
            )
        label_of = {path: relative[path].parts[0] for path in paths}
    else:
        label_of = _labels_of_file(labels, {shown(relative[path]): path for path in paths})
        known = sorted(set(label_of.values()))
    places = {label: place for place, label in enumerate(known)}
    chosen = sorted(paths, key=lambda path: rank(seed, relative[path]))[:samples]
    root = folder.absolute()
    images = tuple(
        LabelledImage(
            path=str(root / relative[path]),
            name=shown(relative[path]),
            label=places[label_of[path]],
        )
        for path in chosen
    )
    return DataSet(
        name=folder.resolve().name,
        images=images,
        labels=tuple(known),
        folders=labels is None,
        nested=labels is None and all(len(below.parts) > 2 for below in relative.values()),
        found=len(paths),
        state=_state(images, known),
    )


def _class_folders(folder: Path) -> list[str]:
    """Names of the class folders, empty ones too: they count in the order of the alphabet."""
    return sorted(
        entry.name
        for entry in folder.iterdir()
        if entry.is_dir() and not entry.name.startswith(".")
    )


def _labels_of_file(file: Path, images: dict[str, Path]) -> dict[Path, str]:
    """Read `name label` lines and hold them against the images that are there."""
    found: dict[Path, str] = {}
    lines = _read_lines(file)
    for number, line in lines:
        name, label = _split(line)
        if not name:
            raise InputError(
                f"labels {file}: line {number} is not 'name label' (such as 'a/photo.jpg 388')"
            )
        path = images.get(name)
        if path is None:
            raise InputError(
                f"labels {file}: line {number} names {name}, which is not among the {len(images)} "
                "images (names are paths below --data)"
            )
        if path in found:
            raise InputError(f"labels {file}: line {number} names {name} a second time")
        found[path] = label
    missing = [name for name, path in images.items() if path not in found]
    if missing:
        raise InputError(
            f"labels {file}: {len(found)} label{'s' * (len(found) != 1)} for {len(images)} images, "
            f"the first without one is {missing[0]} (one line for each image)"
        )
    return found


def _split(line: str) -> tuple[str, str]:
    """The name, which may hold blanks, and the label behind the last blank or comma."""
    parts = list(_SEPARATOR.finditer(line))
    return (line[: parts[-1].start()], line[parts[-1].end() :]) if parts else ("", "")


def _read_lines(file: Path) -> list[tuple[int, str]]:
    """Lines with their numbers, empty ones left out."""
    try:
        with file.open("rb") as stream:
            content = stream.read(MAX_LABELS_BYTES + 1)
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise InputError(
            f"cannot read the labels {file}: {error.strerror or error} (give a text file with "
            "lines 'name label')"
        ) from None
    except UnicodeDecodeError:
        raise InputError(f"labels {file}: not UTF-8 text") from None
    if len(content) > MAX_LABELS_BYTES:
        raise InputError(f"labels {file}: more than {MAX_LABELS_BYTES // 2**20} MiB")
    lines = [(number, line.strip()) for number, line in enumerate(text.split("\n"), start=1)]
    return [(number, line) for number, line in lines if line]


def _state(images: Iterable[LabelledImage], labels: Iterable[str]) -> str:
    state = hashlib.sha256(repr(list(labels)).encode())
    for image in images:
        try:
            status = Path(image.path).stat()
            told = (status.st_size, status.st_mtime_ns)
        except OSError:  # it is counted as unreadable when its turn comes
            told = (-1, -1)
        state.update(repr((image.name, image.label, told)).encode())
    return state.hexdigest()
