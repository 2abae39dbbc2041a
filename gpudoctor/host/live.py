"""The machine that we run on. Reads are bounded, children have a deadline and are killed with their group; nothing is changed."""

from __future__ import annotations

import errno
import os
import stat as st
import time
from typing import TYPE_CHECKING

from gpudoctor.host import READ_LIMIT, Absent, Denied, Host, Kind, Miss, Ran, Slow, Stat, Unseen

if TYPE_CHECKING:
    from subprocess import Popen

DEADLINE = 10.0  # seconds a child may take; a healthy `nvidia-smi -L` of 16 GPUs without persistence takes about 6
OUTPUT_LIMIT = 8 * 1024 * 1024
_SYSTEM_PATH = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
_ABSENT = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ENODEV, errno.ENXIO, errno.ELOOP, errno.ENAMETOOLONG, errno.ESRCH})

_KINDS: dict[int, Kind] = {
    st.S_IFREG: "file",
    st.S_IFDIR: "dir",
    st.S_IFLNK: "link",
    st.S_IFCHR: "char",
    st.S_IFBLK: "block",
    st.S_IFSOCK: "socket",
    st.S_IFIFO: "fifo",
}


def miss(path: str, error: OSError) -> Miss:
    """Turn what the kernel said into a miss: no such thing, or no answer."""
    if error.errno in _ABSENT:
        return Absent(path)
    return Denied(path, os.strerror(error.errno).lower() if error.errno else "could not be read")


def read_file(path: str, shown: str) -> bytes:
    """Return the bytes of the regular file ``path``; a miss names it ``shown`` (its path inside a mounted root)."""
    try:
        # A FIFO or a device must not be opened: it may block, and opening a device may have effects.
        kind = st.S_IFMT(os.stat(path).st_mode)
        if kind != st.S_IFREG:
            raise Denied(shown, f"is a {_named(kind)}, not a regular file")
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
        try:
            parts = []
            left = READ_LIMIT + 1
            while left > 0 and (part := os.read(handle, min(left, 1 << 20))):
                parts.append(part)
                left -= len(part)
        finally:
            os.close(handle)
    except OSError as error:
        raise miss(shown, error) from None
    if left <= 0:
        raise Denied(shown, f"is larger than {READ_LIMIT >> 20} MiB")
    return b"".join(parts)


def list_folder(path: str, shown: str) -> tuple[str, ...]:
    """Return the sorted names in the folder ``path``."""
    try:
        return tuple(sorted(os.listdir(path)))
    except OSError as error:
        raise miss(shown, error) from None


def stat_path(path: str, shown: str) -> Stat:
    """Return what is at ``path`` itself."""
    try:
        found = os.lstat(path)
        kind = _KINDS.get(st.S_IFMT(found.st_mode), "file")
        target = os.readlink(path) if kind == "link" else None
    except OSError as error:
        raise miss(shown, error) from None
    rdev = (os.major(found.st_rdev), os.minor(found.st_rdev)) if kind in {"char", "block"} else None
    return Stat(kind, st.S_IMODE(found.st_mode), found.st_uid, found.st_gid, int(found.st_mtime), rdev, target)


def populated(folder: str) -> bool:
    """Say whether a folder is there and has anything in it."""
    try:
        return bool(list_folder(folder, folder))
    except Miss:
        return False


class Live(Host):
    """The machine that the doctor runs on."""

    def __init__(self, deadline: float = DEADLINE) -> None:
        """Take the seconds that one child process may take."""
        self.deadline = deadline
        # What is missing below a /proc or /sys that is not mounted (a bare chroot) is not an answer about the machine.
        self._unmounted = tuple(f"{mount}/" for mount in ("/proc", "/sys") if not populated(mount))

    def read(self, path: str) -> bytes:
        """Return the bytes of a regular file."""
        try:
            return read_file(path, path)
        except Absent as missed:
            raise self._missed(path, missed) from None

    def list(self, path: str) -> tuple[str, ...]:
        """Return the sorted names in a folder."""
        try:
            return list_folder(path, path)
        except Absent as missed:
            raise self._missed(path, missed) from None

    def stat(self, path: str) -> Stat:
        """Return what is at ``path`` itself."""
        try:
            return stat_path(path, path)
        except Absent as missed:
            raise self._missed(path, missed) from None

    def _missed(self, path: str, missed: Absent) -> Miss:
        return Unseen(path, "not mounted here") if f"{path}/".startswith(self._unmounted) else missed

    def env(self, name: str) -> str:
        """Return an environment variable."""
        value = os.environ.get(name)
        if value is None:
            raise Absent(f"${name}")
        return value

    def run(self, *argv: str) -> Ran:
        """Run a command; those that need no process are answered by the system call behind them."""
        if argv == ("date", "+%s"):
            return Ran(0, b"%d\n" % int(time.time()), b"")
        if argv == ("id", "-u"):
            return Ran(0, b"%d\n" % os.geteuid(), b"")
        if argv == ("uname", "-m"):
            return Ran(0, os.uname().machine.encode() + b"\n", b"")
        if argv == ("nvml",):
            import sys

            child = os.path.join(os.path.dirname(__file__), "nvml_child.py")
            return run_bounded([sys.executable, "-I", "-B", child], "nvml", self.deadline)
        return run_here(argv, self.deadline)


def _named(kind: int) -> str:
    names = {st.S_IFDIR: "folder", st.S_IFCHR: "character device", st.S_IFBLK: "block device", st.S_IFIFO: "FIFO"}
    return names.get(kind, "socket")


def _executable(name: str) -> str:
    """Return the path of a program: its own where ``name`` is a whole path, else that in the first folder which has it."""
    folders = [folder for folder in os.environ.get("PATH", "").split(":") if folder.startswith("/")]
    refused = False
    for path in (name,) if name.startswith("/") else (f"{folder}/{name}" for folder in (*folders, *_SYSTEM_PATH)):
        if os.access(path, os.X_OK) and not os.path.isdir(path):
            return path
        refused = refused or os.path.exists(path)
    if refused:
        raise Denied(name, "is there but may not be executed")
    raise Absent(name)


def run_here(argv: tuple[str, ...], deadline: float) -> Ran:
    """Run a command of this machine, found on the PATH or in the system's own folders; raises as ``run_bounded`` does."""
    return run_bounded([_executable(argv[0]), *argv[1:]], " ".join(argv), deadline)


def run_bounded(argv: list[str], shown: str, deadline: float) -> Ran:
    """Run ``argv`` for at most ``deadline`` seconds and keep at most 8 MiB of what it prints.

    Raises Absent where it is not there, Denied where it may not be run, Slow past the deadline. A child past its
    deadline is killed with its group and then abandoned: a process in D state cannot be killed at all.
    """
    import subprocess

    environment = {**os.environ, "LC_ALL": "C"}
    try:
        child = subprocess.Popen(  # noqa: S603 - argv is a fixed list, no shell
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            start_new_session=True,
            cwd="/",
        )
    except OSError as error:
        raise miss(shown, error) from None
    try:
        out, err = _drain(child, time.monotonic() + deadline)
    except TimeoutError:
        _kill_group(child)
        raise Slow(shown, f"no answer within {deadline:g} s") from None
    except BaseException:
        _kill_group(child)
        raise
    return Ran(child.returncode, out, err)


def _drain(child: Popen[bytes], until: float) -> tuple[bytes, bytes]:
    import selectors

    assert child.stdout is not None  # noqa: S101 - both are pipes, for the type checker
    assert child.stderr is not None  # noqa: S101
    kept: dict[int, bytearray] = {child.stdout.fileno(): bytearray(), child.stderr.fileno(): bytearray()}
    out, err = kept.values()
    with child.stdout, child.stderr, selectors.DefaultSelector() as selector:
        for handle in kept:
            selector.register(handle, selectors.EVENT_READ)
        while selector.get_map():
            ended = child.poll() is not None
            left = until - time.monotonic()
            if left <= 0 and not ended:
                raise TimeoutError
            # A grandchild may hold the pipe open after the child has ended, and even go on writing: take what is there and go.
            ready = selector.select(0.05 if ended else min(left, 0.5))
            if ended and (not ready or left <= 0):
                break
            for key, _ in ready:
                part = os.read(key.fd, 65536)
                if not part:
                    selector.unregister(key.fd)
                elif len(kept[key.fd]) < OUTPUT_LIMIT:
                    kept[key.fd] += part
    try:
        child.wait(max(until - time.monotonic(), 0.01))
    except Exception as error:
        raise TimeoutError from error
    return bytes(out), bytes(err)


def _kill_group(child: Popen[bytes]) -> None:
    import contextlib
    import signal
    import subprocess

    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(0.5)
