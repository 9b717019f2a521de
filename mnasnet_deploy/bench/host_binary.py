"""This computer as a device, with a `benchmark_model` program in place of LiteRT in Python."""

import contextlib
import hashlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mnasnet_deploy.bench import system
from mnasnet_deploy.bench.benchmark_model import shell_words
from mnasnet_deploy.bench.device import Say, Timing, Trial, launch_ms
from mnasnet_deploy.bench.host import Host, host_settings
from mnasnet_deploy.bench.phone_programs import Programs
from mnasnet_deploy.errors import NoAnswerError, NotReadyError
from mnasnet_deploy.results.record import Conditions, DeviceInfo, Settings

__all__ = ["HostBinary"]

SLOWER_THAN_TRIAL = 3.0
MS_PER_S = 1e3
SIGNALS = 128
"""As a shell says it: the end by signal n is exit code 128 + n."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ran:
    """What a run gave; see `phone_programs.Ran`."""

    code: int
    output: str
    answer: bytes
    cpus: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class _Shelf:
    """A folder the program runs in: names that are kept in records lead nowhere else."""

    folder: Path

    def ensure(self, local: Path, sha256: str, name: str, *, executable: bool = False) -> str:
        """Have a file in the folder; a program stays where its libraries are."""
        if executable:
            return str(local.resolve())
        inside = self.folder / sha256[:16] / name
        if not inside.exists():
            inside.parent.mkdir(exist_ok=True)
            try:
                inside.hardlink_to(local.resolve())
            except OSError:  # another disk, or one without links
                shutil.copyfile(local, inside)
        return inside.relative_to(self.folder).as_posix()

    def scratch(self, name: str) -> str:
        """A name in the folder."""
        return name


class HostBinary:
    """Runs files with a program on this computer.

    Args:
        program: the program.
        external: shared object of the external delegate; None for no such delegate.
        external_options: handed to it.
        patience_s: how long a process may take beyond what is known of it.
    """

    def __init__(
        self,
        program: Path,
        *,
        external: Path | None = None,
        external_options: str = "",
        patience_s: float,
    ) -> None:
        self._host = Host(patience_s=patience_s)
        self._program = program.resolve()
        self._sha256 = hashlib.sha256(program.read_bytes()).hexdigest()
        self._external = external
        self._external_options = external_options
        self._patience_s = patience_s
        self._ready: tuple[Programs, Path] | None = None

    @property
    def name(self) -> str:
        """Always `host`."""
        return self._host.name

    @property
    def key(self) -> str:
        """Always `host`: which computer and which program it is, `info` says."""
        return self._host.key

    def info(self) -> DeviceInfo:
        """What this computer is, and the program that runs on it."""
        runtime = f"benchmark_model {self._sha256[:12]}"
        return replace(self._host.info(), runtime=runtime, runtime_sha256=self._sha256)

    def settle(self, settings: Settings) -> Settings:
        """The settings, of the profile `host`; what the program cannot run, its trial shows."""
        return host_settings(settings)

    def put_back(self, say: Say) -> None:
        """Nothing is changed on this computer."""

    @contextlib.contextmanager
    def session(self, settings: Sequence[Settings], say: Say) -> Iterator[None]:
        """Wait until no other bench runs on this machine, and make a folder to run in."""
        with (
            self._host.session(settings, say),
            tempfile.TemporaryDirectory(prefix="mnasnet-") as folder,
        ):
            programs = Programs(
                _Shelf(Path(folder)),
                (self._program, self._sha256),
                external=self._external,
                external_options=self._external_options,
                patience_s=self._patience_s,
                phone="this computer",
            )
            self._ready = programs, Path(folder)
            yield

    def stop(self) -> None:
        """End the launch that runs."""
        self._host.stop()

    def conditions(self, settings: Settings) -> Conditions:
        """State of the CPUs the settings use."""
        return self._host.conditions(settings)

    def trial(self, model: Path, settings: Settings) -> Trial:
        """Run a file shortly: is its answer right, how much memory, which operators.

        Raises:
            ModelFileError: the program refuses the file, crashes on it or does not come back.
            NotReadyError: the program does not start here.
        """
        programs, _ = self._in_session()
        trial = programs.trial(model, settings, self._run)
        own = shell_words((str(self._program),))
        return replace(trial, command=trial.command.replace(own, self._program.name, 1))

    def launch(self, model: Path, settings: Settings, trial: Trial) -> Timing:
        """Time a file in a fresh process, and hold the state of the machine against it.

        Raises:
            NotReadyError: the program does not start here.
        """
        programs, _ = self._in_session()
        words = programs.words(model, settings)
        deadline_s = self._patience_s + SLOWER_THAN_TRIAL * launch_ms(settings, trial) / MS_PER_S
        before = self._host.state(settings)
        try:
            ran = self._run(words, settings, deadline_s)
        except NoAnswerError as error:
            return Timing(init_ms=0.0, first_ms=0.0, discarded=f"HUNG ({error})")
        after = self._host.state(settings)
        timing = programs.timing(ran, settings)
        return replace(
            timing,
            discarded=timing.discarded or before.voids(after),
            others_load=before.others_load(after),
        )

    def _in_session(self) -> tuple[Programs, Path]:
        assert self._ready is not None, "a trial and a launch belong into a session"
        return self._ready

    def _run(
        self, words: tuple[str, ...], settings: Settings, deadline_s: float, *, answer: str = ""
    ) -> _Ran:
        """Run the program once.

        Raises:
            NoAnswerError: the deadline passed.
            NotReadyError: it cannot be started.
        """
        _, folder = self._in_session()
        try:
            with system.pinned(settings.cpus):
                ended = self._host.processes.run(
                    words, deadline_s=deadline_s, cwd=folder, merged=True
                )
        except subprocess.TimeoutExpired:
            raise NoAnswerError(f"no answer within {deadline_s:.0f} s") from None
        except OSError as error:
            raise NotReadyError(
                f"{self._program} does not start: {error.strerror or error} (is it executable, "
                "and for this processor? choose another --benchmark-binary)"
            ) from error
        written = b""
        if answer and (folder / answer).is_file():
            written = (folder / answer).read_bytes()
            (folder / answer).unlink()
        return _Ran(
            code=ended.code if ended.code >= 0 else SIGNALS - ended.code,
            output=ended.out.decode(errors="replace"),
            answer=written,
        )
