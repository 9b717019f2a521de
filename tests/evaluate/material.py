"""A small labelled data set, files to hold against it, and the plain loop they are checked by."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter  # noqa: TID253
from PIL import Image

from mnasnet_deploy.arch.network import build_network
from mnasnet_deploy.arch.variants import find_variant
from mnasnet_deploy.export.build import Builder
from mnasnet_deploy.export.graph import Options
from mnasnet_deploy.export.images import load_calibration, load_pixels
from mnasnet_deploy.export.modelfile import read
from mnasnet_deploy.export.pipeline import Request, export_network
from mnasnet_deploy.export.runtime import new_interpreter, run_model
from mnasnet_deploy.results.record import Scheme
from mnasnet_deploy.weights.canonical import Weights, write_safetensors
from mnasnet_deploy.weights.initial import initial_weights
from mnasnet_deploy.weights.source import WeightSource

from ..export.building import foreign as without_facts  # noqa: TID252

RESOLUTION = 96
CLASSES = 10
# Three shards of as many images as here make one, and not as 128 do.
IMAGES, SHARD_IMAGES = 90, 32


def draw(generator: np.random.Generator, hue: int) -> Image.Image:
    """A picture of odd size: soft colours, with something of its class in them."""
    width, height = (int(side) for side in generator.integers(40, 130, 2))
    small = generator.integers(0, 200, (5, 4, 3))
    small[..., hue % 3] += 6 * hue
    picture = Image.fromarray(small.clip(0, 255).astype(np.uint8))
    return picture.resize((width, height), Image.Resampling.BICUBIC)


def write_images(folder: Path, count: int = IMAGES, classes: int = CLASSES, seed: int = 0) -> None:
    """Class folders `c0` to `c9`, JPEG and PNG."""
    generator = np.random.default_rng(seed)
    for index in range(count):
        label = index % classes
        place = folder / f"c{label}"
        place.mkdir(parents=True, exist_ok=True)
        suffix = "png" if index % 7 == 0 else "jpg"
        draw(generator, label).save(place / f"{seed}_{index:04}.{suffix}", quality=92)


def weights_for(
    pixels: Any, classes: int = CLASSES, seed: int = 0, source: WeightSource | None = None
) -> Weights:
    """Weights whose answers differ from image to image: none of the outputs wins on the average."""
    network = build_network(
        find_variant("a1").spec, multiplier=0.35, resolution=pixels.shape[1], classes=classes
    )
    weights = initial_weights(network, seed)
    source = source or WeightSource(label="drawn.safetensors", trained=True)
    weights = replace(weights, source=source)
    built = Builder(network, weights, Options()).build("float32")
    scores = run_model(
        new_interpreter(content=bytes(built.data)), built.facts.contract.feed(pixels)
    )
    kernel, bias = (f"classifier.{part}" for part in ("kernel", "bias"))
    spread = scores.std(axis=0) + 1e-6
    tensors = dict(weights.tensors)
    tensors[kernel] = (tensors[kernel] / spread).astype(np.float32)
    tensors[bias] = (-scores.mean(axis=0) / spread).astype(np.float32)
    return replace(weights, tensors=tensors)


def export(
    folder: Path,
    photos: Path,
    schemes: Iterable[Scheme] = ("float32", "int8"),
    *,
    classes: int = CLASSES,
    resolution: int = RESOLUTION,
    source: WeightSource | None = None,
    labels: tuple[str, ...] | None = None,
    options: Options | None = None,
    suffix: str = "",
) -> dict[Scheme, Path]:
    """Export files of one network, calibrated on photos."""
    source = source or WeightSource(label="drawn.safetensors", trained=True)
    calibration = load_calibration(photos, resolution, preprocessing=source.preprocessing)
    weights = weights_for(calibration.pixels, classes, source=source)
    folder.mkdir(parents=True, exist_ok=True)
    # The file's own name is its label, whatever the source says.
    path = folder / source.label
    write_safetensors(path, weights)
    network = build_network(
        find_variant("a1").spec, multiplier=0.35, resolution=resolution, classes=classes
    )
    outcomes = export_network(
        Request(
            network=network,
            weights=str(path),
            schemes=tuple(schemes),
            options=options or Options(),
            calibration=calibration,
            labels=labels,
            out=folder,
            suffix=suffix,
        )
    )
    assert [outcome.error for outcome in outcomes] == [""] * len(outcomes)
    return {outcome.scheme: outcome.path for outcome in outcomes}


def overflowing(path: Path) -> Path:
    """A file of finite weights whose sums are not."""
    network = build_network(
        find_variant("a1").spec, multiplier=0.35, resolution=RESOLUTION, classes=CLASSES
    )
    weights = initial_weights(network)
    kernel = np.where(np.arange(1280)[:, None] % 2, 3e38, -3e38).repeat(CLASSES, axis=1)
    tensors = {**weights.tensors, "classifier.kernel": kernel.astype(np.float32)}
    builder = Builder(network, replace(weights, tensors=tensors), Options())
    path.write_bytes(builder.build("float32").data)
    return path


def foreign(model: Path, copy: Path) -> Path:
    """The same network as a file that says nothing of itself."""
    copy.write_bytes(without_facts(model.read_bytes()))
    return copy


def plainly(model: Path, images: Iterable[tuple[Path, int]]) -> list[tuple[int, int]]:
    """First class and rank of the right one for each image: no shards, no tables, no caches."""
    facts = read(model).facts
    assert facts is not None
    interpreter = Interpreter(model_path=str(model), num_threads=1)
    interpreter.allocate_tensors()
    taken, given = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    found = []
    for path, truth in images:
        pixels = load_pixels(path, facts.contract.resolution, facts.weights.preprocessing)
        interpreter.set_tensor(taken["index"], facts.contract.feed(pixels)[np.newaxis])
        interpreter.invoke()
        scores = facts.contract.read(interpreter.get_tensor(given["index"])[0])
        order = np.argsort(-scores, kind="stable").tolist()
        found.append((order[0], order.index(truth) + 1))
    return found


def by_folder(folder: Path) -> list[tuple[Path, int]]:
    """Images with the number of their class folder `c0` to `c9`."""
    return [(path, int(path.parent.name[1:])) for path in sorted(folder.rglob("*.*"))]
