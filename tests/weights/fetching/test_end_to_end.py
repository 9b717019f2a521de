"""From the publisher's file to a .tflite that says it was trained, through the command line."""

import hashlib
import io
import json
import tarfile
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import save

from mnasnet_deploy.arch.network import build_network
from mnasnet_deploy.arch.variants import find_variant
from mnasnet_deploy.weights.catalog import find_checkpoint
from mnasnet_deploy.weights.choice import load_weights
from mnasnet_deploy.weights.fetch import Fetcher

# The folders of tests are no packages, so there is no absolute name.
from ..bundles import EMA, official_names, trained, write_bundle  # noqa: TID252
from ..torches import as_tensors, state_dict, write_pth  # noqa: TID252

pytestmark = pytest.mark.slow

NAME = "mnasnet-a1_d0.35_i96"
SMALL = build_network(find_variant("a1").spec, multiplier=0.35, resolution=96)


@pytest.fixture(scope="module")
def archive(tmp_path_factory) -> bytes:
    """An archive as the original's are published."""
    folder = tmp_path_factory.mktemp("published")
    names = official_names(SMALL, trained(SMALL).tensors, suffix=EMA)
    write_bundle(folder / NAME / "saved_model" / "variables" / "variables", names)
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz", compresslevel=1) as tar:
        tar.add(folder / NAME, NAME)
    return stream.getvalue()


def weights_in(folder, name):
    sidecar = json.loads((folder / f"{name}_float32.json").read_text())
    return sidecar["facts"]["weights"]


def same(found, tensors) -> bool:
    return found.keys() == tensors.keys() and all(
        np.array_equal(found[name], tensors[name]) for name in found
    )


@pytest.mark.parametrize("choice", [(), ("--weights", "official")])
def test_official_weights_travel_from_the_publisher_into_the_file(
    mnasnet, publisher, answer, archive, tmp_path, choice
):
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
    weights = weights_in(tmp_path, "mnasnet-a1_0.35_96")
    assert weights["trained"] is True
    assert (weights["family"], weights["averaged"]) == ("official", True)
    assert (weights["label"], weights["licence"]) == (f"{NAME}.tgz", "Apache-2.0")
    assert same(load_weights(str(tmp_path / "cache/weights" / f"{NAME}.tgz"), SMALL).tensors,
                trained(SMALL).tensors)  # fmt: skip
    # A second time, and another scheme of it, asks nobody.
    again = mnasnet(
        "export", "--variant", "a1", "--multiplier", "0.35", "--res", "96", "--float16",
        "--float32", "--verify-images", "1", "--offline", "--out", tmp_path, *choice,
    )  # fmt: skip
    assert again.code == 0, again.err
    assert "up to date" in again.out
    assert len(publisher.requests) == 2


def test_timms_weights_travel_too(mnasnet, publisher, answer, tmp_path):
    """One of those whose sha256 nobody published."""
    known = find_checkpoint("timm:semnasnet_075")
    network = build_network(find_variant("a1").spec, multiplier=0.75, resolution=224)
    publisher.serve(
        f"/{known.file}",
        answer(content=save(state_dict(network, trained(network).tensors, "timm"))),
    )
    run = mnasnet(
        "export", "--weights", "timm:semnasnet_075", "--verify-images", "1", "--base-url",
        publisher.url, "--out", tmp_path,
    )  # fmt: skip
    assert run.code == 0, run.err
    weights = weights_in(tmp_path, "mnasnet-a1_0.75_224")
    assert (weights["trained"], weights["family"]) == (True, "timm")
    assert (weights["padding"], weights["batch_norm_epsilon"]) == ("symmetric", 1e-5)
    assert weights["preprocessing"] == {"interpolation": "bicubic", "crop": [7, 8]}
    assert weights["licence"] == "Apache-2.0"
    # Whatever takes a file takes such a name, and what is known of it goes along.
    shown = mnasnet("weights", "show", "timm:semnasnet_075", "--offline")
    assert shown.code == 0
    for part in ("published  73.0/91.1 %", "licence    Apache-2.0", "mnasnet-a1 0.75 with 1000"):
        assert part in shown.out
    own = tmp_path / "own.safetensors"
    assert mnasnet("weights", "convert", "timm:semnasnet_075", own, "--offline").code == 0
    source = load_weights(str(own), network).source
    assert (source.licence, source.padding) == ("Apache-2.0", "symmetric")
    assert mnasnet("weights", "check", "timm:semnasnet_075", "--offline", "--res", "96").code == 0
    missing = mnasnet("weights", "show", "timm:semnasnet_100", "--offline")
    assert (missing.code, "not in the cache" in missing.err) == (3, True)


def test_torchvisions_weights_travel_too_if_they_are_the_published_ones(
    mnasnet, publisher, answer, tmp_path
):
    known = find_checkpoint("torchvision:mnasnet0_5")
    network = build_network(find_variant("b1").spec, multiplier=0.5, resolution=224)
    named = state_dict(network, trained(network).tensors, "torchvision")
    content = write_pth(tmp_path / "made.pth", as_tensors(named)).read_bytes()
    publisher.serve(f"/{known.file}", answer(content=content))
    run = mnasnet(
        "export", "--weights", known.name, "--base-url", publisher.url, "--out", tmp_path / "out"
    )
    assert run.code == 1
    assert "not the published file" in run.err
    assert run.err.count("\n") == 1
    assert not (tmp_path / "out").exists()

    published = replace(known, sha256=hashlib.sha256(content).hexdigest())
    fetched = Fetcher(tmp_path / "cache", base_url=publisher.url).fetch(published)
    weights = load_weights(str(fetched.path), network)
    assert same(weights.tensors, trained(network).tensors)
    assert (weights.source.family, weights.source.licence) == ("torchvision", "BSD-3-Clause")
    run = mnasnet(
        "export", "--weights", str(fetched.path), "--res", "224", "--verify-images", "1", "--out",
        tmp_path / "out",
    )  # fmt: skip
    assert run.code == 0, run.err
    assert weights_in(tmp_path / "out", "mnasnet-b1_0.5_224")["padding"] == "symmetric"
