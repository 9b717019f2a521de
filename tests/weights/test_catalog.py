"""The catalog says of every published file what it is, and nothing that the sources do not say."""

import re
from pathlib import Path

import pytest

from mnasnet_deploy.arch.network import build_network
from mnasnet_deploy.arch.published import find_published, published_rows
from mnasnet_deploy.arch.variants import find_variant, spec_from_mapping
from mnasnet_deploy.errors import WeightsError
from mnasnet_deploy.weights.catalog import (
    checkpoint_of_file,
    checkpoints,
    find_checkpoint,
    fits,
)

by_name = pytest.mark.parametrize("one", checkpoints(), ids=lambda one: one.name)


def _of(source):
    return [one for one in checkpoints() if one.source == source]


def _network(one, **others):
    return build_network(
        find_variant(one.network).spec,
        **{"multiplier": one.multiplier, "resolution": one.resolution, **others},
    )


def test_there_are_26_official_archives_and_8_others():
    assert [len(_of(source)) for source in ("official", "timm", "torchvision")] == [26, 4, 4]


def test_names_files_and_addresses_are_used_once():
    for what in ("name", "file", "url"):
        values = [getattr(one, what) for one in checkpoints()]
        assert len(set(values)) == len(values)
        assert all(value == value.strip() and " " not in value for value in values)


@by_name
def test_an_address_is_protected_and_a_file_name_is_plain(one):
    assert re.fullmatch(r"https://[a-z.]+/[\w./-]+", one.url)
    assert re.fullmatch(r"[a-z0-9][\w.-]+\.(tgz|safetensors|pth)", one.file)
    assert re.fullmatch(r"[0-9a-f]{8,64}|", one.sha256)


@by_name
def test_a_checkpoint_fits_the_network_it_names_at_any_resolution(one):
    assert fits(one, _network(one))
    assert fits(one, _network(one, resolution=64))
    assert not fits(one, _network(one, classes=10))
    assert not fits(one, _network(one, multiplier=0.6))
    assert not fits(one, _network(one, divisor=16))


def test_an_architecture_of_ones_own_under_the_same_name_is_another():
    one = find_checkpoint("mnasnet-a1")
    spec = spec_from_mapping(
        {"name": "mnasnet-a1", "blocks": ["r1_k3_s11_e1_i32_o16_noskip"]}, source="own"
    )
    assert not fits(one, build_network(spec))


@by_name
def test_an_accuracy_has_a_source_and_is_possible(one):
    for accuracy in (one.published, *one.measured):
        assert accuracy.source
        assert 40 < accuracy.top1 < 80
        assert accuracy.top5 is None or accuracy.top1 < accuracy.top5 < 96
    # What others found is never far above what the publisher says.
    assert all(found.top1 < one.published.top1 + 0.2 for found in one.measured)


def test_the_published_grid_is_covered_and_agrees():
    for row in published_rows("mnasnet-a1"):
        one = find_checkpoint(row.checkpoint)
        assert (one.multiplier, one.resolution) == (row.multiplier, row.resolution)
        assert (one.published.top1, one.published.top5) == (row.top1, row.top5)
    noted = [one for one in _of("official") if one.note]
    assert [(one.multiplier, one.resolution) for one in noted] == [(0.35, 160)]
    row = find_published("mnasnet-a1", 0.35, 160)
    assert str(row.top1) in noted[0].note
    assert str(row.top1_repeated) in noted[0].note


def test_torch_names_carry_their_sha256():
    for one in _of("torchvision"):
        assert one.file.endswith(f"-{one.sha256}.pth")
        assert one.url.endswith(f"/{one.file}")


@by_name
def test_preprocessing_is_that_of_the_source(one):
    crops = {
        "official": {None},
        "timm": {(7, 8)},
        "torchvision": {(224, 256), (224, 232)},  # 0.75 and 1.3 come from the newer recipe
    }
    kinds = {"official": "tf1-bilinear", "timm": "bicubic", "torchvision": "bilinear"}
    assert one.crop in crops[one.source]
    assert one.interpolation == kinds[one.source]
    if one.source == "torchvision":
        assert (one.crop == (224, 232)) == (one.multiplier in (0.75, 1.3))


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("mnasnet-a1-050", "official:mnasnet-a1-050"),
        (" official:mnasnet-a1_d0.5_i160 ", "official:mnasnet-a1_d0.5_i160"),
        ("mnasnet-a1-050.tgz", "official:mnasnet-a1-050"),
        ("semnasnet_100", "timm:semnasnet_100"),
        ("timm:semnasnet_100.rmsp_in1k", "timm:semnasnet_100"),
        ("timm:mnasnet_a1", "timm:semnasnet_100"),
        ("timm:mnasnet_b1", "timm:mnasnet_100"),
        ("torchvision:mnasnet0_5", "torchvision:mnasnet0_5"),
        ("mnasnet1_3-a4c69d6f.pth", "torchvision:mnasnet1_3"),
    ],
)
def test_a_checkpoint_is_found_by_any_of_its_names(name, found):
    assert find_checkpoint(name).name == found


@by_name
def test_every_checkpoint_is_found_by_name_and_file(one):
    assert find_checkpoint(one.name) is one
    assert find_checkpoint(one.file) is one
    assert checkpoint_of_file(one.file) is one
    assert checkpoint_of_file(f"my-{one.file}") is None


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(WeightsError, match=r"'timm:semnasnet_10': did you mean 'timm:semnasnet_"):
        find_checkpoint("timm:semnasnet_10")
    with pytest.raises(WeightsError, match="did you mean 'official:mnasnet-a1-050'"):
        find_checkpoint("official:mnasnet-a1-05")
    with pytest.raises(WeightsError, match=r"unknown weights 'qqqq': 'mnasnet weights list'"):
        find_checkpoint("qqqq")


def test_the_page_says_what_the_list_says():
    """Every measured accuracy, and every published one of 224 pixels."""
    page = (Path(__file__).parents[2] / "docs" / "weights.md").read_text()
    for one in checkpoints():
        said = [*one.measured, *([one.published] if one.resolution == 224 else [])]
        for accuracy in said:
            short = f"about {accuracy.top1:.0f}" if accuracy.top5 is None else accuracy.short
            top1 = f"{accuracy.top1:.1f} ("
            assert short in page or top1 in page, (one.name, short)
