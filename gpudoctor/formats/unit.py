"""systemd unit files and their drop-ins (systemd.syntax(7)): settings, in order, and what is started.

The first file is the unit, the others are its drop-ins in the order of their names; later lines win or are
added. An empty assignment of a list, as in `ExecStart=`, takes away all that came before it. Unknown lines
are skipped, as systemd does with a warning.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.formats import text
from gpudoctor.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

_PREFIXES = "-@:+!|"


class ExecLine(NamedTuple):
    """One command of a service, with its file and line. Specifiers such as `%i` are left alone."""

    argv: tuple[str, ...]
    path: str
    line: int


def settings(data: bytes, section: str) -> tuple[tuple[str, str, int], ...]:
    """Give the (key, value, line) of one section in order, lines that go on joined by a space."""
    found: list[tuple[str, str, int]] = []
    current = ""
    pending, start = "", 0
    for number, whole in enumerate(text(data).split("\n"), 1):
        line = whole.strip()
        if line.startswith(("#", ";")):
            # A comment may even stand between the lines of one value.
            continue
        start = start or number
        if line.endswith("\\"):
            pending += f"{line[:-1]} "
            continue
        line = (pending + line).strip()
        if line.startswith("[") and line.endswith("]"):
            current = line[1:-1]
        elif current == section:
            key, equals, value = line.partition("=")
            if equals:
                found.append((key.strip(), value.strip(), start))
        pending, start = "", 0
    return tuple(found)


def exec_start(files: Sequence[tuple[str, bytes]]) -> tuple[ExecLine, ...]:
    """Give the commands a service starts, from its unit file and drop-ins as (path, bytes).

    The signs before the program (`-`, `+`, `!` and so on) are dropped, and with `@` the name the program is
    told.
    """
    lines: list[ExecLine] = []
    for path, data in files:
        for key, value, line in settings(data, "Service"):
            if key != "ExecStart":
                continue
            if not value:
                lines.clear()
                continue
            command = value.lstrip(_PREFIXES)
            argv = split(command)
            if "@" in value[: len(value) - len(command)]:
                argv = argv[:1] + argv[2:]
            lines.append(ExecLine(argv, path, line))
    return tuple(lines)


def environment(files: Sequence[tuple[str, bytes]]) -> dict[str, str]:
    """Give the variables a service gets from its `Environment=` lines, not those of an EnvironmentFile."""
    values: dict[str, str] = {}
    for _, data in files:
        for key, value, _ in settings(data, "Service"):
            if key != "Environment":
                continue
            if not value:
                values.clear()
            for word in split(value):
                name, equals, content = word.partition("=")
                if equals:
                    values[name] = content
    return values


def split(value: str) -> tuple[str, ...]:
    """Split a value into words: quotes protect spaces, a backslash the next character.

    A quote that is never closed reaches to the end.
    """
    if '"' not in value and "'" not in value and "\\" not in value:
        return tuple(value.split())
    words: list[str] = []
    word: list[str] = []
    quote = ""
    begun = False
    characters = iter(value)
    for character in characters:
        if character == "\\":
            word.append(next(characters, ""))
        elif quote:
            if character == quote:
                quote = ""
            else:
                word.append(character)
        elif character in {'"', "'"}:
            quote = character
        elif character.isspace():
            if begun:
                words.append("".join(word))
            word, begun = [], False
            continue
        else:
            word.append(character)
        begun = True
    if begun:
        words.append("".join(word))
    return tuple(words)
