"""MediaPipe's ImageClassifier, which apps use, opens our files and agrees with LiteRT."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mnasnet_deploy.arch.network import build_network
from mnasnet_deploy.arch.variants import VARIANTS
from mnasnet_deploy.export import modelfile
from mnasnet_deploy.export.build import Builder
from mnasnet_deploy.export.graph import Options
from mnasnet_deploy.export.images import load_calibration, load_pixels
from mnasnet_deploy.export.labels import imagenet_labels
from mnasnet_deploy.export.runtime import new_interpreter, run_model
from mnasnet_deploy.weights.initial import initial_weights

mediapipe = pytest.importorskip(
    "mediapipe", reason="needs MediaPipe: .venv/bin/pip install 'mediapipe>=1.2,<2'"
)

pytestmark = [pytest.mark.long, pytest.mark.processes]

PHOTOS = sorted((Path(__file__).parents[2] / "examples" / "photos").glob("*.jpg"))
RESOLUTION = 160


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    network = build_network(VARIANTS["a1"].spec, multiplier=0.5, resolution=RESOLUTION)
    weights = initial_weights(network)
    calibration = load_calibration(PHOTOS[0].parent, RESOLUTION)
    folder = tmp_path_factory.mktemp("models")

    def export(scheme: Any, **options: Any) -> Path:
        builder = Builder(
            network,
            weights,
            Options(**options),
            calibration=calibration,
            labels=imagenet_labels(),
        )
        path = folder / f"{len(list(folder.iterdir()))}.tflite"
        path.write_bytes(builder.build(scheme).data)
        return path

    return export


def _classify(path: Path, pixels: np.ndarray) -> Any:
    """The best class of an image of the model's own size."""
    from mediapipe.tasks.python import BaseOptions, vision

    options = vision.ImageClassifierOptions(
        base_options=BaseOptions(model_asset_path=str(path)), max_results=1
    )
    image = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=pixels)
    with vision.ImageClassifier.create_from_options(options) as classifier:
        return classifier.classify(image).classifications[0].categories[0]


@pytest.mark.parametrize(
    ("scheme", "options"),
    [
        ("float32", {}),
        ("float32", {"softmax": True}),
        ("float16", {}),
        ("dynamic-int8", {}),
        ("int8", {}),
        ("int8", {"softmax": True}),
        ("int8", {"io": "float32"}),
    ],
)
def test_mediapipe_finds_the_class_that_litert_finds_and_names_it(
    make: Callable[..., Path], scheme: str, options: dict[str, Any]
) -> None:
    path = make(scheme, **options)
    facts = modelfile.read(path).facts
    assert facts is not None
    interpreter = new_interpreter(path=path)
    for photo in PHOTOS:
        pixels = load_pixels(photo, RESOLUTION)
        scores = facts.contract.read(run_model(interpreter, facts.contract.feed(pixels[None])))[0]
        best = _classify(path, pixels)
        # int8 scores tie now and then: any of the best is right.
        assert scores[best.index] == scores.max()
        assert best.score == pytest.approx(float(scores.max()), rel=1e-4, abs=1e-4)
        assert best.category_name == imagenet_labels()[best.index]


@pytest.mark.parametrize("options", [{"io": "int8"}, {"input": "normalized"}])
def test_mediapipe_refuses_what_the_default_avoids(
    make: Callable[..., Path], options: dict[str, Any]
) -> None:
    # int8 input, and a mean and deviation per channel: why raw uint8 input is the default.
    path = make("int8" if "io" in options else "float32", **options)
    with pytest.raises((ValueError, RuntimeError)):
        _classify(path, load_pixels(PHOTOS[0], RESOLUTION))
