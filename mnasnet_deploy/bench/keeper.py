"""Keeps a campaign on disk while it runs, and every other process's hands off it."""

import contextlib
import threading
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from mnasnet_deploy.bench import system
from mnasnet_deploy.errors import InputError
from mnasnet_deploy.results import campaigns, store
from mnasnet_deploy.results.campaigns import Campaign
from mnasnet_deploy.results.record import Record

__all__ = ["Keeper"]


@dataclass(slots=True, kw_only=True)
class Keeper:
    """Writes the plan before the first launch, then each record as it is finished.

    Used by all devices of a campaign at once, within a `with` block, which holds the campaign.

    Attributes:
        campaign: as it stands; knows of more refused files the longer it runs.
        folder: the results folder.
        kept: records so far, with their files.
    """

    campaign: Campaign
    folder: Path
    kept: list[tuple[Record, Path]] = field(default_factory=list)
    _held: bool = False
    _begun: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _until: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def __enter__(self) -> "Keeper":
        """Nothing is written yet; `hold` and `begin` do."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let the campaign go."""
        self._until.close()

    def hold(self) -> None:
        """Keep other processes from going on with this campaign meanwhile.

        Raises:
            InputError: another process holds it.
            NotReadyError: the folder cannot be written.
        """
        path = campaigns.campaign_folder(self.folder) / f".{self.campaign.id}.lock"
        if not self._until.enter_context(system.holding(path)):
            raise InputError(
                f"the campaign {self.campaign.id} is running in another process: wait for it to end"
            )
        self._held = True

    def begin(self) -> None:
        """Write the plan unless this was done.

        Until a file has run there is nothing to go on with, so nothing is written.

        Raises:
            NotReadyError: the folder cannot be written.
        """
        with self._lock:
            if not self._begun:
                if not self._held:
                    self.hold()
                campaigns.write(self.campaign, self.folder)
                self._begun = True

    def refuse(self, number: int, reason: str) -> None:
        """Note that a cell's device does not run the file.

        Raises:
            NotReadyError: the folder cannot be written.
        """
        with self._lock:
            self.campaign = campaigns.refuse(self.campaign, {number: reason})
            # A campaign that goes on is on disk already, even if nothing of the rest runs.
            if self._held:
                campaigns.write(self.campaign, self.folder)

    def keep(self, record: Record) -> Path:
        """Add a record.

        Raises:
            NotReadyError: the folder cannot be written, or the disk is full.
            MnasnetError: another record of its id is there.
        """
        path = store.add(record, self.folder)
        with self._lock:
            self.kept.append((record, path))
        return path

    def unfinished(self) -> tuple[int, ...]:
        """Numbers of the cells that are still to be measured; none where nothing has begun."""
        return campaigns.missing(self.campaign, self.folder) if self._held else ()
