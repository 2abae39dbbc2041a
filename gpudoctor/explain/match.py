"""Which failure modes a text looks like, best first, with the words that say so.

A rule's ``signs`` say how its failure looks. The language, where letters are lower case, and blanks, quotes and line breaks do not count
(so that a terminal's wrapping does not matter):

- ``could not select device driver``: these words.
- ``libcublaslt.so.<n>``: ``<n>`` is a number, ``(suspend|resume)`` one of several, ``?`` a gap of up to 20 signs, ``*`` one of up to 200.
- ``out of memory + gpu``: both near each other (NEAR), for words that say nothing alone.
- ``~ /snap/``: a hint, which counts only for a rule of which another sign was seen.

A phrase begins and ends at a word's edge, unless it begins or ends with ``*``. "NVRM:" is taken out of the text, so no sign has it.

What a sign weighs follows from how many rules have the same one: words that five failures share say a fifth each, and of equals the
commoner failure comes first.
"""

from __future__ import annotations

import re
from bisect import bisect
from itertools import compress
from typing import TYPE_CHECKING

from gpudoctor.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from gpudoctor.model import Rule

GAPS = {"?": 20, "*": 200}
"""The most that a gap stands for, in signs without blanks."""

NEAR = 1000
"""Bytes of text that may lie between the phrases of a sign: what is further away is of something else."""

LEAST = 0.1
"""A score below is no answer."""

_SURE, _HINT = 0.9, 0.5
_PIECE = r"(<n>|[*?]|\([^()]*\|[^()]*\))"
_KEPT = bytes(range(0x21, 0x7F)).translate(None, b"\"'`\\|*")
_DROPPED = bytes(set(range(256)) - set(_KEPT))
_IS_KEPT = bytes(sign in _KEPT for sign in range(256))
_WORD = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")


class Match(NamedTuple):
    """A rule that the text looks like: ``score`` from 0 to 1, the words of the text that say so, the signs that were seen."""

    rule: Rule
    score: float
    quote: str
    signs: tuple[str, ...]


class Phrase(NamedTuple):
    """One phrase made ready: a text that has it has one of ``literals``; ``pattern`` is b"" where it is just that literal."""

    literals: tuple[bytes, ...]
    pattern: bytes
    open_start: bool
    open_end: bool


def phrases(sign: str) -> tuple[str, ...]:
    """Return the phrases of a sign, all of which have to be in the text."""
    return tuple(part.strip() for part in sign.removeprefix("~").split(" + "))


def ready(words: str) -> Phrase:
    """Make one phrase ready for the search."""
    pieces = re.split(_PIECE, words.strip("*"))
    plain = [_squeeze(piece) for piece in pieces[::2]]
    longest = max(plain, key=len)
    either = [piece[1:-1].split("|") for piece in pieces[1::2] if piece[0] == "("]
    literals: tuple[bytes, ...] = (longest,)
    if either and len(longest) < 6:
        literals = tuple(_squeeze(one) for one in max(either, key=lambda some: min(map(len, some))))
    pattern = b""
    if len(pieces) > 1:
        pattern = b"".join(re.escape(_squeeze(piece)) if at % 2 == 0 else _pattern(piece) for at, piece in enumerate(pieces))
    return Phrase(literals, pattern, words.startswith("*"), words.endswith("*"))


def _pattern(piece: str) -> bytes:
    if piece == "<n>":
        return rb"\d+"
    if piece in GAPS:
        return b".{0,%d}?" % GAPS[piece]
    return b"(?:" + b"|".join(re.escape(_squeeze(one)) for one in piece[1:-1].split("|")) + b")"


def _squeeze(words: str) -> bytes:
    return words.encode("ascii").translate(None, _DROPPED)


class _Window:
    """A piece of text as the search sees it: lower case, without blanks, quotes and what is not ASCII."""

    def __init__(self, text: bytes) -> None:
        self.text = text
        self.squeezed = text.translate(None, _DROPPED).lower()
        self._places: list[int] = []
        self._spans: dict[Phrase, tuple[int, int] | None] = {}
        self._all: dict[Phrase, list[tuple[int, int]]] = {}

    def spans(self, wanted: Sequence[Phrase]) -> list[tuple[int, int]] | None:
        """Return where in the text phrases are near each other, None where they are not."""
        firsts: list[tuple[int, int]] = []
        for each in wanted:
            span = self.span(each)
            if span is None:
                return None
            firsts.append(span)
        if len(firsts) == 1 or max(start for start, _ in firsts) - min(start for start, _ in firsts) <= NEAR:
            return firsts
        for place in self._every(wanted[0]):
            near = [self._nearest(each, place[0]) for each in wanted[1:]]
            if all(abs(start - place[0]) <= NEAR for start, _ in near):
                return [place, *near]
        return None

    def span(self, wanted: Phrase) -> tuple[int, int] | None:
        """Return where in the text a phrase first is, None where it is not."""
        for literal in wanted.literals:
            if literal in self.squeezed:
                if wanted not in self._spans:
                    self._spans[wanted] = next(self._find(wanted), None)
                return self._spans[wanted]
        return None

    def _every(self, wanted: Phrase) -> list[tuple[int, int]]:
        if wanted not in self._all:
            self._all[wanted] = list(self._find(wanted))
        return self._all[wanted]

    def _nearest(self, wanted: Phrase, place: int) -> tuple[int, int]:
        """Return the place of a phrase that is nearest to another place."""
        every = self._every(wanted)
        at = bisect(every, (place, 0))
        return min(every[max(at - 1, 0) : at + 1], key=lambda span: abs(span[0] - place))

    def _find(self, wanted: Phrase) -> Iterator[tuple[int, int]]:
        for found in re.finditer(wanted.pattern or re.escape(wanted.literals[0]), self.squeezed):
            if not self._places:
                self._places = list(compress(range(len(self.text)), self.text.translate(_IS_KEPT)))
            start, end = self._places[found.start()], self._places[found.end() - 1] + 1
            if (wanted.open_start or self._edge(start)) and (wanted.open_end or self._edge(end)):
                yield start, end

    def _edge(self, at: int) -> bool:
        return not (0 < at < len(self.text) and self.text[at - 1] in _WORD and self.text[at] in _WORD)


def seen(windows: Iterable[bytes], signs: Iterable[str]) -> dict[str, str]:
    """Return the signs that cleaned text has, each with the words of the text."""
    wanted = {sign: tuple(map(ready, phrases(sign))) for sign in signs}
    found: dict[str, str] = {}
    for text in windows:
        window = _Window(text)
        for sign, needed in list(wanted.items()):
            spans = window.spans(needed)
            if spans is not None:
                found[sign] = " … ".join(_words(text[start:end]) for start, end in spans)
                del wanted[sign]
    return found


def _words(text: bytes) -> str:
    return " ".join(text.decode("utf-8", "replace").split())


def matches(found: dict[str, str], rules: Sequence[Rule]) -> tuple[Match, ...]:
    """Return the rules whose signs were ``seen``, best first."""
    sharing: dict[str, int] = {}
    for rule in rules:
        for sign in rule.signs:
            sharing[sign] = sharing.get(sign, 0) + 1
    matched = []
    for rule in rules:
        own = tuple(sign for sign in rule.signs if sign in found)
        main = [sign for sign in own if sign[0] != "~"]
        if not main:
            continue
        doubt = 1.0
        for sign in own:
            doubt *= 1 - (_HINT if sign[0] == "~" else _SURE) / sharing[sign]
        best = min(main, key=lambda sign: (sharing[sign], -len(sign)))
        matched.append(Match(rule, round(1 - doubt, 3), found[best], own))
    return tuple(sorted((each for each in matched if each.score >= LEAST), key=lambda each: (-each.score, each.rule.rank)))
