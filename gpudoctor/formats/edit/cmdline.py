"""/etc/kernel/cmdline, one line of kernel arguments: one of them added at its end or taken away, every other byte kept."""

from __future__ import annotations

from gpudoctor.formats import cmdline
from gpudoctor.formats.edit import Unsafe

_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-=,:/")


def add_argument(data: bytes, argument: str) -> bytes:
    """Return the file with ``argument`` at the end of its line; the same bytes where it is the last word about its name already.

    Raises ``Unsafe`` where the file has more than one line of arguments, or a quote that is never closed.
    """
    if not argument or not set(argument) <= _PLAIN:
        raise Unsafe(f"{argument!r} is no argument that can be written without quotes")
    content = _line(data)
    before = cmdline.parse(content)
    (wanted,) = cmdline.parse(argument)
    told = cmdline.values(before, wanted[0])
    if told and told[-1] == wanted[1]:
        return data
    body = content.rstrip("\r\n")
    space = "" if not body.strip() or body[-1].isspace() else " "
    edited = body + space + argument + content[len(body) :]
    if cmdline.parse(edited) != (*before, wanted):
        raise Unsafe("the line would not be what was asked for")
    return edited.encode("utf-8", "surrogateescape")


def remove_argument(data: bytes, name: str, *, value: str | None = None) -> bytes:
    """Return the file without the argument ``name``, with ``value`` without ``name=value`` alone; the same bytes where it is not there."""
    content = _line(data)
    before = cmdline.parse(content)
    wanted = tuple(word for word in before if not (word[0] == name and value in {None, word[1]}))
    if wanted == before:
        return data
    edited = ""
    at = 0
    while at < len(content):
        end = at
        while end < len(content) and content[end].isspace():
            end += 1
        space = content[at:end]
        begin = end
        quoted = False
        while end < len(content) and (quoted or not content[end].isspace()):
            quoted ^= content[end] == '"'
            end += 1
        word = content[begin:end]
        if word and all(each[0] == name and value in {None, each[1]} for each in cmdline.parse(word)):
            # The space before the word goes with it; at the start of the line, the space after it.
            if not edited:
                while end < len(content) and content[end] in " \t":
                    end += 1
        else:
            edited += space + word
        at = end
    if cmdline.parse(edited) != wanted:
        raise Unsafe("the line would lose more than the argument")
    return edited.encode("utf-8", "surrogateescape")


def _line(data: bytes) -> str:
    """Return the text; refuse what is not one line of arguments."""
    content = data.decode("utf-8", "surrogateescape")
    lines = [number for number, line in enumerate(content.split("\n"), 1) if line.strip()]
    if len(lines) > 1:
        raise Unsafe("the kernel arguments stand on more than one line", lines[1])
    if content.count('"') % 2:
        raise Unsafe("a quote is never closed", lines[0])
    return content
