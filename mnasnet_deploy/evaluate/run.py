"""An evaluation: files x shards -> one accuracy for each file, kept shard by shard."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path

from mnasnet_deploy import __version__
from mnasnet_deploy.errors import ImageError, InputError, MnasnetError, ModelFileError
from mnasnet_deploy.evaluate.dataset import DataSet
from mnasnet_deploy.evaluate.kept import Kept, Part
from mnasnet_deploy.evaluate.pools import Evaluate
from mnasnet_deploy.evaluate.shard import Answers, ShardResult, Task, versions
from mnasnet_deploy.evaluate.statistics import EXACT_LIMIT, mcnemar, wilson
from mnasnet_deploy.evaluate.subject import Candidate, find_sibling
from mnasnet_deploy.export.images import read_file
from mnasnet_deploy.results.accuracy import Accuracy, Agreement, EvaluationData, Share
from mnasnet_deploy.results.store import new_id

__all__ = ["Evaluation", "require_uncalibrated", "same_finding"]

TOP = 5
MAX_NAMES = 20
"""Of unreadable images in a record."""
# So many images, and such a share of all, with the same first class are no classification.
FEW, SAME = 20, 0.999


@dataclass(slots=True, kw_only=True)
class Evaluation:
    """Files, images, and what is done of them so far.

    Attributes:
        candidates: the files.
        data: the images.
        results: folder of results; what is done is kept in it.
        allow_calibration_images: go on where an image was used for calibration.
        failed: why a file gives no accuracy, by its path.
    """

    candidates: Sequence[Candidate]
    data: DataSet
    results: Path
    allow_calibration_images: bool = False
    failed: dict[str, MnasnetError] = field(default_factory=dict)
    _kept: Kept = field(init=False)
    _parts: dict[str, dict[int, Part]] = field(init=False)

    def __post_init__(self) -> None:
        """Look up what is done already."""
        sizes = tuple(map(len, self.data.shards))
        told = repr((self.data.state, sizes, versions()))
        self._kept = Kept(
            folder=self.results, data=hashlib.sha256(told.encode()).hexdigest(), sizes=sizes
        )
        self.recount()

    @property
    def done(self) -> int:
        """Images that are evaluated, summed over the files."""
        return sum(self._kept.sizes[shard] for parts in self._parts.values() for shard in parts)

    @property
    def total(self) -> int:
        """Images to evaluate, summed over the files."""
        return len(self._parts) * len(self.data.images)

    def recount(self) -> None:
        """Look on the disk what is done: an interrupt may come between keeping and counting."""
        self._parts = {c.subject.key: self._kept.load(c.subject.key) for c in self.candidates}

    def run(self, evaluate: Evaluate, advance: Callable[[int], object] = lambda _: None) -> None:
        """Evaluate what is missing, keeping each shard as it comes.

        Args:
            evaluate: where.
            advance: called with the number of images, times files, that were done.

        Raises:
            InputError: a file was calibrated on an image of the data.
            MnasnetError: workers died, or are of another version.
            NotReadyError: the disk is full, or the cluster is gone.
        """
        self._refuse_calibration()
        for result in evaluate(self._tasks()):
            images = self._kept.sizes[result.shard]
            for answers in result.answers:
                self._take(result, answers)
                advance(images)
            self._refuse_calibration()
        for candidate in self.sound():
            self._kept.finish(candidate.subject.key, self._parts[candidate.subject.key])

    def sound(self) -> list[Candidate]:
        """The files that did not fail."""
        return [c for c in self.candidates if c.subject.path not in self.failed]

    def accuracies(self) -> Iterator[Accuracy]:
        """One record for each file that did not fail, once `run` is through.

        Raises:
            ImageError: no image could be read.
        """
        now = datetime.now(timezone.utc)
        for candidate in self.sound():
            yield self._accuracy(candidate, now)

    def share_so_far(self, candidate: Candidate) -> Share | None:
        """Top-1 over the shards that are done; None where there are none."""
        ranks = _ranks(self._parts[candidate.subject.key])
        return _share(ranks, 1) if ranks else None

    def _tasks(self) -> Iterator[Task]:
        """What is missing, one task for each shard; files that failed meanwhile are left out."""
        for number, images in enumerate(self.data.shards):
            missing = {
                c.subject.key: c.subject
                for c in self.sound()
                if number not in self._parts[c.subject.key]
            }
            if missing:
                yield Task(
                    shard=number,
                    subjects=tuple(missing.values()),
                    images=images,
                    versions=versions(),
                )

    def _take(self, result: ShardResult, answers: Answers) -> None:
        if answers.error:
            kind = ModelFileError if answers.exit_code == ModelFileError.exit_code else MnasnetError
            for candidate in self.candidates:
                if candidate.subject.key == answers.key:
                    self.failed.setdefault(candidate.subject.path, kind(answers.error))
            return
        part = Part(
            digest=result.digest,
            tops=answers.tops,
            ranks=answers.ranks,
            unreadable=result.unreadable,
            calibration=answers.calibration,
            cpu_ms=answers.cpu_ms + result.images_cpu_ms / len(result.answers),
            machine=result.machine,
        )
        self._kept.save(answers.key, result.shard, part)
        self._parts[answers.key][result.shard] = part

    def _refuse_calibration(self) -> None:
        if self.allow_calibration_images:
            return
        for candidate in self.candidates:
            names = [
                name
                for part in self._parts[candidate.subject.key].values()
                for name in part.calibration
            ]
            if names:
                raise _refusal(candidate, names[0])

    def _accuracy(self, candidate: Candidate, now: datetime) -> Accuracy:
        parts = self._parts[candidate.subject.key]
        ranks = _ranks(parts)
        unreadable = [image for _, part in sorted(parts.items()) for image in part.unreadable]
        if not ranks:
            raise ImageError(
                f"none of the {len(unreadable)} images in {self.data.name} can be used, the first "
                f"is {unreadable[0].name}: {unreadable[0].reason}"
            )
        digest = hashlib.sha256(repr([parts[n].digest for n in sorted(parts)]).encode())
        return Accuracy(
            id=new_id(now),
            time=now.isoformat(),
            tool=f"mnasnet-deploy {__version__}",
            artifact=candidate.artifact,
            publisher=candidate.publisher,
            preprocessing=str(candidate.subject.preprocessing),
            data=EvaluationData(
                name=self.data.name,
                digest=digest.hexdigest(),
                images=len(ranks),
                found=self.data.found,
                unreadable=len(unreadable),
                unreadable_names=tuple(image.name for image in unreadable[:MAX_NAMES]),
                labels=len(self.data.labels),
            ),
            top1=_share(ranks, 1),
            top5=_share(ranks, TOP),
            agreement=self._agreement(candidate),
            published=candidate.published,
            runtime=versions().rpartition(", ")[2],
            machines=tuple(sorted({part.machine for part in parts.values()})),
            cpu_ms=sum(part.cpu_ms for part in parts.values()) / len(ranks),
            reasons=(*candidate.reasons, *self._reasons(parts, len(unreadable))),
        )

    def _agreement(self, candidate: Candidate) -> Agreement | None:
        other = find_sibling(candidate, self.sound())
        if other is None:
            return None
        mine, theirs = (self._parts[c.subject.key] for c in (candidate, other))
        if any(mine[n].digest != theirs[n].digest for n in mine):
            return None  # the images changed between the two: there is nothing to pair
        pairs = [
            (a == 1, b == 1)
            for n in sorted(mine)
            for a, b in zip(mine[n].ranks, theirs[n].ranks, strict=True)
        ]
        same = sum(a == b for n in mine for a, b in zip(mine[n].tops, theirs[n].tops, strict=True))
        only_this, only_other = pairs.count((True, False)), pairs.count((False, True))
        return Agreement(
            file=other.artifact.file,
            sha256=other.artifact.sha256,
            same_percent=100 * same / len(pairs),
            both=pairs.count((True, True)),
            only_this=only_this,
            only_other=only_other,
            neither=pairs.count((False, False)),
            p_value=mcnemar(only_this, only_other),
            test="exact" if only_this + only_other <= EXACT_LIMIT else "continuity",
        )

    def _reasons(self, parts: Mapping[int, Part], unreadable: int) -> Iterator[str]:
        if unreadable:
            yield f"UNREADABLE ({unreadable} of {len(self.data.images)} images count nowhere)"
        names = [name for _, part in sorted(parts.items()) for name in part.calibration]
        if names:
            yield (
                f"CALIBRATION-IMAGES ({len(names)} of the images decided its int8 ranges, such as "
                f"{names[0]})"
            )
        tops = Counter(top for part in parts.values() for top in part.tops)
        (first, often), *_ = tops.most_common(1)
        if len(self.data.labels) > 1 and often >= max(FEW, SAME * tops.total()):
            yield f"ONE-CLASS (it answers {first} to nearly every image)"


def require_uncalibrated(candidates: Sequence[Candidate], data: DataSet) -> None:
    """Look early for images a file was calibrated on: those that have the name of one.

    Every image is looked at again when it is read; this only spares hours.

    Raises:
        InputError: there is one.
    """
    known: dict[str, str] = {}
    for candidate in candidates:
        names = {name.rpartition("/")[2] for name in candidate.calibration.values()}
        for image in data.images:
            if image.name.rpartition("/")[2] not in names:
                continue
            if image.path not in known:
                try:
                    content = read_file(Path(image.path))
                except ImageError:
                    continue
                known[image.path] = hashlib.sha256(content).hexdigest()
            if known[image.path] in candidate.calibration:
                raise _refusal(candidate, image.name)


def same_finding(one: Accuracy, other: Accuracy) -> bool:
    """Whether two records say the same of the same, whenever and wherever it was found."""
    blank = {"id": "", "time": "", "machines": (), "cpu_ms": 0.0}
    return replace(one, **blank) == replace(other, **blank)  # type: ignore[arg-type]


def _refusal(candidate: Candidate, name: str) -> InputError:
    return InputError(
        f"{candidate.path.name} was calibrated on {name}: such images flatter it (evaluate on "
        "others, or say --allow-calibration-images)"
    )


def _ranks(parts: Mapping[int, Part]) -> list[int]:
    return [rank for _, part in sorted(parts.items()) for rank in part.ranks]


def _share(ranks: Sequence[int], top: int) -> Share:
    correct = sum(rank <= top for rank in ranks)
    low, high = wilson(correct, len(ranks))
    percent = 100 * correct / len(ranks)
    return Share(
        correct=correct,
        percent=percent,
        # Rounding may leave the ends a hair inside.
        low=min(100 * low, percent),
        high=max(100 * high, percent),
    )
