"""A part of a file read through a small buffer: what a reader of a five-gigabyte model needs, and no more of it in memory.

Everything that is not wanted is passed over by seeking. Positions are those of the whole file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import BinaryIO

CHUNK = 64 * 1024
"""How much is read at once: larger costs memory for many small fields, smaller costs calls."""


class Short(Exception):  # noqa: N818 - what happened, for the reader to put into words
    """The bytes end before what they announce; ``at`` is where they end, and the text says so."""

    def __init__(self, at: int, wanted: int = 0) -> None:
        """Take the position of the end, and how far what was announced goes, where that is known."""
        more = f", and what it announces goes on to byte {wanted:,}" if wanted else ""
        super().__init__(f"it ends at byte {at:,}{more}")
        self.at = at


class Window:
    """Bytes ``start`` to ``end`` of a stream. ``data[at:]`` is what is in memory already; ``base`` is the position of ``data[0]``.

    ``read`` counts the bytes that were really read.
    """

    __slots__ = ("at", "base", "data", "end", "read", "stream")

    def __init__(self, stream: BinaryIO, start: int, end: int) -> None:
        """Take a stream that can seek, and the part of it to read."""
        self.stream = stream
        self.end = end
        self.base = start
        self.data = b""
        self.at = 0
        self.read = 0

    def tell(self) -> int:
        """Return the position in the file."""
        return self.base + self.at

    def more(self, count: int) -> None:
        """Have at least ``count`` bytes (a few, at most some chunks) in memory from ``at`` on; raises Short where there are fewer."""
        have = len(self.data) - self.at
        if have >= count:
            return
        here = self.base + self.at
        self.stream.seek(here + have)
        wanted = min(max(count - have, CHUNK), self.end - here - have)
        read = self.stream.read(wanted) if wanted > 0 else b""
        self.read += len(read)
        self.data = self.data[self.at :] + read
        self.base = here
        self.at = 0
        if len(self.data) < count:
            raise Short(here + len(self.data))

    def take(self, count: int) -> bytes:
        """Return the next ``count`` bytes; raises Short where there are fewer."""
        if self.at + count > len(self.data):
            self.more(count)
        self.at += count
        return self.data[self.at - count : self.at]

    def goto(self, position: int) -> None:
        """Move to a position, which may be beyond the end: reading there raises Short."""
        at = position - self.base
        if 0 <= at <= len(self.data):
            self.at = at
        else:
            self.base, self.data, self.at = position, b"", 0

    def line(self, most: int) -> bytes:
        """Return the bytes up to the next newline, without it, at most the first ``most`` of them; raises Short where there is none."""
        kept = b""
        while True:
            end = self.data.find(b"\n", self.at)
            part = self.data[self.at : end if end >= 0 else len(self.data)]
            kept += part[: most - len(kept)]
            if end >= 0:
                self.at = end + 1
                return kept
            self.at = len(self.data)
            self.more(1)
