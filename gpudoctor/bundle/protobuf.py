"""A protocol buffer's message, walked field by field without its description: the reader says what a field's number means.

Byte strings that are not wanted are passed over by seeking. All work is bounded, for a file may be made to keep a reader busy.

Source: the wire format of Protocol Buffers (protobuf.dev, Encoding).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from gpudoctor.bundle.window import Short, Window

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import BinaryIO

_MOST_FIELDS = 6_000_000
"""A large language model has a few hundred thousand; what has more is meant to keep the reader busy."""
_LONGEST = 1_024
_MOST_TEXT = 16 * 1024 * 1024
"""How much of names is kept in memory."""


State = Literal["whole", "truncated", "damaged", "unread"]


class Damaged(Exception):  # noqa: N818 - what happened, for the reader to put into words
    """The bytes are no such message; the text says where."""


class Unread(Exception):  # noqa: N818 - what happened, for the reader to put into words
    """More than is worth reading."""


def outcome(read: Callable[[], None]) -> tuple[State, str]:
    """Read a file's message, and return what became of it and why; OSError of reading passes."""
    try:
        read()
    except Short as short:
        return "truncated", str(short)
    except Damaged as broken:
        return "damaged", str(broken)
    except Unread as much:
        return "unread", str(much)
    return "whole", ""


class Message:
    """A file that is one message. ``fields`` raises Short where it is cut off, Damaged and Unread."""

    def __init__(self, stream: BinaryIO, size: int) -> None:
        """Take a stream that can seek, and the file's size."""
        self.window = Window(stream, 0, size)
        self.size = size
        self.left = _MOST_FIELDS
        self.room = _MOST_TEXT

    def hold(self, *texts: str) -> None:
        """Count what is kept in memory, and stop where it is too much."""
        self.room -= sum(map(len, texts)) + 100
        if self.room < 0:
            raise Unread(f"its names take more than {_MOST_TEXT >> 20} MiB, and were read up to byte {self.window.tell():,}")

    def fields(self, end: int) -> Iterator[tuple[int, int, int]]:
        """Yield field number, wire type, and the number (or, of wire type 2, the length of the bytes that follow) up to ``end``.

        Whatever the caller reads of the bytes, the next field is looked for behind them.
        """
        window = self.window
        while (here := window.tell()) < end:
            self.left -= 1
            if self.left < 0:
                raise Unread(f"it has more than {_MOST_FIELDS:,} parts, which were read up to byte {here}")
            tag = self.number()
            number, wire = tag >> 3, tag & 7
            if wire == 2:
                value = self.number()
                after = window.tell() + value
            elif wire == 0:
                value = self.number()
                after = window.tell()
            elif wire in {1, 5}:
                value = 0
                after = window.tell() + (8 if wire == 1 else 4)
            else:
                raise Damaged(f"what stands at byte {here} is not the beginning of a field")
            if not number:
                raise Damaged(f"what stands at byte {here} is not the beginning of a field")
            if after > end:
                if end == self.size:
                    raise Short(end, after)
                raise Damaged(f"the field at byte {here} is longer than what it is a part of")
            yield number, wire, value
            window.goto(after)

    def number(self) -> int:
        """Return the next variable-length number."""
        window = self.window
        if window.at >= len(window.data):
            window.more(1)
        byte = window.data[window.at]
        window.at += 1
        if byte < 0x80:
            return byte
        value, shift = byte & 0x7F, 7
        while byte >= 0x80:
            if shift > 63:
                raise Damaged(f"the number before byte {window.tell()} is too long")
            byte = window.take(1)[0]
            value |= (byte & 0x7F) << shift
            shift += 7
        return value & 0xFFFFFFFFFFFFFFFF

    def text(self, length: int) -> str:
        """Return a text of ``length`` bytes, the first kilobyte of it."""
        return self.window.take(min(length, _LONGEST)).decode("utf-8", "replace")

    def end(self, length: int) -> int:
        """Return where a message of ``length`` bytes that begins here ends."""
        return self.window.tell() + length
