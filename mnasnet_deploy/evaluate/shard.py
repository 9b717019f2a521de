"""The unit of work: files and a shard of images -> what each file says of each image.

A pure function, importable by name, of values that can be sent: a process on this machine and a
worker of a cluster run the very same. Interpreters are kept from shard to shard, which changes how
long it takes and nothing else.
"""

import functools
import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from mnasnet_deploy import __version__
from mnasnet_deploy.errors import ImageError, MnasnetError, ModelFileError
from mnasnet_deploy.evaluate.dataset import LabelledImage
from mnasnet_deploy.export.contract import Contract
from mnasnet_deploy.export.images import SkippedImage, read_file
from mnasnet_deploy.export.preprocessing import Pixels, decode, prepare, quiet_pillow
from mnasnet_deploy.export.runtime import new_interpreter, run_model
from mnasnet_deploy.processor import cpu_name
from mnasnet_deploy.weights.source import Preprocessing

__all__ = ["Answers", "ShardResult", "Subject", "Task", "evaluate_shard", "rank_of", "versions"]

RUNTIME = "ai-edge-litert"
KEPT_BYTES: Final = 256 * 2**20
"""Interpreters are kept while their files are no larger than this together."""
_Array = npt.NDArray[np.generic]


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A file as a worker needs it.

    Attributes:
        path: of the file, absolute.
        sha256: what it must hold.
        contract: how to feed and read it.
        preprocessing: of the photos.
        truth: the right output for each label of the data set.
        calibration: sha256 of the images its int8 ranges come from.
    """

    path: str
    sha256: str
    contract: Contract
    preprocessing: Preprocessing
    truth: tuple[int, ...]
    calibration: frozenset[str] = frozenset()

    @property
    def key(self) -> str:
        """sha256 over the file and all that decides how it is judged."""
        calibration = sorted(self.calibration)
        told = (self.sha256, self.contract, self.preprocessing, self.truth, calibration)
        return hashlib.sha256(repr(told).encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A shard of work.

    Attributes:
        shard: its number.
        subjects: the files.
        images: of the shard.
        versions: what the worker must run, see `versions`; empty for anything.
    """

    shard: int
    subjects: tuple[Subject, ...]
    images: tuple[LabelledImage, ...]
    versions: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What one file says of the usable images of a shard.

    Attributes:
        key: of the subject.
        tops: the first class of each image.
        ranks: at which place, from 1, the right class stands.
        calibration: names of images that the file was calibrated on.
        cpu_ms: processor time of running it, all images together.
        error: why it gives no answers; everything else is empty then.
        exit_code: of that error.
    """

    key: str
    tops: tuple[int, ...] = ()
    ranks: tuple[int, ...] = ()
    calibration: tuple[str, ...] = ()
    cpu_ms: float = 0.0
    error: str = ""
    exit_code: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardResult:
    """What a worker gives back.

    Attributes:
        shard: its number.
        answers: one for each subject, same order.
        digest: sha256 over the content of the images, in order, unreadable ones as such.
        unreadable: images that count for no file.
        images_cpu_ms: processor time of reading, decoding and resizing, all images together.
        machine: processor of the worker.
    """

    shard: int
    answers: tuple[Answers, ...]
    digest: str
    unreadable: tuple[SkippedImage, ...] = ()
    images_cpu_ms: float = 0.0
    machine: str = ""


@dataclass(slots=True)
class _Shard:
    """The decoded images of a shard."""

    usable: list[LabelledImage] = field(default_factory=list)
    sha256s: list[str] = field(default_factory=list)
    unreadable: list[SkippedImage] = field(default_factory=list)
    pixels: dict[tuple[Preprocessing, int], list[Pixels]] = field(default_factory=dict)
    digest: str = ""


@functools.cache
def versions() -> str:
    """What decides the answers beside the data: this tool and the runtime, with versions."""
    return f"mnasnet-deploy {__version__}, {RUNTIME} {metadata.version(RUNTIME)}"


def evaluate_shard(task: Task) -> ShardResult:
    """Run files over a shard of images, each image decoded and resized once for each way.

    An image that cannot be read is noted and left out. A file that cannot be run, or gives NaN,
    has an error for an answer; the others go on.

    Args:
        task: its paths are read here, wherever that is.

    Raises:
        MnasnetError: this worker runs other versions than the task asks for.
    """
    if task.versions and task.versions != versions():
        raise MnasnetError(
            f"a worker runs {versions()} where the evaluation runs {task.versions}: install the "
            "same versions on all machines"
        )
    start = time.thread_time()
    shard = _load(task)
    images_cpu_ms = (time.thread_time() - start) * 1e3
    return ShardResult(
        shard=task.shard,
        answers=tuple(_answer(subject, shard) for subject in task.subjects),
        digest=shard.digest,
        unreadable=tuple(shard.unreadable),
        images_cpu_ms=images_cpu_ms,
        machine=cpu_name(),
    )


def rank_of(scores: _Array, truth: int) -> int:
    """Place, from 1, of a class among the scores [classes] of an image.

    Of equal scores the lower class stands first, as argmax and a stable sort have it: int8 outputs
    are equal often.
    """
    score = scores[truth]
    before = np.count_nonzero(scores > score) + np.count_nonzero(scores[:truth] == score)
    return int(before) + 1


def _load(task: Task) -> _Shard:
    """Read and resize the images, each decoded once for all ways that decode it alike."""
    shard, digest = _Shard(), hashlib.sha256()
    ways: dict[Preprocessing, list[int]] = {}
    for subject in task.subjects:
        sides = ways.setdefault(subject.preprocessing, [])
        if subject.contract.resolution not in sides:
            sides.append(subject.contract.resolution)
    decoders = {way.original: way for way in ways}.values()  # timm and torchvision share one
    with quiet_pillow():
        for image in task.images:
            try:
                data = read_file(Path(image.path))
                pictures = {way.original: decode(data, way) for way in decoders}
            except ImageError as error:
                shard.unreadable.append(SkippedImage(name=image.name, reason=str(error)))
                digest.update(repr((image.name, image.label, None)).encode())
                continue
            sha256 = hashlib.sha256(data).hexdigest()
            digest.update(repr((image.name, image.label, sha256)).encode())
            shard.usable.append(image)
            shard.sha256s.append(sha256)
            for way, sides in ways.items():
                prepared = prepare(pictures[way.original], sides, way)
                for side, pixels in zip(sides, prepared, strict=True):
                    shard.pixels.setdefault((way, side), []).append(pixels)
    shard.digest = digest.hexdigest()
    return shard


def _answer(subject: Subject, shard: _Shard) -> Answers:
    """Run one file over the images."""
    start = time.thread_time()
    try:
        tops, ranks = _judge(subject, shard)
    except MnasnetError as error:
        return Answers(key=subject.key, error=str(error), exit_code=error.exit_code)
    used = zip(shard.usable, shard.sha256s, strict=True)
    return Answers(
        key=subject.key,
        tops=tuple(tops),
        ranks=tuple(ranks),
        calibration=tuple(image.name for image, sha in used if sha in subject.calibration),
        cpu_ms=(time.thread_time() - start) * 1e3,
    )


def _judge(subject: Subject, shard: _Shard) -> tuple[list[int], list[int]]:
    name = Path(subject.path).name
    if not shard.usable:
        return [], []
    pixels = shard.pixels[(subject.preprocessing, subject.contract.resolution)]
    try:
        scores = run_model(_interpreter(subject), map(_feeder(subject.contract), pixels))
    except (RuntimeError, ValueError) as error:
        raise ModelFileError(f"{name}: LiteRT fails on it ({error})") from error
    if scores.dtype.kind == "f" and not np.isfinite(scores).all():
        place = int(np.flatnonzero(~np.isfinite(scores).all(axis=1))[0])
        raise ModelFileError(
            f"{name}: gives NaN or infinite scores on {shard.usable[place].name}; export it again"
        )
    truth = [subject.truth[image.label] for image in shard.usable]
    return scores.argmax(axis=1).tolist(), list(map(rank_of, scores, truth))


def _feeder(contract: Contract) -> Callable[[Pixels], _Array]:
    """`contract.feed`; for integers by a table of the 256 grey levels, which gives the same.

    What it returns is good until the next image.
    """
    if contract.input_dtype == "float32":
        side = contract.resolution
        scratch = np.empty((side, side, 3), np.float32)
        return lambda pixels: contract.feed(pixels, scratch)
    levels = np.arange(256, dtype=np.uint8)
    table = contract.feed(np.repeat(levels[:, None], 3, axis=1))
    if (table == table[:, :1]).all():
        if (table[:, 0] == levels).all():
            return lambda pixels: pixels
        own = np.ascontiguousarray(table[:, 0])
        return lambda pixels: own[pixels]
    channels = np.arange(3)
    return lambda pixels: table[pixels, channels]


class _Kept(threading.local):
    """Interpreters of this thread, the one used last at the end; no two threads share one."""

    def __init__(self) -> None:
        self.interpreters: OrderedDict[str, tuple[Any, int]] = OrderedDict()


_kept = _Kept()
# Loading turns the process's standard error off and on again.
_loading = threading.Lock()


def _interpreter(subject: Subject) -> Any:
    """A file's interpreter on one thread; the file must still be what it was."""
    known = _kept.interpreters
    if subject.sha256 not in known:
        path = Path(subject.path)
        try:
            content = path.read_bytes()
        except OSError as error:
            raise ModelFileError(f"{path}: {error.strerror or error}") from error
        if hashlib.sha256(content).hexdigest() != subject.sha256:
            raise ModelFileError(f"{path.name}: changed since the evaluation began")
        while known and sum(_sizes()) + len(content) > KEPT_BYTES:
            known.popitem(last=False)
        with _loading:
            known[subject.sha256] = (new_interpreter(path=path), len(content))
    known.move_to_end(subject.sha256)
    return known[subject.sha256][0]


def _sizes() -> Iterator[int]:
    return (size for _, size in _kept.interpreters.values())
