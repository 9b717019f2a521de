"""The fixed image, what a file answers here, and how another answer is told."""

import numpy as np
import pytest

from mnasnet_deploy.bench.answer import difference, question
from mnasnet_deploy.errors import ModelFileError
from mnasnet_deploy.export import modelfile
from mnasnet_deploy.export.runtime import new_interpreter

pytestmark = [pytest.mark.processes, pytest.mark.slow]


def answer_of(path, asked):
    """What LiteRT in this process answers."""
    interpreter = new_interpreter(path=path)
    taken = interpreter.get_input_details()[0]
    stored = np.frombuffer(asked.stored, taken["dtype"]).reshape(taken["shape"])
    interpreter.set_tensor(taken["index"], stored)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


@pytest.mark.parametrize("file", ["tiny_float32", "tiny_int8"])
def test_the_same_file_gives_the_right_answer(file, request):
    path = request.getfixturevalue(file)
    asked = question(modelfile.read(path))
    assert asked.input_name == "image"
    assert difference(asked, answer_of(path, asked).tobytes(), "xnnpack") == ""


def test_a_reversed_answer_is_named(tiny_float32):
    asked = question(modelfile.read(tiny_float32))
    wrong = answer_of(tiny_float32, asked).ravel()[::-1].copy()
    assert "correlates by" in difference(asked, wrong.tobytes(), "xnnpack")
    assert "correlates by" in difference(asked, wrong.tobytes(), "gpu")


def test_half_precision_is_right_on_a_gpu_only(tiny_float32):
    asked = question(modelfile.read(tiny_float32))
    rough = answer_of(tiny_float32, asked)
    rough = rough + 0.05 * np.float32(rough.std()) * np.array([[1, -1, -1, 1]], np.float32)
    assert difference(asked, rough.tobytes(), "gpu") == ""
    assert difference(asked, rough.tobytes(), "none") != ""


def test_short_and_infinite_answers_are_named(tiny_float32):
    asked = question(modelfile.read(tiny_float32))
    assert difference(asked, b"\0" * 7, "xnnpack") == "it wrote 7 bytes of output, 16 are due"
    nan = np.full(4, np.nan, np.float32)
    assert difference(asked, nan.tobytes(), "xnnpack") == "its output is not finite"


def test_a_file_of_others_is_asked_with_noise(handmade):
    path = handmade / "foreign.tflite"
    asked = question(modelfile.read(path))
    assert asked.input_shape == (1, 8)
    assert difference(asked, answer_of(path, asked).tobytes(), "xnnpack") == ""


def test_a_file_that_crashes_the_runtime_is_an_error(handmade):
    with pytest.raises(ModelFileError, match="crashed"):
        question(modelfile.read(handmade / "crashing.tflite"))
