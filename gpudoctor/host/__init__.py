"""A host: the only way in which the product looks at a machine.

A host answers five questions (``read``, ``list``, ``stat``, ``run``, ``env``). A question that cannot be met
raises one of two kinds of miss, and they never blur:

``Absent``
    is an *answer*: there is no such file, device node, command or variable.
``NoAnswer`` (``Denied``, ``Slow``, ``Unseen``)
    means that whoever needed the answer *cannot tell*. It is caught by the engine, not by the rules.

The conveniences below (``text``, ``names``, ``exists`` ...) are written once, in terms of the five questions.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Literal, get_args

from gpudoctor.values import NamedTuple

Kind = Literal["file", "dir", "link", "char", "block", "socket", "fifo"]
KINDS: dict[str, Kind] = {kind: kind for kind in get_args(Kind)}

# Reads are bounded: /var/lib/dpkg/status and /proc/self/mountinfo may reach several MiB, nothing that is read here is larger.
READ_LIMIT = 32 * 1024 * 1024
_MOST_LINKS = 40


class Miss(Exception):  # noqa: N818 - a miss is an answer or the lack of one, not an error of the program
    """A question that a host did not meet: ``asked`` is what was asked (a path, an argv, a variable)."""

    reason: ClassVar[str] = ""

    def __init__(self, asked: str, why: str = "") -> None:
        """Take what was asked and, where it is known, why there is no better answer."""
        super().__init__(asked, why)
        self.asked = asked
        self.why = why

    def __str__(self) -> str:
        """Return one phrase, such as ``/etc/shadow: permission denied``."""
        return f"{self.asked}: {self.why or self.reason}"


class Absent(Miss):
    """The answer is that there is no such thing."""

    reason = "absent"


class NoAnswer(Miss):
    """There is no answer: whoever needed it cannot tell."""


class Denied(NoAnswer):
    """Permission was refused, or the thing is not one that can be read (a FIFO, a device, too large)."""

    reason = "denied"


class Slow(NoAnswer):
    """The answer did not come within the time limit."""

    reason = "slow"


class Unseen(NoAnswer):
    """It was never asked (an older snapshot), or cannot be (a mounted root runs no commands)."""

    reason = "unseen"


class Stat(NamedTuple):
    """What ``lstat`` says. ``mtime`` in seconds, None where a recorded host does not know it; ``rdev`` of device nodes only."""

    kind: Kind
    mode: int
    uid: int
    gid: int
    mtime: int | None
    rdev: tuple[int, int] | None
    target: str | None


class Ran(NamedTuple):
    """A command that ran to its end: exit code, standard output, standard error."""

    rc: int
    out: bytes
    err: bytes


class Host(ABC):
    """A machine, live or recorded: five questions, each answered or missed."""

    # True where everything there is to know is written down, so that no question can have an effect (a `.host` text).
    closed: bool = False

    @abstractmethod
    def read(self, path: str) -> bytes:
        """Return the bytes of a regular file (links are followed)."""

    @abstractmethod
    def list(self, path: str) -> tuple[str, ...]:
        """Return the sorted names in a folder (links are followed)."""

    @abstractmethod
    def stat(self, path: str) -> Stat:
        """Return what is at ``path`` itself; a final link is never followed."""

    @abstractmethod
    def run(self, *argv: str) -> Ran:
        """Run one of the few commands the doctor may run: LC_ALL=C, no standard input, a time limit."""

    @abstractmethod
    def env(self, name: str) -> str:
        """Return an environment variable of whoever runs the doctor."""

    def bytes(self, path: str) -> bytes | None:
        """Return a file's bytes, or None where there is no such file."""
        try:
            return self.read(path)
        except Absent:
            return None

    def text(self, path: str) -> str | None:
        """Return a file's text (bytes that are not UTF-8 are replaced), or None where there is no such file."""
        data = self.bytes(path)
        return None if data is None else data.decode("utf-8", "replace")

    def names(self, path: str) -> tuple[str, ...]:
        """Return the sorted names in a folder, none where there is no such folder."""
        try:
            return self.list(path)
        except Absent:
            return ()

    def lstat(self, path: str) -> Stat | None:
        """Return what is at ``path`` itself, or None."""
        try:
            return self.stat(path)
        except Absent:
            return None

    def exists(self, path: str) -> bool:
        """Say whether something is there once links are followed (a dangling link is not)."""
        return self.followed(path) is not None

    def followed(self, path: str) -> Stat | None:
        """Return what is at the end of a link, or None."""
        try:
            return self.stat(self.real(path))
        except Absent:
            return None

    def real(self, path: str) -> str:
        """Return the path with every link resolved; raises Absent for a dangling or looping one."""
        todo = [part for part in reversed(path.split("/")) if part]
        done = ""
        links = 0
        while todo:
            part = todo.pop()
            if part == ".":
                continue
            if part == "..":
                done = done[: done.rfind("/")] if "/" in done else ""
                continue
            here = f"{done}/{part}"
            found = self._resolved(here)
            if found.kind != "link" or found.target is None:
                done = here
                continue
            links += 1
            if links > _MOST_LINKS:
                raise Absent(path, "too many links")
            if found.target.startswith("/"):
                done = ""
            todo.extend(part for part in reversed(found.target.split("/")) if part)
        return done or "/"

    def _resolved(self, path: str) -> Stat:
        """Return what is at a path whose folder has no link in it; a host that resolves folders itself need not do so again."""
        return self.stat(path)

    def command(self, *argv: str) -> Ran | None:
        """Run a command; None where it is not installed."""
        try:
            return self.run(*argv)
        except Absent:
            return None

    def variable(self, name: str) -> str | None:
        """Return an environment variable, or None where it is not set."""
        try:
            return self.env(name)
        except Absent:
            return None
