"""Small networks, weights and images the export tests share."""

from dataclasses import replace
from functools import cache

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from mnasnet_deploy.arch.network import Network, build_network
from mnasnet_deploy.arch.variants import VARIANTS
from mnasnet_deploy.export.build import Builder
from mnasnet_deploy.export.graph import Graph, Options, lower
from mnasnet_deploy.export.images import CalibrationSet
from mnasnet_deploy.export.synthetic import synthetic_calibration
from mnasnet_deploy.weights.canonical import Weights, WeightSource, fold, tensor_shapes
from mnasnet_deploy.weights.initial import initial_weights

RESOLUTION = 64


def small_network(variant: str = "a1", classes: int = 10, resolution: int = RESOLUTION) -> Network:
    """A network that exports in milliseconds."""
    return build_network(
        VARIANTS[variant].spec, multiplier=0.35, resolution=resolution, classes=classes
    )


@cache
def calibration(images: int = 8, resolution: int = RESOLUTION) -> CalibrationSet:
    """Generated images."""
    return synthetic_calibration(images, resolution)


def lived_in(network: Network, seed: int = 0) -> Weights:
    """Initial weights whose biases and scales differ by channel, as trained ones do."""
    weights = initial_weights(network, seed)
    generator = np.random.default_rng(seed)
    tensors = dict(weights.tensors)
    for name, shape in tensor_shapes(network).items():
        if name.endswith((".beta", ".bias", ".bn.mean")):
            tensors[name] = generator.normal(0, 0.2, shape).astype(np.float32)
        elif name.endswith(".gamma"):
            tensors[name] = generator.uniform(0.7, 1.3, shape).astype(np.float32)
    return replace(weights, tensors=tensors)


def claimed_trained(weights: Weights) -> Weights:
    """The same tensors under a source that says they are trained."""
    source = WeightSource(label="claimed", trained=True, dataset="imagenet-1k")
    return replace(weights, source=source)


def graph_of(network: Network, weights: Weights, options: Options | None = None) -> Graph:
    """The float operators of a network."""
    return lower(network, fold(network, weights.tensors), options or Options())


def builder_of(
    network: Network | None = None,
    weights: Weights | None = None,
    options: Options | None = None,
    **others: object,
) -> Builder:
    """A builder with eight calibration images."""
    network = network or small_network()
    return Builder(
        network,
        weights or lived_in(network),
        options or Options(),
        calibration=calibration(resolution=network.resolution),
        **others,  # type: ignore[arg-type]
    )


def foreign(content: bytes) -> bytes:
    """The same model without this tool's facts, as another tool would have written it."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    model.metadata = []
    builder = flatbuffers.Builder(len(content))
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())
