"""Block notation reads back what it writes, and refuses what it does not understand."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnasnet_deploy.arch.blocks import Block, decode_block, encode_block
from mnasnet_deploy.errors import SpecError

blocks = st.builds(
    Block,
    repeats=st.integers(1, 64),
    kernel=st.sampled_from([1, 3, 5, 7, 9, 11, 13, 15]),
    stride=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    expansion=st.integers(1, 32),
    input_channels=st.integers(1, 8192),
    output_channels=st.integers(1, 8192),
    squeeze_excite=st.none() | st.integers(1, 10**6).map(lambda part: part / 10**6),
    residual=st.booleans(),
)


@given(blocks)
def test_a_block_reads_back(block):
    assert decode_block(encode_block(block)) == block


@given(blocks, st.randoms(use_true_random=False))
def test_the_order_of_tokens_does_not_matter(block, random):
    tokens = encode_block(block).split("_")
    random.shuffle(tokens)
    assert decode_block("_".join(tokens)) == block


def test_the_example_of_the_notation():
    assert decode_block("r2_k3_s21_e6_i16_o24_se0.25_noskip") == Block(
        repeats=2,
        kernel=3,
        stride=(2, 1),
        expansion=6,
        input_channels=16,
        output_channels=24,
        squeeze_excite=0.25,
        residual=False,
    )


GOOD = ["r2", "k3", "s22", "e6", "i16", "o24"]
meaningful = re.compile(r"noskip|se(0\.[0-9]+|1(\.0+)?)")


@given(
    st.text(st.characters(exclude_characters="_"), max_size=8).filter(
        lambda token: not meaningful.fullmatch(token)
    ),
    st.integers(0, len(GOOD)),
)
def test_a_token_that_is_not_understood_is_named(token, place):
    with pytest.raises(SpecError) as caught:
        decode_block("_".join([*GOOD[:place], token, *GOOD[place:]]))
    assert token in str(caught.value).partition(": ")[2]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("r2_k3_s2_e6_i16_o24", "'s2'"),
        ("r2_k3_s222_e6_i16_o24", "'s222'"),
        ("r2_k3_s22_e6_i16_o24_x3", "'x3'"),
        ("r2_k3_s22_e6_i16_o24_skip", "'skip'"),
        ("r2_k3_s22_e6_i16_o24_noskip_noskip", "'noskip'"),
        ("r2_k3_s22_e6_i16_o24_o24", "output channels twice"),
        ("r2_k3_s22_e6_i16_o24_", "''"),
        ("r2_k3_s22_e6_i16_o24_se0", "'se0'"),
        ("r2_k3_s22_e6_i16_o24_se1.5", "'se1.5'"),
        ("r2_k3_s22_e6_i16_o24_se.25", "'se.25'"),
        ("r2_k3_s22_e6_i16_o24_se0.25_se0.5", "'se0.5'"),
        ("r2_k4_s22_e6_i16_o24", "'k4' must be odd"),
        ("r0_k3_s22_e6_i16_o24", "'r0'"),
        ("r2_k3_s22_e6_i16_o9000", "'o9000'"),
        ("r2_k3_s22_e6_i-1_o24", "'i-1'"),
        ("r2_k3_s22_e6_i²_o24", "'i²'"),
        ("r2_k3_s22_e6_i16", "output channels"),
        ("r2_k3_e6_i16_o24", "stride"),
        ("", "''"),
    ],
)
def test_a_wrong_block_is_one_line_that_names_the_token(text, named):
    with pytest.raises(SpecError) as caught:
        decode_block(text)
    assert named in str(caught.value)
    assert "\n" not in str(caught.value)
