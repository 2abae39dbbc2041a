"""The members of a zip archive, from its central directory, and the bytes of a small one.

The archive as a whole is not read, and zipfile, whose imports are dear, is not needed to tell what an archive is.
"""

from __future__ import annotations

from struct import unpack_from
from typing import TYPE_CHECKING

from gpudoctor.values import NamedTuple

if TYPE_CHECKING:
    from typing import BinaryIO

MOST = 100_000
_TAIL = 65_557
"""Bytes of the end record with the longest comment."""
_LOCATOR = 20
_END64 = 56


class Member(NamedTuple):
    """One member: its name, where its own header begins, how it is packed (0: not at all, 8: deflated), and its packed size."""

    name: str
    at: int
    method: int
    packed: int


def members(stream: BinaryIO, size: int) -> tuple[Member, ...] | None:
    """Return the members; None where there is no whole directory of at most 100,000, which means a damaged archive."""
    try:
        where = _directory(stream, size)
        if where is None:
            return None
        start, length, count = where
        if count > MOST or start + length > size:
            return None
        stream.seek(start)
        found = []
        for _ in range(count):
            head = stream.read(46)
            if len(head) < 46 or head[:4] != b"PK\x01\x02":
                return None
            name, extra, comment = unpack_from("<HHH", head, 28)
            text = stream.read(name).decode("utf-8", "replace")
            stream.read(extra + comment)
            found.append(
                Member(text, unpack_from("<I", head, 42)[0], unpack_from("<H", head, 10)[0], unpack_from("<I", head, 20)[0])
            )
    except OSError:
        return None
    return tuple(found)


def content(stream: BinaryIO, member: Member, most: int) -> bytes | None:
    """Return the bytes of a member of at most ``most``, None where it is larger, packed in another way, or damaged."""
    from zlib import decompressobj, error

    if member.packed > most or member.method not in {0, 8}:
        return None
    try:
        stream.seek(member.at)
        head = stream.read(30)
        if len(head) < 30 or head[:4] != b"PK\x03\x04":
            return None
        stream.seek(sum(unpack_from("<HH", head, 26)), 1)
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


def _directory(stream: BinaryIO, size: int) -> tuple[int, int, int] | None:
    """Return the offset, the length and the number of members of the central directory."""
    tail_at = max(size - _TAIL, 0)
    stream.seek(tail_at)
    tail = stream.read(_TAIL)
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) < at + 22:
        return None
    count, length, start = unpack_from("<HII", tail, at + 10)
    if count == 0xFFFF or length == 0xFFFFFFFF or start == 0xFFFFFFFF:
        stream.seek(max(tail_at + at - _LOCATOR, 0))
        locator = stream.read(_LOCATOR)
        if len(locator) < _LOCATOR or locator[:4] != b"PK\x06\x07":
            return None
        end_at: int = unpack_from("<Q", locator, 8)[0]
        if end_at + _END64 > size:
            return None
        stream.seek(end_at)
        end = stream.read(_END64)
        if len(end) < _END64 or end[:4] != b"PK\x06\x06":
            return None
        count, length, start = unpack_from("<QQQ", end, 32)
    return int(start), int(length), int(count)
