"""TOML, for the toolkit's config.toml: values for the rules, and the line a value stands on for the reports.

tomllib (tomli on Python 3.10) gives values without places, so `line_of` walks over the text a second time. It
is only asked for a finding, never for a healthy host.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from gpudoctor.formats import BOM, Malformed, position, strict

if TYPE_CHECKING:
    from collections.abc import Iterator

# How tomllib's messages begin, and the same in plain words.
_REASONS = (
    ("Cannot overwrite a value", "a key that is already set"),
    ("Cannot declare", "a table that is already there"),
    ("Cannot mutate immutable namespace", "a key that adds to a table which is already complete"),
    ("Cannot redefine namespace", "a key that is already a table"),
    ("Duplicate inline table key", "a key that is already set in this inline table"),
    ("Expected '=' after a key", "no equals sign after the key"),
    ("Expected ']'", "no closing bracket after the table's name"),
    ("Unclosed array", "a list without its closing bracket"),
    ("Unclosed inline table", "an inline table without its closing brace"),
    ("Unterminated string", "a quote that is never closed"),
    ("Illegal character", "a character that may not stand here, often a line break in a quoted value"),
    ("Found invalid character", "a control character"),
    ("Invalid value", "no value TOML knows: text needs quotes, yes and no are spelt true and false"),
    (
        "Invalid initial character for a key",
        "no key: only letters, digits, dashes and underscores go without quotes",
    ),
    ("Invalid statement", "neither a key nor a table"),
    ("Expected newline or end of document", "something after the value"),
    ("Unescaped '\\' in a string", "a backslash that means nothing in TOML"),
    ("Invalid date or datetime", "a date that does not exist"),
)
_SPACE = " \t\r,"
_QUOTES = ('"""', "'''", '"', "'")
_BARE_END = " \t\r\n.=]#\"'"


def parse(data: bytes) -> dict[str, object]:
    """Parse a file; an empty one is an empty table.

    Raises `Malformed` with the place for what TOML refuses: a key set twice, a byte order mark, bytes that
    are not UTF-8, tables nested deeper than anyone means.
    """
    if data.startswith(BOM):
        raise Malformed("a byte order mark before the first character", 1, 1)
    content = strict(data)
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        return tomllib.loads(content)
    except tomllib.TOMLDecodeError as error:
        message, _, place = str(error).partition(" (at ")
        reason = next((plain for start, plain in _REASONS if message.startswith(start)), message)
        raise Malformed(reason, *_place(content, place)) from None
    except RecursionError:
        raise Malformed("too many levels of nesting") from None
    except ValueError:
        raise Malformed("a number with too many digits") from None


def get(doc: dict[str, object], dotted: str) -> object | None:
    """Look a value up by its path, as in `nvidia-container-cli.no-cgroups`; None where it is not set."""
    value: object = doc
    for name in dotted.split("."):
        if not isinstance(value, dict) or name not in value:
            return None
        value = value[name]
    return value


def line_of(data: bytes, table: str, key: str) -> int | None:
    """Give the line (from 1) on which a key of a table is set; None where it is not, or only in a comment.

    `table` is "" for the top. The key is also found where it is written dotted or in an inline table.
    """
    if key.encode() not in data:
        return None
    content = data.decode("utf-8", "replace")
    wanted = (*table.split("."), key) if table else (key,)
    for path, offset in _keys(content):
        if path == wanted:
            return position(content, offset)[0]
    return None


def _place(content: str, place: str) -> tuple[int, int]:
    """Turn the end of tomllib's message into a line and a column."""
    numbers = [int(word) for word in place.replace(",", " ").replace(")", " ").split() if word.isdigit()]
    if len(numbers) == 2:
        return numbers[0], numbers[1]
    return position(content, len(content.rstrip()))


def _keys(content: str) -> Iterator[tuple[tuple[str, ...], int]]:
    """Walk over the text and give each key that is set, as its full path and its offset.

    Keys inside lists have no path that could be asked for, and are not given.
    """
    table: tuple[str, ...] | None = ()
    # One entry for each bracket that is open: "[" for a list, else the inline table's path (None inside a
    # list).
    inside: list[str | tuple[str, ...] | None] = []
    path: tuple[str, ...] | None = None
    before_key = True
    at, end = 0, len(content)
    while at < end:
        character = content[at]
        if character == "\n":
            before_key = before_key or not inside
            at += 1
        elif character in _SPACE:
            before_key = before_key or (character == "," and bool(inside) and inside[-1] != "[")
            at += 1
        elif character == "#":
            at = _or_end(content.find("\n", at), end)
        elif before_key and character == "[" and not inside:
            several = content.startswith("[[", at)
            table, at = _path(content, at + 1 + several)
            table = None if several else table
            at = _or_end(content.find("\n", at), end)
        elif before_key and character != "}":
            names, after = _path(content, at)
            context = inside[-1] if inside else table
            path = (*context, *names) if isinstance(context, tuple) else None
            if path:
                yield path, at
            at = _or_end(content.find("=", after), end) + 1
            before_key = False
        elif character in "\"'":
            at = _skip_string(content, at)
        else:
            if character == "{":
                inside.append(None if "[" in inside else path)
                before_key = True
            elif character == "[":
                inside.append("[")
            elif character in "]}" and inside:
                inside.pop()
                before_key = False
            at += 1


def _path(content: str, at: int) -> tuple[tuple[str, ...], int]:
    """Read a dotted key; give its parts and the offset behind it."""
    names: list[str] = []
    while True:
        while content[at : at + 1] in {" ", "\t"}:
            at += 1
        start = at
        if content[at : at + 1] in {'"', "'"}:
            at = _skip_string(content, at)
            names.append(content[start + 1 : max(at - 1, start + 1)])
        else:
            while at < len(content) and content[at] not in _BARE_END:
                at += 1
            names.append(content[start:at])
        while content[at : at + 1] in {" ", "\t"}:
            at += 1
        if content[at : at + 1] != ".":
            return tuple(names), at
        at += 1


def _skip_string(content: str, at: int) -> int:
    """Give the offset behind the string that begins here; the end where it is never closed."""
    quote = next(quote for quote in _QUOTES if content.startswith(quote, at))
    at += len(quote)
    while True:
        close = content.find(quote, at)
        if close < 0:
            return len(content)
        slashes = close - len(content[at:close].rstrip("\\")) - at if quote[0] == '"' else 0
        at = close + (len(quote) if slashes % 2 == 0 else 1)
        if slashes % 2 == 0:
            return at


def _or_end(offset: int, end: int) -> int:
    """Give the offset that `find` found, or the end."""
    return offset if offset >= 0 else end
