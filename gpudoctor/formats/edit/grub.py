"""/etc/default/grub and its drop-ins: one kernel argument added or taken away, every other byte kept.

The files are a program for sh, so that what counts is the effective value over all of them, computed by `gpudoctor.formats.grub` and
never by running them. Each edit is checked by computing both variables again: exactly the asked words came or went.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from gpudoctor.formats import cmdline, grub
from gpudoctor.formats.edit import Unsafe

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpudoctor.formats.grub import Assignment

MAIN = "/etc/default/grub"
DROP_IN = "/etc/default/grub.d/99-gpudoctor.cfg"
_FIRST_LINE = "# Written by gpudoctor fix: kernel arguments, appended to what the files before this one say.\n"
_DEFAULT, _ALWAYS = "GRUB_CMDLINE_LINUX_DEFAULT", "GRUB_CMDLINE_LINUX"
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-=,:/")
_EDGES = " \t\r\n\"'"

Files = tuple[tuple[str, bytes], ...]


def add_argument(
    files: Sequence[tuple[str, bytes]], argument: str, *, style: Literal["main", "drop-in"], bash: bool = False
) -> tuple[str, bytes]:
    """Return (path, bytes) of the one file to be changed so that ``argument`` is the last word on GRUB's kernel line.

    ``files`` are (path, bytes) in the order of sourcing. ``drop-in`` writes a file of our own, ``main`` edits /etc/default/grub. Where
    the argument holds already, the same bytes of the main file are returned. Raises ``Malformed`` where a file makes grub-mkconfig fail, and
    ``Unsafe`` where the value cannot be computed or the edit would be lost.
    """
    if not argument or not set(argument) <= _PLAIN:
        raise Unsafe(f"{argument!r} is no argument that can be written without quotes")
    before = _words(files, bash=bash)
    name, _, value = argument.partition("=")
    told = cmdline.values(before[_ALWAYS] + before[_DEFAULT], name)
    known = dict(files)
    if told and told[-1] == (value if "=" in argument else None):
        return MAIN, known.get(MAIN, b"")
    path = DROP_IN if style == "drop-in" else MAIN
    data = known.get(path, b"")
    after = _appended_line(data, argument) if style == "drop-in" else _extended(data, argument)
    changed = _with(files, path, after)
    now = _words(changed, bash=bash)
    if now[_DEFAULT] != (*before[_DEFAULT], (name, value if "=" in argument else None)) or now[_ALWAYS] != before[_ALWAYS]:
        last = grub.effective(changed, _DEFAULT, bash=bash)
        if last.path and last.path != path:
            raise Unsafe(f"{last.path} line {last.line} sets {_DEFAULT} after {path}, so that an edit there is lost")
        raise Unsafe(f"the kernel line would not be what was asked for, because of how {path} sets {_DEFAULT}")
    _nothing_else(files, changed)
    return path, after


def remove_argument(
    files: Sequence[tuple[str, bytes]], name: str, *, value: str | None = None, bash: bool = False
) -> tuple[tuple[str, bytes | None], ...]:
    """Return (path, bytes) of each file to be changed so that no argument ``name`` is left on GRUB's kernel line.

    With ``value`` only ``name=value`` goes. Only the assignments that count are touched; our own drop-in is removed (None) where
    nothing is left in it. Raises as ``add_argument`` does.
    """
    before = _words(files, bash=bash)
    wanted = {variable: tuple(word for word in words if not _is(word, name, value)) for variable, words in before.items()}
    changed: Files = tuple(files)
    for variable in (_DEFAULT, _ALWAYS):
        tried: set[tuple[str, int]] = set()
        while any(_is(word, name, value) for word in _words(changed, bash=bash)[variable]):
            place = _last_holding(changed, variable, name, value, tried)
            if place is None:
                raise Unsafe(
                    f"{name} is on the kernel line, but stands in no assignment of {variable} in a way that can be taken out"
                )
            path, assignment = place
            tried.add((path, assignment.line))
            changed = _with(changed, path, _without(dict(changed)[path], assignment, name, value))
    changed = tuple((path, data) for path, data in changed if path != DROP_IN or _has_settings(data))
    if _words(changed, bash=bash) != wanted:
        raise Unsafe("the kernel line would lose more than the argument")
    _nothing_else(files, changed)
    now = dict(changed)
    return tuple((path, now.get(path)) for path, data in files if now.get(path) != data)


def _words(files: Sequence[tuple[str, bytes]], *, bash: bool) -> dict[str, tuple[tuple[str, str | None], ...]]:
    """Return the arguments that both variables come to; refuse what cannot be computed."""
    found = {}
    for name in (_DEFAULT, _ALWAYS):
        value = grub.effective(files, name, bash=bash)
        if not value.computable:
            raise Unsafe(f"{value.path}: {value.problem}, so that {name} cannot be computed", value.line)
        if "\n" in (value.value or ""):
            raise Unsafe(f"{value.path}: {name} has a line break in it, which breaks the kernel line in grub.cfg", value.line)
        found[name] = cmdline.parse(value.value or "")
    return found


def _with(files: Sequence[tuple[str, bytes]], path: str, data: bytes) -> Files:
    """Return the files with one replaced, or added where grub-mkconfig would source it."""
    known = {**dict(files), path: data}
    return tuple(sorted(known.items(), key=lambda item: (item[0] != MAIN, item[0])))


def _is(word: tuple[str, str | None], name: str, value: str | None) -> bool:
    return word[0].replace("-", "_") == name.replace("-", "_") and value in {None, word[1]}


def _nothing_else(before: Sequence[tuple[str, bytes]], after: Sequence[tuple[str, bytes]]) -> None:
    """Refuse where any assignment of another variable differs."""

    def others(files: Sequence[tuple[str, bytes]]) -> list[tuple[str, str]]:
        found = (each for _, data in files for each in grub.assignments(_text(data)))
        return [(each.name, each.raw) for each in found if each.name not in {_DEFAULT, _ALWAYS}]

    if others(before) != others(after):
        raise Unsafe("another setting of GRUB would change with it")


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _ending(content: str) -> str:
    return "\r\n" if "\r\n" in content else "\n"


def _appended_line(data: bytes, argument: str) -> bytes:
    """Return our drop-in with one more line."""
    content = _text(data) or _FIRST_LINE
    if not content.endswith("\n"):
        content += _ending(content)
    return (content + f'{_DEFAULT}="${_DEFAULT} {argument}"{_ending(content)}').encode("utf-8", "surrogateescape")


def _extended(data: bytes, argument: str) -> bytes:
    """Return the main file with the argument at the end of the last assignment, in its own quotes; a new line where there is none."""
    content = _text(data)
    found = [each for each in grub.assignments(content) if each.name == _DEFAULT]
    if not found:
        if content and not content.endswith("\n"):
            content += _ending(content)
        return (content + f'{_DEFAULT}="{argument}"{_ending(content)}').encode("utf-8", "surrogateescape")
    start, end = _place(content, found[-1])
    raw = content[start:end]
    head, _, old = raw.partition("=")
    if old[-1:] in {'"', "'"}:
        inner = old[1:-1]
        space = "" if not inner or inner[-1].isspace() else " "
        new = f"{old[:-1]}{space}{argument}{old[-1]}"
    elif old and not set(old) <= _PLAIN:
        raise Unsafe(f"{_DEFAULT} is written without quotes in a way that cannot be extended", found[-1].line)
    else:
        new = f'"{old} {argument}"' if old else f'"{argument}"'
    return (content[:start] + f"{head}={new}" + content[end:]).encode("utf-8", "surrogateescape")


def _place(content: str, assignment: Assignment) -> tuple[int, int]:
    """Return where an assignment stands in the text, as offsets of its start and end."""
    at = 0
    for _ in range(assignment.line - 1):
        at = content.index("\n", at) + 1
    for raw in (assignment.raw, assignment.raw.replace("\n", "\r\n")):
        start = content.find(raw, at)
        if start >= 0:
            return start, start + len(raw)
    raise Unsafe("the assignment is written in a way that cannot be edited", assignment.line)


def _last_holding(
    files: Files, variable: str, name: str, value: str | None, tried: set[tuple[str, int]]
) -> tuple[str, Assignment] | None:
    """Return the last assignment of a variable in which the argument itself is written."""
    for path, data in reversed(files):
        if "/grub.d/" in path and not path.endswith(".cfg"):
            continue
        for each in reversed(grub.assignments(_text(data))):
            if each.name == variable and (path, each.line) not in tried and _spans(each.raw, name, value):
                return path, each
    return None


def _spans(raw: str, name: str, value: str | None) -> list[tuple[int, int]]:
    """Return where the argument stands in an assignment as written: offsets of its first character and past its last."""
    found = []
    begin = raw.index("=") + 1
    at = begin
    while (at := raw.find(name, at)) >= 0:
        end = at
        while end < len(raw) and raw[end] not in _EDGES:
            end += 1
        alone = at == begin or raw[at - 1] in _EDGES
        word_name, sign, word_value = raw[at:end].partition("=")
        if alone and word_name == name and (value is None or (sign and word_value == value)):
            found.append((at, end))
        at = end
    return found


def _without(data: bytes, assignment: Assignment, name: str, value: str | None) -> bytes:
    """Return a file without the argument in one assignment, and without our own line where only the reference to itself is left."""
    content = _text(data)
    start, end = _place(content, assignment)
    raw = content[start:end]
    for first, last in reversed(_spans(raw, name, value)):
        left, right = first, last
        if raw[left - 1] in " \t":
            while raw[left - 1] in " \t":
                left -= 1
            # Between two words one space stays; at the end none.
            if raw[right : right + 1] not in {"", '"', "'"} and raw[left - 1] in "\"'=":
                while raw[right : right + 1] in {" ", "\t"} and raw[right : right + 1]:
                    right += 1
        else:
            while raw[right : right + 1] in {" ", "\t"} and raw[right : right + 1]:
                right += 1
        raw = raw[:left] + raw[right:]
    if raw == f'{assignment.name}="${assignment.name}"':
        newline = content.find("\n", end)
        line_start = content.rfind("\n", 0, start) + 1
        if not content[line_start:start].strip() and not content[end : newline if newline >= 0 else len(content)].strip():
            return (content[:line_start] + (content[newline + 1 :] if newline >= 0 else "")).encode("utf-8", "surrogateescape")
    return (content[:start] + raw + content[end:]).encode("utf-8", "surrogateescape")


def _has_settings(data: bytes) -> bool:
    """Say whether anything but comments is in a file."""
    return any(line.strip() and not line.lstrip().startswith("#") for line in _text(data).split("\n"))
