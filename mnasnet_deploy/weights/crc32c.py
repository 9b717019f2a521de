"""CRC-32C (Castagnoli) of megabytes in milliseconds, with NumPy alone.

A CRC is linear: the bytes are cut into equal lanes, all lanes walk their table side by side, and
the lanes' sums are shifted to their places and added (RFC 3720, section 12.1 for the polynomial;
TensorFlow stores the masked form, core/lib/hash/crc32c.h).
"""

import functools
from typing import Final

import numpy as np
import numpy.typing as npt

__all__ = ["crc32c", "unmasked"]

POLYNOMIAL: Final = 0x82F63B78  # reflected
MASK_DELTA: Final = 0xA282EAD8
# Shorter data are walked byte by byte: lanes would cost more than they save.
SHORT_BYTES: Final = 4096
MIN_LANE_BYTES: Final = 64
MAX_LANES: Final = 8192
_Words = npt.NDArray[np.uint32]


def unmasked(stored: int) -> int:
    """The CRC behind the masked form TensorFlow stores."""
    rotated = (stored - MASK_DELTA) & 0xFFFFFFFF
    return ((rotated >> 17) | (rotated << 15)) & 0xFFFFFFFF


def crc32c(data: bytes | memoryview) -> int:
    """CRC-32C of bytes."""
    if len(data) < SHORT_BYTES:
        return _walk(0xFFFFFFFF, bytes(data)) ^ 0xFFFFFFFF
    values = np.frombuffer(data, np.uint8)
    lanes = 1
    while lanes < MAX_LANES and values.size // (2 * lanes) >= MIN_LANE_BYTES:
        lanes *= 2
    length = values.size // lanes
    body = np.ascontiguousarray(values[: lanes * length].reshape(lanes, length).T)
    table = _table()
    sums = np.zeros(lanes, np.uint32)
    sums[0] = 0xFFFFFFFF
    for column in body:
        sums = table[(sums ^ column) & 0xFF] ^ (sums >> np.uint32(8))
    while sums.size > 1:
        sums = _shift(sums[0::2], length) ^ sums[1::2]
        length *= 2
    rest = values[lanes * (values.size // lanes) :]
    return _walk(int(sums[0]), rest.tobytes()) ^ 0xFFFFFFFF


def _walk(total: int, data: bytes) -> int:
    table = _numbers()
    for value in data:
        total = table[(total ^ value) & 0xFF] ^ (total >> 8)
    return total


@functools.cache
def _numbers() -> list[int]:
    return [int(word) for word in _table()]


@functools.cache
def _table() -> _Words:
    words = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        words = np.where(words & 1, (words >> np.uint32(1)) ^ np.uint32(POLYNOMIAL), words >> 1)
    return words.astype(np.uint32)


def _shift(sums: _Words, length: int) -> _Words:
    """The sums as they are after so many bytes of zeros."""
    for bit in range(length.bit_length()):
        if length >> bit & 1:
            sums = _apply(_zeros(bit), sums)
    return sums


@functools.cache
def _zeros(bit: int) -> _Words:
    """What 2**bit zero bytes make of each of a sum's four bytes: [4, 256]."""
    if bit == 0:
        places = np.uint32(8) * np.arange(4, dtype=np.uint32)[:, None]
        sums = np.arange(256, dtype=np.uint32) << places
        once: _Words = _table()[sums & 0xFF] ^ (sums >> np.uint32(8))
        return once
    half = _zeros(bit - 1)
    return _apply(half, half)


def _apply(tables: _Words, sums: _Words) -> _Words:
    result: _Words = tables[0][sums & 0xFF]
    for place in (1, 2, 3):
        result ^= tables[place][(sums >> np.uint32(8 * place)) & 0xFF]
    return result
