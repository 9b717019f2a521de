"""Which network tensors are of: variant, multiplier and classes, read from their shapes."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from mnasnet_deploy.arch.network import Network, build_network, render_multiplier, scale_channels
from mnasnet_deploy.arch.variants import MAX_CLASSES, VARIANTS, Spec, Variant
from mnasnet_deploy.errors import SpecError
from mnasnet_deploy.weights.canonical import tensor_shapes

__all__ = ["Identity", "differences", "identify", "shapes_of"]

Shapes = Mapping[str, tuple[int, ...]]

# Tried in this order, so that the usual ones win where rounding makes several equal.
USUAL: Final = (1.0, 0.75, 0.5, 0.35, 1.4, 1.3, 0.25, 0.1, 1.2, 1.5, 2.0, 0.6, 0.8, None)
_HUNDREDTHS: Final = tuple(round(0.01 * step, 2) for step in range(5, 401))
_SIDE: Final = 32  # shapes of weights do not depend on it


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What tensors are of."""

    spec: Spec
    multiplier: float | None
    classes: int

    def __str__(self) -> str:
        """In words, `mnasnet-a1 0.75 with 7 classes`."""
        multiplier = render_multiplier(self.multiplier)
        return f"{self.spec.name} {multiplier} with {self.classes} classes"


def shapes_of(tensors: Mapping[str, object]) -> dict[str, tuple[int, ...]]:
    """Name -> shape of arrays."""
    return {name: tuple(values.shape) for name, values in tensors.items()}  # type: ignore[attr-defined]


def identify(
    shapes: Shapes, *, specs: Iterable[Spec] = (), asked: float | None = 1.0
) -> Identity | None:
    """Find the network whose tensors have exactly these names and shapes.

    Args:
        shapes: of canonical tensors.
        specs: architectures of the user's own, tried first.
        asked: a multiplier that wins where several give the same widths.

    Returns:
        What it is, or None where no known architecture at any usual multiplier fits.
    """
    bias = shapes.get("classifier.bias", ())
    if len(bias) != 1 or not 1 <= bias[0] <= MAX_CLASSES:
        return None
    candidates = [Variant(name=spec.name, spec=spec) for spec in specs] + list(VARIANTS.values())
    for variant in candidates:
        if not _same_skeleton(variant.spec, shapes):
            continue
        for multiplier in dict.fromkeys((asked, variant.multiplier, *USUAL, *_HUNDREDTHS)):
            if _fits(variant.spec, multiplier, bias[0], shapes):
                return Identity(spec=variant.spec, multiplier=multiplier, classes=bias[0])
    return None


def differences(network: Network, shapes: Shapes) -> list[str]:
    """Where tensors differ from what a network needs, one line each."""
    needed = tensor_shapes(network)
    lines = [f"missing {name} {list(shape)}" for name, shape in needed.items()
             if name not in shapes]  # fmt: skip
    lines += [f"unexpected {name} {list(shapes[name])}" for name in shapes if name not in needed]
    lines += [
        f"{name} is {list(shapes[name])}, needs {list(shape)}"
        for name, shape in needed.items()
        if name in shapes and shapes[name] != shape
    ]
    return lines


def _same_skeleton(spec: Spec, shapes: Shapes) -> bool:
    """Whether the number of blocks and their depthwise kernels are the spec's."""
    kernels = [block.kernel for block in spec.blocks for _ in range(block.repeats)]
    if f"blocks.{len(kernels)}.depthwise.kernel" in shapes:
        return False
    return all(
        shapes.get(f"blocks.{index}.depthwise.kernel", ())[:2] == (kernel, kernel)
        for index, kernel in enumerate(kernels)
    )


def _fits(spec: Spec, multiplier: float | None, classes: int, shapes: Shapes) -> bool:
    last = sum(block.repeats for block in spec.blocks) - 1
    width = shapes.get(f"blocks.{last}.project.kernel", (0,))[-1]
    if scale_channels(spec.blocks[-1].output_channels, multiplier) != width:
        return False
    try:
        network = build_network(spec, multiplier=multiplier, resolution=_SIDE, classes=classes)
    except SpecError:
        return False
    return tensor_shapes(network) == dict(shapes)
