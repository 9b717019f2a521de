"""What the list of published weights says goes with their files."""

from pathlib import Path

import pytest

from mnasnet_deploy.arch.network import build_network
from mnasnet_deploy.arch.variants import find_variant
from mnasnet_deploy.cli.foreign import Asked, complete
from mnasnet_deploy.errors import WeightsError
from mnasnet_deploy.weights.catalog import find_checkpoint
from mnasnet_deploy.weights.choice import load_weights

from .bundles import trained
from .torches import as_tensors, state_dict, write_pth

NOTHING = Asked(None, None, None, None)


@pytest.mark.parametrize(
    ("choice", "variant", "multiplier"),
    [("timm:mnasnet_small", "small", "1.0"), ("timm:semnasnet_075", "a1", "0.75"),
     ("torchvision:mnasnet0_5", "b1", "0.5")],
)  # fmt: skip
def test_a_published_name_brings_its_network(choice: str, variant: str, multiplier: str) -> None:
    asked = complete(NOTHING, choice, averaged=True, spec=None, grid=False)
    assert (asked.variant, asked.multiplier) == ([variant], [multiplier])
    other = Asked(["d1"], None, None, None)
    assert complete(other, choice, averaged=True, spec=None, grid=False) == other
    with pytest.raises(WeightsError, match="unknown weights"):
        complete(NOTHING, "timm:nothing", averaged=True, spec=None, grid=False)


def test_a_published_file_brings_its_licence(tmp_path: Path) -> None:
    known = find_checkpoint("torchvision:mnasnet0_5")
    network = build_network(find_variant("b1").spec, multiplier=0.5, resolution=64)
    named = state_dict(network, trained(network).tensors, "torchvision")
    for name, licence in ((known.file, known.licence), ("mine.pth", "")):
        path = write_pth(tmp_path / name, as_tensors(named))
        source = load_weights(str(path), network).source
        assert source.licence == licence
        assert source.preprocessing.crop == known.crop
