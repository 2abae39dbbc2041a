"""Recorded answers: ``Book`` (a host as a set of nodes), ``Recorder`` (asks once, keeps the answer), ``Overlay`` (a host as edited)."""

from __future__ import annotations

from typing import TypeVar

from gpudoctor.host import Absent, Denied, Host, Kind, Miss, Ran, Slow, Stat, Unseen
from gpudoctor.values import NamedTuple

_DEFAULT_MODE: dict[str, int] = {"file": 0o644, "dir": 0o755, "link": 0o777, "block": 0o660}
# NVIDIA's own default for its device nodes, and what a socket or FIFO that is there to be used has.
_OPEN_MODE = 0o666

MISSES: dict[str, type[Miss]] = {"absent": Absent, "denied": Denied, "slow": Slow, "unseen": Unseen, "missing": Absent}


class Node(NamedTuple):
    """One path of a recorded host. ``miss`` is what ``read`` and ``list`` meet, ``stat_miss`` what ``stat`` meets."""

    kind: Kind = "file"
    body: bytes = b""
    mode: int | None = None
    uid: int = 0
    gid: int = 0
    mtime: int | None = None
    rdev: tuple[int, int] | None = None
    target: str | None = None
    miss: type[Miss] | None = None
    stat_miss: type[Miss] | None = None

    def stat(self) -> Stat:
        """Return what ``stat`` answers for this node."""
        mode = _DEFAULT_MODE.get(self.kind, _OPEN_MODE) if self.mode is None else self.mode
        return Stat(self.kind, mode, self.uid, self.gid, self.mtime, self.rdev, self.target)


_FOLDER = Node("dir")


class Book(Host):
    """A closed host: what is not in it is Absent, and a command that is not in it is not installed.

    Parents of a node exist as folders. ``nodes`` maps absolute paths, ``commands`` argv, ``variables`` names.
    """

    closed = True

    def __init__(
        self,
        nodes: dict[str, Node],
        commands: dict[tuple[str, ...], Ran | type[Miss]],
        variables: dict[str, str],
    ) -> None:
        """Take the nodes, commands and variables; nothing is copied."""
        self.nodes = _through_links(nodes)
        self.commands = commands
        self.variables = variables
        folders: dict[str, set[str]] = {"/": set()}
        for path, node in self.nodes.items():
            if node.stat_miss is Absent:
                continue
            if node.kind == "dir":
                folders.setdefault(path, set())
            while path != "/":
                parent, _, name = path.rpartition("/")
                parent = parent or "/"
                known = parent in folders
                folders.setdefault(parent, set()).add(name)
                if known:
                    break
                path = parent  # noqa: PLW2901 - climbs to the root
        self.folders = folders
        self._links = tuple(path + "/" for path, node in self.nodes.items() if node.kind == "link")

    def read(self, path: str) -> bytes:
        """Return the recorded bytes of a file."""
        node, path = self._at(path)
        if node.miss is not None:
            raise node.miss(path)
        if node.kind != "file":
            raise Denied(path, f"is a {'folder' if node.kind == 'dir' else node.kind}, not a regular file")
        return node.body

    def list(self, path: str) -> tuple[str, ...]:
        """Return the sorted names in a recorded folder."""
        node, inside = self._at(path)
        if node.miss is not None:
            raise node.miss(path)
        if inside not in self.folders:
            raise Absent(path)
        return tuple(sorted(self.folders[inside]))

    def stat(self, path: str) -> Stat:
        """Return what is recorded at ``path`` itself."""
        node = self._node(path)
        if node is None and path.startswith(self._links):
            folder, _, name = path.rstrip("/").rpartition("/")
            inside = self.real(folder) if folder else ""
            node = self._node(f"{'' if inside == '/' else inside}/{name}")
        if node is None:
            raise Absent(path)
        if node.stat_miss is not None:
            raise node.stat_miss(path)
        return node.stat()

    def run(self, *argv: str) -> Ran:
        """Return what a recorded command printed."""
        answer = self.commands.get(argv, Absent)
        if isinstance(answer, Ran):
            return answer
        raise answer(" ".join(argv))

    def env(self, name: str) -> str:
        """Return a recorded variable."""
        if name not in self.variables:
            raise Absent(f"${name}")
        return self.variables[name]

    def _node(self, path: str) -> Node | None:
        node = self.nodes.get(path)
        if path in self.folders and (node is None or node.kind == "file"):
            # Named only as a parent, or marked denied without a kind: a path with something below it is a folder.
            return _FOLDER if node is None else node._replace(kind="dir")
        return node

    def _at(self, path: str) -> tuple[Node, str]:
        node = self._node(path)
        if (node is None and path.startswith(self._links)) or (node is not None and node.kind == "link"):
            path = self.real(path)
            node = self._node(path)
        if node is None:
            raise Absent(path)
        if node.stat_miss is not None and node.miss is None:
            raise node.stat_miss(path)
        return node, path


def _through_links(nodes: dict[str, Node]) -> dict[str, Node]:
    """Move what is named below a link to a folder to where the link leads, as unpacking an archive would."""
    links = {path + "/": node.target for path, node in nodes.items() if node.kind == "link" and node.target}
    if not links:
        return nodes
    moved = {}
    for path, node in nodes.items():
        for _ in range(8):
            at = next((link for link in links if path.startswith(link)), None)
            if at is None:
                break
            target = links[at]
            base = target if target.startswith("/") else f"{at[:-1].rpartition('/')[0]}/{target}"
            path = _normal(f"{base}/{path[len(at) :]}")  # noqa: PLW2901 - follows one link a round
        moved[path] = node
    return moved


def _normal(path: str) -> str:
    done: list[str] = []
    for part in path.split("/"):
        if part == "..":
            del done[-1:]
        elif part not in {"", "."}:
            done.append(part)
    return "/" + "/".join(done)


class Answers(NamedTuple):
    """Questions and what was answered; a miss is kept as the exception itself."""

    reads: dict[str, bytes | Miss]
    lists: dict[str, tuple[str, ...] | Miss]
    stats: dict[str, Stat | Miss]
    runs: dict[tuple[str, ...], Ran | Miss]
    envs: dict[str, str | Miss]

    @classmethod
    def none(cls) -> Answers:
        """Return an empty book of answers."""
        return cls({}, {}, {}, {}, {})


class Replay(Host):
    """A snapshot: the answers that were recorded; a question it was never asked is Unseen."""

    def __init__(self, answers: Answers) -> None:
        """Take the recorded answers."""
        self.answers = answers

    def read(self, path: str) -> bytes:
        """Return the recorded bytes."""
        return _answer(self.answers.reads.get(path), path)

    def list(self, path: str) -> tuple[str, ...]:
        """Return the recorded names."""
        return _answer(self.answers.lists.get(path), path)

    def stat(self, path: str) -> Stat:
        """Return the recorded stat."""
        return _answer(self.answers.stats.get(path), path)

    def run(self, *argv: str) -> Ran:
        """Return the recorded output."""
        return _answer(self.answers.runs.get(argv), " ".join(argv))

    def env(self, name: str) -> str:
        """Return the recorded value."""
        return _answer(self.answers.envs.get(name), f"${name}")


class Recorder(Host):
    """Asks another host each question once and keeps the answer, misses too: a snapshot is what the doctor asked."""

    def __init__(self, host: Host) -> None:
        """Take the host that is asked."""
        self.host = host
        self.answers = Answers.none()

    def read(self, path: str) -> bytes:
        """Ask once, then answer from memory."""
        known = self.answers.reads
        if path not in known:
            try:
                known[path] = self.host.read(path)
            except Miss as missed:
                known[path] = missed
        return _answer(known[path], path)

    def list(self, path: str) -> tuple[str, ...]:
        """Ask once, then answer from memory."""
        known = self.answers.lists
        if path not in known:
            try:
                known[path] = self.host.list(path)
            except Miss as missed:
                known[path] = missed
        return _answer(known[path], path)

    def stat(self, path: str) -> Stat:
        """Ask once, then answer from memory."""
        known = self.answers.stats
        if path not in known:
            try:
                known[path] = self.host.stat(path)
            except Miss as missed:
                known[path] = missed
        return _answer(known[path], path)

    def run(self, *argv: str) -> Ran:
        """Ask once, then answer from memory."""
        known = self.answers.runs
        if argv not in known:
            try:
                known[argv] = self.host.run(*argv)
            except Miss as missed:
                known[argv] = missed
        return _answer(known[argv], " ".join(argv))

    def env(self, name: str) -> str:
        """Ask once, then answer from memory."""
        known = self.answers.envs
        if name not in known:
            try:
                known[name] = self.host.env(name)
            except Miss as missed:
                known[name] = missed
        return _answer(known[name], f"${name}")


class Overlay(Host):
    """A host as it would be after an edit.

    ``files`` maps a path to its new bytes, or to None where it is removed; ``modes`` gives new modes; ``commands`` what a command
    would print then. A file that is reached by another path (through a linked folder) is known by its real path.
    """

    def __init__(
        self,
        host: Host,
        files: dict[str, bytes | None],
        modes: dict[str, int] | None = None,
        commands: dict[tuple[str, ...], Ran] | None = None,
    ) -> None:
        """Take the host below and what differs."""
        self.host = host
        self.files = files
        self.modes = modes or {}
        self.commands = commands or {}
        self.closed = host.closed
        self._basenames = {path.rpartition("/")[2] for path in (*files, *self.modes)}

    def read(self, path: str) -> bytes:
        """Return the new bytes, else ask the host below."""
        path = self._known(path)
        if path not in self.files:
            return self.host.read(path)
        body = self.files[path]
        if body is None:
            raise Absent(path)
        return body

    def list(self, path: str) -> tuple[str, ...]:
        """Return the names as they would be."""
        prefix = self._folder(path).rstrip("/") + "/"
        inside = {name[len(prefix) :].partition("/")[0]: body for name, body in self.files.items() if name.startswith(prefix)}
        added = {name for name, body in inside.items() if body is not None}
        try:
            names = set(self.host.list(path))
        except Absent:
            if not added:
                raise
            names = set()
        removed = {name for name in inside if self.files.get(prefix + name, b"") is None}
        return tuple(sorted((names | added) - removed))

    def stat(self, path: str) -> Stat:
        """Return the stat below with what the edit changes; a new file is 0644 root."""
        known = self._known(path)
        if known not in self.files:
            try:
                stat = self.host.stat(path)
            except Absent:
                # The folder of a new file comes with it.
                below = path.rstrip("/") + "/"
                if any(name.startswith(below) and body is not None for name, body in self.files.items()):
                    return _FOLDER.stat()
                raise
        elif self.files[known] is None:
            raise Absent(path)
        else:
            try:
                stat = self.host.stat(path)
            except Absent:
                stat = Node().stat()
        return stat._replace(mode=self.modes[known]) if known in self.modes and stat.kind != "link" else stat

    def run(self, *argv: str) -> Ran:
        """Return what the command would print then, else ask the host below."""
        return self.commands[argv] if argv in self.commands else self.host.run(*argv)

    def env(self, name: str) -> str:
        """Ask the host below."""
        return self.host.env(name)

    def _known(self, path: str) -> str:
        """Return the path under which an edited file is known, where this is another way to it."""
        if path in self.files or path in self.modes or path.rpartition("/")[2] not in self._basenames:
            return path
        folder, _, name = path.rpartition("/")
        return f"{self._folder(folder)}/{name}"

    def _folder(self, path: str) -> str:
        try:
            return self.host.real(path)
        except Absent:
            return path


_T = TypeVar("_T")


def _answer(known: _T | Miss | None, asked: str) -> _T:
    if known is None:
        raise Unseen(asked, "was never asked when this snapshot was taken")
    if isinstance(known, Miss):
        raise known.with_traceback(None)
    return known


__all__ = ["MISSES", "Answers", "Book", "Node", "Overlay", "Recorder", "Replay"]
