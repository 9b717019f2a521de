"""Our files on runtimes of years ago, each installed once into an environment of its own."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mnasnet_deploy.export.build import export_bytes
from mnasnet_deploy.export.graph import Options
from mnasnet_deploy.export.runtime import new_interpreter, run_model
from mnasnet_deploy.export.synthetic import verification_images

pytestmark = [pytest.mark.long, pytest.mark.processes]

RUNTIMES = {
    "tflite-runtime-2.14": ["tflite-runtime==2.14.0", "numpy<2"],
    "tensorflow-2.13": ["tensorflow-cpu==2.13.1"],
}
SCHEMES = ("float32", "float16", "dynamic-int8", "int8")
ENDS = {
    "original": Options(input="normalized"),
    "app": Options(),
    "probabilities": Options(softmax=True),
}
# Smallest cosine of the logits with those of today's runtime. Integer kernels have changed how they
# round since.
COSINES = {"float32": 0.999999, "float16": 0.999999, "dynamic-int8": 0.9995, "int8": 0.99}
# Probabilities in int8 are not logits any more, and a softmax makes much of a rounding.
INT8_PROBABILITIES = 0.95

# Runs in the old environment: file, images, where to put the outputs.
RUN = """
import sys
import numpy as np
try:
    from tflite_runtime.interpreter import Interpreter
except ImportError:
    import tensorflow
    Interpreter = tensorflow.lite.Interpreter
interpreter = Interpreter(model_path=sys.argv[1])
interpreter.allocate_tensors()
taken, given = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
outputs = []
for image in np.load(sys.argv[2]):
    interpreter.set_tensor(taken["index"], image[None])
    interpreter.invoke()
    outputs.append(interpreter.get_tensor(given["index"])[0].copy())
np.save(sys.argv[3], np.stack(outputs))
"""


@pytest.fixture(scope="module", params=RUNTIMES)
def old_python(request):
    """The interpreter of an environment that holds the runtime and nothing of ours."""
    folder = Path(request.config.cache.mkdir(request.param))
    python, done = folder / "bin" / "python", folder / "installed"
    if done.exists():
        return python
    for command in (
        [sys.executable, "-m", "venv", "--clear", str(folder)],
        [str(python), "-m", "pip", "install", "-q", *RUNTIMES[request.param]],
    ):
        if subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip(f"no {request.param} for this Python: {' '.join(command)}")
    done.touch()
    return python


@pytest.fixture(scope="module", params=["a1", "mobilenet-v2"])
def material(request, network_of, lively_weights, calibration_for):
    network = network_of(request.param, 0.35, 96)
    return network, lively_weights(network), calibration_for(network, 8)


@pytest.mark.parametrize("ends", ENDS)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_an_old_runtime_gives_what_todays_gives(scheme, ends, material, old_python, tmp_path):
    network, weights, calibration = material
    images = calibration if scheme == "int8" else None
    data = export_bytes(network, weights, scheme, options=ENDS[ends], calibration=images)
    interpreter = new_interpreter(content=data)
    taken, given = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    fed = feed(network, ENDS[ends], taken)
    now = run_model(interpreter, fed)
    file, inputs, outputs = tmp_path / "model.tflite", tmp_path / "in.npy", tmp_path / "out.npy"
    file.write_bytes(data)
    np.save(inputs, fed)
    done = subprocess.run(
        [old_python, "-c", RUN, file, inputs, outputs],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    then = np.load(outputs)
    assert then.dtype == now.dtype
    then, now = real(then, given), real(now, given)
    floor = COSINES[scheme]
    if ENDS[ends].softmax and scheme == "int8":
        floor = INT8_PROBABILITIES
    elif ENDS[ends].softmax:
        then, now = logits(then), logits(now)
    assert cosine(then, now) >= floor


def feed(network, options, taken):
    pixels = verification_images(network.resolution, 4).astype(np.float32)
    if options.input == "normalized":
        pixels = (pixels - np.array(network.mean, np.float32)) / np.array(network.std, np.float32)
    if taken["dtype"] == np.float32:
        return pixels
    scale, zero_point = taken["quantization"]
    limits = np.iinfo(taken["dtype"])
    return np.clip(np.rint(pixels / scale) + zero_point, limits.min, limits.max).astype(
        taken["dtype"]
    )


def real(values, given):
    if given["dtype"] == np.float32:
        return values
    scale, zero_point = given["quantization"]
    return (values.astype(np.float32) - zero_point) * scale


def logits(probabilities):
    """What they are the softmax of, but for a constant."""
    assert probabilities.min() > 0
    found = np.log(probabilities)
    return found - found.mean(axis=1, keepdims=True)


def cosine(left, right):
    norms = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    return float(((left * right).sum(axis=1) / norms).min())
