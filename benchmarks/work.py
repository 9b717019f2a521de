"""The work that is timed, ours and TFLiteConverter's. Every function runs in its own process."""

import json
import os
import statistics
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from measure import repeat

from mnasnet_deploy import atomic
from mnasnet_deploy.arch.counts import count_network
from mnasnet_deploy.arch.network import Network, Padding, build_network
from mnasnet_deploy.arch.variants import find_variant
from mnasnet_deploy.export.build import Builder
from mnasnet_deploy.export.graph import Options
from mnasnet_deploy.export.images import CalibrationSet
from mnasnet_deploy.export.runtime import new_interpreter
from mnasnet_deploy.export.synthetic import synthetic_calibration
from mnasnet_deploy.results.record import Scheme
from mnasnet_deploy.weights.initial import initial_weights

ORIGINAL = Options(input="normalized")
SCHEMES: tuple[Scheme, ...] = ("float32", "float16", "dynamic-int8", "int8")
PADDINGS: tuple[Padding, Padding] = ("symmetric", "same")
SETTLE_S = 0.5


@dataclass(frozen=True)
class Size:
    """A mnasnet-a1, how many calibration images, and how often things are repeated."""

    multiplier: float = 1.0
    resolution: int = 224
    images: int = 100
    ours: int = 11
    theirs: int = 3

    @property
    def network(self) -> Network:
        """The network."""
        spec = find_variant("a1").spec
        return build_network(spec, multiplier=self.multiplier, resolution=self.resolution)

    def __str__(self) -> str:
        return f"a1 {self.multiplier} @{self.resolution}"


def write_ours(
    network: Network, weights: Any, scheme: Scheme, images: CalibrationSet | None, path: Path
) -> None:
    """Arrays to a file on the disk."""
    builder = Builder(network, weights, ORIGINAL, calibration=images, threads=os.cpu_count() or 1)
    atomic.write_bytes(path, builder.build(scheme).data)


def write_theirs(
    network: Network, weights: Any, scheme: Scheme, images: CalibrationSet | None, path: Path
) -> None:
    """The same through Keras and TFLiteConverter.from_keras_model."""
    from mnasnet_deploy.export.tensorflow import convert

    pixels = None if images is None else images.pixels
    data, _ = convert(network, weights, scheme, options=ORIGINAL, pixels=pixels)
    atomic.write_bytes(path, data)


def time_write(size: Size, scheme: Scheme, side: Literal["ours", "theirs"]) -> float:
    """Median seconds from arrays in memory to a file on the disk."""
    network = size.network
    weights = initial_weights(network)
    images = synthetic_calibration(size.images, size.resolution) if scheme == "int8" else None
    write, runs = (write_ours, size.ours) if side == "ours" else (write_theirs, size.theirs)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.tflite"
        return repeat(runs, lambda: write(network, weights, scheme, images, path))


def time_disk(size: Size) -> float:
    """Median seconds to put the float32 file's bytes on the disk: nothing can be faster."""
    network = size.network
    data = bytes(Builder(network, initial_weights(network), ORIGINAL).build("float32").data)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.tflite"
        return repeat(size.ours, lambda: atomic.write_bytes(path, data))


def time_inferences(size: Size) -> float:
    """Seconds for the float32 network over all images on all CPUs: calibration's lower limit."""
    network = size.network
    data = bytes(Builder(network, initial_weights(network), ORIGINAL).build("float32").data)
    interpreter = new_interpreter(content=data)
    return repeat(size.images, interpreter.invoke) * size.images / (os.cpu_count() or 1)


def time_rows(sizes: list[Size]) -> dict[str, tuple[float, float]]:
    """TFLiteConverter on rows of the grid, all four schemes: MACs and seconds of each.

    In its favour: TensorFlow is imported before, the Keras model is built once for all schemes, and
    nothing is verified.
    """
    from tensorflow import lite

    from mnasnet_deploy.export.tensorflow import configure, export_model

    # The converter's talk; errors come back as exceptions.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(1, 2)
    tiny = Size(multiplier=0.35, resolution=32).network
    export_model(tiny, initial_weights(tiny), ORIGINAL)  # TensorFlow's first steps
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.tflite"
        for size in sizes:
            network = size.network
            weights = initial_weights(network)
            images = synthetic_calibration(size.images, size.resolution)
            start = time.perf_counter()
            model = export_model(network, weights, ORIGINAL)
            for scheme in SCHEMES:
                converter = lite.TFLiteConverter.from_keras_model(model)
                configure(converter, network, scheme, ORIGINAL, images.pixels)
                atomic.write_bytes(path, converter.convert())
            found[str(size)] = (count_network(network).macs, time.perf_counter() - start)
    return found


def convert_once(size: Size, scheme: Scheme) -> None:
    """One TFLiteConverter conversion; run it watched."""
    network = size.network
    images = synthetic_calibration(size.images, size.resolution) if scheme == "int8" else None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.tflite"
        write_theirs(network, initial_weights(network), scheme, images, path)


def run_bare(path: Path, seconds: float) -> tuple[float, float]:
    """Inferences a second, and processor time of one in ms, of nothing but inference."""
    interpreter = new_interpreter(path=path)
    details = interpreter.get_input_details()[0]
    interpreter.set_tensor(details["index"], np.ones(details["shape"], details["dtype"]))
    _block(interpreter, SETTLE_S)
    runs, start, cpu = 0, time.perf_counter(), time.process_time()
    while (elapsed := time.perf_counter() - start) < seconds:
        interpreter.invoke()
        runs += 1
    return runs / elapsed, (time.process_time() - cpu) / runs * 1e3


def write_pair(size: Size, scheme: Scheme, folder: Path) -> tuple[Path, Path]:
    """Our file and TFLiteConverter's of the same weights and images."""
    network = size.network
    weights = initial_weights(network)
    images = synthetic_calibration(size.images, size.resolution) if scheme == "int8" else None
    ours, theirs = folder / f"ours_{scheme}.tflite", folder / f"theirs_{scheme}.tflite"
    write_ours(network, weights, scheme, images, ours)
    write_theirs(network, weights, scheme, images, theirs)
    return ours, theirs


def write_paddings(size: Size, scheme: Scheme, folder: Path) -> tuple[Path, Path]:
    """The file of weights that want padding on all sides, and of the same ones that want SAME."""
    network = size.network
    weights = initial_weights(network)
    images = synthetic_calibration(size.images, size.resolution) if scheme == "int8" else None
    paths = []
    for padding in PADDINGS:
        source = replace(weights.source, padding=padding)
        path = folder / f"{padding}_{scheme}.tflite"
        write_ours(network, replace(weights, source=source), scheme, images, path)
        paths.append(path)
    return paths[0], paths[1]


def pair_latencies(ours: Path, theirs: Path, blocks: int, block_s: float, flip: bool) -> list[Any]:
    """Median latencies (ours, theirs) in ms of alternating blocks, one thread, default delegates.

    Args:
        ours, theirs: the files.
        blocks: how many pairs.
        block_s: length of a block.
        flip: load and run theirs first.
    """
    order = [theirs, ours] if flip else [ours, theirs]
    loaded = {path: new_interpreter(path=path) for path in order}
    for interpreter in loaded.values():
        details = interpreter.get_input_details()[0]
        interpreter.set_tensor(details["index"], np.ones(details["shape"], details["dtype"]))
        _block(interpreter, SETTLE_S)
    pairs = []
    for index in range(blocks):
        now = order[::-1] if index % 2 else order
        medians = {path: _block(loaded[path], block_s) for path in now}
        pairs.append((medians[ours], medians[theirs]))
    return pairs


def _block(interpreter: Any, seconds: float) -> float:
    """Median latency in ms of runs that fill some time."""
    samples = []
    end = time.perf_counter() + seconds
    while not samples or time.perf_counter() < end:
        start = time.perf_counter()
        interpreter.invoke()
        samples.append(time.perf_counter() - start)
    return statistics.median(samples) * 1e3


def as_argument(size: Size) -> str:
    """A size as the argument of this file run as a script."""
    return json.dumps(asdict(size))


if __name__ == "__main__":  # so that a conversion is a whole process that can be watched
    convert_once(Size(**json.loads(sys.argv[1])), sys.argv[2])  # type: ignore[arg-type]
