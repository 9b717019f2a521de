"""What the options that choose networks mean together."""

import pytest

from mnasnet_deploy.arch.network import render_multiplier
from mnasnet_deploy.arch.published import published_rows
from mnasnet_deploy.cli.networks import networks, one_network
from mnasnet_deploy.errors import InputError, SpecError

BLOCKS = "blocks: [r1_k3_s11_e1_i32_o16_noskip, r2_k3_s22_e6_i16_o24]\n"


def _names(found):
    return [f"{n.name} {render_multiplier(n.multiplier)} {n.resolution}" for n in found]


@pytest.fixture
def spec_file(tmp_path):
    def write(name="my-net", extra="", file="my net ü.yaml"):
        path = tmp_path / file
        path.write_text(f"name: {name}\n{BLOCKS}{extra}", encoding="utf-8")
        return path

    return write


def test_without_options_it_is_a1():
    assert _names(networks()) == ["mnasnet-a1 1.0 224"]


def test_each_variant_has_its_own_defaults():
    assert _names(networks(variant=["d1", "d1-320", "small"])) == [
        "mnasnet-d1 none 224",
        "mnasnet-d1-320 none 320",
        "mnasnet-small 1.0 224",
    ]


def test_repeated_options_multiply_in_their_order():
    assert _names(networks(variant=["a1", "b1"], multiplier=["0.5", "none"], res=[96, 64])) == [
        f"mnasnet-{variant} {multiplier} {res}"
        for variant in ("a1", "b1")
        for multiplier in ("0.5", "none")
        for res in (96, 64)
    ]


def test_what_is_named_twice_is_built_once():
    found = networks(variant=["a1", "mnasnet-a1", "A1"], multiplier=["1", "1.0"], res=[96, 96])
    assert _names(found) == ["mnasnet-a1 1.0 96"]


def test_the_grid_is_the_published_one():
    found = networks(grid=True, classes=10)
    assert [(n.multiplier, n.resolution) for n in found] == [
        (row.multiplier, row.resolution) for row in published_rows("mnasnet-a1")
    ]
    assert {(n.name, n.classes) for n in found} == {("mnasnet-a1", 10)}


@pytest.mark.parametrize("other", [{"variant": ["a1"]}, {"multiplier": ["1"]}, {"res": [96]}])
def test_the_grid_excludes_what_it_names_itself(other):
    with pytest.raises(InputError, match="--grid names its own"):
        networks(grid=True, **other)


def test_classes_divisor_and_min_depth_reach_every_network():
    for network in networks(variant=["a1", "b1"], classes=7, divisor=4, min_depth=12):
        assert (network.classes, network.divisor, network.min_depth) == (7, 4, 12)


def test_an_architecture_of_ones_own_stands_beside_the_published(spec_file):
    path = spec_file(extra="classes: 10\n")
    assert _names(networks(spec=[path])) == ["my-net 1.0 224"]
    assert networks(spec=[path])[0].classes == 10
    assert networks(spec=[path], classes=5)[0].classes == 5
    found = networks(variant=["a1"], spec=[path, path], res=[96])
    assert _names(found) == ["mnasnet-a1 1.0 96", "my-net 1.0 96"]


def test_one_name_may_not_mean_two_architectures(spec_file):
    one, other = spec_file(file="1.yaml"), spec_file(file="2.yaml", extra="activation: relu6\n")
    with pytest.raises(SpecError, match=r"2\.yaml: the name 'my-net' belongs to another"):
        networks(spec=[one, other])


@pytest.mark.parametrize("name", ["mnasnet-a1", "mobilenet-v2"])
def test_a_published_name_is_taken(spec_file, name):
    with pytest.raises(SpecError, match=f"the name '{name}' belongs to another"):
        networks(spec=[spec_file(name=name)])


def test_one_network_takes_one(spec_file):
    assert one_network(variant=["d1"]).name == "mnasnet-d1"
    with pytest.raises(InputError, match=r"2 were named: mnasnet-a1 1.0 @96, mnasnet-a1 1.0 @64"):
        one_network(res=[96, 64])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--variant", "a9"], "did you mean 'a1'"),
        (["--variant", ""], "unknown variant ''"),
        (["--multiplier", "0"], "multiplier 0 must be"),
        (["--multiplier", "-1"], "multiplier -1 must be"),
        (["--multiplier", "nan"], "multiplier nan must be"),
        (["--multiplier", "1e9"], "multiplier 1e9 must be"),
        (["--multiplier", "big"], "multiplier big must be"),
        (["--res", "0"], "resolution 0 must be"),
        (["--res", "31"], "resolution 31 must be"),
        (["--res", "99999999999999999999"], "resolution 99999999999999999999 must be"),
        (["--classes", "0"], "classes 0 must be"),
        (["--divisor", "0"], "divisor 0 must be"),
        (["--min-depth", "0"], "min-depth 0 must be"),
        (["--spec", "missing.yaml"], "missing.yaml: No such file"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(mnasnet, tmp_path, monkeypatch, arguments, said):
    monkeypatch.chdir(tmp_path)
    run = mnasnet("show", *arguments)
    assert (run.code, run.out) == (2, "")
    assert run.err.startswith("error: ")
    assert run.err.count("\n") == 1
    assert said in run.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("colour: red\n", "unknown key 'colour'"),
        ("head: &a {scaled: *a}\n", "aliases are not allowed"),
        ("stem: {channels: 16}\n", "blocks[0] takes i32 but the stem gives 16"),
        ("classes: [", "line"),
    ],
)
def test_a_wrong_spec_file_is_one_line_and_exit_code_2(mnasnet, spec_file, text, said):
    run = mnasnet("show", "--spec", spec_file(extra=text))
    assert run.code == 2
    assert run.err.count("\n") == 1
    assert "my net ü.yaml" in run.err
    assert said in run.err


def test_a_spec_of_a_billion_laughs_is_refused_at_once(mnasnet, tmp_path):
    lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    for old, new in zip("abcdefgh", "bcdefghi", strict=True):
        lines.append(f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]")
    path = tmp_path / "laughs.yaml"
    path.write_text("\n".join(lines))
    run = mnasnet("show", "--spec", path)
    assert run.code == 2
    assert "aliases are not allowed" in run.err
