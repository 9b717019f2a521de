"""`mnasnet bench` on software phones, through the real adb."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from softphone.rig import Rig, SoftwarePhone

from mnasnet_deploy.results import store
from mnasnet_deploy.results.record import Record

QUICK = ["--launches", "2", "--max-launches", "2", "--runs", "5", "--min-seconds", "0",
         "--warmup-runs", "1", "--warmup-seconds", "0", "--ambient", "21"]  # fmt: skip
# Of nine launches three may be void, of six two, of two none.
SIX = ["--launches", "6", "--max-launches", "6", *QUICK[4:]]
NINE = ["--launches", "9", "--max-launches", "9", *QUICK[4:]]


@dataclass
class Bench:
    """Runs `mnasnet bench` in a folder of its own."""

    mnasnet: Callable[..., Any]
    rig: Rig
    folder: Path

    def __call__(self, *arguments: Any, binary: str | Path | None = "tf-2.19", quick: Any = QUICK):
        """Run it; `binary` is a form of the program, or a file."""
        if isinstance(binary, str):
            binary = self.rig.benchmark_binary(binary)
        program = ["--benchmark-binary", binary] if binary else []
        return self.mnasnet("bench", *arguments, *quick, *program)

    def resume(self, *files: Path, binary: str = "tf-2.19"):
        """Go on with the newest campaign."""
        program = self.rig.benchmark_binary(binary)
        return self.mnasnet("bench", *files, "--resume", "--benchmark-binary", program)

    @property
    def records(self) -> tuple[Record, ...]:
        """All that were kept; every file of the folder has to be one."""
        loaded = store.load(self.folder / "results")
        assert loaded.problems == ()
        return loaded.records


@pytest.fixture
def bench(mnasnet, phone_rig, tmp_path, monkeypatch) -> Bench:
    """Bench with the adb server of the rig."""
    inside = tmp_path / "work"
    inside.mkdir()
    monkeypatch.chdir(inside)
    for name, value in phone_rig.environment.items():
        if name.startswith(("ADB", "ANDROID")) or name in ("HOME", "PATH"):
            monkeypatch.setenv(name, value)
    # The load of a software phone is made up, and needs no watching.
    monkeypatch.setattr("mnasnet_deploy.bench.phone_ready.BUSY_WINDOW_S", 0.05)
    monkeypatch.setattr("mnasnet_deploy.bench.android.BUSY_WINDOW_S", 0.05)
    return Bench(mnasnet, phone_rig, inside)


def left_behind(rig: Rig, phone: SoftwarePhone) -> list[str]:
    """What a bench left on a phone: programs that run, temporary files, what undoes changes."""
    script = (
        "cd /data/local/tmp/mnasnet 2>/dev/null && ls -d runs/* files/*/.*.part script.* "
        "restore.sh 2>/dev/null; pidof benchmark_model"
    )
    return rig.adb("-s", phone.serial, "shell", script).out.decode().split()
