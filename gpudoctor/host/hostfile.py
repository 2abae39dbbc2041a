"""A host as one text file (``.host``): fixtures, and what ``--host FILE`` reads. The grammar is in docs/design.md.

The text is bytes, not characters: /proc/PID/environ and EFI variables keep their NULs as they are.
"""

from __future__ import annotations

import os
import stat as st
from typing import TYPE_CHECKING

from gpudoctor.host import KINDS, Absent, Denied, Miss, Ran, Slow, Unseen
from gpudoctor.host.book import Book, Node

if TYPE_CHECKING:
    from typing import Any, BinaryIO

_STARTS = (b"/", b"$ ", b"env ", b"unenv ", b"like ")
_PATH_MISSES: dict[str, tuple[type[Miss] | None, type[Miss] | None]] = {
    # word: (what read and list meet, what stat meets)
    "absent": (Absent, Absent),
    "denied": (Denied, None),
    "denied-stat": (Denied, Denied),
    "unseen": (Unseen, Unseen),
}
_RUN_MISSES: dict[str, type[Miss]] = {"missing": Absent, "slow": Slow, "denied": Denied, "unseen": Unseen}
_MOST_LIKES = 8
_SIZE_LIMIT = 256 * 1024 * 1024


class BadHost(ValueError):  # noqa: N818 - named for what the file is
    """A recorded host that cannot be read: ``path``, ``line`` (0 where none is meant) and what is wrong."""

    def __init__(self, path: str, line: int, reason: str) -> None:
        """Take the file, the 1-based line and one phrase."""
        super().__init__(path, line, reason)
        self.path = path
        self.line = line
        self.reason = reason

    def __str__(self) -> str:
        """Return ``path:line: reason``."""
        return f"{self.path}:{self.line}: {self.reason}" if self.line else f"{self.path}: {self.reason}"


class _Draft:
    """What has been read so far: nodes, commands and variables, before they become a Book."""

    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}
        self.commands: dict[tuple[str, ...], Ran | type[Miss]] = {}
        self.variables: dict[str, str] = {}


def open_regular(path: str) -> BinaryIO:
    """Open a regular file for reading. Raises BadHost for anything else: opening a FIFO blocks, opening a device has effects."""
    if "\0" in path:
        raise BadHost(path, 0, "is not a path: it has a NUL in it")
    kind = os.stat(path).st_mode
    if st.S_ISDIR(kind):
        raise BadHost(path, 0, "is a folder, not a file (a mounted machine is given by --root)")
    if not st.S_ISREG(kind):
        raise BadHost(path, 0, "is not a regular file")
    # Without O_NONBLOCK a FIFO put there in the meantime would block.
    return os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")


def read_text(handle: BinaryIO, path: str) -> bytes:
    """Return what is left of a ``.host`` text; raises BadHost past 256 MiB."""
    data = handle.read(_SIZE_LIMIT + 1)
    if len(data) > _SIZE_LIMIT:
        raise BadHost(path, 0, f"is larger than {_SIZE_LIMIT >> 20} MiB")
    return data


def load(path: str) -> Book:
    """Read a ``.host`` file. Raises BadHost for a bad marker or what is no file, OSError where it cannot be read."""
    draft = _draft(path, ())
    return Book(draft.nodes, draft.commands, draft.variables)


def parse(data: bytes, path: str = "host") -> Book:
    """Read a host from bytes; ``path`` names it in errors and is what ``-- like`` is relative to."""
    draft = _fill(data, path, ())
    return Book(draft.nodes, draft.commands, draft.variables)


def _draft(path: str, above: tuple[str, ...]) -> _Draft:
    with open_regular(path) as handle:
        data = read_text(handle, path)
    return _fill(data, path, above)


def _fill(data: bytes, path: str, above: tuple[str, ...]) -> _Draft:
    draft = _Draft()
    fresh: set[tuple[str, ...]] = set()
    first = True
    for line, head, body in _sections(data):
        if head.startswith(b"like "):
            if not first:
                raise BadHost(path, line, "`-- like` must be the first marker")
            draft = _base(path, line, head, above)
        else:
            _take(draft, fresh, path, line, head, body)
        first = False
    return draft


def _sections(data: bytes) -> list[tuple[int, bytes, bytes]]:
    """Return (line number, marker without its leading ``-- ``, body) for each marker, in order."""
    chunks = (b"\n" + data).split(b"\n-- ")
    found: list[tuple[int, bytes, list[bytes]]] = []
    line = chunks[0].count(b"\n")
    for at, chunk in enumerate(chunks[1:], 1):
        line += 1
        # The split took the newline before each marker; the last chunk has its own.
        whole = chunk if at == len(chunks) - 1 else chunk + b"\n"
        head, _, body = whole.partition(b"\n")
        if head.startswith(_STARTS) and _closing(head) is not None:
            found.append((line, head, [body]))
        elif found:
            # Looks like a marker and is none (no closing dashes): it belongs to the body above.
            found[-1][2].append(b"-- " + whole)
        line += chunk.count(b"\n")
    sections = []
    for number, head, parts in found:
        body = b"".join(parts)
        sections.append((number, head, _unescape(body) if b"\\" in body else body))
    return sections


def _unescape(body: bytes) -> bytes:
    lines = body.split(b"\n")
    return b"\n".join(line[1:] if line[:1] == b"\\" and line.lstrip(b"\\").startswith(b"-- ") else line for line in lines)


def _closing(head: bytes) -> int | None:
    """Return where the closing `` --`` starts: the first one followed by a space or the end, outside shell quotes."""
    if b"'" not in head and b'"' not in head and b"\\" not in head:
        at = head.find(b" -- ")
        if at < 0:
            return len(head) - 3 if head.endswith(b" --") else None
        return at
    quote = 0
    at = 0
    while at < len(head):
        byte = head[at]
        if quote:
            if byte == 0x5C and quote == 0x22:
                at += 1
            elif byte == quote:
                quote = 0
        elif byte in {0x22, 0x27}:
            quote = byte
        elif byte == 0x5C:
            at += 1
        elif byte == 0x20 and (head[at : at + 4] == b" -- " or head[at:] == b" --"):
            return at
        at += 1
    return None


def _words(text: bytes, path: str, line: int) -> list[str]:
    shown = text.decode("utf-8", "surrogateescape")
    if "'" not in shown and '"' not in shown and "\\" not in shown:
        return shown.split()
    import shlex

    try:
        return shlex.split(shown)
    except ValueError as error:
        raise BadHost(path, line, f"quotes do not match: {error}") from None


def _base(path: str, line: int, head: bytes, above: tuple[str, ...]) -> _Draft:
    closing = _closing(head)
    words = _words(head[5:closing], path, line)
    name = words[0] if len(words) == 1 else ""
    if not name or name.startswith("/") or ".." in name.split("/"):
        raise BadHost(path, line, "`-- like` takes one relative path without `..`")
    here = os.path.dirname(os.path.abspath(path))
    folder = here
    while folder != "/" and os.path.basename(folder) != "fixtures":
        folder = os.path.dirname(folder)
    base = os.path.join(folder if folder != "/" else here, name)
    me = os.path.abspath(path)
    if base in (*above, me) or len(above) >= _MOST_LIKES:
        raise BadHost(path, line, f"`-- like {name}` goes round in a circle or too deep")
    try:
        return _draft(base, (*above, me))
    except OSError as error:
        raise BadHost(path, line, f"`-- like {name}` cannot be read: {os.strerror(error.errno or 0).lower()}") from None


def _take(draft: _Draft, fresh: set[tuple[str, ...]], path: str, line: int, head: bytes, body: bytes) -> None:
    closing = _closing(head) or 0
    tail = head[closing + 4 :]
    if head.startswith(b"/"):
        names = _words(head[:closing], path, line)
        if len(names) != 1:
            raise BadHost(path, line, "a path with spaces must be quoted")
        name = names[0].rstrip("/") or "/"
        node = _node(_words(tail, path, line), body, path, line)
        if node.stat_miss is Absent:
            below = f"{name}/"
            for inherited in [known for known in draft.nodes if known.startswith(below)]:
                del draft.nodes[inherited]
        draft.nodes[name] = node
    elif head.startswith(b"$ "):
        argv = tuple(_words(head[2:closing], path, line))
        if not argv:
            raise BadHost(path, line, "a command without a name")
        known = draft.commands.get(argv) if argv in fresh else None
        fresh.add(argv)
        draft.commands[argv] = _ran(_words(tail, path, line), body, known, path, line)
    elif head.startswith(b"env "):
        draft.variables[head[4:closing].decode("utf-8", "surrogateescape").strip()] = tail.decode("utf-8", "surrogateescape")
    else:
        draft.variables.pop(head[6:closing].decode("utf-8", "surrogateescape").strip(), None)


def _node(words: list[str], body: bytes, path: str, line: int) -> Node:
    told: dict[str, Any] = {}
    kind: str = "file"
    for at, word in enumerate(words):
        key, sign, value = word.partition("=")
        if at == 0 and word in KINDS and word != "file":
            kind = told["kind"] = KINDS[word]
        elif word in _PATH_MISSES:
            told["miss"], told["stat_miss"] = _PATH_MISSES[word]
        elif at == 1 and kind == "link":
            told["target"] = word
        elif at == 1 and kind in {"char", "block"}:
            told["rdev"] = _numbers(word, path, line)
        elif sign and key in {"mode", "uid", "gid", "mtime"}:
            try:
                told[key] = int(value, 8 if key == "mode" else 10)
            except ValueError:
                raise BadHost(path, line, f"`{word}` is not a number") from None
        elif word == "base64" and kind == "file":
            import base64

            try:
                body = base64.b64decode(b"".join(body.split()), validate=True)
            except ValueError:
                raise BadHost(path, line, "the body is not base64") from None
        elif word == "nonl" and kind == "file":
            body = body.removesuffix(b"\n")
        else:
            raise BadHost(path, line, f"`{word}` is not a word of a marker")
    if kind == "link" and "target" not in told:
        raise BadHost(path, line, "a link without its target")
    if kind in {"char", "block"} and "rdev" not in told:
        raise BadHost(path, line, f"a {kind} device without major:minor")
    return Node(**told, body=body if kind == "file" and told.get("miss") is None else b"")


def _numbers(word: str, path: str, line: int) -> tuple[int, int]:
    major, _, minor = word.partition(":")
    try:
        return int(major), int(minor)
    except ValueError:
        raise BadHost(path, line, f"`{word}` is not major:minor") from None


def _ran(words: list[str], body: bytes, known: Ran | type[Miss] | None, path: str, line: int) -> Ran | type[Miss]:
    ran = known if isinstance(known, Ran) else Ran(0, b"", b"")
    stream = "out"
    for word in words:
        if word in _RUN_MISSES:
            return _RUN_MISSES[word]
        if word == "stderr":
            stream = "err"
        elif word.startswith("rc="):
            try:
                ran = ran._replace(rc=int(word[3:]))
            except ValueError:
                raise BadHost(path, line, f"`{word}` is not an exit code") from None
        elif word == "nonl":
            body = body.removesuffix(b"\n")
        else:
            raise BadHost(path, line, f"`{word}` is not a word of a command's marker")
    return ran._replace(err=body) if stream == "err" else ran._replace(out=body)
