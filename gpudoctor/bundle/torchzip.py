"""Zip archives of torch's (``torch.save``, TorchScript, ``torch.export``), and whatever else is a zip, by the directory at the end.

What a newcomer must know:

- The directory is read by hand and nothing else but the pickles, the code and a few small members: an archive of five gigabytes costs
  what its directory does. An archive that was cut off has none.
- Every member whose name ends in ``.pkl`` is walked, wherever it stands, and every stored member that is an archive itself (a
  ``.pt2`` has its sample inputs so). torch stores pickles as they are; a packed one is unpacked in memory, up to a bound.
- TorchScript's pickles are read by torch's own C++ reader, which knows no Python and imports nothing.
- Where a tensor was saved stands in the pickle (``cuda:0``); devices written into TorchScript's code stay there whatever map_location
  says.

Sources: APPNOTE.TXT of PKWARE (directory, zip64); torch/serialization.py, caffe2/serialize/inline_container.cc (members' names).
"""

from __future__ import annotations

from struct import unpack_from
from typing import TYPE_CHECKING, Literal

from gpudoctor.bundle import pickles
from gpudoctor.bundle.window import Short, Window
from gpudoctor.values import NamedTuple

if TYPE_CHECKING:
    from typing import BinaryIO

    from gpudoctor.bundle.pickles import Pickle

MAGIC = b"PK\x03\x04"
_TAIL = 65_557
"""Bytes of the end record with the longest comment."""
_MOST_MEMBERS = 200_000
_MOST_NAMES = 16 * 1024 * 1024
_MOST_PICKLES = 200
_MOST_UNPACKED = 24 * 1024 * 1024
_MOST_CODE = 32 * 1024 * 1024
_MOST_DEVICES = 100
_MOST_NESTED = 3


class Member(NamedTuple):
    """One member: where its own header is, how it is packed (0: not at all, 8: deflated), its size packed and unpacked."""

    name: str
    at: int
    method: int
    packed: int
    size: int
    encrypted: bool


class Inside(NamedTuple):
    """A pickle in the archive, and which member it is; ``at`` is where that begins in the file, 0 where it was packed."""

    member: str
    at: int
    pickle: Pickle


class Written(NamedTuple):
    """A device that stands in TorchScript's code: its name, the member and the line."""

    device: str
    member: str
    line: int


class Zip(NamedTuple):
    """What the archive is and has.

    ``kind``: ``torchscript``, ``torch-export``, ``torch-save`` (weights, or objects of classes that the pickle names), ``mar``,
    ``keras`` (a ``.keras`` file), ``npz``, ``other``. ``state`` and ``problem`` as for ``Pickle``, those of the pickles not among them.
    ``version``: that of the format, as the archive says it; ``repacked``: a ``.pt2`` as torch.export writes them since torch 2.8.
    """

    kind: Literal["torchscript", "torch-export", "torch-save", "mar", "keras", "npz", "other"]
    state: Literal["whole", "truncated", "damaged", "unread"]
    problem: str
    members: int
    version: str
    pickles: tuple[Inside, ...]
    written: tuple[Written, ...]
    repacked: bool = False


class _Damaged(Exception):  # noqa: N818 - never leaves this module
    """There is no directory that could be read: what became of the archive, and why."""

    def __init__(self, state: Literal["truncated", "damaged", "unread"], text: str) -> None:
        super().__init__(text)
        self.state: Literal["truncated", "damaged", "unread"] = state


def read(stream: BinaryIO, start: int = 0, end: int | None = None, depth: int = 0) -> Zip:
    """Return what the archive from ``start`` to ``end`` of a stream has. Only an OSError of reading is raised."""
    if end is None:
        end = stream.seek(0, 2)
    try:
        members, base = _directory(stream, start, end)
    except _Damaged as broken:
        return Zip("other", broken.state, str(broken), 0, "", (), ())
    except Short as short:
        return Zip("other", "damaged", f"its directory is cut off: {short}", 0, "", (), ())
    reader = _Reader(stream, base, end, members, depth)
    stream.seek(start)
    if base > start and stream.read(4) == MAGIC:
        # A member that is an archive itself (a .pt2 has one) has a directory of its own, which is the last where the rest is cut off.
        reader.wrong("truncated", f"it ends at byte {end - start:,}, and the directory there is that of an archive within it")
    return reader.archive()


def is_zip(stream: BinaryIO) -> bool:
    """Tell whether there is an end record of a zip: what Python's zipfile goes by, wherever the archive begins."""
    size = stream.seek(0, 2)
    tail_at = max(size - _TAIL, 0)
    stream.seek(tail_at)
    return b"PK\x05\x06" in stream.read(_TAIL)


def _directory(stream: BinaryIO, start: int, end: int) -> tuple[list[Member], int]:
    """Return the members, and where the archive's positions are counted from."""
    tail_at = max(end - _TAIL, start)
    stream.seek(tail_at)
    tail = stream.read(end - tail_at)
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) < at + 22:
        raise _Damaged("truncated", f"it ends at byte {end - start:,}, and the directory that belongs there is missing")
    count, length, first = unpack_from("<HII", tail, at + 10)
    last = tail_at + at
    # torch writes one for small archives too, where the fields of the old record are right as well.
    found = _directory_64(stream, start, last)
    if found is not None:
        last, count, length, first = found
    # What stands before the archive moves all of it: the directory ends where the end record begins.
    base = last - length - first
    if base < start:
        raise _Damaged("damaged", "its directory is not where the end record says")
    if count > _MOST_MEMBERS:
        raise _Damaged("unread", f"it has {count:,} members, more than are read")
    window = Window(stream, base + first, last)
    members: list[Member] = []
    names = 0
    while len(members) < count:
        here = window.tell()
        head = window.take(46)
        if head[:4] != b"PK\x01\x02":
            raise _Damaged("damaged", f"what stands at byte {here:,} is no entry of its directory")
        flags, method = unpack_from("<HH", head, 8)
        packed, size, name_length, extra_length, comment = unpack_from("<IIHHH", head, 20)
        header = unpack_from("<I", head, 42)[0]
        name = window.take(name_length).decode("utf-8", "replace")
        extra = window.take(extra_length)
        window.goto(window.tell() + comment)
        packed, size, header = _extra_64(extra, packed, size, header)
        names += len(name) + 200
        if names > _MOST_NAMES:
            raise _Damaged("unread", "the names of its members are longer than is read")
        if base + header + 30 + packed > last:
            raise _Damaged("damaged", f"its directory says that {name[:80]} goes on to where the directory is")
        members.append(Member(name, header, method, packed, size, bool(flags & 1)))
    return members, base


def _directory_64(stream: BinaryIO, start: int, last: int) -> tuple[int, int, int, int] | None:
    """Return where the end record of zip64 is, and its count, length and offset; None where there is none."""
    stream.seek(max(last - 20, start))
    locator = stream.read(20)
    if len(locator) < 20 or locator[:4] != b"PK\x06\x07":
        return None
    # The locator counts from the archive's beginning, which may not be the file's: the record stands right before the locator.
    for at in (last - 20 - 56, unpack_from("<Q", locator, 8)[0]):
        if at < start or at > last:
            continue
        stream.seek(at)
        record = stream.read(56)
        if len(record) == 56 and record[:4] == b"PK\x06\x06":
            count, length, first = unpack_from("<QQQ", record, 32)
            return at, count, length, first
    return None


def _extra_64(extra: bytes, packed: int, size: int, header: int) -> tuple[int, int, int]:
    """Return the sizes and the position of a member with those of zip64 in place of the ones that did not fit."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = unpack_from("<HH", extra, at)
        if kind == 1:
            values = [unpack_from("<Q", extra, at + 4 + 8 * index)[0] for index in range(min(length, len(extra) - at - 4) // 8)]
            if size == 0xFFFFFFFF and values:
                size = values.pop(0)
            if packed == 0xFFFFFFFF and values:
                packed = values.pop(0)
            if header == 0xFFFFFFFF and values:
                header = values.pop(0)
            break
        at += 4 + length
    return packed, size, header


class _Reader:
    """Reads the members of one archive that matter."""

    def __init__(self, stream: BinaryIO, base: int, end: int, members: list[Member], depth: int) -> None:
        self.stream = stream
        self.base = base
        self.end = end
        self.members = members
        self.depth = depth
        self.state: Literal["whole", "truncated", "damaged", "unread"] = "whole"
        self.problem = ""
        self.found: list[Inside] = []
        self.written: list[Written] = []

    def archive(self) -> Zip:
        """Read it."""
        # torch puts everything into one folder that has the name of the file when it was saved.
        inner = {member.name.partition("/")[2] or member.name: member for member in self.members}
        kind = _kind(inner, {member.name for member in self.members})
        for member in self.members:
            if member.name.endswith(".pkl"):
                self.pickle(member, inner)
            elif kind == "torchscript" and member.name.endswith(".py"):
                self.code(member)
            elif member.size > 30 and member.name.endswith((".pt", ".pth", ".zip")):
                self.nested(member)
        version = ""
        for name in ("archive_version", "version", ".data/version"):
            if name in inner and not version:
                version = (self.bytes(inner[name], 20) or b"").decode("ascii", "replace").strip()
        if not self.members:
            self.wrong("damaged", "it has no members")
        return Zip(
            kind,
            self.state,
            self.problem,
            len(self.members),
            version,
            tuple(self.found),
            tuple(dict.fromkeys(self.written)),
            "archive_format" in inner,
        )

    def wrong(self, state: Literal["truncated", "damaged", "unread"], text: str) -> None:
        """Keep the first problem."""
        if self.state == "whole":
            self.state, self.problem = state, text

    def where(self, member: Member) -> int:
        """Return where a member's bytes begin, -1 where its own header is not there."""
        at = self.base + member.at
        self.stream.seek(at)
        head = self.stream.read(30)
        if len(head) < 30 or head[:4] != MAGIC:
            self.wrong("damaged", f"there is no member where the directory says that {member.name[:80]} is")
            return -1
        name, extra = unpack_from("<HH", head, 26)
        start = at + 30 + int(name) + int(extra)
        if start + member.packed > self.end:
            self.wrong("damaged", f"{member.name[:80]} goes on beyond the end")
            return -1
        return start

    def bytes(self, member: Member, most: int) -> bytes | None:
        """Return the first bytes of a member, None where they cannot be had."""
        start = self.where(member)
        if start < 0 or member.encrypted:
            return None
        self.stream.seek(start)
        if not member.method:
            return self.stream.read(min(most, member.packed))
        if member.method != 8:
            return None
        from zlib import decompressobj, error

        unpack = decompressobj(-15)
        parts: list[bytes] = []
        left, packed = most, member.packed
        try:
            while left > 0 and packed > 0 and not unpack.eof:
                data = unpack.unconsumed_tail or self.stream.read(min(64 * 1024, packed))
                if not data:
                    break
                part = unpack.decompress(data, left)
                packed -= len(data) - len(unpack.unconsumed_tail)
                left -= len(part)
                parts.append(part)
        except error:
            self.wrong("damaged", f"{member.name[:80]} cannot be unpacked")
            return None
        return b"".join(parts)

    def pickle(self, member: Member, inner: dict[str, Member]) -> None:
        """Walk a member that is a pickle, and see that the tensors that it names are there."""
        if len(self.found) >= _MOST_PICKLES:
            self.wrong("unread", f"it has more than {_MOST_PICKLES} pickles")
            return
        start = 0
        if not member.method and not member.encrypted:
            start = self.where(member)
            if start < 0:
                return
            walked = pickles.walk(self.stream, start, start + member.packed)
        else:
            data = self.bytes(member, _MOST_UNPACKED + 1)
            if data is None or len(data) > _MOST_UNPACKED:
                self.wrong("unread", f"its pickle {member.name[:80]} is packed so that it cannot be examined")
                return
            from io import BytesIO

            walked = pickles.walk(BytesIO(data))
        self.found.append(Inside(member.name, start, walked))
        if not member.name.endswith("/data.pkl"):
            return
        for key, size in walked.storages:
            data_of = inner.get(f"data/{key}")
            if data_of is None:
                self.wrong("damaged", f"the bytes of a tensor (data/{key[:40]}) are missing")
            elif data_of.size < size:
                self.wrong("damaged", f"data/{key[:40]} has {data_of.size:,} bytes, and its tensor needs {size:,}")

    def nested(self, member: Member) -> None:
        """Read a member that is an archive of torch's itself; a packed one is unpacked first."""
        start = self.where(member)
        if start < 0:
            return
        stream, first, last = self.stream, start, start + member.packed
        if member.method or member.encrypted:
            head = self.bytes(member, 4)
            if head is not None and head != MAGIC:
                return
            data = self.bytes(member, _MOST_UNPACKED + 1)
            if data is None or len(data) > _MOST_UNPACKED:
                self.wrong("unread", f"its archive {member.name[:80]} is packed so that it cannot be examined")
                return
            from io import BytesIO

            stream, first, last = BytesIO(data), 0, len(data)
        stream.seek(first)
        if stream.read(4) != MAGIC:
            return
        if self.depth >= _MOST_NESTED or len(self.found) >= _MOST_PICKLES:
            self.wrong("unread", f"{member.name[:80]}: archives stand in archives deeper, or more often, than is followed")
            return
        inside = read(stream, first, last, self.depth + 1)
        if inside.state != "whole":
            self.wrong(inside.state, f"{member.name[:80]}: {inside.problem}")
        self.found += (each._replace(member=f"{member.name}: {each.member}") for each in inside.pickles)
        self.written += inside.written

    def code(self, member: Member) -> None:
        """Look for devices in TorchScript's code."""
        if len(self.written) >= _MOST_DEVICES:
            return
        data = self.bytes(member, _MOST_CODE) or b""
        at = data.find(b'"cuda')
        while at >= 0 and len(self.written) < _MOST_DEVICES:
            close = data.find(b'"', at + 1, at + 20)
            device = data[at + 1 : close].decode("ascii", "replace") if close > 0 else ""
            if device == "cuda" or (device.startswith("cuda:") and device[5:].isdecimal()):
                self.written.append(Written(device, member.name, data.count(b"\n", 0, at) + 1))
            at = data.find(b'"cuda', at + 1)


def _kind(
    inner: dict[str, Member], names: set[str]
) -> Literal["torchscript", "torch-export", "torch-save", "mar", "keras", "npz", "other"]:
    if "MAR-INF/MANIFEST.json" in names:
        return "mar"
    if "archive_format" in inner or "models/model.json" in inner or "serialized_exported_program.json" in names:
        return "torch-export"
    if "constants.pkl" in inner and any(name.startswith("code/") for name in inner):
        return "torchscript"
    if "data.pkl" in inner or "data.pkl" in names:
        return "torch-save"
    if "model.weights.h5" in names:
        return "keras"
    return "npz" if names and all(name.endswith(".npy") for name in names) else "other"
