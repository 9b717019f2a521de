"""What a software phone needs of the system: which adb there is, and what is missing."""

import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
APT = "sudo apt-get install -y"


def pip_adb() -> Path | None:
    """The adb program inside the package adbutils, where it is installed."""
    found = Path(sysconfig.get_path("purelib")) / "adbutils/binaries/adb"
    if found.is_file():
        return found
    for folder in map(Path, sys.path):
        if (folder / "adbutils/binaries/adb").is_file():
            return folder / "adbutils/binaries/adb"
    return None


def system_adb() -> Path | None:
    """The adb program on PATH (Debian's is 29.0.6)."""
    found = shutil.which("adb")
    return Path(found) if found else None


@dataclass(frozen=True)
class Missing:
    """A part that is not here, and how to get it."""

    what: str
    command: str

    def __str__(self) -> str:
        return f"{self.what}; type: {self.command}"


def missing_parts(*names: str) -> list[Missing]:
    """Which of these parts of the system are missing.

    Args:
        names: any of pip-adb, system-adb, mksh, toybox, namespaces.
    """
    checks: dict[str, tuple[Callable[[], object], Missing]] = {
        "pip-adb": (pip_adb, Missing("no adb 36", "pip install adbutils==2.12.0")),
        "system-adb": (system_adb, Missing("no adb on PATH", f"{APT} adb")),
        "mksh": (lambda: shutil.which("mksh"), Missing("no mksh", f"{APT} mksh")),
        "toybox": (lambda: shutil.which("toybox"), Missing("no toybox", f"{APT} toybox")),
        "namespaces": (
            _namespaces_work,
            Missing(
                "no user namespaces", "sudo sysctl -w kernel.unprivileged_userns_clone=1 "
                "kernel.apparmor_restrict_unprivileged_userns=0, or run the tests as root",
            ),
        ),
    }  # fmt: skip
    return [missing for check, missing in (checks[name] for name in names) if not check()]


def _namespaces_work() -> bool:
    if sys.platform != "linux":
        return False
    code = "from softphone import jail; jail.enter_namespaces()"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=HERE.parent, capture_output=True, check=False
    )
    return done.returncode == 0
