"""Checkpoints of the original trainer -> canonical weights. TensorFlow is not needed.

Name table (tensorflow/tpu, models/official/mnasnet; `MODEL` is `mnasnet-a1` and the like, the part
`mnas_net_model/` is there with use_keras=True only, batch norm lies outside it):

    stem                 MODEL/mnas_net_model/mnas_stem/conv2d_N, .../batch_normalization
    block I expand       .../mnas_blocks_I/conv2d_n, .../batch_normalization      (absent if e1)
    block I depthwise    .../mnas_blocks_I/depthwise_conv2d_n, .../batch_normalization_1
    block I project      .../mnas_blocks_I/conv2d_m, .../batch_normalization_2
    block I squeeze      .../mnas_blocks_I/se/conv2d_n and se/conv2d_m: reduce, then expand
    head, classifier     .../mnas_head/conv2d_N, batch_normalization; .../mnas_head/dense

Numbers count through the whole graph or restart in each block: within a scope their order decides,
as numbers (conv2d_9 before conv2d_12), never their value.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from mnasnet_deploy.errors import WeightsError
from mnasnet_deploy.weights.bundle import read_bundle
from mnasnet_deploy.weights.source import WeightSource
from mnasnet_deploy.weights.stored import Found, Named, Place, collect

__all__ = ["from_official", "is_official", "resolve_prefix"]

AVERAGE: Final = "/ExponentialMovingAverage"
BATCH_NORM_EPSILON: Final = 1e-3

_NAME = re.compile(
    r"(?P<model>[^/]+)/(?:mnas_net_model(?:_\d+)?/)?"
    r"(?P<scope>mnas_stem|mnas_head|mnas_blocks_(?P<block>\d{1,4}))/(?P<se>se/)?"
    r"(?P<kind>conv2d|depthwise_conv2d|batch_normalization|dense)(?:_(?P<number>\d{1,6}))?/"
    r"(?P<part>kernel|depthwise_kernel|bias|gamma|beta|moving_mean|moving_variance)"
)
# What a trainer keeps beside the weights.
_IGNORED = re.compile(
    r"global_step|.*/(?:RMSProp(?:_\d+)?|Momentum|Adam(?:_\d+)?)|beta[12]_power(?:_\d+)?"
    r"|.*/ExponentialMovingAverage/(?:local_step|biased)|_CHECKPOINTABLE_OBJECT_GRAPH"
    r"|save_counter.*"
)
_PARTS = {
    "kernel": "kernel", "depthwise_kernel": "kernel", "bias": "bias", "gamma": "bn.gamma",
    "beta": "bn.beta", "moving_mean": "bn.mean", "moving_variance": "bn.variance",
}  # fmt: skip
_CHECKPOINT_LINE = re.compile(r'^model_checkpoint_path:\s*"(?P<prefix>[^"]+)"', re.MULTILINE)
MAX_CHECKPOINT_BYTES: Final = 2**20


class _Variable(NamedTuple):
    """One variable's name, taken apart."""

    scope: str
    kind: str
    number: int
    part: str
    name: str


def is_official(names: Iterable[str]) -> bool:
    """Whether any of the names is one of the original trainer's."""
    return any(_NAME.match(name) for name in names)


def resolve_prefix(folder: Path) -> Path:
    """The newest checkpoint of a folder, as its `checkpoint` file names it.

    A file that was copied from elsewhere may name an absolute path; only its last part is used, and
    only below the folder.

    Raises:
        WeightsError: no checkpoint, or several and no word on which.
    """
    found = sorted(path.with_suffix("") for path in folder.glob("*.index"))
    try:
        with (folder / "checkpoint").open("rb") as file:
            text = file.read(MAX_CHECKPOINT_BYTES).decode(errors="replace")
    except OSError:
        text = ""
    if match := _CHECKPOINT_LINE.search(text):
        wanted = re.split(r"[/\\]", match["prefix"])[-1]
        for prefix in found:
            if prefix.name == wanted:
                return prefix
        if len(found) != 1:
            raise WeightsError(
                f"{folder.name}/checkpoint names {wanted}, of which there is no .index beside it: "
                "copy all its files"
            )
    if not found:
        raise WeightsError(f"{folder} holds no checkpoint (no .index file)")
    if len(found) > 1:
        raise WeightsError(
            f"{folder} holds several checkpoints: name one, {', '.join(p.name for p in found[:8])}"
        )
    return found[0]


def from_official(prefix: Path, label: str, *, averaged: bool = True) -> Found:
    """Read a checkpoint, or the variables of a SavedModel, of the original trainer.

    The moving averages are taken as a set where there are any, else the raw variables; the two are
    never mixed.

    Args:
        prefix: of the bundle, without `.index`.
        label: the name a user knows it by.
        averaged: False takes the raw variables.

    Raises:
        WeightsError: not readable, not of the original trainer, or a set is not whole.
    """
    named = read_bundle(prefix).tensors
    models: dict[str, None] = {}
    sets: dict[bool, list[_Variable]] = {True: [], False: []}
    unused = []
    for name in named:
        average = name.endswith(AVERAGE)
        match = _NAME.fullmatch(name.removesuffix(AVERAGE))
        if match is None:
            if not _IGNORED.fullmatch(name):
                unused.append(name)
            continue
        models[match["model"]] = None
        scope = match["scope"] + ("/se" if match["se"] else "")
        part = _PARTS[match["part"]]
        variable = _Variable(scope, match["kind"], int(match["number"] or 0), part, name)
        sets[average].append(variable)
    if not models:
        first = ", ".join(list(named)[:3]) or "nothing"
        raise WeightsError(
            f"{label} is no checkpoint of MnasNet: it holds {first}, ... and no mnas_blocks"
        )
    if len(models) > 1:
        raise WeightsError(f"{label} holds several models: {', '.join(models)}")
    chosen = _choose(sets, label, averaged=averaged)
    places, extra = _places(sets[chosen], named)
    tensors, notes = collect(named, places, label)
    classes = tensors["classifier.bias"].size if "classifier.bias" in tensors else 0
    return Found(
        name=label,
        kind=f"TensorFlow checkpoint of the original trainer ({next(iter(models))})",
        tensors=tensors,
        places={canonical: place.name for canonical, place in places.items()},
        unused=tuple(unused + extra),
        source=WeightSource(
            label=label,
            trained=True,
            dataset="imagenet-1k" if classes == 1000 else "",
            family="official",
            averaged=chosen,
            batch_norm_epsilon=BATCH_NORM_EPSILON,
            notes=notes,
        ),
    )


def _choose(sets: Mapping[bool, list[_Variable]], label: str, *, averaged: bool) -> bool:
    """Whether the moving averages are used."""
    if not averaged:
        if not sets[False]:
            raise WeightsError(f"{label} holds moving averages only: leave --no-ema out")
        return False
    if not sets[True]:
        return False
    if sets[False]:
        known = {v.name + AVERAGE for v in sets[False]}
        lacking = sorted(known - {v.name for v in sets[True]})
        if lacking:
            raise WeightsError(
                f"{label} has moving averages of some variables only, --no-ema takes the raw ones; "
                f"it lacks {', '.join(lacking)}"
            )
    return True


def _places(variables: Iterable[_Variable], named: Named) -> tuple[dict[str, Place], list[str]]:
    """Canonical name -> where, and the names for which there is no canonical one."""
    scopes: dict[str, dict[str, dict[int, dict[str, str]]]] = defaultdict(
        lambda: defaultdict(lambda: defaultdict(dict))
    )
    for variable in variables:
        scopes[variable.scope][variable.kind][variable.number][variable.part] = variable.name
    places: dict[str, Place] = {}
    extra = []
    for scope, kinds in scopes.items():
        for kind, numbers in kinds.items():
            layers = [numbers[number] for number in sorted(numbers)]
            roles = list(_roles(scope, kind, len(kinds.get("conv2d", ()))))
            for role, parts in zip(roles, layers, strict=False):
                for part, name in parts.items():
                    places[f"{role}.{part}"] = Place(name=name)
            extra += [name for parts in layers[len(roles) :] for name in parts.values()]
    return places, extra


def _roles(scope: str, kind: str, convolutions: int) -> Iterator[str]:
    """Canonical layers that a scope's layers of one kind are, in the order of their numbers."""
    if scope in ("mnas_stem", "mnas_head"):
        if kind in ("conv2d", "batch_normalization"):
            yield scope.removeprefix("mnas_")
        elif kind == "dense" and scope == "mnas_head":
            yield "classifier"
        return
    block, _, squeeze = scope.removeprefix("mnas_blocks_").partition("/")
    prefix = f"blocks.{int(block)}"
    if squeeze:
        if kind == "conv2d":
            yield from (f"{prefix}.se.reduce", f"{prefix}.se.expand")
        return
    expands = convolutions > 1
    if kind == "depthwise_conv2d":
        yield f"{prefix}.depthwise"
    elif kind == "conv2d":
        yield from ([f"{prefix}.expand"] * expands) + [f"{prefix}.project"]
    elif kind == "batch_normalization":
        yield from ([f"{prefix}.expand"] * expands) + [f"{prefix}.depthwise", f"{prefix}.project"]
