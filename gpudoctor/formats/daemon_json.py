"""Docker's daemon.json, read as dockerd reads it: Go's encoding/json, one object and nothing else.

dockerd does not start when the file is malformed, so what is malformed here must be what is malformed there.
Where Go and Python differ, Go is followed: NaN and Infinity are refused, half a surrogate pair becomes a
replacement character, and so do bytes in a string that are not UTF-8. A byte order mark and a file without
any content depend on the engine's version (20.10 refuses them, newer ones take them), so they are flagged
instead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from gpudoctor.formats import BOM, Malformed, position
from gpudoctor.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

_SPACE = " \t\r\n"
_CURLED = "“”„‟«»‘’‚‛"  # noqa: RUF001 - the quotes that word processors and chat programs put in
# A path is repeated at every level, so garbage with a million brackets must not be followed.
_DEEPEST = 100
_NOT_NUMBERS = ("NaN", "Infinity", "-Infinity")


class Document(NamedTuple):
    """What the file says.

    `duplicates` are the dotted names of keys that stand twice in one object; the last one is in force. `bom`
    tells of a byte order mark, `empty` of a file with nothing but white space, whose value is then {}.
    """

    value: dict[str, Any]
    duplicates: tuple[str, ...]
    bom: bool
    empty: bool


def parse(data: bytes) -> Document:
    """Parse a file; raise `Malformed` with place and plain reason where dockerd would refuse it."""
    import json

    content, bom = _decoded(data)
    if not content.strip(_SPACE):
        return Document({}, (), bom=bom, empty=True)
    twice = False

    def collect(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal twice
        collected = dict(pairs)
        twice = twice or len(collected) != len(pairs)
        return collected

    def refuse(word: str) -> NoReturn:
        raise _NotANumberError(word)

    try:
        value = json.loads(content, object_pairs_hook=collect, parse_constant=refuse)
    except json.JSONDecodeError as error:
        raise _explained(content, error.pos, error.msg) from None
    except _NotANumberError:
        offset = next((offset for lexeme, offset in _tokens(content) if lexeme in _NOT_NUMBERS), 0)
        raise Malformed("a number that JSON does not have", *position(content, offset)) from None
    except RecursionError:
        raise Malformed("too many levels of nesting") from None
    except ValueError:
        raise Malformed("a number with too many digits") from None
    if not isinstance(value, dict):
        start = len(content) - len(content.lstrip(_SPACE))
        raise Malformed("the file must hold one object in braces", *position(content, start))
    if "\\ud" in content.lower():
        value = json.loads(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))
    return Document(value, _duplicates(content) if twice else (), bom=bom, empty=False)


def line_of(data: bytes, dotted_key: str) -> int | None:
    """Give the line (from 1) of a key, by its path as in `runtimes.nvidia.path`; None where it is not set.

    An element of a list is named by its number. Of a key that stands twice the last is in force, so its line
    is given. A malformed file is read as far as it goes.
    """
    content, _ = _decoded(data)
    found = None
    for path, offset in _keys(content):
        if path == dotted_key:
            found = offset
    return None if found is None else position(content, found)[0]


class _NotANumberError(Exception):
    """Python's json takes NaN and Infinity, and Go's does not."""


def _decoded(data: bytes) -> tuple[str, bool]:
    """Decode as newer engines do: UTF-8, or what a byte order mark says; tell whether there was one."""
    if data.startswith(BOM):
        return data[len(BOM) :].decode("utf-8", "replace"), True
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", "replace"), True
    return data.decode("utf-8", "replace"), False


def _explained(content: str, offset: int, message: str) -> Malformed:
    """Say in plain words what is wrong at or just before an offset, whatever Python's version calls it."""

    def at(reason: str, place: int) -> Malformed:
        return Malformed(reason, *position(content, place))

    if message.startswith("Unterminated string"):
        return at("a double quote that is never closed", offset)
    if message.startswith("Invalid control character"):
        return at("a line break or control character inside quotes", offset)
    if message.startswith("Invalid \\"):
        return at("a backslash that means nothing in JSON", offset)
    while offset < len(content) and content[offset] in _SPACE:
        offset += 1
    before = content[:offset].rstrip(_SPACE)
    after = content[offset + 1 :].lstrip(_SPACE)
    character = content[offset : offset + 1]
    if not character:
        return at("the file ends before its closing brace", len(content))
    closing = {"}": "brace", "]": "bracket"}
    if character == "," and after[:1] in closing:
        return at(f"a comma before the closing {closing[after[0]]}", offset)
    if character in closing and before.endswith(","):
        return at(f"a comma before the closing {closing[character]}", len(before) - 1)
    if character == "#" or content.startswith(("//", "/*"), offset):
        return at("a comment, which JSON does not have", offset)
    if character in _CURLED:
        return at("a typographic quote, where JSON needs a straight double quote", offset)
    if character == "<" and not before:
        return at("this is HTML, not JSON", offset)
    if character in "\0\ufffd":
        return at("bytes that are not text", offset)
    if message.startswith("Extra data"):
        return at(
            {
                "{": "a second object after the first one",
                "}": "one closing brace too many",
            }.get(character, "something after the closing brace"),
            offset,
        )
    if character == "'":
        return at("a single quote, where JSON needs a double quote", offset)
    if message.startswith("Expecting ',' delimiter"):
        if character in closing:
            return at(f"a closing {closing[character]} that does not fit the one that was opened", offset)
        return at("a comma is missing before this", offset)
    if message.startswith("Expecting ':' delimiter"):
        return at("a colon is missing after the name", offset)
    if message.startswith("Expecting property name"):
        return at("a name that does not stand in double quotes", offset)
    if not before:
        return at("the file must hold one object in braces", offset)
    return at("no value JSON knows: text needs double quotes, yes and no are spelt true and false", offset)


def _tokens(content: str) -> Iterator[tuple[str, int]]:
    """Give the strings (with their quotes), the signs and the bare words of the text, with their offsets."""
    at, end = 0, len(content)
    while at < end:
        character = content[at]
        start = at
        at += 1
        if character == '"':
            while at < end and content[at] != '"':
                at += 2 if content[at] == "\\" else 1
            at += 1
        elif character not in "{}[]:," and character not in _SPACE:
            while at < end and content[at] not in '{}[]:,"' and content[at] not in _SPACE:
                at += 1
        elif character in _SPACE:
            continue
        yield content[start:at], start


def _keys(content: str) -> Iterator[tuple[str, int]]:
    """Give the dotted path and the offset of every key, in the order of the text."""
    # What is open: for an object the path of its current key's parent, for a list its path and its next
    # number.
    open_paths: list[str] = []
    numbers: list[int | None] = []
    path = ""
    name, name_at = "", -1
    for lexeme, offset in _tokens(content):
        if lexeme == ":" and numbers and numbers[-1] is None and name_at >= 0:
            path = f"{open_paths[-1]}{name}"
            yield path, name_at
            name_at = -1
        elif lexeme in {"{", "["}:
            if len(open_paths) > _DEEPEST:
                return
            open_paths.append(f"{path}." if path else "")
            numbers.append(None if lexeme == "{" else 0)
            if lexeme == "[":
                path = f"{open_paths[-1]}0"
        elif lexeme in {"}", "]"}:
            if not numbers:
                return
            path = open_paths.pop().removesuffix(".")
            numbers.pop()
        elif lexeme == ",":
            if numbers and (number := numbers[-1]) is not None:
                numbers[-1] = number + 1
                path = f"{open_paths[-1]}{number + 1}"
        elif lexeme.startswith('"'):
            name, name_at = _name(lexeme), offset


def _name(lexeme: str) -> str:
    """Take the quotes away, and the escapes where there are any."""
    if "\\" not in lexeme:
        return lexeme[1:-1]
    import json

    try:
        return str(json.loads(lexeme))
    except ValueError:
        return lexeme[1:-1]


def _duplicates(content: str) -> tuple[str, ...]:
    """Give the paths that occur twice, in the order in which they do."""
    seen: set[str] = set()
    twice: dict[str, None] = {}
    for path, _ in _keys(content):
        if path in seen:
            twice[path] = None
        seen.add(path)
    return tuple(twice)
