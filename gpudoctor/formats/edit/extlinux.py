"""extlinux.conf with one kernel argument added to the entry that is booted, or taken from it, and every other byte kept.

A Jetson's boot loader (U-Boot, later L4TLauncher) reads /boot/extlinux/extlinux.conf: ``DEFAULT`` names an entry, ``LABEL`` begins one,
and ``APPEND`` holds its kernel arguments. The readers differ in what they make of rare things: a label or an ``APPEND`` that stands
twice, a comment behind the arguments, an entry without ``APPEND``. A mistake here keeps the board from booting, so all that is refused.
"""

from __future__ import annotations

from gpudoctor.formats.edit import Unsafe, cmdline
from gpudoctor.values import NamedTuple

_SPACE = " \t\r\v\f"


class _Line(NamedTuple):
    """A line: its keyword in small letters, and where its value begins and ends in the file's text."""

    keyword: str
    start: int
    end: int
    number: int


def add_argument(data: bytes, argument: str) -> bytes:
    """Return the file with ``argument`` at the end of the default entry's APPEND; the same bytes where it is its last word already.

    Raises ``Unsafe`` where it is not certain which arguments are booted with.
    """
    content = _opened(data)
    line = _appended(content)
    return _changed(content, line, cmdline.extended(content[line.start : line.end], argument, line.number))


def remove_argument(data: bytes, name: str, *, value: str | None = None) -> bytes:
    """Return the file without the argument ``name`` in the default entry's APPEND, with ``value`` only without ``name=value``.

    The same bytes where it is not there; other entries are left as they are. Raises as ``add_argument`` does.
    """
    content = _opened(data)
    line = _appended(content)
    return _changed(content, line, cmdline.without(content[line.start : line.end], name, value, line.number))


def _opened(data: bytes) -> str:
    """Return the text; bytes that are not UTF-8 come back as they are."""
    if b"\0" in data:
        raise Unsafe("the file is not plain text (UTF-16, or with NUL bytes); save it as UTF-8 first")
    return data.decode("utf-8", "surrogateescape")


def _changed(content: str, line: _Line, value: str) -> bytes:
    """Put the new arguments in, and refuse where the file would then read otherwise than it should."""
    edited = content[: line.start] + value + content[line.end :]
    now = _appended(edited)
    if edited[now.start : now.end] != value or len(_lines(edited)) != len(_lines(content)):
        raise Unsafe("the file would change in more than was asked")
    return edited.encode("utf-8", "surrogateescape")


def _lines(content: str) -> list[_Line]:
    """Split into keywords and values; a comment has the keyword ``#`` and an empty line none."""
    found = []
    at = 0
    for number, line in enumerate(content.split("\n"), 1):
        head = line.lstrip(_SPACE)
        keyword = head[: next((end for end, character in enumerate(head) if character in _SPACE), len(head))]
        value = head[len(keyword) :].strip(_SPACE)
        end = at + len(line.rstrip(_SPACE))
        at += len(line) + 1
        if keyword.startswith("#"):
            keyword, value = "#", head.rstrip(_SPACE)
        elif keyword.lower() == "menu" and value.lower() == "default":
            keyword = "menu default"
        found.append(_Line(keyword.lower(), end - len(value), end, number))
    return found


def _appended(content: str) -> _Line:
    """Return the APPEND line of the entry that is booted; refuse where readers may not agree on it."""
    default = label = ""
    default_line = 0
    labels: dict[str, list[_Line]] = {}
    preferred: list[tuple[str, int]] = []
    for line in _lines(content):
        value = content[line.start : line.end]
        if line.keyword == "default":
            if default and default != value:
                raise Unsafe(f"DEFAULT stands twice: `{default}` in line {default_line}, `{value}` here", line.number)
            default, default_line = value, line.number
        elif line.keyword == "label":
            if value in labels:
                raise Unsafe(f"a second LABEL `{value}`, so that it is not certain which of them is booted", line.number)
            label = value
            labels[label] = []
        elif line.keyword == "menu default":
            preferred.append((label, line.number))
        elif line.keyword == "append" and label:
            labels[label].append(line)
    if not default:
        raise Unsafe("no DEFAULT line says which entry is booted")
    for name, number in preferred:
        if name != default:
            raise Unsafe(f"MENU DEFAULT prefers `{name}` here, and DEFAULT in line {default_line} says `{default}`", number)
    if default not in labels:
        raise Unsafe(f"DEFAULT names `{default}`, and no LABEL is called so", default_line)
    lines = labels[default]
    if len(lines) != 1:
        number = lines[1].number if lines else default_line
        raise Unsafe(f"the entry `{default}` has {'two APPEND lines' if lines else 'no APPEND line'}", number)
    value = content[lines[0].start : lines[0].end]
    _refuse_odd(value, lines[0].number)
    return lines[0]


def _refuse_odd(value: str, number: int) -> None:
    """Refuse arguments of which it is not certain that the kernel gets all, and them alone."""
    if not value or value == "-":
        raise Unsafe("APPEND would hold no other arguments, so that the kernel would not be told where its root is", number)
    if "#" in value:
        raise Unsafe("some readers take what follows the `#` in APPEND for a comment; take it out first", number)
    if value.endswith("\\"):
        raise Unsafe(
            "a backslash does not join lines here: what is below this APPEND is not read; make it one line first", number
        )
