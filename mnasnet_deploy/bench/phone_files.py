"""Files on a phone: pushed once, checked, found again by their content, and tidied up.

    /data/local/tmp/mnasnet/files/<sha256[:16]>/<name>      models and programs, kept between runs
    /data/local/tmp/mnasnet/files/<sha256[:16]>/.*.part     a push that is under way, or was cut off
    /data/local/tmp/mnasnet/runs/<name>                     what a run writes; gone with the next

A file gets its name only when its content was checked on the phone, so what has a name is whole.
"""

import re
import secrets
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mnasnet_deploy.bench import adb_words
from mnasnet_deploy.bench.adb_link import FOLDER, Link
from mnasnet_deploy.errors import InputError, PhoneError
from mnasnet_deploy.weights.intact import digest_of

__all__ = ["CAP_BYTES", "PhoneFiles", "Wanted"]

CAP_BYTES = 2 << 30
"""What is kept at most, whatever the phone has room for."""

RESERVE_BYTES = 64 << 20
"""What is left free for the runs and for Android, which slows down on a full disk."""

_FILES = f"{FOLDER}/files"
_RUNS = f"{FOLDER}/runs"
_KEPT = "restore.sh"  # undoes what a measurement has changed: the one thing `clean` must not take


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A file that is to be on the phone.

    Attributes:
        local: where it is here.
        sha256: of its content, in hexadecimal.
        name: what it is called on the phone; what is no letter, digit, dot, dash or underscore
            becomes an underscore.
        executable: whether it is a program.
    """

    local: Path
    sha256: str
    name: str
    executable: bool = False

    @property
    def remote(self) -> str:
        """Full name on the phone."""
        return f"{_FILES}/{self.key}"

    @property
    def key(self) -> str:
        """Name below the folder of files."""
        return (
            f"{self.sha256[:16]}/{re.sub(r'[^A-Za-z0-9._-]', '_', self.name).lstrip('.-') or '_'}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    used: int
    size: int
    key: str


class PhoneFiles:
    """The tool's files on one phone; the caller has the phone to itself (`Link.exclusive`).

    Errors of all methods are those of `Link.shell` and `Link.push`.

    Args:
        link: to the phone.
        cap_bytes: beyond it, those not used for longest go.
    """

    def __init__(self, link: Link, *, cap_bytes: int = CAP_BYTES) -> None:
        self._link = link
        self._cap_bytes = cap_bytes

    def ensure(self, local: Path, sha256: str, name: str, *, executable: bool = False) -> str:
        """Have one file on the phone; see `ensure_all`.

        Returns:
            Its full name there.
        """
        wanted = Wanted(local=local, sha256=sha256, name=name, executable=executable)
        return self.ensure_all([wanted])[0]

    def ensure_all(
        self, wanted: Sequence[Wanted], on_push: Callable[[Wanted], None] | None = None
    ) -> tuple[str, ...]:
        """Have files on the phone: one round trip to see which are, then a push for each other.

        Args:
            wanted: the files.
            on_push: called before each push.

        Returns:
            Their full names on the phone, in order.

        Raises:
            InputError: a local file is gone, or is not what its sha256 says.
            PhoneError: the phone is full, or takes no files or programs there.
        """
        kept, free_bytes = self._look(wanted)
        sizes = {one.key: one.size for one in kept}
        missing = [
            one
            for one in {one.key: one for one in wanted}.values()
            if sizes.get(one.key) != _size(one.local)
        ]
        if missing:
            needed = sum(_size(one.local) for one in missing)
            names = {one.key for one in wanted}
            self._make_room([one for one in kept if one.key not in names], kept, needed, free_bytes)
        for one in missing:
            if on_push:
                on_push(one)
            self._push(one)
        return tuple(one.remote for one in wanted)

    def scratch(self, name: str) -> str:
        """Full name of a file for a run's output; `sweep` makes the folder and empties it."""
        return f"{_RUNS}/{name}"

    def sweep(self) -> None:
        """End programs of ours that still run, and remove what runs and cut-off pushes left."""
        # The pattern is in brackets and the names are relative, or this script would be found too.
        self._run(
            f"mkdir -p {_FILES} {_RUNS} && cd {FOLDER} || exit 1\n"
            f"for c in $(grep -l '{_FILES[:-1]}[s]/' /proc/[0-9]*/cmdline 2>/dev/null); do\n"
            "p=${c#/proc/}; kill -9 ${p%/cmdline} 2>/dev/null\n"
            "done\n"
            "rm -rf runs/* files/*/.*.part script.*",
            "cannot be tidied up",
        )

    def clean(self) -> int:
        """End programs of ours and remove all files; what undoes changed settings stays.

        Returns:
            Bytes that are free again.
        """
        self.sweep()
        done = self._link.shell(
            f"cd {_FILES} && stat -c %s */* 2>/dev/null\n"
            f"cd {FOLDER} && rm -rf files runs || exit 1\n"
            f"[ -e {_KEPT} ] || rm -rf {FOLDER}"
        )
        if done.code:
            raise self._refused(done.text, "cannot be cleaned")
        return sum(map(int, done.text.split()))

    # -- inside

    def _look(self, wanted: Sequence[Wanted]) -> tuple[list[_Kept], int | None]:
        """What is there, and how many bytes are free; the wanted ones count as just used."""
        names = " ".join(shlex.quote(one.key) for one in wanted)
        done = self._link.shell(
            f"mkdir -p {_FILES} && cd {_FILES} || exit 1\n"
            f"touch -c {names} 2>/dev/null\n"
            "stat -f -c 'free %a %S' . 2>/dev/null\n"
            "stat -c 'file %Y %s %n' */* 2>/dev/null; true"
        )
        if done.code:
            raise self._refused(done.text, "cannot keep files")
        kept, free_bytes = [], None
        for line in done.text.splitlines():
            kind, *fields = line.split(" ", 3)
            if kind == "file" and len(fields) == 3:
                kept.append(_Kept(used=int(fields[0]), size=int(fields[1]), key=fields[2]))
            elif kind == "free" and len(fields) == 2:
                free_bytes = int(fields[0]) * int(fields[1])
        return kept, free_bytes

    def _make_room(
        self, spare: list[_Kept], kept: list[_Kept], needed: int, free_bytes: int | None
    ) -> None:
        total = sum(one.size for one in kept) + needed
        free = None if free_bytes is None else free_bytes - needed - RESERVE_BYTES
        gone = []
        for one in sorted(spare, key=lambda one: one.used):
            if total <= self._cap_bytes and (free is None or free >= 0):
                break
            gone.append(one.key)
            total -= one.size
            free = None if free is None else free + one.size
        if gone:
            names = " ".join(map(shlex.quote, gone))
            folders = " ".join(sorted({shlex.quote(key.partition("/")[0]) for key in gone}))
            self._run(
                f"cd {_FILES} && rm -f {names} || exit 1\nrmdir {folders} 2>/dev/null; true",
                "cannot make room",
            )

    def _push(self, one: Wanted) -> None:
        part = f"{_FILES}/{one.sha256[:16]}/.{secrets.token_hex(4)}.part"
        sha1 = _digest(one.local, "sha1")
        for attempt in (1, 2):
            self._link.push(one.local, part)
            # Android 7 has no sha256sum.
            done = self._link.shell(
                f"f={part}; s=$(sha256sum $f 2>/dev/null || sha1sum $f)\n"
                f"case $s in {one.sha256}\\ *|{sha1}\\ *) ;;\n"
                "*) rm -f $f; exit 9 ;; esac\n"
                f"chmod {'755' if one.executable else '644'} $f || exit 1\n"
                + ("[ -x $f ] || { rm -f $f; exit 8; }\n" if one.executable else "")
                + f"touch $f; mv -f $f {shlex.quote(one.remote)}",
                deadline_s=120.0,
            )
            if done.code == 0:
                return
            if done.code == 8:
                raise adb_words.NOEXEC.error(
                    "", f"phone {self._link.serial} cannot run {one.local.name}"
                )
            if done.code != 9:
                raise self._refused(done.text, f"cannot keep {one.local.name}")
            if attempt == 1 and _digest(one.local, "sha256") != one.sha256:
                raise InputError(f"{one.local} was changed while it was used: start again")
        raise PhoneError(
            f"{one.local.name} arrives damaged on phone {self._link.serial}: try another cable"
        )

    def _run(self, script: str, failed: str) -> None:
        done = self._link.shell(script)
        if done.code:
            raise self._refused(done.text, failed)

    def _refused(self, said: str, failed: str) -> Exception:
        meaning = adb_words.explain(said) or adb_words.NOT_WRITABLE
        return meaning.error("", f"phone {self._link.serial} {failed}")


def _size(local: Path) -> int:
    try:
        return local.stat().st_size
    except OSError as error:
        raise InputError(f"cannot read {local}: {error.strerror or error}") from error


def _digest(local: Path, algorithm: str) -> str:
    try:
        return digest_of(local, algorithm)
    except OSError as error:
        raise InputError(f"cannot read {local}: {error.strerror or error}") from error
