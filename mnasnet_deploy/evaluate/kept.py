"""What is done of an evaluation, on disk: a killed one goes on where it was.

    results/evaluations/<data>/<file>/00017.json     a shard
    results/evaluations/<data>/<file>.json           all shards, once they are done

`<data>` stands for the images in their shards, their labels and the versions that judged them,
`<file>` for the file and the way it is fed. A file appears whole or not at all.
"""

import contextlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from mnasnet_deploy import atomic
from mnasnet_deploy.errors import InputError
from mnasnet_deploy.export.images import SkippedImage
from mnasnet_deploy.results.codec import parse_json
from mnasnet_deploy.results.store import read_limited
from mnasnet_deploy.typed_mapping import from_mapping

__all__ = ["Kept", "Part"]

SCHEMA: Final = "mnasnet.evaluation/1"
MAX_BYTES = 2**28
_KEY = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What one file says of one shard.

    Attributes:
        digest: of the images' content.
        tops: first class of each usable image.
        ranks: place of the right class.
        unreadable: images left out.
        calibration: names of images the file was calibrated on.
        cpu_ms: processor time, of running the file and its share of the images'.
        machine: what ran it.
    """

    digest: str
    tops: tuple[int, ...]
    ranks: tuple[int, ...]
    unreadable: tuple[SkippedImage, ...]
    calibration: tuple[str, ...]
    cpu_ms: float
    machine: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """The folder of one data set.

    Attributes:
        folder: of the results.
        data: what stands for images, shards, labels and versions.
        sizes: number of images of each shard.
    """

    folder: Path
    data: str
    sizes: tuple[int, ...]

    def load(self, key: str) -> dict[int, Part]:
        """Parts of a file that are done, by shard. What is no part of this evaluation is none."""
        whole = self._read(self._whole(key))
        found = {number: part for number, part in whole.items() if self._fits(number, part)}
        with contextlib.suppress(OSError):
            for path in sorted(self._shards(key).glob("[0-9]*.json")):
                for number, part in self._read(path).items():
                    if path.stem == f"{number:05}" and self._fits(number, part):
                        found[number] = part
        return found

    def save(self, key: str, shard: int, part: Part) -> None:
        """Keep one part.

        Raises:
            NotReadyError: the folder cannot be written, or the disk is full.
        """
        atomic.write_text(self._shards(key) / f"{shard:05}.json", _encode({shard: part}))

    def finish(self, key: str, parts: Mapping[int, Part]) -> None:
        """Put all parts of a file into one file, and remove the single ones.

        Raises:
            NotReadyError: the folder cannot be written, or the disk is full.
        """
        shards = self._shards(key)
        if not shards.is_dir():
            return
        atomic.write_text(self._whole(key), _encode(parts))
        with contextlib.suppress(OSError):  # what is left is read and does no harm
            for path in shards.glob("[0-9]*.json"):
                path.unlink()
            shards.rmdir()

    def _whole(self, key: str) -> Path:
        return self.folder / "evaluations" / self.data[:_KEY] / f"{key[:_KEY]}.json"

    def _shards(self, key: str) -> Path:
        return self._whole(key).with_suffix("")

    def _fits(self, number: int, part: Part) -> bool:
        """Whether a part is of such a shard; its numbers are used without another look."""
        size = self.sizes[number] if 0 <= number < len(self.sizes) else -1
        return (
            len(part.tops) == len(part.ranks) == size - len(part.unreadable)
            and min(part.ranks, default=1) >= 1
        )

    @staticmethod
    def _read(path: Path) -> dict[int, Part]:
        try:
            content = parse_json(read_limited(path, MAX_BYTES))
            if not isinstance(content, Mapping) or content.get("schema") != SCHEMA:
                raise InputError("another format")
            parts = content.get("parts")
            if not isinstance(parts, Mapping):
                raise InputError("no parts")
            return {int(number): from_mapping(Part, part, "part") for number, part in parts.items()}
        except (InputError, ValueError):
            # Work that cannot be used is done again, which is what a missing file means, too.
            return {}


def _encode(parts: Mapping[int, Part]) -> str:
    content: dict[str, Any] = {
        "schema": SCHEMA,
        "parts": {f"{number}": asdict(part) for number, part in sorted(parts.items())},
    }
    return json.dumps(content, separators=(",", ":")) + "\n"
