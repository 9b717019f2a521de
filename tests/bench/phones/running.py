"""`mnasnet bench` as a process of its own on software phones: to be killed, and to be gone on with.

Nothing is taken from it but its exit code, what it says, and what lies on disk and on the phones.
"""

import os
import resource
import shutil
import signal
import subprocess
import sysconfig
import time
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from softphone.rig import Rig, SoftwarePhone

from mnasnet_deploy.results import campaigns, store
from mnasnet_deploy.results.campaigns import Campaign
from mnasnet_deploy.results.record import Record

MNASNET = Path(sysconfig.get_path("scripts")) / "mnasnet"
PATIENCE_S = 240.0
POLL_S = 0.02


@dataclass(frozen=True)
class Ended:
    """What a process gave back."""

    code: int
    out: str
    err: str


@dataclass
class Work:
    """A folder with `models/` and `results/`, and the phones that are measured from it."""

    folder: Path
    rig: Rig
    form: str = "tf-2.19"

    @property
    def results(self) -> Path:
        return self.folder / "results"

    @property
    def records(self) -> tuple[Record, ...]:
        """All that were kept; every file of the folder has to be one."""
        loaded = store.load(self.results)
        assert loaded.problems == ()
        return loaded.records

    @property
    def contents(self) -> dict[str, bytes]:
        """Bytes of every record by its id."""
        assert len(self.records) == len(list((self.results / "records").glob("[!.]*")))
        return {one.stem: one.read_bytes() for one in (self.results / "records").glob("[!.]*")}

    @property
    def campaign(self) -> Campaign:
        """The only one there is."""
        loaded = campaigns.load(self.results)
        assert loaded.problems == ()
        (found,) = loaded.campaigns
        return found

    @property
    def begun(self) -> bool:
        return bool(campaigns.load(self.results).campaigns)

    @property
    def missing(self) -> tuple[int, ...]:
        return campaigns.missing(self.campaign, self.results)

    @contextmanager
    def started(self, *arguments: Any, most_bytes: int | None = None):
        """A bench that runs; whatever happens, it is over at the end of the block.

        Leads a process group, as one that was typed into a terminal.

        Args:
            arguments: of it.
            most_bytes: that a file may have, which stands for a full disk.
        """

        def limit() -> None:
            if most_bytes is not None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, -1))

        program = ["--benchmark-binary", self.rig.benchmark_binary(self.form)]
        process = subprocess.Popen(
            [MNASNET, "bench", *map(str, [*arguments, *program])],
            cwd=self.folder, env=self.rig.environment,
            start_new_session=True, preexec_fn=limit, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.communicate()

    def bench(self, *arguments: Any) -> Ended:
        """A bench from start to end."""
        with self.started(*arguments) as process:
            return end_of(process)

    def resume(self) -> Ended:
        """Go on with the newest campaign, to its end."""
        return self.bench("--resume")

    def assert_all_measured(self) -> None:
        """Each cell of the campaign once, none twice, none refused."""
        campaign = self.campaign
        assert not any(cell.refused for cell in campaign.cells)
        expected = {
            campaigns.record_id(campaign.id, number) for number in range(len(campaign.cells))
        }
        assert set(self.contents) == expected
        names = [device.info.name for device in campaign.devices]
        planned = {
            (names[cell.device], cell.artifact.sha256, cell.settings) for cell in campaign.cells
        }
        found = [(one.device.name, one.artifact.sha256, one.settings) for one in self.records]
        assert len(found) == len(set(found))
        assert set(found) == planned


def end_of(process: "subprocess.Popen[str]", seconds: float = PATIENCE_S) -> Ended:
    """Wait for a process to end."""
    out, err = process.communicate(timeout=seconds)
    return Ended(process.returncode, out, err)


def interrupt(process: "subprocess.Popen[str]") -> None:
    """Ctrl-C, which a terminal sends to the whole group."""
    os.killpg(process.pid, signal.SIGINT)


def wait_until(
    condition: Callable[[], object], process: "subprocess.Popen[str]", seconds: float = PATIENCE_S
) -> None:
    """Wait for something that a process that runs brings about."""
    ends = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < ends
        time.sleep(POLL_S)


def work_folder(folder: Path, models: Sequence[Path], rig: Rig) -> Work:
    """A new folder to work in, with these models."""
    (folder / "models").mkdir(parents=True)
    for model in models:
        shutil.copy(model, folder / "models")
    return Work(folder, rig)


def on_phone(rig: Rig, phone: SoftwarePhone, script: str) -> str:
    """What a script says on a phone."""
    return rig.adb("-s", phone.serial, "shell", script).out.decode()


def runs_a_model(rig: Rig, phone: SoftwarePhone) -> bool:
    """Whether a program of ours runs there now."""
    return bool(on_phone(rig, phone, "pidof benchmark_model").strip())


def cached_files(rig: Rig, phone: SoftwarePhone) -> set[str]:
    """What a bench keeps on a phone for the next one."""
    return set(on_phone(rig, phone, "ls -d /data/local/tmp/mnasnet/files/*/*").split())
