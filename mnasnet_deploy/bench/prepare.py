"""What is changed on a phone for a measurement, and how it is put back whatever happens.

Before the first change a script that undoes all of them lies on the phone: a run that was killed,
or lost the phone, is cleaned up after by the next one, from any computer. What cannot be read back
is not changed; only apps in the background are ended and stay so. Sources of the commands:
`settings`, `svc`, and PowerManagerShellCommand and ConnectivityService of AOSP frameworks/base.
"""

import shlex
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from mnasnet_deploy.bench.adb_link import FOLDER, Link
from mnasnet_deploy.bench.android_state import PhoneState
from mnasnet_deploy.bench.clock_policies import Policy
from mnasnet_deploy.bench.clusters import ranges
from mnasnet_deploy.errors import InputError, PhoneError

__all__ = ["Change", "Mode", "apply", "changes", "left_out", "mended", "pending", "restore"]

Mode = Literal["stock", "fixed", "locked"]

RESTORE: Final = f"{FOLDER}/restore.sh"
DEADLINE_S: Final = 60.0
AIRPLANE_API: Final = 30
FIXED_API: Final = 30
LOCKED_SHARE: Final = 2 / 3
"""Of the highest clock, as androidx's lockClocks.sh: low enough to be kept up for hours."""
KHZ_PER_MHZ: Final = 1e3
STAY_ON: Final = 7
"""Bits of mains, USB and wireless power."""
DAY_MS: Final = 86_400_000
DARK: Final = 1
_END: Final = "@@RESTORED"
# Magisk and userdebug builds spell it differently; where there is neither, adb may run as root.
_AS_ROOT: Final = 'mroot(){ su 0 sh -c "$1" 2>/dev/null || su -c "$1" 2>/dev/null || sh -c "$1"; }'


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One thing that is changed on the phone.

    Attributes:
        what: in words, for people to read before it is done.
        command: shell that does it.
        undo: shell that undoes it; empty where nothing is left to undo.
        read: shell that prints how it is; empty where that cannot be seen.
        before: what `read` prints before, and after `undo`.
        after: what `read` prints once it is done.
        mends: the gate it opens, by name; empty for none.
    """

    what: str
    command: str
    undo: str = ""
    read: str = ""
    before: str = ""
    after: str = ""
    mends: str = ""


def changes(
    state: PhoneState,
    mode: Mode,
    prepare: bool,
    over_wifi: bool,
    cpus: Collection[int] = (),
) -> tuple[Change, ...]:
    """What would be changed, in this order.

    Args:
        state: of the phone before.
        mode: `stock` wakes the screen and keeps it on; `fixed` asks Android for its highest clocks
            at all times; `locked` holds the clocks at two thirds of the highest, as root.
        prepare: also darken the screen, and end what disturbs: radios, battery saver, apps.
        over_wifi: the phone is reached through the air, so its radios stay on.
        cpus: whose clocks are fixed or locked; all for none named.

    Raises:
        PhoneError: the phone has no such mode.
    """
    found = [_wake(state), *_keep_awake(state)]
    if prepare:
        found += _quieten(state, over_wifi)
    policies = [policy for policy in state.policies if not cpus or policy.used_by(cpus)]
    if mode == "fixed":
        found.append(_fix(state, policies))
    elif mode == "locked":
        found += [_lock(policy) for policy in policies]
    return tuple(found)


def left_out(state: PhoneState, prepare: bool, over_wifi: bool) -> tuple[str, ...]:
    """What `prepare` does not do on this phone, and why."""
    if not prepare:
        return ()
    if over_wifi:
        return ("airplane mode stays as it is, since the phone is reached over Wi-Fi",)
    if (state.api or 0) < AIRPLANE_API:
        return ("airplane mode stays as it is, Android before 11 has no command for it",)
    return ()


def mended(planned: Collection[Change]) -> frozenset[str]:
    """Names of the gates that these changes open, to be left out of a first check."""
    return frozenset(change.mends for change in planned if change.mends)


def apply(link: Link, planned: Sequence[Change]) -> None:
    """Change the phone; nothing is changed before what undoes it lies there.

    Raises:
        InputError: nothing is planned.
        PhoneError: somebody else has prepared the phone, nothing can be written there, or a change
            was not taken (what was done is undone).
        LinkLostError: the connection was lost; `restore` undoes what was done.
    """
    if not planned:
        raise InputError("there is nothing to change on the phone")
    _write_restore(link, planned)
    done = link.shell(_apply_script(planned), deadline_s=DEADLINE_S)
    if failed := _not_taken(done.text, planned):
        restore(link)
        raise PhoneError(failed)


def pending(link: Link) -> tuple[str, ...]:
    """What a run that was cut off has left changed, in words; empty for nothing."""
    done = link.shell(f"[ ! -f {RESTORE} ] || grep '^# ' {RESTORE}", deadline_s=DEADLINE_S)
    return tuple(
        line.removeprefix("# ") for line in done.text.splitlines() if line.startswith("# ")
    )


def restore(link: Link) -> tuple[str, ...]:
    """Put the phone back as it was before `apply`, and look whether it is; harmless where it is.

    Returns:
        What is not as it was, a sentence each; empty where everything is.

    Raises:
        LinkLostError: the connection was lost; the next call goes on.
        PhoneError: the phone did not do it.
    """
    script = f"if [ -f {RESTORE} ]; then sh {RESTORE}; else echo {_END}; fi"
    done = link.shell(script, deadline_s=DEADLINE_S)
    if _END not in done.text:
        raise PhoneError(
            f"the phone is not put back as it was ({done.text.strip()[-200:]!r}); type "
            f"'adb -s {link.serial} shell sh {RESTORE}'"
        )
    failed = [line.split("|", 3)[1:] for line in done.text.splitlines() if line.startswith("left|")]
    return tuple(
        f"{what} could not be undone: it was {before!r} before and is {now!r}; set it by hand"
        for what, before, now in failed
    )


# ---- the changes


def _wake(state: PhoneState) -> Change:
    """First done, so undone last: the phone goes back to sleep when all else is as it was."""
    asleep = state.awake is False
    return Change(
        what="wake the screen",
        command="input keyevent KEYCODE_WAKEUP; wm dismiss-keyguard",
        undo="input keyevent KEYCODE_SLEEP" if asleep else "",
        # A phone that shows the time while it sleeps is dozing.
        read="dumpsys power | grep -q mWakefulness=Awake && echo awake || echo asleep",
        before="asleep" if asleep else "awake",
        after="awake",
        mends="ASLEEP",
    )


def _keep_awake(state: PhoneState) -> list[Change]:
    old = state.settings.get("stay_on_while_plugged_in", "")
    bits = int(old) if old.isdecimal() and len(old) < 4 else 0
    found = _set(state, "global", "stay_on_while_plugged_in", str(bits | STAY_ON),
                 "keep the screen on while plugged in")  # fmt: skip
    if not state.battery.plugged:
        found += _set(state, "system", "screen_off_timeout", str(DAY_MS),
                      "keep the screen on for a day")  # fmt: skip
    return found


def _quieten(state: PhoneState, over_wifi: bool) -> list[Change]:
    found = [
        *_set(state, "system", "screen_brightness_mode", "0", "no automatic brightness"),
        *_set(state, "system", "screen_brightness", str(DARK), "the screen as dark as it goes"),
    ]
    can_fly = not over_wifi and (state.api or 0) >= AIRPLANE_API
    if can_fly and state.settings.get("airplane_mode_on") == "0":
        found.append(
            Change(
                what="airplane mode",
                command="cmd connectivity airplane-mode enable",
                undo="cmd connectivity airplane-mode disable",
                read="settings get global airplane_mode_on",
                before="0",
                after="1",
            )
        )
    if state.settings.get("low_power") == "1":
        found.append(
            Change(
                what="no battery saver",
                command="cmd power set-mode 0",
                undo="cmd power set-mode 1",
                read="settings get global low_power",
                before="1",
                after="0",
                mends="BATTERY-SAVER",
            )
        )
    return [*found, Change(what="end apps in the background", command="am kill-all")]


def _set(state: PhoneState, space: str, key: str, value: str, what: str) -> list[Change]:
    """A setting, with its old value put back or deleted."""
    old = state.settings.get(key)
    if old == value:
        return []
    undo = f"settings delete {space} {key}"
    if old is not None:
        undo = f"settings put {space} {key} {shlex.quote(old)}"
    return [
        Change(
            what=f"{what} ({key} from {old or 'nothing'} to {value})",
            command=f"settings put {space} {key} {value}",
            undo=undo,
            read=f"settings get {space} {key}",
            before=old if old is not None else "null",
            after=value,
        )
    ]


def _fix(state: PhoneState, policies: Sequence[Policy]) -> Change:
    if (state.api or 0) < FIXED_API:
        raise PhoneError(
            "this phone has no fixed-performance mode (Android 11 and later); measure with "
            "--mode stock"
        )
    folders = " ".join(map(_folder, policies))
    # The power service takes a moment.
    read = (
        f"n=0; while :; do s=fixed; for p in {folders}; do "
        "[ $(cat $p/scaling_min_freq) = $(cat $p/scaling_max_freq) ] || s=free; done; "
        "[ $s = $want ] || [ $n -gt 20 ] && break; n=$((n+1)); sleep 0.1; done; echo $s"
    )
    return Change(
        what="Android's fixed-performance mode: the highest clocks at all times",
        command="cmd power set-fixed-performance-mode-enabled true",
        undo="cmd power set-fixed-performance-mode-enabled false",
        read=read,
        before="free",
        after="fixed",
    )


def _lock(policy: Policy) -> Change:
    low, high, most = policy.scaling_min_mhz, policy.scaling_max_mhz, policy.max_mhz
    if low is None or high is None or most is None:
        raise PhoneError(
            f"the phone does not say how fast CPU {ranges(policy.cpus)} runs, so its clock cannot "
            "be locked; measure with --mode stock"
        )
    clocks = [clock for clock, _ in policy.time_in_state] or [most * LOCKED_SHARE]
    target = min(clocks, key=lambda clock: abs(clock - most * LOCKED_SHARE))
    # The lower limit may never pass the upper one, on the way there or back.
    there = (
        (("max", target), ("min", target)) if target > high else (("min", target), ("max", target))
    )
    back = (("max", high), ("min", low)) if high >= target else (("min", low), ("max", high))
    folder = _folder(policy)
    return Change(
        what=f"the clock of CPU {ranges(policy.cpus)} locked at {target:.0f} MHz (as root)",
        command=_write_limits(folder, there),
        undo=_write_limits(folder, back),
        read=f"cd {folder}; echo $(cat scaling_min_freq) $(cat scaling_max_freq)",
        before=f"{_khz(low)} {_khz(high)}",
        after=f"{_khz(target)} {_khz(target)}",
    )


def _write_limits(folder: str, limits: Iterable[tuple[str, float]]) -> str:
    writes = (f"echo {_khz(mhz)} > {folder}/scaling_{end}_freq" for end, mhz in limits)
    return f"mroot {shlex.quote(' && '.join(writes))}"


def _folder(policy: Policy) -> str:
    """Where every kernel shows the clock of these CPUs."""
    return f"/sys/devices/system/cpu/cpu{policy.cpus[0]}/cpufreq"


def _khz(mhz: float) -> int:
    return round(mhz * KHZ_PER_MHZ)


# ---- the scripts


def _write_restore(link: Link, planned: Sequence[Change]) -> None:
    lines = [_AS_ROOT]
    for change in reversed(planned):
        if change.undo:
            lines += [f"# {change.what}", f"{change.undo} >/dev/null 2>&1", *_compare(change)]
    lines += [f"rm -f {RESTORE}", f"echo {_END}"]
    quoted = " ".join(map(shlex.quote, lines))
    done = link.shell(
        f"if [ -e {RESTORE} ]; then echo taken; exit 1; fi\n"
        f"mkdir -p {FOLDER} && printf '%s\\n' {quoted} > {RESTORE}.new && "
        f"mv {RESTORE}.new {RESTORE}",
        deadline_s=DEADLINE_S,
    )
    if done.code == 0:
        return
    if done.out.strip() == b"taken":
        raise PhoneError(
            f"another run has prepared phone {link.serial} and not put it back; wait for it to end"
        )
    raise PhoneError(
        f"nothing can be written to phone {link.serial} ({done.text.strip()[-200:]}); look at "
        f"'adb -s {link.serial} shell df {FOLDER}'"
    )


def _compare(change: Change) -> list[str]:
    return [
        f"want={shlex.quote(change.before)}",
        f"now=$({change.read})",
        f'[ "$now" = "$want" ] || echo {shlex.quote(f"left|{change.what}|{change.before}|")}"$now"',
    ]


def _apply_script(planned: Sequence[Change]) -> str:
    lines = [_AS_ROOT]
    for number, change in enumerate(planned):
        lines.append(f"said=$({change.command} 2>&1)")
        if change.read:
            lines += [
                f"want={shlex.quote(change.after)}",
                f"now=$({change.read})",
                f'[ "$now" = "$want" ] || echo "failed|{number}|$now|$said"',
            ]
    return "\n".join(lines)


def _not_taken(text: str, planned: Sequence[Change]) -> str:
    """The error, where the phone did not take a change."""
    for line in text.splitlines():
        words = line.split("|", 3)
        if words[0] == "failed" and len(words) == 4:
            change = planned[int(words[1])]
            said = words[3].strip() or f"it is {words[2]!r}"
            return (
                f"the phone did not take '{change.what}': {said}; measure without it (--mode "
                "stock, no --prepare)"
            )
    return ""
