"""What `variants` and `show` print."""

import json

import pytest

from mnasnet_deploy.arch.variants import VARIANTS


def _number(text):
    return int(text.replace(",", ""))


def test_variants_lists_every_architecture_with_its_counts(mnasnet):
    run = mnasnet("variants")
    assert (run.code, run.err) == (0, "")
    header, *lines = run.out.splitlines()
    assert header.split() == [
        "variant", "multiplier", "resolution", "blocks", "parameters", "MACs", "multi-adds",
    ]  # fmt: skip
    assert [line.split()[0] for line in lines] == list(VARIANTS)
    rows = {line.split()[0]: line.split()[1:] for line in lines}
    assert rows["a1"] == ["1.0", "224", "16", "3,887,038", "311,579,072", "315,232,427"]
    assert rows["d1"][:4] == ["none", "224", "22", "3,638,404"]
    assert rows["d1-320"][:2] == ["none", "320"]
    assert len({len(line) for line in lines}) == 1


def test_variants_as_json_say_the_same(mnasnet):
    entries = json.loads(mnasnet("variants", "--json").out)
    lines = mnasnet("variants").out.splitlines()[1:]
    assert {entry["schema"] for entry in entries} == {"mnasnet.variant/1"}
    for entry, line in zip(entries, lines, strict=True):
        name, multiplier, resolution, blocks, params, macs, _ = line.split()
        assert (entry["variant"], entry["multiplier"]) == (name, multiplier)
        assert (entry["resolution"], entry["blocks"]) == (int(resolution), int(blocks))
        assert (entry["params"], entry["macs"]) == (_number(params), _number(macs))


@pytest.fixture
def shown(mnasnet):
    run = mnasnet("show", "--variant", "a1", "--multiplier", "0.5", "--res", "160")
    assert (run.code, run.err) == (0, "")
    return run.out


def test_show_prints_every_layer_and_the_totals(shown):
    title, table, totals = shown.strip().split("\n\n")
    assert title == "mnasnet-a1, multiplier 0.5, input 160x160x3, 1000 classes"
    header, *layers, last = table.splitlines()
    assert header.split() == [
        "layer", "op", "kernel", "stride", "output", "parameters", "MACs", "share",
    ]  # fmt: skip
    assert layers[0].split() == [
        "stem",
        "conv",
        "3x3",
        "2x2",
        "80x80x16",
        "464",
        "2,764,800",
        "5.2%",
    ]
    assert layers[-1].split() == ["classifier", "dense", "1000", "1,281,000", "1,280,000", "2.4%"]
    assert last.split() == ["total", "2,082,006", "53,292,528", "100.0%"]
    assert [line.split() for line in totals.splitlines()] == [
        ["parameters", "2,082,006"],
        ["MACs", "53,292,528"],
        ["multi-adds", "54,353,155"],
    ]


def test_columns_line_up(shown):
    table = shown.split("\n\n")[1].splitlines()
    end = table[0].index("MACs") + len("MACs")
    for line in table[1:]:
        assert len(line) <= len(table[0])
        assert end >= len(line) or line[end] == " "


def test_show_as_json_has_the_totals_and_every_layer(mnasnet):
    found = json.loads(mnasnet("show", "--multiplier", "0.5", "--res", "160", "--json").out)
    assert found["schema"] == "mnasnet.network/1"
    assert (found["name"], found["multiplier"], found["resolution"]) == ("mnasnet-a1", "0.5", 160)
    assert (found["params"], found["macs"]) == (2_082_006, 53_292_528)
    assert f"{found['multi_adds'] / 1e6:.1f}" == "54.4"
    layers = found["layers"]
    for total in ("params", "macs", "multi_adds"):
        assert sum(layer[total] for layer in layers) == found[total]
    assert sum(layer["macs_share"] for layer in layers) == pytest.approx(1.0)
    assert layers[0]["output_shape"] == [80, 80, 16]
    assert layers[0]["inputs"] == ["image"]


def test_show_without_options_is_a1(mnasnet):
    assert mnasnet("show").out.startswith("mnasnet-a1, multiplier 1.0, input 224x224x3, 1000")
