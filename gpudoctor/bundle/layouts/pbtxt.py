"""Protobuf's text form, as in Triton's ``config.pbtxt``: ``name: value``, ``name { ... }``, ``name: [a, b]``, comments with ``#``.

A field may stand more than once, so that each has a list of values.
"""

from __future__ import annotations

from gpudoctor.bundle.layouts.yml import Yaml
from gpudoctor.formats import Malformed, strict
from gpudoctor.values import NamedTuple

_DEEPEST = 50
_MOST = 20_000
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}
_SIGNS = frozenset("{}<>[]:,;")


class _Word(NamedTuple):
    text: str
    line: int
    quoted: bool


def parse(data: bytes) -> Yaml:
    """Return a map of each field's values (``items``), text as it is written; raises Malformed with the line."""
    words = _words(strict(data))
    made, at = _message(words, 0, "", 0)
    if at < len(words):
        raise Malformed(f"{words[at].text} where a field's name is expected", words[at].line)
    return made


def first(node: Yaml, *names: str) -> Yaml:
    """Return the last value at a path of fields, which is the one that counts for a field that takes one; ``NOTHING`` if absent."""
    found = node
    for name in names:
        values = found.get(name).items
        if not values:
            return Yaml("", 0)
        found = values[-1]
    return found


def _words(text: str) -> list[_Word]:
    found: list[_Word] = []
    at, line = 0, 1
    while at < len(text):
        sign = text[at]
        if sign == "\n":
            line += 1
            at += 1
        elif sign.isspace():
            at += 1
        elif sign == "#":
            end = text.find("\n", at)
            at = len(text) if end < 0 else end
        elif sign in _SIGNS:
            found.append(_Word(sign, line, quoted=False))
            at += 1
        elif sign in "\"'":
            at, value = _quoted(text, at, line)
            found.append(_Word(value, line, quoted=True))
        else:
            end = at
            while end < len(text) and not text[end].isspace() and text[end] not in _SIGNS and text[end] not in "\"'#":
                end += 1
            found.append(_Word(text[at:end], line, quoted=False))
            at = end
        if len(found) > _MOST:
            raise Malformed("more words than any configuration has", line)
    return found


def _quoted(text: str, at: int, line: int) -> tuple[int, str]:
    quote = text[at]
    letters = []
    at += 1
    while at < len(text) and text[at] != quote:
        if text[at] == "\n":
            break
        if text[at] == "\\" and at + 1 < len(text):
            at += 1
            letters.append(_ESCAPES.get(text[at], text[at]))
        else:
            letters.append(text[at])
        at += 1
    if at >= len(text) or text[at] == "\n":
        raise Malformed("a text that has no closing quote", line)
    return at + 1, "".join(letters)


def _message(words: list[_Word], at: int, close: str, level: int) -> tuple[Yaml, int]:
    """Read fields up to the closing sign, "" for the end of the file; returns where it goes on."""
    line = words[at].line if at < len(words) else 1
    if level > _DEEPEST:
        raise Malformed("too many levels of nesting", line)
    fields: dict[str, list[Yaml]] = {}
    lines: dict[str, int] = {}
    while at < len(words):
        word = words[at]
        if not word.quoted and close and word.text == close:
            return _made(fields, lines, line), at + 1
        if not word.quoted and word.text in {",", ";"}:
            at += 1
            continue
        if word.quoted or word.text in _SIGNS:
            raise Malformed(f"{word.text} where a field's name is expected", word.line)
        values, at = _field(words, at, level)
        fields.setdefault(word.text, []).extend(values)
        lines.setdefault(word.text, word.line)
    if close:
        raise Malformed(f"the file ends where a {close} is expected", words[-1].line)
    return _made(fields, lines, line), at


def _made(fields: dict[str, list[Yaml]], lines: dict[str, int], line: int) -> Yaml:
    return Yaml("map", line, keys={name: Yaml("seq", lines[name], items=tuple(values)) for name, values in fields.items()})


def _field(words: list[_Word], at: int, level: int) -> tuple[list[Yaml], int]:
    name = words[at]
    at += 1
    colon = at < len(words) and words[at].text == ":" and not words[at].quoted
    at += colon
    if at >= len(words):
        raise Malformed(f"{name.text} has no value", name.line)
    if words[at].quoted or words[at].text != "[":
        if not colon and (words[at].quoted or words[at].text not in {"{", "<"}):
            raise Malformed(f"there is no colon between {name.text} and its value", words[at].line)
        value, at = _value(words, at, level)
        return [value], at
    values: list[Yaml] = []
    at += 1
    while at < len(words) and (words[at].quoted or words[at].text != "]"):
        if not words[at].quoted and words[at].text == ",":
            at += 1
            continue
        value, at = _value(words, at, level)
        values.append(value)
    if at >= len(words):
        raise Malformed("the file ends where a ] is expected", words[-1].line)
    return values, at + 1


def _value(words: list[_Word], at: int, level: int) -> tuple[Yaml, int]:
    word = words[at]
    if word.quoted:
        text = word.text
        # Texts beside each other are one.
        while at + 1 < len(words) and words[at + 1].quoted:
            at += 1
            text += words[at].text
        return Yaml("str", word.line, text), at + 1
    if word.text in {"{", "<"}:
        return _message(words, at + 1, "}" if word.text == "{" else ">", level + 1)
    if word.text in _SIGNS:
        raise Malformed(f"{word.text} where a value is expected", word.line)
    return Yaml("str", word.line, word.text), at + 1
