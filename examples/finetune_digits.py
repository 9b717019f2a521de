"""Train a small MnasNet on handwritten digits, then put it on a phone: float32 and int8.

    python examples/finetune_digits.py --out digits
    python examples/finetune_digits.py --out digits --start mnasnet-a1-050.tgz --multiplier 0.5

The pictures are scikit-learn's digits (1,797 of them, 8 x 8 pixels, enlarged). Two minutes on two
cores. What it shows: a Keras model of any network here is `keras_model(network, weights)`; it is
trained as any other; the saved file goes back through `mnasnet export --weights FILE.keras`, which
finds variant, multiplier, classes and resolution in it. `--start` takes over everything but the
classifier from weights of 1000 classes, a file or folder of any kind that `mnasnet export` reads.

Needs the extra `tensorflow` and scikit-learn: pip install 'mnasnet-deploy[tensorflow]' scikit-learn
"""

import argparse
import os
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from mnasnet_deploy.arch.network import Network, build_network, parse_multiplier
from mnasnet_deploy.arch.variants import find_variant
from mnasnet_deploy.cli.main import main as mnasnet
from mnasnet_deploy.export import modelfile
from mnasnet_deploy.export.runtime import new_interpreter, run_model
from mnasnet_deploy.export.tensorflow import keras_model
from mnasnet_deploy.weights.canonical import Weights
from mnasnet_deploy.weights.choice import load_weights
from mnasnet_deploy.weights.initial import initial_weights

# The evaluation cuts the centre S of S + 32 pixels out of a picture: so wide is the frame.
FRAME = 16
HELD_OUT = 450
BATCH = 32
CALIBRATION_PICTURES = 200
Pixels = npt.NDArray[np.uint8]


def main() -> None:
    """Train, export, measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("digits"), help="folder for everything")
    parser.add_argument("--variant", default="a1")
    parser.add_argument("--multiplier", default="0.35")
    parser.add_argument("--res", type=int, default=64, help="32 to 64 pixels are plenty")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--start", default="", help="weights of 1000 classes to start from")
    options = parser.parse_args()
    network = build_network(
        find_variant(options.variant).spec,
        multiplier=parse_multiplier(options.multiplier),
        resolution=options.res,
        classes=10,
    )
    pixels, labels = digits(options.res)
    saved = options.out / "digits.keras"
    train(network, start(network, options.start), pixels, labels, options.epochs, saved)
    write_pictures(options.out / "pictures", pixels[HELD_OUT:])
    (options.out / "labels.txt").write_text("\n".join("0123456789") + "\n", encoding="utf-8")
    code = mnasnet(
        ["export", "--weights", str(saved), "--float32", "--int8", "--force",
         "--calibration", str(options.out / "pictures"),
         "--calibration-samples", str(CALIBRATION_PICTURES),
         "--labels", str(options.out / "labels.txt"), "--out", str(options.out / "models")]
    )  # fmt: skip
    if code:
        sys.exit(code)
    for file in sorted((options.out / "models").glob("*.tflite")):
        share = accuracy(file, pixels[:HELD_OUT], labels[:HELD_OUT])
        sys.stdout.write(f"{file.name}: accuracy {share:.4f} on {HELD_OUT} held-out digits\n")


def digits(side: int) -> tuple[Pixels, npt.NDArray[np.int64]]:
    """The digits as RGB pictures [n, side, side, 3], in one shuffled order, and what they are."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))
    levels = (images.reshape(-1, 8, 8)[order] * (255 / 16)).astype(np.uint8)
    large = [np.asarray(Image.fromarray(level).resize((side, side))) for level in levels]
    return np.stack([np.stack(large)] * 3, axis=-1), labels[order].astype(np.int64)


def start(network: Network, choice: str) -> Weights:
    """Weights to train from: random, or those of 1000 classes with a new classifier."""
    fresh = initial_weights(network)
    if not choice:
        return fresh
    known = load_weights(choice, replace_classes(network, 1000))
    tensors = {
        name: fresh.tensors[name] if name.startswith("classifier.") else values
        for name, values in known.tensors.items()
    }
    return Weights(tensors=tensors, source=known.source)


def replace_classes(network: Network, classes: int) -> Network:
    """The same network with another classifier."""
    return build_network(
        network.spec,
        multiplier=network.multiplier,
        resolution=network.resolution,
        classes=classes,
    )


def train(
    network: Network,
    weights: Weights,
    pixels: Pixels,
    labels: npt.NDArray[np.int64],
    epochs: int,
    saved: Path,
) -> None:
    """Train on all but the held-out digits and save the model."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import keras

    keras.utils.set_random_seed(0)
    network = weights.source.adapt(network)
    model = keras_model(network, weights)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            # A thousand steps in all: 0.99 would still remember the first ones.
            layer.momentum = 0.9
    steps = epochs * 5 * -(-len(pixels[HELD_OUT:]) // BATCH)  # of five shifted copies
    model.compile(
        optimizer=keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(2e-3, steps)),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    # The model takes what the original takes: normalised images.
    images = (pixels - np.array(network.mean, np.float32)) / np.array(network.std, np.float32)
    step = network.resolution // 12
    shifts = [(0, 0), (step, 0), (-step, 0), (0, step), (0, -step)]
    model.fit(
        np.concatenate([np.roll(images[HELD_OUT:], shift, (1, 2)) for shift in shifts]),
        np.tile(labels[HELD_OUT:], len(shifts)),
        batch_size=BATCH,
        epochs=epochs,
        validation_data=(images[:HELD_OUT], labels[:HELD_OUT]),
        verbose=2,
    )
    saved.parent.mkdir(parents=True, exist_ok=True)
    model.save(saved)


def write_pictures(folder: Path, pixels: Pixels) -> None:
    """Write some of the training pictures, in a frame, for the int8 ranges."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, image in enumerate(pixels[:CALIBRATION_PICTURES]):
        framed = np.pad(image, ((FRAME, FRAME), (FRAME, FRAME), (0, 0)))
        Image.fromarray(framed).save(folder / f"{number:04d}.png")


def accuracy(file: Path, pixels: Pixels, labels: npt.NDArray[np.int64]) -> float:
    """Share of pictures that a .tflite file names rightly, fed and read by its own contract."""
    facts = modelfile.read(file).facts
    if facts is None:
        raise ValueError(f"{file} was not written by mnasnet")
    scores = run_model(new_interpreter(path=file), facts.contract.feed(pixels))
    return float((facts.contract.read(scores).argmax(axis=-1) == labels).mean())


if __name__ == "__main__":
    main()
