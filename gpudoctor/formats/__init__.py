"""Text to value: one module a file format, nothing else.

A parser here takes the bytes or the text of one file (or the output of one command) and gives back an
immutable value. It never touches a host and never writes. Two kinds exist:

- formats with a grammar (TOML, JSON, YAML, the GRUB shell files, apt sources, the loader's cache) raise
  `Malformed` and nothing else on bad input, because the program that owns the file would refuse it too;
- line-oriented ones (everything under /proc, package lists, unit files, logs) skip what they do not
  understand, because their readers do the same.

They run for every host that is looked at, so they are plain string methods, and heavy parsers are imported in
the function that needs them.
"""

from __future__ import annotations

BOM = b"\xef\xbb\xbf"


class Malformed(ValueError):  # noqa: N818 - named for what the file is
    """The text does not follow its format; the program that owns the file would refuse it.

    `line` and `column` count from 1, 0 where they are not known. `reason` is one plain phrase. `path` is set
    by the parsers that are given several files, and tells which of them is meant.
    """

    def __init__(self, reason: str, line: int = 0, column: int = 0, path: str = "") -> None:
        """Keep the place and the reason."""
        super().__init__(reason, line, column, path)
        self.reason = reason
        self.line = line
        self.column = column
        self.path = path

    def __str__(self) -> str:
        """Say where and why, leaving out what is not known: `line 3, column 14: a comma is missing`."""
        if not self.line:
            return self.reason
        if not self.column:
            return f"line {self.line}: {self.reason}"
        return f"line {self.line}, column {self.column}: {self.reason}"


def text(data: bytes) -> str:
    """Decode a line-oriented file: UTF-8, with U+FFFD for what is not, so that it can always be printed."""
    return data.decode("utf-8", "replace")


def strict(data: bytes) -> str:
    """Decode a file that must be UTF-8; raise `Malformed` with the place of the first byte that is not."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line, column = position(text(data[: error.start]), error.start)
        raise Malformed("a byte that is not UTF-8 text", line, column) from None


def position(content: str, offset: int) -> tuple[int, int]:
    """Turn an offset into a line and a column, both counted from 1; an offset past the end means the end."""
    head = content[:offset]
    return head.count("\n") + 1, len(head) - head.rfind("\n")
