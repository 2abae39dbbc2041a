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

from typing import TYPE_CHECKING, Literal

from gpudoctor.bundle import pickles, zips
from gpudoctor.bundle.zips import MAGIC
from gpudoctor.values import NamedTuple

if TYPE_CHECKING:
    from typing import BinaryIO

    from gpudoctor.bundle.pickles import Pickle
    from gpudoctor.bundle.zips import Member

_MOST_MEMBERS = 200_000
_MOST_PICKLES = 200
_MOST_UNPACKED = 24 * 1024 * 1024
_MOST_CODE = 32 * 1024 * 1024
_MOST_DEVICES = 100
_MOST_NESTED = 3


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


def read(stream: BinaryIO, start: int = 0, end: int | None = None, depth: int = 0) -> Zip:
    """Return what the archive from ``start`` to ``end`` of a stream has. Only an OSError of reading is raised."""
    if end is None:
        end = stream.seek(0, 2)
    try:
        members, base = zips.directory(stream, start, end, _MOST_MEMBERS)
    except zips.Broken as broken:
        return Zip("other", broken.state, str(broken), 0, "", (), ())
    reader = _Reader(stream, end, members, depth)
    stream.seek(start)
    if base > start and stream.read(4) == MAGIC:
        # A member that is an archive itself (a .pt2 has one) has a directory of its own, which is the last where the rest is cut off.
        reader.wrong("truncated", f"it ends at byte {end - start:,}, and the directory there is that of an archive within it")
    return reader.archive()


class _Reader:
    """Reads the members of one archive that matter."""

    def __init__(self, stream: BinaryIO, end: int, members: list[Member], depth: int) -> None:
        self.stream = stream
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
        start = zips.begins(self.stream, member)
        if start is None:
            self.wrong("damaged", f"there is no member where the directory says that {member.name[:80]} is")
            return -1
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
