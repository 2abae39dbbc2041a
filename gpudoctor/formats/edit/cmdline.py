"""A line of kernel arguments with one added at its end or taken away, and every other byte kept.

For /etc/kernel/cmdline, from which kernel-install makes the boot entries, and for Raspberry Pi's cmdline.txt, which the firmware reads:
both hold the one line that the kernel gets. The other editors of boot configurations use the same functions on their part of a line.
"""

from __future__ import annotations

from gpudoctor.formats import BOM, cmdline
from gpudoctor.formats.edit import Unsafe

# What needs no quotes: to sh, to GRUB, to the kernel, and in a boot loader's own file.
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-=,:/@+")
# What the kernel splits its arguments at.
_SPACE = " \t\r\n\v\f"


def add_argument(data: bytes, argument: str) -> bytes:
    """Return the file with ``argument`` behind its last one; the same bytes where it is the last word about its name already.

    Raises ``Unsafe`` where the file is not one line of arguments, and where an argument at its end would not be one.
    """
    content = _opened(data)
    if not content.strip():
        plain(argument)
        raise Unsafe("the file holds no arguments; with this one alone the kernel would not be told where its root is")
    return extended(content, argument).encode("utf-8", "surrogateescape")


def remove_argument(data: bytes, name: str, *, value: str | None = None) -> bytes:
    """Return the file without the argument ``name``, with ``value`` only without ``name=value``; the same bytes where it is not there.

    Raises ``Unsafe`` as ``add_argument`` does.
    """
    content = _opened(data)
    return without(content, name, value).encode("utf-8", "surrogateescape")


def plain(argument: str) -> tuple[str, str | None]:
    """Return the name and the value of an argument to be written; refuse one that would need quotes somewhere."""
    name, equals, value = argument.partition("=")
    if not name.strip("-") or not set(argument) <= _PLAIN:
        raise Unsafe(f"{argument!r} is no argument that can be written without quotes")
    return name, value if equals else None


def spans(line: str) -> list[tuple[int, int]]:
    """Return where the arguments of a line stand: the offset of the first character of each and the one past its last."""
    found = []
    start = -1
    quoted = False
    for at, character in enumerate(line):
        quoted ^= character == '"'
        if quoted or character not in _SPACE:
            start = at if start < 0 else start
        elif start >= 0:
            found.append((start, at))
            start = -1
    return [*found, (start, len(line))] if start >= 0 else found


def meant(word: str, name: str, value: str | None) -> bool:
    """Tell whether a word of a line is the argument asked for; ``value`` is None where any value is meant."""
    (argument,) = cmdline.parse(word)
    return _is(argument, name, value)


def extended(line: str, argument: str, number: int = 1) -> str:
    """Return a line with one more argument, parted from the last one as that is from the one before it; space at its end stays there.

    The same line where the argument is there and nothing behind it says otherwise. ``number`` is that of the line, for what is refused.
    """
    wanted = plain(argument)
    refuse_odd(line, number)
    before = cmdline.parse(line)
    told = cmdline.values(before, wanted[0])
    if ("--", None) in before:
        raise Unsafe("what stands behind `--` is not for the kernel, so that an argument at the end would not be one", number)
    if told and told[-1] == wanted[1]:
        return line
    found = spans(line)
    end = found[-1][1] if found else 0
    edited = line[:end] + gap(line) + argument + line[end:]
    if cmdline.parse(edited) != (*before, wanted):
        raise Unsafe("the line would not be what was asked for", number)
    return edited


def without(line: str, name: str, value: str | None, number: int = 1) -> str:
    """Return a line without an argument and the space before it; where it is the first one, without the space behind it."""
    refuse_odd(line, number)
    before = cmdline.parse(line)
    found = spans(line)
    kept = [(start, end) for start, end in found if not meant(line[start:end], name, value)]
    if len(kept) == len(found):
        return line
    edited = line[: found[0][0]]
    for at, (start, end) in enumerate(found):
        if (start, end) in kept:
            edited += line[found[at - 1][1] if (start, end) != kept[0] else start : end]
    edited += line[found[-1][1] :]
    if cmdline.parse(edited) != tuple(each for each in before if not _is(each, name, value)):
        raise Unsafe("the line would lose more than the argument", number)
    return edited


def gap(line: str) -> str:
    """Return what parts a new argument from the last one of a line: a tab where the last two are parted so, nothing in an empty line."""
    found = spans(line)
    if not found:
        return ""
    return "\t" if len(found) > 1 and line[found[-1][0] - 1] == "\t" else " "


def refuse_odd(line: str, number: int) -> None:
    """Refuse a line of which a person and the kernel may not see the same arguments."""
    if line.count('"') % 2:
        raise Unsafe("a quote in the kernel arguments is never closed", number)
    odd = next((each for each in line if each.isspace() and each not in _SPACE), None)
    if odd is not None:
        reason = f"the character U+{ord(odd):04X} looks like a space and is none to the kernel; put a plain space in its place"
        raise Unsafe(reason, number)


def _is(argument: tuple[str, str | None], name: str, value: str | None) -> bool:
    """Tell the same of a parsed argument, in which a dash and an underscore of the name are alike."""
    return argument[0].replace("-", "_") == name.replace("-", "_") and value in {None, argument[1]}


def _opened(data: bytes) -> str:
    """Return the text; refuse what is not one line of arguments."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in data:
        raise Unsafe("the file is not plain text (UTF-16, or with NUL bytes); save it as UTF-8 first")
    if data.startswith(BOM):
        raise Unsafe(
            "the file begins with a byte order mark, which becomes part of its first argument; take the mark out first", 1
        )
    content = data.decode("utf-8", "surrogateescape")
    lines = [(number, line) for number, line in enumerate(content.split("\n"), 1) if line.strip()]
    for number, line in lines:
        if line.lstrip().startswith("#"):
            raise Unsafe(
                "this line looks like a comment, and not every reader of this file knows comments; take it out first", number
            )
    if len(lines) > 1:
        raise Unsafe("the kernel arguments stand on more than one line, of which some readers take only the first", lines[1][0])
    if lines and lines[0][0] > 1:
        raise Unsafe(
            "the kernel arguments do not stand on the first line, which is the only one that some readers take", lines[0][0]
        )
    return content
