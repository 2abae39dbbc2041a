"""A host as a tar: what the doctor asked of a machine, saved, and read again on another one.

A person can unpack it and look: ``gpudoctor-snapshot.json`` holds every question with its answer, ``files/`` the bodies of the files
that were read, ``commands/`` what commands printed. We never unpack it. A snapshot comes from somebody else's machine, so the reader
below knows just the part of tar (POSIX ustar, with pax and GNU long names) that a snapshot needs, refuses the rest, counts what it
inflates instead of believing what headers say, and ends in ``BadHost`` or an answer, nothing else.
"""

from __future__ import annotations

import stat as st
from typing import TYPE_CHECKING, Any, NoReturn

from gpudoctor import __version__
from gpudoctor.host import KINDS, Absent, Denied, Miss, Ran, Slow, Stat, Unseen
from gpudoctor.host.book import MISSES, Answers, Replay
from gpudoctor.host.hostfile import BadHost, open_regular, parse, read_text

if TYPE_CHECKING:
    from typing import BinaryIO, Protocol

    from gpudoctor.host import Host

    class _Reads(Protocol):
        def read(self, size: int, /) -> bytes: ...


SCHEMA = 1
INDEX = "gpudoctor-snapshot.json"
MIB = 1024 * 1024
TOTAL_LIMIT = 256 * MIB  # of everything in a snapshot, inflated
MEMBER_LIMIT = 64 * MIB
INDEX_LIMIT = 16 * MIB  # JSON grows about twentyfold when it becomes values
MEMBERS_LIMIT = 20_000
_NAME_LIMIT = 64 * 1024  # of a long name or a pax header, which paths of Linux (4096 bytes) never reach
_BLOCK = 512
_INLINE = 64  # bytes; a process's name or the like stays in the index: a tar member costs 1 KiB
_REFUSED = {
    b"1": "a hard link",
    b"2": "a link",
    b"3": "a device",
    b"4": "a device",
    b"6": "a FIFO",
    b"S": "a sparse file",
    b"K": "a link",
}


def is_tar(first: bytes) -> bool:
    """Say whether a file that starts with these bytes (512 are enough) is a tar, gzipped or plain."""
    return first[:2] == b"\x1f\x8b" or first[257:262] == b"ustar"


def open_host(path: str) -> Host:
    """Read a recorded host, a snapshot or a ``.host`` text, told apart by its first bytes.

    Raises OSError where the file cannot be opened and BadHost for everything else; a FIFO or a device is not opened.
    """
    with open_regular(path) as handle:
        first = handle.read(_BLOCK)
        handle.seek(0)
        if is_tar(first):
            return _loaded(handle, path)
        data = read_text(handle, path)
    book = parse(data, path)
    if not (book.nodes or book.commands or book.variables):
        raise BadHost(path, 0, "is neither a snapshot nor a recorded host: no marker such as `-- /etc/os-release --` is in it")
    return book


def load(path: str) -> Replay:
    """Read a snapshot. Raises OSError where the file cannot be opened, BadHost where it is not a sound snapshot."""
    with open_regular(path) as handle:
        return _loaded(handle, path)


def save(answers: Answers, meta: dict[str, str]) -> bytes:
    """Return a gzipped tar of these answers; the same answers give the same bytes.

    ``meta`` is kept in the index for people to read. Raises ValueError where ``load`` would refuse the result as too large.
    """
    import json

    members: dict[str, bytes] = {}
    index: dict[str, Any] = {
        "schema": SCHEMA,
        "gpudoctor": __version__,
        "meta": dict(sorted(meta.items())),
        "reads": {path: _body_out(path, answers.reads[path], members) for path in sorted(answers.reads)},
        "lists": {path: _names_out(path, answers.lists[path]) for path in sorted(answers.lists)},
        "stats": {path: _stat_out(path, answers.stats[path]) for path in sorted(answers.stats)},
        "runs": [_ran_out(at, argv, answers.runs[argv], members) for at, argv in enumerate(sorted(answers.runs), 1)],
        "envs": {name: _env_out(name, answers.envs[name]) for name in sorted(answers.envs)},
    }
    described = json.dumps(index, indent=1).encode() + b"\n"
    if len(described) > INDEX_LIMIT or len(members) >= MEMBERS_LIMIT:
        raise ValueError("there are too many answers for one snapshot")
    if any(len(body) > MEMBER_LIMIT for body in members.values()):
        raise ValueError(f"an answer is larger than {MEMBER_LIMIT // MIB} MiB")
    # Each member takes a header (a long name three more) and is filled up to a whole block.
    if len(described) + sum(len(body) + 5 * _BLOCK for body in members.values()) > TOTAL_LIMIT - MIB:
        raise ValueError(f"the answers are larger than {TOTAL_LIMIT // MIB} MiB together")
    return _packed({INDEX: described, **dict(sorted(members.items()))})


def _packed(members: dict[str, bytes]) -> bytes:
    import gzip
    import io
    import tarfile

    raw = io.BytesIO()
    with (
        gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as zipped,
        tarfile.open(fileobj=zipped, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for name, body in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(body)
            info.mode = 0o644
            tar.addfile(info, io.BytesIO(body))
    return raw.getvalue()


def _miss_out(asked: str, missed: Miss) -> dict[str, Any]:
    kind = next((word for word in ("absent", "denied", "slow") if isinstance(missed, MISSES[word])), "unseen")
    out = {"miss": kind, "why": missed.why}
    return out if missed.asked == asked else {**out, "asked": missed.asked}


def _body_out(path: str, body: bytes | Miss, members: dict[str, bytes]) -> dict[str, Any]:
    if isinstance(body, Miss):
        return _miss_out(path, body)
    if len(body) <= _INLINE and path.startswith("/proc/") and path[6:7].isdigit():
        return {"text": body.decode("utf-8", "surrogateescape")}
    name = f"files{path}"
    parts = path.split("/")
    above = ("/".join(["files", *parts[1:at]]) for at in range(2, len(parts)))
    # What could not be unpacked (`..`, a name that is both a file and a folder) is kept under a number.
    clean = path.startswith("/") and "\0" not in path and len(path) < 4000
    clean = clean and all(
        part not in {"", ".", ".."} and len(part.encode("utf-8", "surrogateescape")) < 256 for part in parts[1:]
    )
    if not clean or any(folder in members for folder in above):
        name = f"files-more/{len(members) + 1:05d}"
    members[name] = body
    return {"file": name}


def _names_out(path: str, names: tuple[str, ...] | Miss) -> Any:
    return _miss_out(path, names) if isinstance(names, Miss) else list(names)


def _stat_out(path: str, found: Stat | Miss) -> dict[str, Any]:
    if isinstance(found, Miss):
        return _miss_out(path, found)
    out: dict[str, Any] = {"kind": found.kind, "mode": found.mode, "uid": found.uid, "gid": found.gid, "mtime": found.mtime}
    if found.rdev is not None:
        out["rdev"] = list(found.rdev)
    if found.target is not None:
        out["target"] = found.target
    return out


def _ran_out(number: int, argv: tuple[str, ...], ran: Ran | Miss, members: dict[str, bytes]) -> dict[str, Any]:
    if isinstance(ran, Miss):
        return {"argv": list(argv), **_miss_out(" ".join(argv), ran)}
    out: dict[str, Any] = {"argv": list(argv), "rc": ran.rc}
    for stream, body in (("out", ran.out), ("err", ran.err)):
        if body:
            out[stream] = f"commands/{number:04d}.{stream}"
            members[out[stream]] = body
    return out


def _env_out(name: str, value: str | Miss) -> dict[str, Any]:
    return _miss_out(f"${name}", value) if isinstance(value, Miss) else {"value": value}


def _loaded(handle: BinaryIO, path: str) -> Replay:
    import zlib

    members: dict[str, bytes] = {}
    try:
        if handle.read(2) == b"\x1f\x8b":
            import gzip

            handle.seek(0)
            with gzip.GzipFile(fileobj=handle, mode="rb") as inflated:
                members = _Untar(inflated, path).members()
        else:
            handle.seek(0)
            members = _Untar(handle, path).members()
    except EOFError:
        raise BadHost(path, 0, "is cut short") from None
    except zlib.error:
        raise BadHost(path, 0, "is damaged: it cannot be inflated") from None
    except OSError as error:
        if error.errno is not None:
            raise
        # gzip says "not a gzipped file" and "CRC check failed" as an OSError without a number.
        raise BadHost(path, 0, "is damaged: it cannot be inflated") from None
    return Replay(_Index(members, path).answers())


class _Untar:
    """Reads the members of one tar into memory, a bounded amount of them."""

    def __init__(self, stream: _Reads, path: str) -> None:
        self.stream = stream
        self.path = path
        self.total = 0

    def bad(self, reason: str) -> NoReturn:
        raise BadHost(self.path, 0, reason)

    def take(self, size: int) -> bytes:
        """Return exactly ``size`` bytes; what is inflated in all is bounded here."""
        self.total += size
        if self.total > TOTAL_LIMIT:
            self.bad(f"is larger than {TOTAL_LIMIT // MIB} MiB when inflated")
        parts = []
        while size > 0:
            part = self.stream.read(min(size, MIB))
            if not part:
                self.bad("is cut short")
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def members(self) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        long_name: bytes | None = None
        count = 0
        while any(header := self.take(_BLOCK)):
            count += 1
            # A long name is an entry of its own, and folders are allowed where somebody packed it again.
            if count > 4 * MEMBERS_LIMIT or len(found) >= MEMBERS_LIMIT:
                self.bad(f"has more than {MEMBERS_LIMIT} members")
            kind = header[156:157]
            size = self.size(header)
            if kind in _REFUSED:
                self.bad(f"holds {_REFUSED[kind]}, which a snapshot never does")
            if kind in {b"x", b"g", b"L"}:
                if size > _NAME_LIMIT:
                    self.bad("has a name that is too long")
                body = self.body(size)
                if kind != b"g":
                    long_name = body.rstrip(b"\0") if kind == b"L" else self.pax(body) or long_name
                continue
            name = self.name(header if long_name is None else b"", long_name)
            long_name = None
            if kind == b"5":
                self.body(size)
                continue
            if kind not in {b"0", b"\0"}:
                self.bad("holds a kind of member that a snapshot never has")
            if name in found:
                self.bad(f"holds {name!r} twice")
            if size > (INDEX_LIMIT if name == INDEX else MEMBER_LIMIT):
                self.bad(f"holds {name!r}, which is too large")
            found[name] = self.body(size)
        self.drain()
        return found

    def drain(self) -> None:
        """Read on to the end, so that a damaged or cut gzip shows; a tar ends in nothing but NULs."""
        while part := self.stream.read(MIB):
            self.total += len(part)
            if self.total > TOTAL_LIMIT or part.strip(b"\0"):
                self.bad("goes on after its end")

    def body(self, size: int) -> bytes:
        body = self.take(size)
        self.take(-size % _BLOCK)
        return body

    def size(self, header: bytes) -> int:
        """Return the size in a header whose checksum is right (POSIX: the sum of its bytes, its own field as spaces)."""
        blank = header[:148] + b" " * 8 + header[156:]
        if self.octal(header[148:156]) != sum(blank):
            self.bad("is not a tar, or a damaged one")
        return self.octal(header[124:136])

    def octal(self, field: bytes) -> int:
        digits = field.strip(b" \0")
        if not digits or digits.strip(b"01234567"):
            self.bad("is not a tar, or a damaged one")
        return int(digits, 8)

    def pax(self, body: bytes) -> bytes | None:
        """Return the path in a pax header (records of ``LENGTH KEY=VALUE`` and a newline), None where it has none."""
        name = None
        while body:
            digits, _, _ = body.partition(b" ")
            length = int(digits) if digits.isdigit() and len(digits) < 6 else 0
            record = body[len(digits) + 1 : length]
            key, sign, value = record.partition(b"=")
            if length <= len(digits) + 1 or length > len(body) or not sign or not value.endswith(b"\n"):
                self.bad("has a damaged pax header")
            if key in {b"size", b"linkpath"} or key.startswith(b"GNU.sparse"):
                self.bad("holds a kind of member that a snapshot never has")
            if key == b"path":
                name = value[:-1]
            body = body[length:]
        return name

    def name(self, header: bytes, long_name: bytes | None) -> str:
        raw = long_name
        if raw is None:
            raw = header[:100].rstrip(b"\0")
            prefix = header[345:500].rstrip(b"\0") if header[257:263] == b"ustar\0" else b""
            raw = prefix + b"/" + raw if prefix else raw
        name = raw.decode("utf-8", "surrogateescape")
        parts = [part for part in name.split("/") if part not in {"", "."}]
        if name.startswith("/") or ".." in parts or "\0" in name:
            self.bad(f"holds {name[:200]!r}, a name that leads out of it")
        return "/".join(parts)


class _Index:
    """Turns the index of a snapshot, of which nothing is believed, into answers."""

    def __init__(self, members: dict[str, bytes], path: str) -> None:
        self.members = members
        self.path = path
        self.used: set[str] = set()

    def bad(self, reason: str) -> NoReturn:
        raise BadHost(self.path, 0, reason)

    def answers(self) -> Answers:
        import json

        described = self.members.pop(INDEX, None)
        if described is None:
            self.bad(f"is a tar, but not a snapshot: it holds no {INDEX}")
        try:
            index = json.loads(described)
        except (ValueError, RecursionError):
            self.bad(f"{INDEX} is not valid JSON")
        index = self.object(index)
        schema = index.get("schema")
        if type(schema) is int and schema > SCHEMA:
            self.bad(
                f"was taken by a newer gpudoctor (schema {str(schema)[:20]}); this one reads schema {SCHEMA}: upgrade gpudoctor"
            )
        if type(schema) is not int or schema != SCHEMA:
            self.bad(f"{INDEX} has no schema that this gpudoctor knows")
        reads = self.object(index.get("reads"))
        lists = self.object(index.get("lists"))
        stats = self.object(index.get("stats"))
        envs = self.object(index.get("envs"))
        runs = index.get("runs")
        if not isinstance(runs, list):
            self.bad(f"{INDEX} is damaged")
        answers = Answers(
            {asked: self.read(asked, value) for asked, value in reads.items()},
            {asked: self.names(asked, value) for asked, value in lists.items()},
            {asked: self.stat(asked, value) for asked, value in stats.items()},
            dict(map(self.run, runs)),
            {name: self.env(name, value) for name, value in envs.items()},
        )
        more = next((name for name in self.members if name not in self.used), None)
        if more is not None:
            self.bad(f"holds {more[:200]!r}, which its index does not name")
        return answers

    def object(self, value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            self.bad(f"{INDEX} is damaged")
        return value

    def text(self, value: Any) -> str:
        if not isinstance(value, str):
            self.bad(f"{INDEX} is damaged")
        if not value.isascii():
            try:
                value.encode("utf-8", "surrogateescape")
            except UnicodeEncodeError:
                # Half a character: what a path or a value can hold comes through; this could never be printed.
                self.bad(f"{INDEX} is damaged")
        return value

    def texts(self, value: Any) -> tuple[str, ...]:
        if not isinstance(value, list):
            self.bad(f"{INDEX} is damaged")
        return tuple(self.text(each) for each in value)

    def number(self, value: Any) -> int:
        if type(value) is not int or abs(value) >> 63:
            self.bad(f"{INDEX} is damaged")
        return value

    def member(self, name: Any) -> bytes:
        name = self.text(name)
        if name not in self.members:
            self.bad(f"{INDEX} names {name[:200]!r}, which is not there")
        self.used.add(name)
        return self.members[name]

    def missed(self, asked: str, value: dict[str, Any]) -> Miss | None:
        if "miss" not in value:
            return None
        kinds = {"absent": Absent, "denied": Denied, "slow": Slow, "unseen": Unseen}
        word = self.text(value["miss"])
        if word not in kinds:
            self.bad(f"{INDEX} is damaged")
        return kinds[word](self.text(value.get("asked", asked)), self.text(value.get("why", "")))

    def read(self, asked: str, value: Any) -> bytes | Miss:
        value = self.object(value)
        if "text" in value:
            return self.text(value["text"]).encode("utf-8", "surrogateescape")
        return self.missed(asked, value) or self.member(value.get("file"))

    def names(self, asked: str, value: Any) -> tuple[str, ...] | Miss:
        missed = self.missed(asked, value) if isinstance(value, dict) else None
        return missed or self.texts(value)

    def stat(self, asked: str, value: Any) -> Stat | Miss:
        value = self.object(value)
        missed = self.missed(asked, value)
        if missed is not None:
            return missed
        kind = KINDS.get(self.text(value.get("kind")))
        if kind is None:
            self.bad(f"{INDEX} is damaged")
        numbers = value.get("rdev")
        if numbers is not None and not (isinstance(numbers, list) and len(numbers) == 2):
            self.bad(f"{INDEX} is damaged")
        return Stat(
            kind,
            st.S_IMODE(self.number(value.get("mode"))),
            self.number(value.get("uid")),
            self.number(value.get("gid")),
            None if value.get("mtime") is None else self.number(value["mtime"]),
            None if numbers is None else (self.number(numbers[0]), self.number(numbers[1])),
            None if value.get("target") is None else self.text(value["target"]),
        )

    def run(self, value: Any) -> tuple[tuple[str, ...], Ran | Miss]:
        value = self.object(value)
        argv = self.texts(value.get("argv"))
        missed = self.missed(" ".join(argv), value)
        if missed is not None:
            return argv, missed
        out, err = (self.member(value[stream]) if stream in value else b"" for stream in ("out", "err"))
        return argv, Ran(self.number(value.get("rc")), out, err)

    def env(self, name: str, value: Any) -> str | Miss:
        value = self.object(value)
        return self.missed(f"${name}", value) or self.text(value.get("value"))


__all__ = ["SCHEMA", "is_tar", "load", "open_host", "save"]
