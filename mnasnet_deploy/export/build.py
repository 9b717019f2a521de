"""Network + weights + calibration images -> the bytes of one .tflite file. No disk, no screen."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt

from mnasnet_deploy import __version__
from mnasnet_deploy.arch.counts import count_network
from mnasnet_deploy.arch.network import Network, render_multiplier
from mnasnet_deploy.export.calibrate import Extremes, measure_extremes, ranges_from
from mnasnet_deploy.export.contract import Contract
from mnasnet_deploy.export.facts import (
    BUFFER_NAME,
    Calibration,
    Engine,
    Facts,
    NetworkFacts,
    WeightFacts,
    encode_facts,
    seal,
)
from mnasnet_deploy.export.flatfile import add_metadata, metadata_places, pack
from mnasnet_deploy.export.graph import Graph, Options, lower
from mnasnet_deploy.export.images import CalibrationSet
from mnasnet_deploy.export.labels import imagenet_labels
from mnasnet_deploy.export.metadata import METADATA_NAME, build_metadata, zip_labels
from mnasnet_deploy.export.quantize import Ranges
from mnasnet_deploy.export.verify import first_departure, reference
from mnasnet_deploy.export.writer import INPUT_NAME, Written, write_graph
from mnasnet_deploy.results.record import Scheme
from mnasnet_deploy.weights.canonical import Weights, check, digest, fold

__all__ = ["Builder", "Built", "export_bytes"]

TOOL: Final = f"mnasnet-deploy {__version__}"
# Part of every recipe: raise it whenever the same inputs would give other bytes.
WRITER_FORMAT: Final = 1
IMAGENET_CLASSES: Final = 1000
_MIN_RUNTIME_BYTES: Final = 16
_Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """One finished file in memory.

    Attributes:
        data: its bytes, sealed.
        facts: what it says of itself.
        written: its tensors and operators; None where TFLiteConverter made it.
    """

    data: bytearray
    facts: Facts
    written: Written | None


class Builder:
    """All schemes of one network with one set of weights; shared work is done once.

    Args:
        network: what to write; it is adapted to what the source of the weights asks for.
        weights: canonical tensors.
        options: the two ends of the files.
        calibration: images for int8; None where it is not asked for.
        ranges: `min-max` or `percentile:P`.
        labels: class names; None for ImageNet's where weights and classes are ImageNet's.
        engine: `writer` or `tensorflow`.
        threads: for calibration.
        advance: called after every calibration image.

    Raises:
        WeightsError: the weights do not fit.
    """

    def __init__(
        self,
        network: Network,
        weights: Weights,
        options: Options,
        *,
        calibration: CalibrationSet | None = None,
        ranges: str = "min-max",
        labels: Sequence[str] | None = None,
        engine: Engine = "writer",
        threads: int = 1,
        advance: Callable[[], None] = lambda: None,
    ) -> None:
        check(network, weights.tensors, weights.source.label)
        self.network = network = weights.source.adapt(network)
        self.weights = weights
        self.options = options
        self.calibration = calibration
        self.ranges_policy = ranges
        self.engine: Engine = engine
        self.threads = threads
        self.advance = advance
        named = network.classes == IMAGENET_CLASSES and weights.source.dataset == "imagenet-1k"
        self.labels = tuple(labels) if labels else imagenet_labels() if named else None
        self._folded = fold(network, weights.tensors)

    @cached_property
    def graph(self) -> Graph:
        """The float operators all schemes are written from."""
        return lower(self.network, self._folded, self.options)

    @cached_property
    def extremes(self) -> Extremes:
        """Of every activation in every calibration image."""
        if self.calibration is None:
            raise ValueError("int8 needs calibration images")
        return measure_extremes(
            self.graph, self.calibration.pixels, threads=self.threads, advance=self.advance
        )

    @cached_property
    def ranges(self) -> Ranges:
        """Of every activation, for int8."""
        return ranges_from(self.extremes, self.ranges_policy)

    @cached_property
    def weights_sha256(self) -> str:
        """Digest of the canonical tensors."""
        return digest(self.weights.tensors)

    @cached_property
    def labels_sha256(self) -> str:
        """Digest of the class names, one a line; empty where there are none."""
        if not self.labels:
            return ""
        return hashlib.sha256("\n".join(self.labels).encode()).hexdigest()

    def reference(self, pixels: _Pixels) -> npt.NDArray[np.float32]:
        """Logits of the float32 network at the original's contract, see `verify`."""
        original = Options(input="normalized")
        same = self.options.input == "normalized" and not self.options.softmax
        graph = self.graph if same else lower(self.network, self._folded, original)
        return reference(graph, pixels)

    def recipe(self, scheme: Scheme) -> str:
        """sha256 over everything that decides the bytes of a file."""
        content = asdict(self._facts(scheme, None))
        del content["tool"], content["contract"], content["recipe"]
        content["options"] = asdict(self.options)
        content["writer"] = WRITER_FORMAT
        network = self.network
        content["network"]["layers"] = repr(network.layers)
        content["network"]["numbers"] = [network.batch_norm_epsilon, network.mean, network.std]
        text = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def build(self, scheme: Scheme) -> Built:
        """Make one file."""
        recipe = self.recipe(scheme)
        if self.engine == "tensorflow":
            from mnasnet_deploy.export import tensorflow  # seconds to import

            pixels = None if self.calibration is None else self.calibration.pixels
            converted, contract = tensorflow.convert(
                self.network, self.weights, scheme, options=self.options, pixels=pixels
            )
            facts = replace(self._facts(scheme, contract), recipe=recipe)
            data = add_metadata(converted, self._metadata(facts, contract), _describe(facts))
            return Built(data=self._finish(data), facts=facts, written=None)
        written = write_graph(self.graph, scheme, self.ranges if scheme == "int8" else None)
        facts = replace(self._facts(scheme, written.contract), recipe=recipe)
        runtime = written.min_runtime().encode().ljust(_MIN_RUNTIME_BYTES, b"\0")
        written.model.description = _describe(facts)
        written.model.metadata = {
            "min_runtime_version": runtime,
            **self._metadata(facts, written.contract),
        }
        data = pack(written.model, input_name=INPUT_NAME, output_name=self.options.output)
        return Built(data=self._finish(data), facts=facts, written=written)

    def departure(self, built: Built, pixels: _Pixels) -> str:
        """In words, which layer of a failed file leaves the float32 path first."""
        if built.written is None:
            return "TFLiteConverter wrote it, so its layers cannot be compared"
        layer, cosine = first_departure(self.graph, built.written, pixels)
        return f"{layer} departs first (cosine {cosine:.4f})"

    def _finish(self, data: bytearray) -> bytearray:
        if self.labels:
            data += zip_labels(self.labels, start=len(data))
        seal(data, *metadata_places(data)[BUFFER_NAME])
        return data

    def _metadata(self, facts: Facts, contract: Contract) -> dict[str, bytes]:
        app = build_metadata(
            name=f"{self.network.name} {render_multiplier(self.network.multiplier)}",
            description=f"{_describe(facts)}. {contract.line()}",
            contract=contract,
            labels=self.labels,
        )
        return {METADATA_NAME: app, BUFFER_NAME: encode_facts(facts)}

    def _facts(self, scheme: Scheme, contract: Contract | None) -> Facts:
        network, counts, source = self.network, count_network(self.network), self.weights.source
        calibration = None
        if scheme == "int8" and self.calibration is not None:
            calibration = Calibration(
                images=len(self.calibration.images),
                digest=self.calibration.digest,
                synthetic=self.calibration.synthetic,
                ranges=self.ranges_policy,
                warnings=self.calibration.warnings,
            )
        return Facts(
            tool=TOOL,
            engine=self.engine,
            network=NetworkFacts(
                name=network.name,
                multiplier=network.multiplier,
                resolution=network.resolution,
                classes=network.classes,
                divisor=network.divisor,
                min_depth=network.min_depth,
                params=counts.params,
                macs=counts.macs,
                multi_adds=counts.multi_adds,
            ),
            scheme=scheme,
            weights=WeightFacts(
                **{field.name: getattr(source, field.name) for field in fields(source)},
                sha256=self.weights_sha256,
            ),
            contract=contract,  # type: ignore[arg-type]  # None only inside `recipe`
            calibration=calibration,
            labels_sha256=self.labels_sha256,
            recipe="",
        )


def export_bytes(
    network: Network,
    weights: Weights,
    scheme: Scheme,
    *,
    options: Options | None = None,
    calibration: CalibrationSet | None = None,
    threads: int = 1,
) -> bytes:
    """Make one file in memory: the whole export as one function of arrays.

    Args:
        network: what to write.
        weights: canonical tensors.
        scheme: float32, float16, dynamic-int8 or int8.
        options: the two ends; raw pixels in and logits out where None.
        calibration: images for int8.
        threads: for calibration.

    Raises:
        WeightsError: the weights do not fit the network.
    """
    builder = Builder(
        network, weights, options or Options(), calibration=calibration, threads=threads
    )
    return bytes(builder.build(scheme).data)


def _describe(facts: Facts) -> str:
    """One line for the model's description field; untrained and synthetic say so."""
    network = facts.network
    notes = [f"weights {facts.weights.label}" + (" (UNTRAINED)" if facts.untrained else "")]
    if facts.calibration:
        kind = "generated images" if facts.calibration.synthetic else "photos"
        notes.append(f"calibrated on {facts.calibration.images} {kind}")
    return (
        f"{network.name} {render_multiplier(network.multiplier)} @{network.resolution} "
        f"{facts.scheme}, {', '.join(notes)}, by {facts.tool}"
    )
