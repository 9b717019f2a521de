"""From the publisher's archive to a file that says it was trained, through the command line."""

import importlib.util
import io
import json
import tarfile
from pathlib import Path

import pytest

from mnasnet_deploy.arch.network import build_network
from mnasnet_deploy.arch.variants import find_variant
from mnasnet_deploy.weights.canonical import digest
from mnasnet_deploy.weights.initial import initial_weights

NAME = "mnasnet-a1_d0.35_i96"


@pytest.fixture(scope="module")
def bundles():
    """Writes checkpoints in the original trainer's names."""
    pytest.importorskip(
        "mnasnet_deploy.weights.bundle", reason="needs the reader of the original's checkpoints"
    )
    path = Path(__file__).parents[1] / "bundles.py"
    spec = importlib.util.spec_from_file_location("checkpoint_bundles", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def published(bundles, tmp_path_factory):
    """The archive as it is published, and the tensors in it."""
    network = build_network(find_variant("a1").spec, multiplier=0.35, resolution=96)
    tensors = initial_weights(network, 3).tensors
    folder = tmp_path_factory.mktemp("published")
    names = bundles.official_names(network, tensors, suffix=bundles.EMA)
    bundles.write_bundle(folder / NAME / "saved_model" / "variables" / "variables", names)
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz", compresslevel=1) as archive:
        archive.add(folder / NAME, NAME)
    return stream.getvalue(), tensors


@pytest.mark.slow
@pytest.mark.parametrize("choice", [(), ("--weights", "official")])
def test_official_weights_travel_from_the_publisher_into_the_file(
    mnasnet, publisher, answer, published, tmp_path, choice
):
    archive, tensors = published
    publisher.serve(
        f"/{NAME}.tgz", answer(content=archive, sends=1_000_000), answer(content=archive)
    )
    run = mnasnet(
        "export", "--variant", "a1", "--multiplier", "0.35", "--res", "96", "--verify-images", "1",
        "--base-url", publisher.url, "--out", tmp_path, *choice,
    )  # fmt: skip
    assert run.code == 0, run.err
    assert "UNTRAINED" not in run.out
    assert "never trained" not in run.err
    assert len(publisher.requests) == 2
    sidecar = json.loads((tmp_path / "mnasnet-a1_0.35_96_float32.json").read_text())
    weights = sidecar["facts"]["weights"]
    assert weights["trained"] is True
    assert weights["sha256"] == digest(tensors)
