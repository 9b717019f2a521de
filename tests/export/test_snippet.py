"""The printed lines really feed the file and read it."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mnasnet_deploy.export.graph import Options
from mnasnet_deploy.export.images import load_pixels
from mnasnet_deploy.export.runtime import new_interpreter, run_model
from mnasnet_deploy.export.snippet import snippet
from mnasnet_deploy.results.record import Scheme

from .building import builder_of

PHOTO = Path(__file__).parents[2] / "examples" / "photos" / "chelsea.jpg"
CASES: tuple[tuple[Scheme, Options], ...] = (
    ("float32", Options()),
    ("float32", Options(input="normalized")),
    ("int8", Options()),
    ("int8", Options(io="int8")),
    ("int8", Options(input="normalized", io="uint8")),
    ("int8", Options(input="normalized", io="int8", softmax=True)),
)


@pytest.mark.slow
@pytest.mark.processes
@pytest.mark.parametrize(("scheme", "options"), CASES, ids=str)
def test_the_python_lines_run_and_agree_with_the_contract(
    tmp_path: Path, scheme: Scheme, options: Options
) -> None:
    built = builder_of(options=options).build(scheme)
    contract = built.facts.contract
    (tmp_path / "it's a model.tflite").write_bytes(built.data)
    shutil.copy(PHOTO, tmp_path / "photo.jpg")
    code = snippet("python", "it's a model.tflite", contract) + "\nprint(scores.tolist())\n"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    *_, scores = done.stdout.strip().splitlines()
    got = np.array([float(number) for number in re.findall(r"-?[0-9.]+(?:e-?[0-9]+)?", scores)])
    interpreter = new_interpreter(content=bytes(built.data))
    pixels = load_pixels(PHOTO, contract.resolution)[np.newaxis]
    expected = contract.read(run_model(interpreter, contract.feed(pixels)))[0]
    # Pillow's resize is not TF1's, so the logits move a little; a wrong contract moves them a lot.
    cosine = (got * expected).sum() / np.linalg.norm(got) / np.linalg.norm(expected)
    assert cosine > 0.97


@pytest.mark.parametrize(("scheme", "options"), CASES, ids=str)
def test_the_kotlin_lines_carry_the_numbers_of_the_contract(
    scheme: Scheme, options: Options
) -> None:
    contract = builder_of(options=options).build(scheme).facts.contract
    code = snippet("kotlin", "m.tflite", contract)
    assert code.count("{") == code.count("}")
    assert code.count("(") == code.count(")")
    width = 4 if contract.input_dtype == "float32" else 1
    assert f"allocateDirect({width} * 64 * 64 * 3)" in code
    if contract.output_dtype != "float32":
        assert f"{contract.output_scale:.9g}f" in code
        assert f"({contract.output_zero_point})" in code
    if contract.input == "normalized":
        assert "123.675f" in code
