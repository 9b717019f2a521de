"""Which processor this is, as far as the system says. Standard library only."""

import platform
import subprocess
import sys
from pathlib import Path
from typing import Final

__all__ = ["ROOT", "cpu_fields", "cpu_name", "text_of"]

ROOT: Final = Path("/")


def cpu_name(root: Path = ROOT) -> str:
    """The processor's model name, or the board's where Linux on ARM names no processor.

    Args:
        root: folder that holds `proc` and `sys`.
    """
    if names := cpu_fields(root, "model name"):
        return names[0]
    if board := text_of(root / "sys/firmware/devicetree/base/model").rstrip("\0"):
        return board
    if sys.platform == "darwin" and (name := _sysctl("machdep.cpu.brand_string")):
        return name
    return platform.processor() or platform.machine()


def cpu_fields(root: Path, key: str) -> list[str]:
    """What Linux says of every CPU under a key, `cpu MHz`; empty where it does not."""
    fields = (line.partition(":") for line in text_of(root / "proc/cpuinfo").splitlines())
    return [value.strip() for name, _, value in fields if name.strip() == key]


def text_of(path: Path) -> str:
    """Content of a small system file, stripped; empty where it cannot be read."""
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""


def _sysctl(key: str) -> str:
    try:
        done = subprocess.run(["sysctl", "-n", key], capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip()
