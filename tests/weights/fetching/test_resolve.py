"""What stands behind --weights becomes a file that fits exactly, or one line that says why not."""

from dataclasses import replace
from pathlib import Path

import pytest

from mnasnet_deploy.arch.network import build_network
from mnasnet_deploy.arch.variants import find_variant
from mnasnet_deploy.errors import NotReadyError, WeightsError
from mnasnet_deploy.weights.resolve import is_published, resolve, resolve_all


def _network(variant="a1", **options):
    return build_network(find_variant(variant).spec, **options)


@pytest.mark.parametrize("choice", ["random", "random:7", "my.safetensors", "timm", "a/official"])
def test_what_is_not_published_is_handed_on(make_fetcher, publisher, choice):
    assert not is_published(choice)
    network = _network()
    found = resolve(choice, network, make_fetcher())
    assert (found.weights, found.checkpoint, found.warning) == (choice, None, "")
    assert publisher.requests == []


@pytest.mark.parametrize("choice", ["auto", "official", "official:mnasnet-a1_d0.5_i160"])
def test_official_weights_of_exactly_this_network_are_fetched(
    publisher, answer, make_fetcher, archive, choice
):
    publisher.serve("/mnasnet-a1_d0.5_i160.tgz", answer(content=archive))
    found = resolve(choice, _network(multiplier=0.5, resolution=160), make_fetcher())
    assert found.checkpoint.name == "official:mnasnet-a1_d0.5_i160"
    assert found.weights == str(make_fetcher().path(found.checkpoint))
    assert found.warning == ""
    offline = resolve(choice, found.network, make_fetcher(offline=True, base_url=""))
    assert replace(offline, network=found.network) == found
    assert len(publisher.requests) == 1


@pytest.mark.parametrize(
    ("variant", "options", "text"),
    [
        ("a1", {"resolution": 200}, r"only at 224, 192, 160, 128, 96: --allow-other-resolution "
                                    r"takes those at 192"),
        ("a1", {"multiplier": 0.6}, "no official weights of mnasnet-a1 0.6 @224$"),
        ("a1", {"multiplier": None}, "no official weights of mnasnet-a1 none @224$"),
        ("a1", {"classes": 10}, "no official weights of mnasnet-a1 1.0 @224 with 10 classes$"),
        ("a1", {"divisor": 4}, "no official weights of mnasnet-a1 1.0 @224$"),
        ("b1", {}, "use --weights timm:mnasnet_100 or --weights torchvision:mnasnet1_0$"),
        ("d1", {"multiplier": None}, "no official weights of mnasnet-d1 none @224$"),
        ("mobilenet-v2", {}, "no official weights of mobilenet-v2 1.0 @224$"),
    ],
)  # fmt: skip
def test_where_there_are_none_auto_says_so_and_official_fails(
    publisher, make_fetcher, variant, options, text
):
    network = _network(variant, **options)
    with pytest.raises(WeightsError, match=text):
        resolve("official", network, make_fetcher())
    found = resolve("auto", network, make_fetcher())
    assert (found.weights, found.checkpoint) == ("random", None)
    assert found.warning == f"{found.reason}; going on with random weights"
    with pytest.raises(WeightsError, match=text):
        raise WeightsError(found.reason)
    assert publisher.requests == []


@pytest.mark.parametrize(
    ("resolution", "file"),
    [(200, "mnasnet-a1_d0.35_i192.tgz"), (97, "mnasnet-a1_d0.35_i96.tgz"),
     (32, "mnasnet-a1_d0.35_i96.tgz"), (320, "mnasnet-a1-035.tgz"), (208, "mnasnet-a1-035.tgz")],
)  # fmt: skip
def test_the_nearest_resolution_is_taken_only_if_allowed(
    publisher, answer, make_fetcher, archive, resolution, file
):
    publisher.serve(f"/{file}", answer(content=archive))
    network = _network(multiplier=0.35, resolution=resolution)
    found = resolve("auto", network, make_fetcher(), allow_other_resolution=True)
    assert found.checkpoint.file == file
    assert f"was trained at {found.checkpoint.resolution} pixels" in found.warning
    assert f"at {resolution} is another one" in found.warning


def test_an_exact_resolution_comes_before_a_near_one(publisher, answer, make_fetcher, archive):
    publisher.serve("/mnasnet-a1_d1.0_i192.tgz", answer(content=archive))
    found = resolve("auto", _network(resolution=192), make_fetcher(), allow_other_resolution=True)
    assert (found.checkpoint.resolution, found.warning) == (192, "")


@pytest.mark.parametrize(
    ("choice", "variant", "options", "text"),
    [
        ("timm:mnasnet_100", "a1", {}, "is of mnasnet-b1 1.0, not of mnasnet-a1 1.0 @224: use "
                                       "--variant b1 --multiplier 1.0$"),
        ("torchvision:mnasnet0_5", "b1", {}, "use --variant b1 --multiplier 0.5$"),
        ("timm:semnasnet_100", "a1", {"classes": 7}, "with 7 classes: it has 1000 classes$"),
        ("timm:semnasnet_100", "a1", {"divisor": 4}, "leave out --divisor, --min-depth and --spec"),
        ("timm:semnasnet_100", "a1", {"resolution": 192}, "use --res 224, or --allow-other-res"),
        ("timm:resnet50", "a1", {}, "unknown weights 'timm:resnet50'"),
        ("official:x", "a1", {}, "unknown weights 'official:x'"),
    ],
)  # fmt: skip
def test_named_weights_that_do_not_fit_are_refused(
    publisher, make_fetcher, choice, variant, options, text
):
    with pytest.raises(WeightsError, match=text):
        resolve(choice, _network(variant, **options), make_fetcher())
    assert publisher.requests == []


def test_weights_that_cannot_be_fetched_end_official_but_not_auto(make_fetcher, closed_port):
    network, fetcher = _network(), make_fetcher(base_url=closed_port)
    with pytest.raises(NotReadyError, match="cannot reach"):
        resolve("official", network, fetcher)
    with pytest.raises(NotReadyError, match="cannot reach"):
        resolve("timm:semnasnet_100", network, fetcher)
    assert "cannot reach 127.0.0.1" in resolve("auto", network, fetcher).warning


def test_a_changed_file_in_the_cache_ends_auto_too(publisher, answer, make_fetcher, archive):
    publisher.serve("/mnasnet-a1.tgz", answer(content=archive))
    network, fetcher = _network(), make_fetcher()
    path = Path(resolve("auto", network, fetcher).weights)
    path.write_bytes(archive[:-1])
    with pytest.raises(WeightsError, match="not the file that was recorded"):
        resolve("auto", network, fetcher)


def test_many_networks_are_answered_in_their_order(publisher, answer, make_fetcher, archive):
    publisher.serve("/mnasnet-a1_d1.0_i192.tgz", answer(content=archive))
    networks = [
        _network(resolution=224), _network("b1"), _network(resolution=192), _network(resolution=224)
    ]  # fmt: skip
    found = resolve_all("auto", networks, make_fetcher())
    assert [one.network for one in found] == networks
    assert [one.checkpoint and one.checkpoint.resolution for one in found] == [
        None,
        None,
        192,
        None,
    ]
    assert "no such file" in found[0].reason
    assert found[0].reason == found[3].reason
    assert len(publisher.requests) == 2  # the one that is not there was asked for once
