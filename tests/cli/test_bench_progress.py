"""What is seen of several devices while they measure, without a terminal and without waiting."""

import os
import select
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest

from mnasnet_deploy.bench.campaign import Added, Failure, Launched, Launching, Trying
from mnasnet_deploy.bench.device import Trial
from mnasnet_deploy.bench.fleet import Finished, Job, Left, Ready
from mnasnet_deploy.bench.plan import Candidate, Cell, arrange, make_plan
from mnasnet_deploy.cli import console
from mnasnet_deploy.cli.bench_progress import Board
from mnasnet_deploy.errors import ModelFileError, NotReadyError
from mnasnet_deploy.results.record import Artifact, DeviceInfo, Settings

SETTINGS = Settings(
    profile="stock", threads=1, delegate="xnnpack", cpus=(), warmup_runs=0, warmup_ms=1000.0,
    runs=1, min_ms=1000.0, launches=10, max_launches=30, seed=1,
)  # fmt: skip
TRIAL = Trial(overhead_ms=0.0, run_ms=1.0, peak_memory_mib=None, delegated=True)
INFO = DeviceInfo(kind="android", name="Pixel 8", os="", cpu="", cores=9, memory_mib=0, runtime="")


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


def job(name):
    cells = [
        Cell(
            number=number,
            path=Path(f"{file}.tflite"),
            artifact=Artifact(file=f"{file}.tflite", sha256="0" * 64, size_bytes=number),
            settings=SETTINGS,
        )
        for number, file in enumerate("ab")
    ]
    return Job(device=SimpleNamespace(name=name), info=INFO, groups=arrange(cells))


def finished(cell):
    record = SimpleNamespace(verdict="noisy", reasons=("BUSY: others",))
    return Finished(cell=cell, record=record, path=Path("x.json"))


def test_the_board_follows_each_device():
    one, two = job("Pixel 8 - adb:A"), job("Pixel 1 - adb:B")
    clock = Clock()
    changes = []
    board = Board([one, two], clock=clock, on_change=lambda: changes.append(None))
    first, second = one.cells
    candidates = [Candidate(cell=cell, trial=TRIAL) for cell in one.cells]

    def row(which=1):
        return board.rows()[which]

    assert board.rows()[0] == ["device", "now", "done", "left", "last"]
    assert row() == ["Pixel 8 - adb:A", "waiting", "0 of 2", "", ""]
    board.hear(one, Trying(cell=first))
    assert row()[1] == "trying a.tflite"
    board.hear(one, Ready(plan=make_plan(one.groups, candidates)))
    assert row()[3] == "~40 s"
    board.hear(one, Launching(cell=first))
    assert row()[1] == "a.tflite"
    # It takes twice as long as planned, so the rest will, too.
    clock.now = 4.0
    board.hear(one, Launched(candidate=candidates[0]))
    assert row()[3] == "~1 min 16 s"
    board.hear(one, Added(launches=5, ms=10_000.0))
    assert row()[3] == "~1 min 36 s"
    board.hear(one, finished(first))
    assert row()[2:] == ["1 of 2", "~1 min 36 s", "noisy (BUSY) (a.tflite)"]
    board.hear(one, Failure(cell=second, error=ModelFileError("changed")))
    assert row()[2] == "1 of 2, 1 failed"
    board.hear(one, Left())
    assert row()[1:4] == ["done", "1 of 2, 1 failed", ""]
    assert row(2) == ["Pixel 1 - adb:B", "waiting", "0 of 2", "", ""]
    board.hear(two, Left(error=NotReadyError("gone")))
    assert row(2)[1] == "STOPPED"
    assert len(changes) == 9


@pytest.mark.skipif(os.name == "nt", reason="needs a pseudo-terminal")
def test_a_table_is_drawn_on_a_terminal_and_nowhere_else(monkeypatch, capsys):
    rows = [["device", "now"], ["[red]Pixel[/red]", "a.tflite"]]
    with console.live(lambda: rows) as refresh:
        refresh()
    assert capsys.readouterr() == ("", "")
    ours, theirs = os.openpty()
    with open(theirs, "w", encoding="utf-8") as terminal:  # noqa: PTH123 - a descriptor
        monkeypatch.setattr("sys.stderr", terminal)
        monkeypatch.setenv("TERM", "xterm")
        with console.live(lambda: rows) as refresh:
            rows[1][1] = "b.tflite"
            refresh()
        terminal.flush()
        drawn = b""
        while select.select([ours], [], [], 0.5)[0]:  # it comes in pieces
            drawn += os.read(ours, 65536)
    os.close(ours)
    assert b"[red]Pixel[/red]" in drawn
    assert b"b.tflite" in drawn
