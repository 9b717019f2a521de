"""Run .tflite files with LiteRT: in this process where they are ours, in a child where not.

A broken file can take the whole process down inside the runtime. Whatever this tool cannot vouch
for (no checksum, or one that does not hold) is loaded in a child process first.
"""

import contextlib
import io
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mnasnet_deploy.errors import ModelFileError

__all__ = ["LOAD_DEADLINE_S", "new_interpreter", "run_in_child", "run_model"]

LOAD_DEADLINE_S = 60.0
_Array = npt.NDArray[np.generic]


def new_interpreter(
    *, path: Path | None = None, content: bytes | None = None, threads: int = 1
) -> Any:
    """A LiteRT interpreter with its default delegates, tensors allocated.

    Raises:
        ModelFileError: the runtime refuses the file.
    """
    from ai_edge_litert.interpreter import Interpreter  # 0.1 s

    name = path.name if path else "the model"
    try:
        with _quiet():
            interpreter = Interpreter(
                model_path=str(path) if path else None, model_content=content, num_threads=threads
            )
            interpreter.allocate_tensors()
    except (RuntimeError, ValueError, TypeError) as error:
        reason = str(error).strip().splitlines()
        raise ModelFileError(f"{name}: LiteRT refuses it ({reason[0] if reason else error})") from (
            error
        )
    return interpreter


def run_model(interpreter: Any, images: Iterable[_Array]) -> _Array:
    """Run images, one or more, one by one through the first input; returns [n, classes]."""
    taken = interpreter.get_input_details()[0]["index"]
    given = interpreter.get_output_details()[0]["index"]
    outputs = []
    for image in images:
        interpreter.set_tensor(taken, image[np.newaxis])
        interpreter.invoke()
        outputs.append(interpreter.get_tensor(given)[0].copy())
    return np.stack(outputs)


def run_in_child(path: Path, images: _Array | None = None) -> _Array | None:
    """Load a file in a child process and run it; a crash there is an error here.

    Args:
        path: the file.
        images: what to run, [n, ...] in the file's own element type; None only loads and runs it
            once on zeros.

    Returns:
        The outputs [n, ...], or None where no images were given.

    Raises:
        ModelFileError: the runtime refuses the file, crashes on it or does not come back.
    """
    given = io.BytesIO()
    if images is not None:
        np.save(given, images)
    try:
        child = subprocess.run(  # our own interpreter and module, no shell
            [sys.executable, "-m", __name__, os.fspath(path.resolve())],
            input=given.getvalue(),
            # Found there is this package and nothing of the user's folder; Python 3.10 has no -P.
            cwd=Path(__file__).resolve().parents[2],
            capture_output=True,
            timeout=LOAD_DEADLINE_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ModelFileError(
            f"{path.name}: LiteRT did not come back within {LOAD_DEADLINE_S:g} s"
        ) from None
    if child.returncode < 0:
        raise ModelFileError(
            f"{path.name}: LiteRT crashed on it (signal {-child.returncode}); the file is broken"
        )
    if child.returncode != 0:
        lines = child.stderr.decode(errors="replace").strip().splitlines()
        raise ModelFileError(lines[-1] if lines else f"{path.name}: LiteRT refuses it")
    if images is None:
        return None
    return np.load(io.BytesIO(child.stdout), allow_pickle=False)  # type: ignore[no-any-return]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep LiteRT's `INFO: Created TensorFlow Lite XNNPACK delegate` off the user's screen.

    It is written by C++ straight to the descriptor. What it says is put back if loading fails.
    """
    sys.stderr.flush()
    try:
        saved = os.dup(2)
    except OSError:  # no stderr at all
        yield
        return
    silent = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(silent, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(silent)


def _child(path: Path) -> int:
    """Load, run what stands on standard input, write the outputs to standard output."""
    given = sys.stdin.buffer.read()
    try:
        interpreter = new_interpreter(path=path)
        if given:
            outputs = run_model(interpreter, np.load(io.BytesIO(given), allow_pickle=False))
            np.save(sys.stdout.buffer, outputs)
        else:
            interpreter.invoke()
    except (ModelFileError, RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()
        sys.stderr.write(f"\n{reason[0] if reason else type(error).__name__}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(_child(Path(sys.argv[1])))
