"""A device that does what a test says, and what is looked at in a campaign on it."""

import contextlib
import threading
from dataclasses import dataclass, field
from pathlib import Path

from mnasnet_deploy.bench.device import StoppedError, Timing, Trial
from mnasnet_deploy.errors import ModelFileError, NotReadyError
from mnasnet_deploy.results.record import Conditions, DeviceInfo, Settings

PATIENCE_S = 20.0
TIME = "2026-05-17T00:00:00+00:00"


@dataclass
class Puppet:
    """A device whose launches last no time, and that trouble can be ordered for.

    Attributes:
        name, kind, runtime: what it is.
        gone_at: the launch, from 0, at which it is gone for good.
        hangs_at: the launch that ends only when it is told to stop.
        refuses: file names it does not run.
        log: files in the order they were launched.
        restored: how often its session was left.
    """

    name: str = "puppet"
    kind: str = "host"
    runtime: str = "strings 1"
    gone_at: int | None = None
    hangs_at: int | None = None
    refuses: tuple[str, ...] = ()
    log: list[str] = field(default_factory=list)
    restored: int = 0
    hanging: threading.Event = field(default_factory=threading.Event)
    stopped: threading.Event = field(default_factory=threading.Event)

    @property
    def key(self) -> str:
        return f"serial of {self.name}"

    def info(self) -> DeviceInfo:
        return DeviceInfo(kind=self.kind, name=self.name, os="", cpu="", cores=1, memory_mib=0,
                          runtime=self.runtime)  # fmt: skip

    def settle(self, settings: Settings) -> Settings:
        return settings

    def put_back(self, say):
        """Nothing was left changed."""

    @contextlib.contextmanager
    def session(self, settings, say):
        say("the screen is kept on")
        try:
            yield
        finally:
            self.restored += 1

    def conditions(self, settings: Settings) -> Conditions:
        return Conditions(time=TIME)

    def trial(self, model: Path, settings: Settings) -> Trial:
        if model.name in self.refuses:
            raise ModelFileError(f"{model.name} is refused")
        return Trial(overhead_ms=1.0, run_ms=1.0, peak_memory_mib=None, delegated=True)

    def launch(self, model: Path, settings: Settings, trial: Trial) -> Timing:
        if self.stopped.is_set():
            raise StoppedError
        if len(self.log) == self.gone_at:
            raise NotReadyError(f"{self.name} is gone")
        if len(self.log) == self.hangs_at:
            self.hanging.set()
            assert self.stopped.wait(PATIENCE_S)
            raise StoppedError
        self.log.append(model.name)
        return Timing(init_ms=1.0, first_ms=1.0, samples_ms=(1.0,) * 5)

    def stop(self) -> None:
        self.stopped.set()


def of(heard, name, kind):
    return [news for device, news in heard if device == name and isinstance(news, kind)]


def ids(keeper):
    return sorted(path.stem for path in (keeper.folder / "records").glob("*.json"))
