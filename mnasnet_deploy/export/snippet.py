"""The few lines that feed one very file and read it, in Python or Kotlin."""

from typing import Final, Literal

from mnasnet_deploy.export.contract import Contract
from mnasnet_deploy.weights.source import OFFICIAL_CROP, Preprocessing

__all__ = ["LANGUAGES", "Language", "snippet"]

Language = Literal["python", "kotlin"]
LANGUAGES: Final = ("python", "kotlin")


def snippet(
    language: Language,
    file: str,
    contract: Contract,
    preprocessing: Preprocessing = Preprocessing(),  # noqa: B008  # frozen
) -> str:
    """Write code for a file.

    Args:
        language: `python` (ai-edge-litert, Pillow, NumPy) or `kotlin` (the Android interpreter).
        file: its name.
        contract: how it is fed and read.
        preprocessing: how its weights are evaluated.
    """
    side = contract.resolution
    part, whole = preprocessing.crop or (side, side + OFFICIAL_CROP)
    if language == "kotlin":
        return _kotlin(file, contract, f"{part}/{whole}")
    return _python(
        file,
        contract,
        f"{part} / {whole}",
        "BICUBIC" if preprocessing.interpolation == "bicubic" else "BILINEAR",
    )


def _python(file: str, contract: Contract, share: str, resampling: str) -> str:
    side = contract.resolution
    feed = _python_feed(contract)
    read = "scores = output" if contract.output_dtype == "float32" else (
        f"scores = (output.astype(np.float32) - {contract.output_zero_point}) "
        f"* {contract.output_scale:.9g}"
    )  # fmt: skip
    return f"""\
import numpy as np
from ai_edge_litert.interpreter import Interpreter
from PIL import Image

interpreter = Interpreter({file!r})
interpreter.allocate_tensors()

photo = Image.open("photo.jpg").convert("RGB")
crop = int({share} * min(photo.size))
left, top = (photo.width - crop + 1) // 2, (photo.height - crop + 1) // 2
photo = photo.resize(({side}, {side}), Image.{resampling}, (left, top, left + crop, top + crop))
pixels = np.asarray(photo)  # uint8 [{side}, {side}, 3], RGB 0..255
{feed}
interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image[np.newaxis])
interpreter.invoke()
output = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0]
{read}  # {contract.output}
print(scores.argsort()[::-1][:5])
"""


def _python_feed(contract: Contract) -> str:
    if contract.input == "raw":
        return {
            "float32": "image = pixels.astype(np.float32)",
            "uint8": "image = pixels",
            "int8": "image = (pixels.astype(np.int16) - 128).astype(np.int8)",
        }[contract.input_dtype]
    lines = f"real = (pixels - np.array({list(contract.mean)})) / np.array({list(contract.std)})"
    if contract.input_dtype == "float32":
        return f"{lines}\nimage = real.astype(np.float32)"
    low, high = (0, 255) if contract.input_dtype == "uint8" else (-128, 127)
    return (
        f"{lines}\n"
        f"stored = np.rint(real / {contract.input_scale:.9g}) + {contract.input_zero_point}\n"
        f"image = np.clip(stored, {low}, {high}).astype(np.{contract.input_dtype})"
    )


def _kotlin(file: str, contract: Contract, share: str) -> str:
    side, classes = contract.resolution, contract.classes
    width = 4 if contract.input_dtype == "float32" else 1
    output_width = 4 if contract.output_dtype == "float32" else 1
    return f"""\
// Needs the LiteRT (TensorFlow Lite) interpreter library and {file} in the app's assets.
val model = context.assets.openFd("{file}").use {{
    FileInputStream(it.fileDescriptor).channel
        .map(FileChannel.MapMode.READ_ONLY, it.startOffset, it.declaredLength)
}}
val interpreter = Interpreter(model)

// `photo` is the centre square of the picture, {share} of its shorter side: an ARGB_8888 Bitmap.
val bitmap = Bitmap.createScaledBitmap(photo, {side}, {side}, true)
val pixels = IntArray({side} * {side})
bitmap.getPixels(pixels, 0, {side}, 0, 0, {side}, {side})
val input = ByteBuffer.allocateDirect({width} * {side} * {side} * 3).order(ByteOrder.nativeOrder())
{_kotlin_feed(contract)}
input.rewind()
val output = ByteBuffer.allocateDirect({output_width} * {classes}).order(ByteOrder.nativeOrder())
interpreter.run(input, output)
output.rewind()
val scores = FloatArray({classes}) {{ {_kotlin_read(contract)} }}  // {contract.output}
"""


def _kotlin_feed(contract: Contract) -> str:
    channels = "for (shift in intArrayOf(16, 8, 0)) {  // R, G, B"
    grey = "val grey = (pixel shr shift) and 0xFF"
    if contract.input == "raw":
        put = {
            "float32": "input.putFloat(grey.toFloat())",
            "uint8": "input.put(grey.toByte())",
            "int8": "input.put((grey - 128).toByte())",
        }[contract.input_dtype]
        return f"""\
for (pixel in pixels) {channels}
    {grey}
    {put}
}}"""
    mean = ", ".join(f"{value:g}f" for value in contract.mean)
    std = ", ".join(f"{value:g}f" for value in contract.std)
    put = "input.putFloat(real)"
    if contract.input_dtype != "float32":
        low, high = (0, 255) if contract.input_dtype == "uint8" else (-128, 127)
        put = (
            f"input.put(((real / {contract.input_scale:.9g}f).roundToInt() "
            f"+ {contract.input_zero_point}).coerceIn({low}, {high}).toByte())"
        )
    return f"""\
val mean = floatArrayOf({mean})
val std = floatArrayOf({std})
for (pixel in pixels) for (channel in 0..2) {{  // R, G, B
    val grey = (pixel shr (16 - 8 * channel)) and 0xFF
    val real = (grey - mean[channel]) / std[channel]
    {put}
}}"""


def _kotlin_read(contract: Contract) -> str:
    if contract.output_dtype == "float32":
        return "output.getFloat()"
    stored = "output.get().toInt()" + (" and 0xFF" if contract.output_dtype == "uint8" else "")
    return f"(({stored}) - ({contract.output_zero_point})) * {contract.output_scale:.9g}f"
