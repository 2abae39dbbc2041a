"""One probe in a process of its own: limits a phase, nothing left behind, and a crash is a result.

The probe is piped to the target's Python on standard input and writes its rungs, a line of JSON each, to a file in a fresh folder.
Its process leads a session of its own; when it is over, or late, everything that it started is killed: what stands below it in the
tree of processes, and what has its nonce in the environment, which a worker in a session of its own keeps too.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from gpudoctor.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable
    from subprocess import Popen

    OnLine = Callable[[dict[str, Any]], None]

MARK = "GPUDOCTOR_SMOKE"
"""The environment variable that has the nonce."""
_KEPT = 64 * 1024
_MOST = 4 * 1024 * 1024
_PACE = 0.05


class Job(NamedTuple):
    """What to run: words, the probe's file for standard input, the environment, and the folder and nonce of the verdict.

    ``stop`` is the command that ends what the words started elsewhere (a container), none where it is below us.
    """

    argv: tuple[str, ...]
    probe: str
    folder: str
    nonce: str
    environment: dict[str, str]
    stop: tuple[str, ...] = ()


class Ended(NamedTuple):
    """How a probe ended: its lines; the phase and rung it was in; ``late`` where that took too long; what it printed.

    ``rc`` is negative for a signal, None where it could not be started (``err`` says why). ``left``: processes that could not be killed.
    """

    lines: tuple[dict[str, Any], ...]
    phase: str
    rung: str
    ended: bool
    late: bool
    rc: int | None
    out: str
    err: str
    peak_kib: int | None
    left: tuple[int, ...]


def folder(nonce: str) -> str:
    """Make a folder of our own and return its path. The nonce is not to be guessed; tempfile would cost half a bare Python."""
    path = os.path.join(os.environ.get("TMPDIR") or "/tmp", f"gpudoctor-smoke-{nonce}")  # noqa: S108 - mkdir takes no folder that is there
    os.mkdir(path, 0o700)
    return path


class _Verdict:
    """The verdict's file, read as it grows; lines without the nonce are not ours and are passed over."""

    def __init__(self, path: str, nonce: str, heard: OnLine) -> None:
        self.path = path
        self.nonce = nonce
        self.heard = heard
        self.lines: list[dict[str, Any]] = []
        self.read = 0
        self.phase = "start"
        self.rung = ""
        self.ended = False
        self.since = time.monotonic()

    def look(self) -> None:
        """Take in what was written since the last look."""
        try:
            handle = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return
        try:
            os.lseek(handle, self.read, os.SEEK_SET)
            data = os.read(handle, max(_MOST - self.read, 0))
        finally:
            os.close(handle)
        whole = data[: data.rfind(b"\n") + 1]
        self.read += len(whole)
        for line in whole.splitlines():
            self._take(line)

    def _take(self, line: bytes) -> None:
        import json

        try:
            value = json.loads(line)
        except ValueError:
            return
        if not isinstance(value, dict) or value.get("nonce") != self.nonce:
            return
        del value["nonce"]
        if value.get("phase"):
            self.phase = str(value["phase"])
            self.since = time.monotonic()
            self.rung = str(value.get("rung", ""))
        elif value.get("rung"):
            self.rung = ""
        self.ended = self.ended or bool(value.get("end"))
        self.lines.append(value)
        self.heard(value)


def run(job: Job, timeout: float, heard: OnLine) -> Ended:
    """Run a probe; each phase may take ``timeout`` seconds. ``heard`` gets each line of the verdict as it comes."""
    import subprocess

    verdict = _Verdict(os.path.join(job.folder, "verdict"), job.nonce, heard)
    try:
        with open(job.probe, "rb") as script:
            child = subprocess.Popen(  # noqa: S603 - the user's own Python, or docker, because the user asked for it; no shell
                job.argv,
                stdin=script,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={**job.environment, MARK: job.nonce},
                start_new_session=True,
                cwd=job.folder,
            )
    except OSError as error:
        why = f"{job.argv[0]}: {(error.strerror or str(error)).lower()}"
        return Ended((), "start", "", ended=False, late=False, rc=None, out="", err=why, peak_kib=None, left=())
    memory = _Memory(child.pid, job.nonce)
    late = False
    try:
        out, err, late = _watch(child, verdict, memory, timeout)
    finally:
        # Where docker's client has ended by itself, the container has too.
        cut_short = bool(job.stop) and child.poll() is None
        if cut_short:
            stop(job.stop)
        left = end_all(child, job.nonce, memory.seen)
        # A client that ended in the middle of its request may have its container made all the same, a moment later.
        for pause in (0.3, 1.0) if cut_short else ():
            time.sleep(pause)
            stop(job.stop)
    verdict.look()
    return Ended(
        tuple(verdict.lines),
        verdict.phase,
        verdict.rung,
        verdict.ended,
        late,
        child.returncode,
        out.decode("utf-8", "replace"),
        err.decode("utf-8", "replace"),
        memory.peak or None,
        left,
    )


def _watch(child: Popen[bytes], verdict: _Verdict, memory: _Memory, timeout: float) -> tuple[bytes, bytes, bool]:
    """Read what the child prints (the first and last of it) and its verdict until it ends, or a phase takes too long."""
    import selectors

    assert child.stdout is not None  # noqa: S101 - both are pipes, for the type checker
    assert child.stderr is not None  # noqa: S101
    kept: dict[int, bytearray] = {child.stdout.fileno(): bytearray(), child.stderr.fileno(): bytearray()}
    late = False
    with child.stdout, child.stderr, selectors.DefaultSelector() as selector:
        for handle in kept:
            selector.register(handle, selectors.EVENT_READ)
        while child.poll() is None:
            for key, _ in selector.select(_PACE) if selector.get_map() else ():
                part = os.read(key.fd, 65536)
                if part:
                    _keep(kept[key.fd], part)
                else:
                    selector.unregister(key.fd)
            if not selector.get_map():
                # Both are closed: it is ending.
                _wait(child, _PACE)
            memory.look()
            verdict.look()
            if time.monotonic() - verdict.since > timeout and not verdict.ended:
                late = True
                break
        # What it wrote last; a grandchild may hold the pipe open and is not waited for.
        for key, _ in selector.select(0) if selector.get_map() else ():
            _keep(kept[key.fd], os.read(key.fd, _KEPT))
    out, err = kept.values()
    return bytes(out), bytes(err), late


def _keep(kept: bytearray, part: bytes) -> None:
    """Add to what was printed, and keep its first and last 64 KiB."""
    kept += part
    if len(kept) > 2 * _KEPT:
        del kept[_KEPT : len(kept) - _KEPT]


def _wait(child: Popen[bytes], seconds: float) -> bool:
    import subprocess

    try:
        child.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def stop(argv: tuple[str, ...]) -> None:
    """Run the command that ends a container, if it is still there."""
    import contextlib
    import subprocess

    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=30, check=False)  # noqa: S603 - as above


class _Memory:
    """The most memory that the probe and all that it started held at once, in KiB; looking costs a walk over /proc."""

    def __init__(self, pid: int, nonce: str) -> None:
        self.pid = pid
        self.nonce = nonce
        self.peak = 0
        self.seen: dict[int, int] = {}
        self.next = 0.0

    def look(self) -> None:
        """Add up the resident memory, four times a second at most."""
        now = time.monotonic()
        if now < self.next:
            return
        # The first quarter of a second belongs to the start: nothing has been started by then, and the walk costs time.
        first = self.next == 0.0
        self.next = now + 0.25
        if first:
            return
        tree = below(self.pid)
        self.seen.update(tree)
        self.peak = max(self.peak, sum(map(_resident, tree)))


def _resident(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:
            return int(file.read().split()[1]) * (os.sysconf("SC_PAGE_SIZE") // 1024)
    except (OSError, IndexError, ValueError):
        return 0


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _stat(pid: int) -> tuple[bytes, int, int] | None:
    """Return a process's state, parent and start (clock ticks since boot, which tells two with one number apart); None: gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The name, in brackets, may hold anything.
            fields = file.read().rpartition(b")")[2].split()
        return fields[0], int(fields[1]), int(fields[19])
    except (OSError, IndexError, ValueError):
        return None


def below(top: int) -> dict[int, int]:
    """Return the processes below one in the tree, and itself, each with its start."""
    known = {pid: stat for pid in _pids() if (stat := _stat(pid)) is not None}
    found = {top} & set(known)
    while True:
        more = {pid for pid, (_, parent, _) in known.items() if parent in found} - found
        if not more:
            return {pid: known[pid][2] for pid in found}
        found |= more


def marked(nonce: str) -> set[int]:
    """Return the processes that have the nonce in their environment, whoever their parent is now; not ourselves."""
    mark = f"{MARK}={nonce}".encode()
    found = set()
    for pid in _pids():
        try:
            with open(f"/proc/{pid}/environ", "rb") as file:
                if mark in file.read(_MOST).split(b"\0"):
                    found.add(pid)
        except OSError:
            continue
    return found - {os.getpid()}


def end_all(child: Popen[bytes], nonce: str, seen: dict[int, int]) -> tuple[int, ...]:
    """Kill what a probe started and is still there; return what cannot be killed (a process that waits for the driver).

    ``seen`` are processes that once stood below it, with their starts: numbers are used again, and another's must not be killed.
    """
    import contextlib
    import signal

    ours = dict(seen)
    for _ in range(40):
        if child.poll() is None:
            ours.update(below(child.pid))
        alive = marked(nonce) | {pid for pid, start in ours.items() if (stat := _stat(pid)) is not None and stat[2] == start}
        # One that has ended and waits for its parent to notice holds nothing any more.
        alive = {pid for pid in alive if (stat := _stat(pid)) is not None and stat[0] not in {b"Z", b"X"}}
        if not alive:
            break
        for pid in alive:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        _wait(child, _PACE)
        time.sleep(0.01)
    _wait(child, _PACE)
    return tuple(sorted(alive))
