"""The members of a zip archive by the directory at its end, and the bytes of a small one.

The archive as a whole is not read, and zipfile, whose imports are dear and which has the whole directory in memory at once, is not
needed to tell what an archive is. Sources: APPNOTE.TXT of PKWARE (directory, zip64).
"""

from __future__ import annotations

from struct import unpack_from
from typing import TYPE_CHECKING, Literal

from gpudoctor.bundle.window import Short, Window
from gpudoctor.values import NamedTuple

if TYPE_CHECKING:
    from typing import BinaryIO

MAGIC = b"PK\x03\x04"
MOST = 100_000
_TAIL = 65_557
"""Bytes of the end record with the longest comment."""
_MOST_NAMES = 16 * 1024 * 1024


class Member(NamedTuple):
    """One member: where in the file its own header is, how it is packed (0: not at all, 8: deflated), its size packed and unpacked."""

    name: str
    at: int
    method: int
    packed: int
    size: int
    encrypted: bool


class Broken(Exception):  # noqa: N818 - an answer: what became of the archive
    """There is no directory that could be read: what became of the archive, and why."""

    def __init__(self, state: Literal["truncated", "damaged", "unread"], text: str) -> None:
        """Take both."""
        super().__init__(text)
        self.state: Literal["truncated", "damaged", "unread"] = state


def members(stream: BinaryIO, size: int) -> tuple[Member, ...] | None:
    """Return the members; None where there is no whole directory of at most 100,000, which means a damaged archive."""
    try:
        return tuple(directory(stream, 0, size, MOST)[0])
    except (Broken, OSError):
        return None


def begins(stream: BinaryIO, member: Member) -> int | None:
    """Return where a member's bytes begin, None where its own header is not there."""
    stream.seek(member.at)
    head = stream.read(30)
    if len(head) < 30 or head[:4] != MAGIC:
        return None
    name, extra = unpack_from("<HH", head, 26)
    return member.at + 30 + int(name) + int(extra)


def content(stream: BinaryIO, member: Member, most: int) -> bytes | None:
    """Return the bytes of a member of at most ``most``, None where it is larger, packed in another way, or damaged."""
    from zlib import decompressobj, error

    if member.packed > most or member.method not in {0, 8} or member.encrypted:
        return None
    try:
        start = begins(stream, member)
        if start is None:
            return None
        stream.seek(start)
        data = stream.read(member.packed)
        if len(data) < member.packed:
            return None
        if member.method:
            machine = decompressobj(-15)
            data = machine.decompress(data, most)
            if not machine.eof:
                return None
    except (OSError, error):
        return None
    return data


def is_zip(stream: BinaryIO) -> bool:
    """Tell whether there is an end record of a zip: what Python's zipfile goes by, wherever the archive begins."""
    size = stream.seek(0, 2)
    tail_at = max(size - _TAIL, 0)
    stream.seek(tail_at)
    return b"PK\x05\x06" in stream.read(_TAIL)


def directory(stream: BinaryIO, start: int, end: int, most: int) -> tuple[list[Member], int]:
    """Return the members, and where the archive begins, which may be behind ``start``; raises Broken."""
    try:
        return _entries(stream, start, end, most)
    except Short as short:
        raise Broken("damaged", f"its directory is cut off: {short}") from None


def _entries(stream: BinaryIO, start: int, end: int, most: int) -> tuple[list[Member], int]:
    tail_at = max(end - _TAIL, start)
    stream.seek(tail_at)
    tail = stream.read(end - tail_at)
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) < at + 22:
        raise Broken("truncated", f"it ends at byte {end - start:,}, and the directory that belongs there is missing")
    count, length, first = unpack_from("<HII", tail, at + 10)
    last = tail_at + at
    # torch writes one for small archives too, where the fields of the old record are right as well.
    found = _directory_64(stream, start, last)
    if found is not None:
        last, count, length, first = found
    # What stands before the archive moves all of it: the directory ends where the end record begins.
    base = last - length - first
    if base < start:
        raise Broken("damaged", "its directory is not where the end record says")
    if count > most:
        raise Broken("unread", f"it has {count:,} members, more than are read")
    window = Window(stream, base + first, last)
    members: list[Member] = []
    names = 0
    while len(members) < count:
        here = window.tell()
        head = window.take(46)
        if head[:4] != b"PK\x01\x02":
            raise Broken("damaged", f"what stands at byte {here:,} is no entry of its directory")
        flags, method = unpack_from("<HH", head, 8)
        packed, size, name_length, extra_length, comment = unpack_from("<IIHHH", head, 20)
        header = unpack_from("<I", head, 42)[0]
        name = window.take(name_length).decode("utf-8", "replace")
        extra = window.take(extra_length)
        window.goto(window.tell() + comment)
        packed, size, header = _extra_64(extra, packed, size, header)
        names += len(name) + 200
        if names > _MOST_NAMES:
            raise Broken("unread", "the names of its members are longer than is read")
        if base + header + 30 + packed > last:
            raise Broken("damaged", f"its directory says that {name[:80]} goes on to where the directory is")
        members.append(Member(name, base + header, method, packed, size, bool(flags & 1)))
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
