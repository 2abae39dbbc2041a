"""Which failure modes a text looks like, best first, with the words that say so.

A rule's ``signs`` say how its failure looks. The language, where letters are lower case and blanks, quotes and line breaks do not count
(so that a terminal's wrapping does not matter):

- ``could not select device driver``: these words.
- ``libcublaslt.so.<n>``: ``<n>`` is a number, ``*`` a gap of up to 120 signs, ``(suspend|resume)`` one of several.
- ``out of memory + gpu``: both in one stretch of text. For words that say nothing alone.
- ``~ /snap/``: a hint. Counts only for a rule of which another sign was seen.

A phrase begins and ends at a word's edge, unless it begins or ends with ``*``. "NVRM:" is taken out of the text, so no sign has it.

What a sign weighs follows from how many rules have the same one: words that five failures share say a fifth each, and the commoner
failure comes first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from gpudoctor.model import Rule

GAP = 120
"""The most that ``*`` stands for, in signs without blanks."""

LEAST = 0.1
"""A score below is no answer."""

_SURE, _HINT = 0.9, 0.5
_KEPT = bytes(range(0x21, 0x7F)).translate(None, b"\"'`\\|*")
_DROPPED = bytes(set(range(256)) - set(_KEPT))
_WORD = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")


class Match(NamedTuple):
    """A rule that the text looks like: ``score`` from 0 to 1, the words of the text that say so, the signs that were seen."""

    rule: Rule
    score: float
    quote: str
    signs: tuple[str, ...]


class Phrase(NamedTuple):
    """One phrase made ready: one of ``literals`` occurs in any text that has it; ``pattern`` is "" where it is that literal itself."""

    literals: tuple[bytes, ...]
    pattern: bytes
    open_start: bool
    open_end: bool


def parts(sign: str) -> tuple[str, ...]:
    """Return the phrases of a sign."""
    return tuple(part.strip() for part in sign.removeprefix("~").split(" + "))


def phrase(words: str) -> Phrase:
    """Make a phrase of the signs' language ready for the search."""
    import re

    squeezed = (
        _squeeze(words.replace("*", "\x01").encode().replace(b"\x01", b"\x7e")) if "*" in words else _squeeze(words.encode())
    )
    pieces = re.split(rb"(<n>|~|\([^)]*\))", squeezed)
    if len(pieces) == 1:
        return Phrase((squeezed,), b"", open_start=False, open_end=False)
    return squeezed  # type: ignore[return-value]
