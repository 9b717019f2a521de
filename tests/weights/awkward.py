"""Weights and images that every machine makes alike, and that forgive no mistake.

Gammas are negative here and there, depthwise channels dead, and nothing is normalised by its own
statistics: a wrong epsilon, padding, order or set moves the logits. Only uniform numbers of PCG64
go in, whose stream does not change.
"""

import numpy as np

from mnasnet_deploy.arch.network import Network
from mnasnet_deploy.weights.initial import initial_weights

IMAGES = 3


def awkward(network: Network, seed: int) -> dict[str, np.ndarray]:
    """Canonical tensors."""
    tensors = dict(initial_weights(network, seed).tensors)
    generator = np.random.default_rng(seed)

    def uniform(low: float, high: float, shape: tuple[int, ...]) -> np.ndarray:
        return low + (high - low) * generator.random(shape)

    for name in sorted(tensors):
        values, room = tensors[name], name.rpartition(".")[0]
        if name.endswith(".kernel"):
            spread = 3.0 ** uniform(-0.5, 0.5, values.shape[-1:])
            values = values * spread / np.sqrt((spread**2).mean())
        elif name.endswith(".gamma"):
            values = values * np.where(uniform(0, 1, values.shape) < 0.1, -1.0, 1.0)
        elif name.endswith((".beta", ".bias")):
            values = values + uniform(-0.3, 0.3, values.shape)
        elif name.endswith(".mean"):
            values = values + 0.1 * uniform(-1, 1, values.shape)
        elif name.endswith(".variance"):
            values = values * uniform(0.5, 1.6, values.shape)
            if "depthwise" in name:
                dead = uniform(0, 1, values.shape) < 0.05
                kernel = f"{room.removesuffix('.bn')}.kernel"
                tensors[kernel] = np.where(dead[:, None], 0.0, tensors[kernel]).astype(np.float32)
                values = np.where(dead, 0.0, values)
                mean = tensors[f"{room}.mean"]
                tensors[f"{room}.mean"] = np.where(dead, 0.002, mean).astype(np.float32)
        tensors[name] = values.astype(np.float32)
    return tensors


def images(side: int) -> np.ndarray:
    """Grey levels, [IMAGES, side, side, 3] uint8: coarse patches and noise."""
    generator = np.random.default_rng(side)
    coarse = generator.random((IMAGES, 8, 8, 3))
    rows = np.arange(side) * 8 // side
    pixels = 200 * coarse[:, rows][:, :, rows] + 55 * generator.random((IMAGES, side, side, 3))
    return pixels.astype(np.uint8)
