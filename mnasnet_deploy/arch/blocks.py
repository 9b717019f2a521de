"""Block notation: `r2_k3_s22_e6_i16_o24_se0.25_noskip` <-> Block.

The notation is the original's (tensorflow/tpu, models/official/mnasnet, mnasnet_models.py):
repeats, kernel, strides (height, width), expansion, input and output channels, squeeze-excite
ratio, no residual. Unlike the original, every token that is not understood is an error.
"""

import re
from dataclasses import dataclass
from decimal import Decimal

from mnasnet_deploy.errors import SpecError

__all__ = ["Block", "decode_block", "encode_block"]

MAX_CHANNELS = 8192
MAX_EXPANSION = 32
MAX_REPEATS = 64

_INTEGER = re.compile(r"(?P<key>[rkeio])(?P<value>[0-9]{1,5})")
_STRIDE = re.compile(r"s([1-4])([1-4])")
_RATIO = re.compile(r"se((?:0|1)(?:\.[0-9]{1,20})?)")
_LIMITS = {
    "r": (1, MAX_REPEATS, "repeats"),
    "k": (1, 15, "kernel"),
    "e": (1, MAX_EXPANSION, "expansion"),
    "i": (1, MAX_CHANNELS, "input channels"),
    "o": (1, MAX_CHANNELS, "output channels"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One stage of inverted residual blocks, before any multiplier.

    Attributes:
        repeats: how often the block stands in a row; only the first takes the stride.
        kernel: side of the square depthwise kernel, odd.
        stride: of the first repeat, (height, width).
        expansion: expanded channels per input channel; 1 leaves the expansion out.
        input_channels: declared input width of the first repeat.
        output_channels: output width.
        squeeze_excite: squeezed width per *input* channel, or None for no squeeze-excite.
        residual: whether input and output are added where their shapes allow it.
    """

    repeats: int
    kernel: int
    stride: tuple[int, int]
    expansion: int
    input_channels: int
    output_channels: int
    squeeze_excite: float | None = None
    residual: bool = True


def decode_block(text: str) -> Block:
    """Read one block string.

    Raises:
        SpecError: a token is unknown, repeated, missing or out of range; the message names it.
    """
    values: dict[str, int] = {}
    stride: tuple[int, int] | None = None
    ratio: float | None = None
    residual = True
    for token in text.split("_"):
        if match := _INTEGER.fullmatch(token):
            key = match["key"]
            low, high, meaning = _LIMITS[key]
            value = int(match["value"])
            if key in values:
                raise SpecError(f"block '{text}': the token '{token}' gives the {meaning} twice")
            if not low <= value <= high:
                raise SpecError(f"block '{text}': {meaning} in '{token}' must be {low} to {high}")
            values[key] = value
        elif (match := _STRIDE.fullmatch(token)) and stride is None:
            stride = (int(match[1]), int(match[2]))
        elif (match := _RATIO.fullmatch(token)) and ratio is None:
            ratio = float(match[1])
            if not 0.0 < ratio <= 1.0:
                raise SpecError(f"block '{text}': the ratio in '{token}' must be over 0, at most 1")
        elif token == "noskip" and residual:
            residual = False
        else:
            raise SpecError(
                f"block '{text}': cannot read the token '{token}' "
                "(example: r2_k3_s22_e6_i16_o24_se0.25_noskip)"
            )
    missing = [meaning for key, (_, _, meaning) in _LIMITS.items() if key not in values]
    if stride is None:
        missing.append("stride")
    if missing or stride is None:
        raise SpecError(f"block '{text}': no token for {', '.join(missing)}")
    if values["k"] % 2 == 0:
        raise SpecError(f"block '{text}': the kernel in 'k{values['k']}' must be odd")
    return Block(
        repeats=values["r"],
        kernel=values["k"],
        stride=stride,
        expansion=values["e"],
        input_channels=values["i"],
        output_channels=values["o"],
        squeeze_excite=ratio,
        residual=residual,
    )


def encode_block(block: Block) -> str:
    """Write a block as its string; `decode_block` gives the same block back."""
    tokens = [
        f"r{block.repeats}",
        f"k{block.kernel}",
        f"s{block.stride[0]}{block.stride[1]}",
        f"e{block.expansion}",
        f"i{block.input_channels}",
        f"o{block.output_channels}",
    ]
    if block.squeeze_excite is not None:
        tokens.append(f"se{Decimal(repr(block.squeeze_excite)):f}")
    if not block.residual:
        tokens.append("noskip")
    return "_".join(tokens)
