"""The spec form: its defaults, and one clear line for everything that is wrong."""

import dataclasses

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from mnasnet_deploy.arch.blocks import decode_block, encode_block
from mnasnet_deploy.arch.network import build_network
from mnasnet_deploy.arch.variants import VARIANTS, spec_from_mapping
from mnasnet_deploy.errors import SpecError

BLOCKS = ["r1_k3_s11_e1_i32_o16_noskip", "r2_k3_s22_e6_i16_o24"]


def _wrong(**changes):
    """The one line a spec with these changes is refused with."""
    with pytest.raises(SpecError) as caught:
        spec_from_mapping({"name": "x", "blocks": BLOCKS, **changes}, source="x.yaml")
    line = str(caught.value)
    assert line.startswith("x.yaml: ")
    assert "\n" not in line
    return line


def test_only_name_and_blocks_are_required():
    spec = spec_from_mapping({"name": "x", "blocks": BLOCKS})
    assert spec.blocks == tuple(map(decode_block, BLOCKS))
    assert (spec.stem_channels, spec.stem_scaled) == (32, True)
    assert (spec.head_channels, spec.head_scaling) == (1280, "fixed")
    assert (spec.activation, spec.batch_norm_epsilon, spec.classes) == ("relu", 0.001, 1000)
    assert spec.mean == (123.675, 116.28, 103.53)
    assert spec.std == (58.395, 57.12, 57.375)
    assert spec.declared_inputs is False


def test_every_key_reaches_the_spec():
    spec = spec_from_mapping(
        {
            "name": "my-net",
            "stem": {"channels": 16, "scaled": False},
            "blocks": ["r1_k5_s22_e1_i24_o8"],
            "head": {"channels": 64, "scaled": "up"},
            "activation": "relu6",
            "batch_norm_epsilon": 0.01,
            "normalization": {"mean": [1, 2, 3], "std": [4.5, 5, 6]},
            "classes": 10,
            "declared_inputs": True,
        }
    )
    assert (spec.stem_channels, spec.stem_scaled) == (16, False)
    assert (spec.head_channels, spec.head_scaling) == (64, "up")
    assert (spec.activation, spec.batch_norm_epsilon, spec.classes) == ("relu6", 0.01, 10)
    assert (spec.mean, spec.std) == ((1.0, 2.0, 3.0), (4.5, 5.0, 6.0))
    assert spec.declared_inputs is True


@pytest.mark.parametrize(("scaled", "width"), [(False, 100), (True, 200), ("up", 200)])
def test_the_head_scales_as_it_says(scaled, width):
    spec = spec_from_mapping(
        {"name": "x", "blocks": BLOCKS, "head": {"channels": 100, "scaled": scaled}}
    )
    assert build_network(spec, multiplier=2.0).layers[-1].input_shape == (width,)


@pytest.mark.parametrize("name", list(VARIANTS))
def test_a_published_variant_written_as_yaml_is_the_same_spec(name):
    spec = VARIANTS[name].spec
    scaling = {"fixed": False, "scaled": True, "up": "up"}[spec.head_scaling]
    text = yaml.safe_dump(
        {
            "name": spec.name,
            "stem": {"channels": spec.stem_channels, "scaled": spec.stem_scaled},
            "blocks": [encode_block(block) for block in spec.blocks],
            "head": {"channels": spec.head_channels, "scaled": scaling},
            "activation": spec.activation,
            "batch_norm_epsilon": spec.batch_norm_epsilon,
            "normalization": {"mean": list(spec.mean), "std": list(spec.std)},
            "classes": spec.classes,
            "declared_inputs": spec.declared_inputs,
        }
    )
    assert spec_from_mapping(yaml.safe_load(text)) == spec


def test_unknown_keys_are_named_with_where_they_stand():
    assert "unknown key 'colour'" in _wrong(colour="red")
    assert "unknown key 'stem.width'" in _wrong(stem={"width": 3})
    assert "unknown key 'head.scale'" in _wrong(head={"scale": True})
    assert "unknown key 'normalization.var'" in _wrong(normalization={"var": [1, 1, 1]})


@pytest.mark.parametrize("key", ["name", "blocks"])
def test_a_missing_key_is_named(key):
    mapping = {"name": "x", "blocks": BLOCKS}
    del mapping[key]
    with pytest.raises(SpecError, match=f"missing key '{key}'"):
        spec_from_mapping(mapping)


def test_channels_that_do_not_fit_are_named_with_both_sides():
    line = _wrong(blocks=["r1_k3_s11_e1_i32_o16", "r2_k3_s22_e6_i24_o24"])
    assert "blocks[1] takes i24 but blocks[0] gives 16 channels" in line
    assert "declared_inputs: true" in line
    assert "blocks[0] takes i32 but the stem gives 8" in _wrong(stem={"channels": 8})


def test_a_declared_residual_over_other_real_channels_is_an_error():
    spec = spec_from_mapping(
        {"name": "x", "blocks": ["r1_k3_s11_e1_i16_o16"], "declared_inputs": True}
    )
    with pytest.raises(SpecError, match="32 really arrive"):
        build_network(spec)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"name": "Has Space"}, "'Has Space'"),
        ({"name": "-x"}, "'-x'"),
        ({"name": "../x"}, "'../x'"),
        ({"name": "x" * 65}, "name"),
        ({"name": 3}, "3"),
        ({"name": None}, "None"),
        ({"blocks": []}, "blocks"),
        ({"blocks": "r1_k3_s11_e1_i32_o16"}, "blocks"),
        ({"blocks": {"a": 1}}, "blocks"),
        ({"blocks": [3]}, "3"),
        ({"blocks": ["r1_k3"]}, "r1_k3"),
        ({"blocks": ["r64_k3_s11_e1_i32_o32"] * 5}, "more than 256 blocks"),
        ({"stem": 32}, "stem must be"),
        ({"stem": None}, "stem must be"),
        ({"stem": {"channels": 0}}, "stem.channels"),
        ({"stem": {"channels": True}}, "stem.channels"),
        ({"stem": {"channels": 1.5}}, "stem.channels"),
        ({"stem": {"scaled": "up"}}, "stem.scaled"),
        ({"head": {"scaled": "down"}}, "head.scaled"),
        ({"head": {"scaled": []}}, "head.scaled"),
        ({"head": {"channels": 10**9}}, "head.channels"),
        ({"activation": "swish"}, "'swish'"),
        ({"activation": ["relu"]}, "activation"),
        ({"batch_norm_epsilon": 0}, "batch_norm_epsilon"),
        ({"batch_norm_epsilon": float("nan")}, "batch_norm_epsilon"),
        ({"batch_norm_epsilon": "small"}, "batch_norm_epsilon"),
        ({"normalization": {"mean": [1, 2]}}, "normalization.mean"),
        ({"normalization": {"std": [0, 1, 1]}}, "normalization.std"),
        ({"normalization": {"std": [1, 1, float("inf")]}}, "normalization.std"),
        ({"classes": 0}, "classes"),
        ({"classes": 100_001}, "classes"),
        ({"classes": "10"}, "classes"),
        ({"declared_inputs": 1}, "declared_inputs"),
    ],
)
def test_a_wrong_value_is_one_line_that_names_it(changes, named):
    assert named in _wrong(**changes)


@pytest.mark.parametrize("document", [None, [], "text", 3])
def test_a_spec_that_is_no_mapping_is_refused(document):
    with pytest.raises(SpecError, match="key: value"):
        spec_from_mapping(document)


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)


@given(
    st.sampled_from([field.name for field in dataclasses.fields(VARIANTS["a1"].spec)] + ["stem"]),
    json,
)
def test_whatever_stands_in_a_spec_is_taken_or_refused_but_never_a_bug(key, value):
    mapping = {"name": "x", "blocks": BLOCKS, key: value}
    try:
        spec = spec_from_mapping(mapping)
    except SpecError:
        return
    assert build_network(spec).name == spec.name


@pytest.mark.parametrize(
    ("block", "options"),
    [
        ("r1_k3_s11_e1_i32_o8192", {"multiplier": 8.0, "divisor": 11}),
        ("r2_k3_s11_e32_i32_o4096", {"multiplier": 1.0}),
    ],
)
def test_a_network_cannot_grow_without_bound(block, options):
    spec = spec_from_mapping({"name": "x", "blocks": [block]})
    with pytest.raises(SpecError, match="more than 65536"):
        build_network(spec, **options)
