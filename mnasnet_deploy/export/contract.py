"""What a .tflite file takes and what it gives, and how to feed and read by it."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

__all__ = ["Contract", "DType", "InputKind", "OutputKind"]

DType = Literal["float32", "int8", "uint8"]
InputKind = Literal["raw", "normalized"]
OutputKind = Literal["logits", "probabilities"]

_Array = npt.NDArray[np.generic]


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """What to feed and how to read.

    Attributes:
        input: `raw` takes RGB grey levels 0..255, the normalisation is inside; `normalized` takes
            (x - mean) / std.
        input_dtype, input_scale, input_zero_point: real = (stored - zero_point) * scale; scale 0
            for float32, where the stored value is the real one.
        output: `logits` or `probabilities`.
        output_dtype, output_scale, output_zero_point: as for the input.
        resolution: side of the square input in pixels.
        classes: width of the output.
        mean, std: per channel in grey levels, RGB; used by the caller only if `normalized`.
    """

    input: InputKind
    input_dtype: DType
    input_scale: float
    input_zero_point: int
    output: OutputKind
    output_dtype: DType
    output_scale: float
    output_zero_point: int
    resolution: int
    classes: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def feed(self, pixels: _Array, scratch: npt.NDArray[np.float32] | None = None) -> _Array:
        """Turn RGB grey levels 0..255 [..., height, width, 3] into what the file takes.

        Args:
            pixels: the grey levels.
            scratch: of the same shape, to work in and perhaps to return; for image after image it
                spares the system new memory, which takes longer than the arithmetic.
        """
        values = np.empty(pixels.shape, np.float32) if scratch is None else scratch
        values[...] = pixels
        if self.input == "normalized":
            values -= np.array(self.mean, np.float32)
            values /= np.array(self.std, np.float32)
        if self.input_dtype == "float32":
            return values
        limits = np.iinfo(self.input_dtype)
        stored = np.rint(values / np.float32(self.input_scale)) + self.input_zero_point
        clipped: _Array = np.clip(stored, limits.min, limits.max).astype(self.input_dtype)
        return clipped

    def read(self, output: _Array) -> npt.NDArray[np.float32]:
        """Turn what the file gives [..., classes] into real float32 values."""
        if self.output_dtype == "float32":
            return output.astype(np.float32)
        shifted = output.astype(np.float32) - self.output_zero_point
        real: npt.NDArray[np.float32] = shifted * np.float32(self.output_scale)
        return real

    def line(self) -> str:
        """The one line a user needs: `feed ...; read ...`."""
        side = self.resolution
        if self.input == "raw":
            image = "RGB image, grey levels 0..255 as they are (normalisation is inside)"
        else:
            mean, std = (" ".join(f"{v:g}" for v in triple) for triple in (self.mean, self.std))
            image = f"RGB image, (grey level - [{mean}]) / [{std}]"
        quantized_in = self._quantization(self.input_dtype, self.input_scale, self.input_zero_point)
        if self.input == "raw" and self.input_dtype == "int8":
            quantized_in += ", i.e. grey level - 128"
        elif self.input == "raw":
            quantized_in = quantized_in and f"{quantized_in}, i.e. the bytes themselves"
        quantized_out = self._quantization(
            self.output_dtype, self.output_scale, self.output_zero_point
        )
        return (
            f"feed {self.input_dtype} [1,{side},{side},3] {image}{quantized_in}; "
            f"read {self.output_dtype} [1,{self.classes}] {self.output}{quantized_out}"
        )

    @staticmethod
    def _quantization(dtype: DType, scale: float, zero_point: int) -> str:
        if dtype == "float32":
            return ""
        return f", real = (stored - {zero_point}) * {scale:.9g}"
