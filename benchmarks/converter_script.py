"""What one would write without `mnasnet export`: photos on the disk to an int8 .tflite file.

    python benchmarks/converter_script.py PHOTOS MULTIPLIER RESOLUTION FILE

Raw pixels in, logits out, as uint8; the network comes from this package's Keras model.
"""

import sys
from pathlib import Path

import numpy as np
import tensorflow as tf  # a script: it is there to be timed with its import
from PIL import Image

from mnasnet_deploy.arch.network import build_network
from mnasnet_deploy.arch.variants import find_variant
from mnasnet_deploy.export.graph import Options
from mnasnet_deploy.export.tensorflow import export_model
from mnasnet_deploy.weights.initial import initial_weights

photos, multiplier, side, target = sys.argv[1], float(sys.argv[2]), int(sys.argv[3]), sys.argv[4]


def images():
    """Yield the photos, cropped to a square and resized."""
    for path in sorted(Path(photos).glob("*.jpg")):
        photo = Image.open(path).convert("RGB")
        short = min(photo.size)
        left, top = (photo.width - short) // 2, (photo.height - short) // 2
        photo = photo.crop((left, top, left + short, top + short)).resize((side, side))
        yield [np.asarray(photo, np.float32)[None]]


network = build_network(find_variant("a1").spec, multiplier=multiplier, resolution=side)
converter = tf.lite.TFLiteConverter.from_keras_model(
    export_model(network, initial_weights(network), Options())
)
converter.optimizations = [tf.lite.Optimize.DEFAULT]
converter.representative_dataset = images
converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
converter.inference_input_type = converter.inference_output_type = tf.uint8
Path(target).write_bytes(converter.convert())
