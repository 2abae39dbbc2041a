"""Value changed to text: one module a file format, each changing the one asked thing of a file and keeping every other byte.

An editor takes the bytes of one file and gives back the bytes it should have. It never touches a host and never
writes; it parses its own result and compares the values with what was wanted. A file that does not parse is never
edited (`gpudoctor.formats.Malformed`), and what cannot be changed without touching more than was asked is `Unsafe`.
"""

from __future__ import annotations


class Unsafe(ValueError):  # noqa: N818 - named for what the edit would be
    """The change cannot be made safely: ``reason`` is one plain sentence, ``line`` counts from 1, 0 where it is not known."""

    def __init__(self, reason: str, line: int = 0) -> None:
        """Keep the reason and the place."""
        super().__init__(reason, line)
        self.reason = reason
        self.line = line

    def __str__(self) -> str:
        """Say where and why."""
        return f"line {self.line}: {self.reason}" if self.line else self.reason
