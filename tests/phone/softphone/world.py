"""What changes by itself: uptime, processor time, clocks, and heat where a test wants heat.

`advance` brings the files up to now. The daemon calls it all the time while commands run, and a
running benchmark at its start and end, so that a launch's share of the clocks is exact.
"""

import contextlib
import fcntl
import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from softphone.faults import replace
from softphone.models import Phone, Policy, Sensor

TICKS_PER_S = 100
STEPS = 8
_LOCK = threading.Lock()


def opps(policy: Policy) -> list[int]:
    """The clocks a policy can take, in kHz, slowest first."""
    span = policy.max_khz - policy.min_khz
    between = [policy.min_khz + span * step // (STEPS - 1) // 1000 * 1000 for step in range(STEPS)]
    return [*between[:-1], policy.max_khz]


def cpus_of(mask: int) -> list[int]:
    """Numbers of the set bits."""
    return [cpu for cpu in range(mask.bit_length()) if mask >> cpu & 1]


def temperatures(sensors: "list[Sensor] | tuple[Sensor, ...]", status: int = 0) -> str:
    """The lines of `dumpsys thermalservice`; the status is that of the skin."""
    return "".join(
        f"\tTemperature{{mValue={one.celsius:.3f}, mType={one.kind}, mName={one.name}, "
        f"mStatus={status if one.kind == 3 else 0}}}\n"
        for one in sensors
    )


class World:
    """One phone's moving parts.

    Args:
        root: what the phone's paths are below, as seen by this process.
        phone: its model.
    """

    def __init__(self, root: Path, phone: Phone) -> None:
        self._folder = root / ".phone"
        self._cpu = root / "sys/devices/system/cpu"
        self._thermal = root / "sys/class/thermal"
        self._phone = phone

    def boot(self, boot_id: str, uptime_s: float) -> None:
        """Start time anew."""
        _overwrite(self._folder / "proc/sys/kernel/random/boot_id", boot_id + "\n")
        with self._state() as state:
            state.clear()
            state.update(
                last=time.monotonic(),
                uptime=uptime_s,
                busy=[uptime_s * 0.02] * self._phone.cores,
                ticks={p.name: [uptime_s / 2] + [1.0] * (STEPS - 1) for p in self._phone.policies},
                skin=next(s.celsius for s in self._phone.sensors if s.kind == 3),
            )
            self._render(state, set())
        for pid in self._running():
            (self._folder / "running" / str(pid)).unlink(missing_ok=True)

    def started(self, mask: int, threads: int) -> None:
        """This process starts to load the CPUs of its mask."""
        self.advance()
        cpus = cpus_of(mask)[-max(1, threads) :]
        (self._folder / "running" / str(os.getpid())).write_text(json.dumps(cpus))

    def stopped(self) -> None:
        """This process stops loading CPUs."""
        self.advance()
        (self._folder / "running" / str(os.getpid())).unlink(missing_ok=True)

    def speed(self, mask: int) -> float:
        """Of the slowest core of a mask, 1 for the fastest core of the phone at its best clock."""
        found = []
        for policy in self._phone.policies:
            if set(policy.cpus) & set(cpus_of(mask)):
                clock = self._khz(policy, "scaling_max_freq") / policy.max_khz
                found.append(policy.capacity / 1024 * clock)
        return min(found, default=1.0)

    def advance(self) -> None:
        """Bring every file up to now."""
        busy = {cpu for cpus in self._running().values() for cpu in cpus}
        with self._state() as state:
            if not state:
                return
            now = time.monotonic()
            passed, state["last"] = now - state["last"], now
            options = self._options()
            state["uptime"] += passed
            idle_share = options.get("busy", 0.02)
            for cpu in range(self._phone.cores):
                state["busy"][cpu] += passed * (1.0 if cpu in busy else idle_share)
            for policy in self._phone.policies:
                low, high = (self._khz(policy, f"scaling_{end}_freq") for end in ("min", "max"))
                clock = high if set(policy.cpus) & busy else min(low, high)
                steps = opps(policy)
                at = max((i for i, khz in enumerate(steps) if khz <= clock), default=0)
                state["ticks"][policy.name][at] += passed
            if options.get("heating"):
                self._heat(state, passed, len(busy), options)
            self._render(state, busy)

    def _render(self, state: dict[str, Any], busy: set[int]) -> None:
        uptime = state["uptime"]
        cores = self._phone.cores
        idle = [uptime - one for one in state["busy"]]
        _overwrite(self._folder / "proc/uptime", f"{uptime:.2f} {sum(idle):.2f}\n")
        lines = []
        for name, worked, rested in (
            ("cpu ", sum(state["busy"]), sum(idle)),
            *((f"cpu{n}", state["busy"][n], idle[n]) for n in range(cores)),
        ):
            user, rest = int(worked * TICKS_PER_S), int(rested * TICKS_PER_S)
            lines.append(f"{name} {user} 0 0 {rest} 0 0 0 0 0 0\n")
        tail = "intr 0\nctxt 0\nbtime 1700000000\nprocesses 1\nprocs_running 1\nprocs_blocked 0\n"
        _overwrite(self._folder / "proc/stat", "".join(lines) + tail)
        for policy in self._phone.policies:
            folder = self._cpu / "cpufreq" / policy.name
            table = zip(opps(policy), state["ticks"][policy.name], strict=True)
            text = "".join(f"{khz} {int(seconds * 100)}\n" for khz, seconds in table)
            replace(folder / "stats/time_in_state", text, 0o444)
            end = "max" if set(policy.cpus) & busy else "min"
            clock = self._khz(policy, f"scaling_{end}_freq")
            replace(folder / "scaling_cur_freq", f"{clock}\n", 0o444)

    def _heat(
        self, state: dict[str, Any], passed: float, busy: int, options: dict[str, Any]
    ) -> None:
        ambient, tau = options.get("ambient", 25.0), options.get("cooling_s", 60.0)
        loss = (state["skin"] - ambient) / tau
        state["skin"] += passed * (options["heating"] * busy - loss)
        skin = state["skin"]
        status = sum(skin >= limit for limit in (39.0, 43.0, 45.0))
        sensors = [
            Sensor(name=one.name, kind=one.kind, celsius=skin + 3.0 + busy)
            if one.kind in (0, 1)
            else Sensor(name=one.name, kind=one.kind, celsius=skin - (one.kind == 2))
            for one in self._phone.sensors
        ]
        replace(self._folder / "thermal/temperatures", temperatures(sensors, status))
        replace(self._folder / "thermal/status", f"{status}\n")
        replace(self._folder / "battery/temperature", f"{int((skin - 1) * 10)}\n")
        for policy in self._phone.policies:
            limit = opps(policy)[STEPS // 2] if skin >= 37.0 else policy.max_khz
            if self._khz(policy, "scaling_max_freq") != limit:
                path = self._cpu / "cpufreq" / policy.name / "scaling_max_freq"
                replace(path, f"{limit}\n", 0o444)

    def _khz(self, policy: Policy, name: str) -> int:
        return int((self._cpu / "cpufreq" / policy.name / name).read_text())

    def _options(self) -> dict[str, Any]:
        try:
            return dict(json.loads((self._folder / "options.json").read_text()))
        except FileNotFoundError:
            return {}

    def _running(self) -> dict[int, list[int]]:
        found = {}
        for path in (self._folder / "running").iterdir():
            with contextlib.suppress(ValueError, OSError):
                os.kill(int(path.name), 0)
                found[int(path.name)] = json.loads(path.read_text())
        return found

    @contextmanager
    def _state(self) -> Iterator[dict[str, Any]]:
        with _LOCK, (self._folder / "world.json").open("r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            text = file.read()
            state: dict[str, Any] = json.loads(text) if text else {}
            yield state
            file.seek(0)
            file.write(json.dumps(state))
            file.truncate()
            file.flush()


def _overwrite(path: Path, content: str) -> None:
    """Change a file in place: it is mounted over another, and a new file would not be seen."""
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.pwrite(descriptor, content.encode(), 0)
        os.ftruncate(descriptor, len(content.encode()))
    finally:
        os.close(descriptor)
