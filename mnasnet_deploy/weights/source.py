"""Where weights come from, and how they want to be computed and fed. Standard library only.

The same architecture was trained by three code bases that differ in what the block notation leaves
open: padding, epsilon, one residual, and how a photo becomes an input. Whoever uses the weights of
one with the arithmetic of another gets a network that runs and is wrong.
"""

from dataclasses import dataclass, field
from typing import Final, Literal

from mnasnet_deploy.arch.network import Network, Padding, Residual, adapt_network

__all__ = ["OFFICIAL_CROP", "Family", "Interpolation", "Preprocessing", "WeightSource"]

Family = Literal["", "official", "timm", "torchvision"]
Interpolation = Literal["tf1-bilinear", "bilinear", "bicubic"]

OFFICIAL_CROP: Final = 32
"""CROP_PADDING of the original's preprocessing.py: S / (S + 32) of the shorter side is used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preprocessing:
    """How a photo becomes an input of side S.

    Attributes:
        interpolation: `tf1-bilinear` weighs the two nearest rows and columns, without half-pixel
            centres and without antialiasing, as TF1 did; `bilinear` and `bicubic` are Pillow's,
            antialiased.
        crop: (part, whole): the shorter side becomes S * whole // part, then the centre S x S is
            cut out. None: the centre S / (S + 32) of the shorter side is cut out first, then
            resized, as the original does.
    """

    interpolation: Interpolation = "tf1-bilinear"
    crop: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        """Refuse what nobody evaluates with."""
        whole = self.crop is None or 0 < self.crop[0] <= self.crop[1]
        if not whole or (self.crop is None) != (self.interpolation == "tf1-bilinear"):
            raise ValueError(f"no evaluation crops {self.crop} and resizes {self.interpolation}")

    @property
    def original(self) -> bool:
        """Whether it is the original's; the others are done by Pillow."""
        return self.crop is None

    def __str__(self) -> str:
        """In words, `centre 7/8, bicubic`."""
        part = f"S/(S+{OFFICIAL_CROP})" if self.crop is None else "/".join(map(str, self.crop))
        return f"centre {part}, {self.interpolation}"


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightSource:
    """Where weights come from, and what they ask of the network and of its images.

    Attributes:
        label: in words a user recognises, `random:0` or a file's name; never a path.
        trained: False for weights no one ever trained: their classes mean nothing.
        dataset: what they were trained on, `imagenet-1k`, or empty.
        licence: SPDX name, or empty where unknown.
        family: whose code trained them; empty for this tool's own.
        averaged: they are moving averages of the trained ones; None where nobody says.
        padding: see `Network`.
        residual: see `Network`.
        batch_norm_epsilon: added to the variance; None for the architecture's own.
        mean: per channel in grey levels, RGB; None for the architecture's own.
        std: the same.
        preprocessing: of the photos they are evaluated on.
        notes: what was done to them on the way, in words.
    """

    label: str
    trained: bool
    dataset: str = ""
    licence: str = ""
    family: Family = ""
    averaged: bool | None = None
    padding: Padding = "same"
    residual: Residual = "declared"
    batch_norm_epsilon: float | None = None
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    notes: tuple[str, ...] = ()

    def adapt(self, network: Network) -> Network:
        """The network as these weights want it computed; the same where it already is."""
        return adapt_network(
            network,
            padding=self.padding,
            residual=self.residual,
            batch_norm_epsilon=self.batch_norm_epsilon,
            mean=self.mean,
            std=self.std,
        )
