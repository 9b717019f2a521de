"""Namespaces and chroot: inside, the phone's files are at their real paths and nothing else lives.

Works as root, and as any user where the kernel lets users make namespaces.
"""

import ctypes
import os
import signal
from collections.abc import Iterable
from pathlib import Path

SHELL_UID = 2000

_NEWNS, _NEWUSER, _NEWPID = 0x00020000, 0x10000000, 0x20000000
_RDONLY, _NOSUID, _NODEV, _NOEXEC, _REMOUNT, _BIND, _REC, _PRIVATE = (
    1, 2, 4, 8, 32, 4096, 16384, 1 << 18,
)  # fmt: skip
_PR_SET_PDEATHSIG, _PR_SET_NAME = 1, 15

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def _mount(source: str, target: Path, kind: str, flags: int, data: str = "") -> None:
    result = _libc.mount(
        source.encode(), os.fsencode(target), kind.encode(), ctypes.c_ulong(flags), data.encode()
    )
    _check(result, f"mount {target}")


def die_with_parent() -> None:
    """Have this process killed when its parent ends, however it ends."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def set_name(name: str) -> None:
    """What `ps` and `pidof` call this process."""
    _libc.prctl(_PR_SET_NAME, name.encode()[:15])


def enter_namespaces() -> None:
    """New mount and process namespaces, and where we are not root a user namespace around them.

    Raises:
        OSError: the kernel does not allow it.
    """
    user, group = os.getuid(), os.getgid()
    flags = _NEWNS | _NEWPID | (_NEWUSER if user else 0)
    _check(_libc.unshare(flags), "unshare")
    if user:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{SHELL_UID} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{SHELL_UID} {group} 1")
    # Before anything else is mounted: a bind that leaked to the host would let a clean-up of the
    # phone's folder delete the host's own files.
    _mount("none", Path("/"), "", _REC | _PRIVATE)


def bind(source: Path, target: Path, *, writable: bool = False) -> None:
    """Show a file or folder at another place, below the phone's root."""
    if source.is_dir():
        target.mkdir(parents=True, exist_ok=True)
    elif not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch()
    _mount(str(source), target, "", _BIND | _REC)
    if not writable:
        flags = os.statvfs(target).f_flag
        kept = flags & (_NOSUID | _NODEV | _NOEXEC)
        _mount("none", target, "", _BIND | _REMOUNT | _RDONLY | kept)


def mount_tmpfs(target: Path, *, size: str, mode: int, flags: str = "") -> None:
    """A file system of its own, with a size that runs out.

    Args:
        target: where.
        size: such as 4g or 8m.
        mode: of its top folder.
        flags: noexec, or nothing.
    """
    bits = _NOSUID | _NODEV | (_NOEXEC if "noexec" in flags else 0)
    _mount("tmpfs", target, "tmpfs", bits, f"size={size},mode={mode:o}")


def mount_terminals(dev: Path) -> None:
    """Pseudo-terminals of the phone's own."""
    _mount("devpts", dev / "pts", "devpts", _NOSUID | _NOEXEC, "newinstance,ptmxmode=0666,mode=620")
    (dev / "ptmx").symlink_to("pts/ptmx")


def make_read_only(target: Path) -> None:
    """Make a mounted file system read-only."""
    _mount("none", target, "", _BIND | _REMOUNT | _RDONLY | _NOSUID | _NODEV)


def mount_proc(root: Path, fakes: Iterable[str]) -> None:
    """The processes of this namespace, with some files laid over by the phone's own.

    Args:
        root: of the phone.
        fakes: paths below /proc that exist below /.phone/proc.
    """
    _mount("proc", root / "proc", "proc", _NOSUID | _NODEV | _NOEXEC)
    for name in fakes:
        if (root / "proc" / name).exists():
            _mount(str(root / ".phone/proc" / name), root / "proc" / name, "", _BIND)


def change_root(root: Path) -> None:
    """Make this the root; as root, become the user `shell` as well."""
    os.chroot(root)
    os.chdir("/")
    if os.getuid() == 0:
        os.setgroups([1004, 1007, 1011, 1015, 3003])  # input log adb sdcard_rw inet
        os.setgid(SHELL_UID)
        os.setuid(SHELL_UID)
        # Or the files in /proc/PID of this process would belong to root.
        _libc.prctl(4, 1)


def reap_until(child: int) -> int:
    """As process 1: collect whatever dies, until our child does; its exit code."""
    while True:
        pid, status = os.wait()
        if pid == child:
            return os.waitstatus_to_exitcode(status)
