"""Parameters and the two counts of work, per layer and in all.

* `macs`: multiply-accumulates of convolutions and the classifier (the README's prose: 312 M).
* `multi_adds`: the README table's column, which is half of what the TFLite converter calls
  "arithmetic ops": two per multiply-accumulate, one per output element of every convolution and
  of the classifier, one per element of an addition or multiplication, 64 per element of a sigmoid
  (EstimateArithmeticOpsCount in TOCO's tooling_util.cc). Means and ReLUs count nothing. This gives
  all 25 published values to the printed digit.

Batch norm counts its gamma and beta; its moving statistics are not parameters.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from mnasnet_deploy.arch.network import Layer, Network

__all__ = ["Counts", "count_layer", "count_network"]

SIGMOID_OPS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Work and size of a layer or of a network.

    Attributes:
        params: trainable parameters.
        macs: multiply-accumulates for one image.
        multi_adds: the README's convention, for one image; ends in .5 where the operations are odd.
    """

    params: int
    macs: int
    multi_adds: float


def count_layer(layer: Layer) -> Counts:
    """Count one layer for one image."""
    elements = math.prod(layer.output_shape)
    if layer.op in ("conv", "depthwise", "dense"):
        inputs = 1 if layer.op == "depthwise" else layer.input_shape[-1]
        fan_in = math.prod(layer.kernel) * inputs
        outputs = layer.output_shape[-1]
        macs = elements * fan_in
        params = fan_in * outputs + outputs * layer.bias + 2 * outputs * layer.batch_norm
        return Counts(params=params, macs=macs, multi_adds=macs + elements / 2)
    per_element = {"add": 1, "multiply": 1, "sigmoid": SIGMOID_OPS, "mean": 0}[layer.op]
    return Counts(params=0, macs=0, multi_adds=elements * per_element / 2)


def count_network(network: Network) -> Counts:
    """Count a whole network for one image."""
    return _sum(map(count_layer, network.layers))


def _sum(counts: Iterable[Counts]) -> Counts:
    params, macs, multi_adds = 0, 0, 0.0
    for count in counts:
        params += count.params
        macs += count.macs
        multi_adds += count.multi_adds
    return Counts(params=params, macs=macs, multi_adds=multi_adds)
