"""A file of /etc/modprobe.d with one option or one blacklist line changed, and every other byte kept.

The file is read as kmod reads it (``freadline_wrapped`` and ``kmod_config_parse`` of libkmod, ``next_arg`` of the kernel), which is not
always what a person sees in it:

- a comment is a line whose first character is ``#``; behind an option the sign is one more word for the module;
- a backslash at the end of a line joins it to the next with nothing in between, in a comment too; any other backslash is dropped;
- a carriage return is part of a module's name, so that a blacklist line with a Windows line ending holds nothing back;
- all options lines of a module are joined, and of an option that stands twice the last one counts.

Where a person and kmod would read a line differently and the change would depend on it, the change is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.formats.edit import Unsafe
from gpudoctor.formats.modprobe import options, parse
from gpudoctor.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TypeAlias

    # What a line says: its verb, its module, and the names and values of its options; of other lines the text alone.
    Meaning: TypeAlias = tuple[str, str, tuple[tuple[str, str | None], ...]]

# What kmod splits a line at, and what the kernel splits options at.
_GAP = " \t"
_SPACE = " \t\r\v\f"


def set_option(data: bytes, module: str, option: str, value: str) -> bytes:
    """Return the file with an option of a module set to ``value`` (without quotes; it gets them where it needs them).

    The value in force is replaced where it stands; a new option gets a line of its own below the module's other ones, else at the end.
    An empty file is one that is not there yet. Raises ``Unsafe`` where the change cannot be made alone.
    """
    _refuse_words(module, option)
    if any(each in '"\\' or not (each.isprintable() or each == "\t") for each in value):
        raise Unsafe("the new value has a quote, a backslash or a control character, which cannot be written in modprobe.d")
    content, lines = _opened(data)
    found = _found(lines, module, option)
    written = f'"{value}"' if any(each in _SPACE for each in value) else value
    meaning = [_meaning(line) for line in lines]
    if not found:
        mine = [number for number, line in enumerate(lines) if _is(line, "options", module)]
        at = mine[-1] if mine else len(lines) - 1
        head = _head(content, lines[at]) if mine else ""
        new = f"{head or f'options {module} '}{option}={written}"
        meaning[at + 1 : at + 1] = [_meaning(each) for each in _lines(new)]
        edited = _inserted(content, lines, at, new, _ending(content, lines, at))
    else:
        number, which = found[-1]
        line = lines[number]
        word = line.words[which]
        if word.value == value:
            return data
        if "\\" in content[line.at[word.start] : line.after[word.end - 1]].replace("\\\n", ""):
            reason = "modprobe drops a backslash that does not end the line, so it does nothing in this option; take it out first"
            raise Unsafe(reason, line.number)
        if word.value is None:
            start, end, written = line.after[word.end - 1], line.after[word.end - 1], f"={written}"
        else:
            start, end = line.after[word.value_start - 1], line.after[word.value_end - 1]
            # The quotes that are there already stay.
            written = value if word.quoted else written
        edited = content[:start] + written + content[end:]
        pairs = list(meaning[number][2])
        pairs[which] = (word.name, value)
        meaning[number] = (*meaning[number][:2], tuple(pairs))
    values = [each for name, each, _ in options(parse(edited), module) if name == _same(option)]
    if values[-1:] != [value]:
        raise _touched()
    return _checked(edited, meaning)


def remove_option(data: bytes, module: str, option: str) -> bytes:
    """Return the file without an option of a module, wherever it is set; a line goes where nothing else is left on it.

    The same bytes where it is not set. Raises as ``set_option`` does.
    """
    _refuse_words(module, option)
    content, lines = _opened(data)
    if not _found(lines, module, option):
        return data
    meaning = []
    for line in lines:
        verb, name, pairs = _meaning(line)
        left = tuple(pair for pair in pairs if _same(pair[0]) != _same(option))
        if not _is(line, "options", module) or left == pairs:
            meaning.append((verb, name, pairs))
        elif not _only_remark(left):
            meaning.append((verb, name, left))
    while found := _found(lines, module, option):
        number, which = found[-1]
        content = _without(content, lines[number], which)
        lines = _lines(content)
    if any(name == _same(option) for name, _, _ in options(parse(content), module)):
        raise _touched()
    return _checked(content, meaning)


def add_blacklist(data: bytes, module: str) -> bytes:
    """Return the file with a module kept from being loaded by its alias: a new line below the other ones of this kind, else at the end.

    A line that is there but without effect, because it ends in a carriage return, loses that; a new one never gets it. Raises ``Unsafe``
    as ``set_option`` does.
    """
    _refuse_words(module)
    content, lines = _opened(data)
    if any(_is(line, "blacklist", module) for line in lines):
        return data
    meaning = [_meaning(line) for line in lines]
    for number, line in enumerate(lines):
        if line.verb == "blacklist" and line.module.removesuffix("\r") == _same(module):
            at = line.at[line.rest - 1]
            meaning[number] = ("blacklist", line.module.removesuffix("\r"), meaning[number][2])
            return _checked(content[:at] + content[at + 1 :], meaning)
    mine = [number for number, line in enumerate(lines) if line.verb == "blacklist"]
    at = mine[-1] if mine else len(lines) - 1
    new = f"blacklist {module}"
    meaning.insert(at + 1, ("blacklist", _same(module), ()))
    return _checked(_inserted(content, lines, at, new, "\n"), meaning)


def remove_blacklist(data: bytes, module: str) -> bytes:
    """Return the file without the lines that blacklist a module, and with the remark behind it each of them had.

    The same bytes where there is none. Raises ``Unsafe`` as ``set_option`` does.
    """
    _refuse_words(module)
    content, lines = _opened(data)
    meaning = [_meaning(line) for line in lines]
    for number in reversed(range(len(lines))):
        line = lines[number]
        if line.verb != "blacklist" or line.module.removesuffix("\r") != _same(module):
            continue
        rest = line.text[line.rest :].strip(_SPACE)
        if rest and not rest.startswith("#"):
            reason = "this blacklist line names more than one module, of which modprobe reads only the first; give each its own line first"
            raise Unsafe(reason, line.number)
        content = _without_line(content, line)
        del meaning[number]
    return data if len(meaning) == len(lines) else _checked(content, meaning)


class _Word(NamedTuple):
    """One option: places are those in the line's text, and ``value`` is None where there is no equals sign.

    ``quoted`` tells that quotes stand round the value or the whole option.
    """

    start: int
    end: int
    name: str
    value: str | None
    value_start: int
    value_end: int
    quoted: bool


class _Line(NamedTuple):
    """A line as kmod reads it, continuations joined.

    ``start`` and ``end`` are its place in the file without the last newline; ``at`` and ``after`` those of each character of ``text``.
    ``rest`` is where what follows the module begins in ``text``.
    """

    number: int
    start: int
    end: int
    text: str
    at: tuple[int, ...]
    after: tuple[int, ...]
    verb: str
    module: str
    rest: int
    words: tuple[_Word, ...]


def _touched() -> Unsafe:
    """Say that the result is not what was asked."""
    return Unsafe("the change would have touched more than was asked, so it is not made; please edit the file by hand")


def _same(name: str) -> str:
    """Return a name as kmod and the kernel compare it: a dash is an underscore."""
    return name.replace("-", "_")


def _is(line: _Line, verb: str, module: str) -> bool:
    """Tell whether a line has this verb and module."""
    return line.verb == verb and line.module == _same(module)


def _refuse_words(*words: str) -> None:
    """Refuse a module's or an option's name that would not be read as one word."""
    for word in words:
        if not word or word.startswith("#") or not word.isprintable() or any(each in ' "\\=' for each in word):
            raise Unsafe(f"{word!r} cannot be the name of a module or of its option")


def _opened(data: bytes) -> tuple[str, tuple[_Line, ...]]:
    """Return the text, in which other bytes than UTF-8 are kept, and its lines; refuse what kmod does not read to the end."""
    if b"\0" in data:
        raise Unsafe(
            "the file has a zero byte, so it is not plain text; save it as UTF-8 first",
            data.count(b"\n", 0, data.index(b"\0")) + 1,
        )
    content = data.decode("utf-8", "surrogateescape")
    wrapped = content.find("\\\r\n")
    if wrapped >= 0:
        reason = "a backslash before a Windows line ending does not join two lines for modprobe; save the file with Unix line endings first"
        raise Unsafe(reason, content.count("\n", 0, wrapped) + 1)
    if content.endswith(("\\", "\\\n", "\\\r")):
        raise Unsafe(
            "the last line ends in a backslash and would be joined to what is added; take that out first", len(data.splitlines())
        )
    return content, _lines(content)


def _lines(content: str) -> tuple[_Line, ...]:
    """Read a text as kmod does."""
    lines: list[_Line] = []
    start, number = 0, 1
    while start < len(content):
        text, at, after = "", [], []
        offset, first = start, number
        while offset < len(content) and content[offset] != "\n":
            width = 1
            if content[offset] == "\\":
                width = 2
                number += content[offset + 1 : offset + 2] == "\n"
            if content[offset : offset + 2] != "\\\n":
                text += content[offset + width - 1 : offset + width]
                at.append(offset)
                after.append(offset + width)
            offset += width
        lines.append(_line(first, start, offset, text, tuple(at), tuple(after)))
        start, number = offset + 1, number + 1
    return tuple(lines)


def _line(number: int, start: int, end: int, text: str, at: tuple[int, ...], after: tuple[int, ...]) -> _Line:
    """Take a line apart; only one of options or of a blacklist has a verb."""
    verb_at = len(text) - len(text.lstrip(_GAP))
    verb_end = _gap(text, verb_at)
    verb = text[verb_at:verb_end]
    module_at = verb_end + len(text[verb_end:]) - len(text[verb_end:].lstrip(_GAP))
    rest = _gap(text, module_at)
    module = _same(text[module_at:rest])
    # kmod takes no options line without anything behind the module.
    known = not text.startswith("#") and module and (verb == "blacklist" or (verb == "options" and rest + 1 < len(text)))
    if not known:
        return _Line(number, start, end, text, at, after, "", "", len(text), ())
    words = tuple(_words(text, rest)) if verb == "options" else ()
    return _Line(number, start, end, text, at, after, verb, module, rest, words)


def _gap(text: str, at: int) -> int:
    """Return where the word that begins here ends for kmod."""
    while at < len(text) and text[at] not in _GAP:
        at += 1
    return at


def _words(text: str, at: int) -> Iterator[_Word]:
    """Split options as the kernel's ``next_arg`` does: quotes protect white space, a backslash nothing."""
    while True:
        while text[at : at + 1] and text[at] in _SPACE:
            at += 1
        if at >= len(text):
            return
        start, inside, equals = at, False, -1
        while at < len(text) and (inside or text[at] not in _SPACE):
            inside ^= text[at] == '"'
            if text[at] == "=" and equals < 0:
                equals = at
            at += 1
        whole = text[start] == '"'
        name_start, end = start + whole, at - (whole and text[at - 1] == '"' and at > start + 1)
        if equals < 0:
            yield _Word(start, at, text[name_start:end], None, at, at, whole)
            continue
        opened = text[equals + 1 : equals + 2] == '"'
        value_start, value_end = equals + 1 + opened, end
        if opened and value_end > value_start and text[value_end - 1] == '"':
            value_end -= 1
        yield _Word(start, at, text[name_start:equals], text[value_start:value_end], value_start, value_end, whole or opened)


def _meaning(line: _Line) -> Meaning:
    """Return what a line says; one of options that has none says nothing."""
    if line.words:
        return line.verb, line.module, tuple((word.name, word.value) for word in line.words)
    if line.verb == "blacklist":
        rest = line.text[line.rest :].strip(_SPACE)
        return line.verb, line.module, ((rest, None),) if rest else ()
    return "", line.text.removesuffix("\r"), ()


def _found(lines: tuple[_Line, ...], module: str, option: str) -> list[tuple[int, int]]:
    """Return where an option of a module is set: numbers of the line and of its word."""
    found = []
    for number, line in enumerate(lines):
        if not _is(line, "options", module):
            continue
        if line.text.count('"') % 2:
            raise Unsafe("a quote that is opened on this line is never closed; close it first", line.number)
        remark = False
        for which, word in enumerate(line.words):
            remark = remark or word.name.startswith("#")
            if _same(word.name) != _same(option):
                continue
            if remark:
                reason = "what looks like a comment here is read as options, for modprobe knows no comment behind something else"
                raise Unsafe(f"{reason}; give it a line of its own first", line.number)
            found.append((number, which))
    return found


def _only_remark(pairs: tuple[tuple[str, str | None], ...]) -> bool:
    """Tell whether what is left of a line is nothing, or words behind a ``#`` of which none sets anything."""
    return not pairs or (pairs[0][0].startswith("#") and all(value is None for _, value in pairs))


def _head(content: str, line: _Line) -> str:
    """Return how an options line begins, up to its first option; empty where that is not on one plain line."""
    if not line.words:
        return ""
    head = line.text[: line.words[0].start]
    return head if content[line.start :].startswith(head) else ""


def _ending(content: str, lines: tuple[_Line, ...], at: int) -> str:
    """Return how a line ends, or the one before it where it is the last and has no ending."""
    for line in (lines[at], lines[at - 1]) if lines else ():
        if line.end < len(content):
            return "\r\n" if content[line.end - 1 : line.end] == "\r" else "\n"
    return "\n"


def _inserted(content: str, lines: tuple[_Line, ...], at: int, new: str, newline: str) -> str:
    """Put a line behind the one at ``at``; a file without a final newline stays without one."""
    if not lines:
        return new + newline
    line = lines[at]
    if line.end < len(content):
        return content[: line.end + 1] + new + newline + content[line.end + 1 :]
    # Only an options line stays the same with a carriage return at its end.
    return content + (newline if line.verb == "options" else "\n") + new


def _without(content: str, line: _Line, which: int) -> str:
    """Take one option out of a line, and the line where nothing is left on it."""
    left = tuple((word.name, word.value) for number, word in enumerate(line.words) if number != which)
    if _only_remark(left):
        return _without_line(content, line)
    word = line.words[which]
    before = line.after[(line.words[which - 1].end if which else line.rest) - 1]
    start, end = line.at[word.start], line.after[word.end - 1]
    if which + 1 == len(line.words):
        return content[:before] + content[end:]
    behind = line.at[line.words[which + 1].start]
    if "\n" in content[end:behind] and "\n" not in content[before:start]:
        return content[:before] + content[end:]
    return content[:start] + content[behind:]


def _without_line(content: str, line: _Line) -> str:
    """Take a line out; where it ends the file without a newline, the one before it ends so now."""
    above = content[: line.start]
    if line.end < len(content):
        return above + content[line.end + 1 :]
    last = _lines(above)[-1:]
    # A blank line would go with its newline; a blacklist line would begin to have an effect without its carriage return.
    if last and (last[0].text in {"", "\r"} or (last[0].verb == "blacklist" and last[0].module.endswith("\r"))):
        return above
    return above.removesuffix("\n").removesuffix("\r")


def _checked(content: str, meaning: list[Meaning]) -> bytes:
    """Return the new text as bytes if each of its lines says what is wanted, else raise ``Unsafe``."""
    if [_meaning(line) for line in _lines(content)] != meaning:
        raise _touched()
    return content.encode("utf-8", "surrogateescape")
