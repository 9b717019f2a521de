"""What tests/data/parity holds the logits of."""

from dataclasses import dataclass
from pathlib import Path

from mnasnet_deploy.arch.network import Network, build_network
from mnasnet_deploy.arch.variants import find_variant

DATA = Path(__file__).parents[1] / "data" / "parity"


@dataclass(frozen=True)
class Case:
    """One network of one family; `model` is the family's own name of it, or of its last layer."""

    family: str
    model: str
    variant: str
    multiplier: float
    classes: int
    seed: int
    sides: tuple[int, ...]

    def network(self, side: int) -> Network:
        return build_network(
            find_variant(self.variant).spec,
            multiplier=self.multiplier,
            resolution=side,
            classes=self.classes,
        )


HEAD = "mnasnet-a1/mnas_net_model/mnas_head/dense"
# On odd maps all paddings agree; 131 has odd ones and even ones.
CASES = {
    "official": Case("official", HEAD, "a1", 0.35, 10, 1, (96, 131)),
    "official_raw": Case("official", HEAD, "a1", 0.35, 10, 2, (96,)),
    "timm": Case("timm", "semnasnet_075", "a1", 0.75, 7, 3, (131, 160)),
    "timm_small": Case("timm", "mnasnet_small", "small", 1.0, 5, 4, (96, 131)),
    "torchvision": Case("torchvision", "mnasnet0_5", "b1", 0.5, 10, 5, (96, 131)),
}
