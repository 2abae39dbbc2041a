"""/etc/default/grub and its drop-ins with one kernel argument added or taken away, and every other byte kept.

The files are a program for sh, so what counts is the value that a variable has after all of them. It is computed here with the place of
each of its characters, by the rules of `gpudoctor.formats.grub` and never by running anything, and must come out as that module's does.
The kernel line is ``GRUB_CMDLINE_LINUX`` and then ``GRUB_CMDLINE_LINUX_DEFAULT``, and mostly the last word about a name wins.

Each result is computed again: exactly the asked words came or went, and no other setting or command of any file is different.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.formats import BOM, Malformed, cmdline, grub, text
from gpudoctor.formats.edit import Unsafe
from gpudoctor.formats.edit.cmdline import gap, meant, plain, refuse_odd, spans
from gpudoctor.formats.grub import _CHANGING, _HIDING, _assigned, _commands, _escape, _reference
from gpudoctor.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Literal, TypeAlias

    from gpudoctor.formats.grub import _Command, _Word

    Value: TypeAlias = "tuple[_Piece, ...]"

MAIN = "/etc/default/grub"
DROP_IN = "/etc/default/grub.d/99-gpudoctor.cfg"
_FIRST_LINE = "# Written by gpudoctor fix: kernel arguments, appended to what the files before this one say.\n"
_ALWAYS, _DEFAULT = "GRUB_CMDLINE_LINUX", "GRUB_CMDLINE_LINUX_DEFAULT"
_BOTH = (_ALWAYS, _DEFAULT)
_SPACE = " \t\r\n\v\f"
# No value is longer: see `gpudoctor.formats.grub`.
_LONGEST = 65536


def add_argument(
    files: Sequence[tuple[str, bytes]], argument: str, *, style: Literal["main", "drop-in"], bash: bool = False
) -> tuple[str, bytes]:
    """Return path and bytes of the one file to be changed so that ``argument`` is the last word about its name on the kernel line.

    ``files`` are (path, bytes) in the order of sourcing; ``bash`` says that sh is bash here. ``drop-in`` writes a file of our own,
    ``main`` extends /etc/default/grub. Where the argument holds already, the file that says so comes back with the same bytes. Raises
    ``Malformed``, with the path, where grub-mkconfig fails, and ``Unsafe`` where a value cannot be computed or the edit would be lost.
    """
    wanted = plain(argument)
    before = _read(files, bash=bash)
    always, default = (_line(before, name) for name in _BOTH)
    _refuse_cut(f"{always} {default}")
    held = cmdline.values(cmdline.parse(f"{always} {default}"), wanted[0])
    if held and held[-1] == wanted[1]:
        holding = [piece for name in _BOTH for piece in _holding(before, name, wanted)]
        return before.files[holding[-1].file]
    path = MAIN if style == "main" else DROP_IN
    start, data = _extended(before, argument) if style == "main" else _with_line(dict(before.files).get(path, b""), argument)
    changed = _with(before.files, path, data)
    number = [each for each, _ in changed].index(path)
    after = _read(changed, bash=bash)
    _refuse_lost(after, range(start, start + len(argument)), number, path)
    _refuse_overruled(after, wanted)
    words = _words(after, _DEFAULT)
    places = [
        at for at, word in enumerate(words) if word == argument and [*words[:at], *words[at + 1 :]] == _words(before, _DEFAULT)
    ]
    if not places or _line(after, _ALWAYS) != always:
        raise Unsafe(f"{path}: more than the asked argument would change on the kernel line")
    _refuse_side_effects(before, after)
    return path, data


def remove_argument(
    files: Sequence[tuple[str, bytes]], name: str, *, value: str | None = None, bash: bool = False
) -> tuple[tuple[str, bytes | None], ...]:
    """Return path and bytes of each file to be changed so that no argument ``name`` is left on the kernel line.

    With ``value`` only ``name=value`` goes. Only assignments are touched that the kernel line gets it from. Our own drop-in is removed
    (None) where nothing is left in it. Empty where there is nothing to do. Raises as ``add_argument`` does.
    """
    before = _read(files, bash=bash)
    wanted = {each: [word for word in _words(before, each) if not meant(word, name, value)] for each in _BOTH}
    cuts: dict[tuple[int, int], set[int]] = {}
    always, default = (_line(before, each) for each in _BOTH)
    last, sign = _end(f"{always} {default}")
    for each in _BOTH:
        pieces = before.known[each] or ()
        for start, end in spans(_line(before, each)):
            if not meant(_line(before, each)[start:end], name, value):
                continue
            if sign and start + (len(always) + 1) * (each == _DEFAULT) > last:
                reason = f"GRUB takes {sign} in the kernel arguments for a sign of its own language"
                raise Unsafe(f"{reason}, and {name} stands behind it, where it does nothing")
            origin = _origin(before, pieces[start:end], name)
            cuts.setdefault(origin, set()).update(piece.start for piece in pieces[start:end])
    changed: list[tuple[str, bytes]] = []
    for number, (path, data) in enumerate(before.files):
        mine = [(before.settings[at], cut) for (file, at), cut in cuts.items() if file == number]
        left: bytes | None = _cut(data, mine) if mine else data
        if mine and path == DROP_IN:
            left = _without_idle_lines(left or b"")
        if left is not None:
            changed.append((path, left))
    after = _read(changed, bash=bash)
    if {each: _words(after, each) for each in _BOTH} != wanted:
        raise Unsafe(f"more than {name} would change on the kernel line")
    _refuse_side_effects(before, after)
    now = dict(changed)
    return tuple((path, now.get(path)) for path, data in before.files if now.get(path) != data)


class _Piece(NamedTuple):
    """One character of a value: where it is written (file, assignment, offsets), and in which quotes, if any."""

    text: str
    file: int
    setting: int
    start: int
    end: int
    quote: str


class _Mark(NamedTuple):
    """One character of an assignment as written, or one reference to a variable."""

    text: str
    reference: bool
    start: int
    end: int
    quote: str


class _Setting(NamedTuple):
    """One assignment: the word as written from ``start`` to ``end``, what it says, and the value that its variable then has."""

    name: str
    file: int
    line: int
    start: int
    end: int
    append: bool
    marks: tuple[_Mark, ...]
    value: Value | None


class _Reading(NamedTuple):
    """What all files come to: the assignments in order, the values at the end, and all words but those of the kernel line.

    Offsets are those of a text whose lines end in a newline alone: see `_real`.
    """

    files: tuple[tuple[str, bytes], ...]
    settings: tuple[_Setting, ...]
    known: dict[str, Value | None]
    others: tuple[str, ...]


def _read(files: Sequence[tuple[str, bytes]], *, bash: bool) -> _Reading:
    """Read all files as `grub.effective` does, keeping the place of every character; refuse what cannot be computed for sure."""
    meanings = [grub.effective(files, name, bash=bash) for name in _BOTH]
    settings: list[_Setting] = []
    others: list[str] = []
    known: dict[str, Value | None] = {}
    unset: Value | None = ()
    for number, (path, data) in enumerate(files):
        if "/grub.d/" in path and (not path.endswith(".cfg") or "/." in path):
            continue
        content = _opened(path, data)
        for command in _commands(content):
            words = command.words
            found, rest = _assigned(command)
            if words and words[0].raw in {"export", "readonly"}:
                words = tuple(word for word in words if "=" in word.raw)
            for assignment, word in zip(found, words, strict=False):
                start, end = word.offset, word.offset + len(word.raw)
                marks = tuple(_marks(word.raw, start)) if assignment.value is not None else ()
                value = None
                if assignment.value is not None:
                    value = _value(marks, (number, len(settings)), assignment, known, unset)
                known[assignment.name] = value
                each = _Setting(assignment.name, number, command.line, start, end, assignment.append, marks, value)
                settings.append(each)
            others += (each.raw for each in _other_words(path, command, found, words))
            verb = rest[0].raw if rest else ""
            if verb in _HIDING:
                known, unset = {}, None
            elif verb in _CHANGING:
                known.update(dict.fromkeys((word.raw for word in rest[1:]), None))
            if verb == "return" and command.certain:
                break
    known = {**dict.fromkeys(_BOTH, unset), **known}
    reading = _Reading(tuple(files), tuple(settings), known, tuple(others))
    for name, meaning in zip(_BOTH, meanings, strict=True):
        _refuse_uncertain(reading, name, meaning)
    return reading


def _refuse_uncertain(reading: _Reading, name: str, meaning: grub.Effective) -> None:
    """Refuse a value that cannot be computed, or that comes out otherwise here than in the parser."""
    if not meaning.computable:
        raise Unsafe(f"{meaning.path}: {meaning.problem}, so that {name} cannot be computed", meaning.line)
    pieces = reading.known[name]
    if pieces is None or text(_bytes(_text(pieces))) != (meaning.value or ""):
        raise Unsafe(f"{meaning.path}: it cannot be traced where {name} gets its value from", meaning.line)
    try:
        refuse_odd(_text(pieces), meaning.line)
    except Unsafe as unsafe:
        raise Unsafe(f"{meaning.path}: {unsafe.reason}", unsafe.line) from None


def _opened(path: str, data: bytes) -> str:
    """Return the text of a file with plain newlines; refuse what sh reads otherwise than a person does."""
    if data.startswith((BOM, b"\xff\xfe", b"\xfe\xff")):
        raise Malformed("a byte order mark, which sh takes for part of the first command", 1, path=path)
    content = data.decode("utf-8", "surrogateescape")
    if "\r" in content:
        for number, line in enumerate(content.split("\n"), 1):
            if line.endswith("\r") and not line.strip():
                raise Malformed("a carriage return on an empty line, which sh takes for a command", number, path=path)
            if line.endswith("\\\r") and not line.lstrip().startswith("#"):
                raise Unsafe(
                    f"{path}: the backslash does not join this line to the next, because a carriage return is between", number
                )
    return content.replace("\r\n", "\n").removesuffix("\r")


def _marks(raw: str, offset: int) -> Iterator[_Mark]:
    """Give what an assignment says, character by character, without its quotes and joined lines."""
    at = raw.index("=") + 1
    quote = ""
    while at < len(raw):
        start, character = at, raw[at]
        at += 1
        if character == quote:
            quote = ""
        elif character in {'"', "'"} and not quote:
            quote = character
        elif character == "\\" and quote != "'":
            at, escaped = _escape(raw, start, quoted=bool(quote))
            if escaped:
                yield _Mark(escaped, False, offset + start, offset + at, quote)  # noqa: FBT003 - a field
        elif character == "$" and quote != "'":
            at, name = _reference(raw, start)
            yield _Mark(name or "$", bool(name), offset + start, offset + at, quote)
        else:
            yield _Mark(character, False, offset + start, offset + at, quote)  # noqa: FBT003 - a field


def _value(
    marks: tuple[_Mark, ...],
    place: tuple[int, int],
    assignment: grub.Assignment,
    known: dict[str, Value | None],
    unset: Value | None,
) -> Value | None:
    """Put the values of the variables in; None where one is not known."""
    pieces: list[_Piece] = []
    if assignment.append:
        marks = (_Mark(assignment.name, reference=True, start=0, end=0, quote=""), *marks)
    for mark in marks:
        if mark.reference:
            value = known.get(mark.text, unset if mark.text.startswith("GRUB_") else None)
            if value is None:
                return None
            pieces += value
        else:
            pieces.append(_Piece(mark.text, *place, mark.start, mark.end, mark.quote))
        if len(pieces) > _LONGEST:
            return None
    return tuple(pieces)


def _other_words(path: str, command: _Command, found: list[grub.Assignment], words: tuple[_Word, ...]) -> Iterator[_Word]:
    """Give the words of a command that are not assignments of the kernel line; refuse those that look at it or hide it."""
    mine = {id(word) for assignment, word in zip(found, words, strict=False) if assignment.name in _BOTH}
    plain_words = {id(word) for assignment, word in zip(found, words, strict=False) if assignment.value is not None}
    for word in command.words:
        if word.raw.startswith("<<"):
            raise Unsafe(f"{path}: a text that goes on below `<<` cannot be told from commands", command.line)
        if id(word) in mine:
            continue
        if id(word) not in plain_words and any(sign in word.raw for sign in ("$GRUB_CMDLINE_LINUX", "${GRUB_CMDLINE_LINUX")):
            raise Unsafe(f"{path}: what this command does depends on the kernel arguments", command.line)
        yield word


def _text(pieces: Sequence[_Piece]) -> str:
    """Return a value without its places."""
    return "".join(piece.text for piece in pieces)


def _bytes(content: str) -> bytes:
    """Undo the decoding of a file."""
    return content.encode("utf-8", "surrogateescape")


def _line(reading: _Reading, name: str) -> str:
    """Return the value of one of both variables."""
    return _text(reading.known[name] or ())


def _words(reading: _Reading, name: str) -> list[str]:
    """Return the arguments of one of both variables as they are written there."""
    line = _line(reading, name)
    return [line[start:end] for start, end in spans(line)]


def _holding(reading: _Reading, name: str, wanted: tuple[str, str | None]) -> list[_Piece]:
    """Return the last character of each argument of this name, with any value."""
    pieces, line = reading.known[name] or (), _line(reading, name)
    return [pieces[end - 1] for start, end in spans(line) if meant(line[start:end], wanted[0], None)]


def _with(files: Sequence[tuple[str, bytes]], path: str, data: bytes) -> list[tuple[str, bytes]]:
    """Return the files with one replaced, or put where it will be sourced."""
    if path in dict(files):
        return [(each, data if each == path else old) for each, old in files]
    at = sum(each == MAIN or (path != MAIN and each < path) for each, _ in files)
    return [*files[:at], (path, data), *files[at:]]


def _with_line(data: bytes, argument: str) -> tuple[int, bytes]:
    """Return our drop-in with one more line, and the offset of the argument in its text."""
    content = data.decode("utf-8", "surrogateescape") or _FIRST_LINE
    return _at_end(content, f'{_DEFAULT}="${_DEFAULT} {argument}"', argument)


def _at_end(content: str, line: str, argument: str) -> tuple[int, bytes]:
    """Put a line below all others, ending as the last one does."""
    ending = "\r\n" if content.endswith("\r\n") or (not content.endswith("\n") and "\r\n" in content) else "\n"
    if content and not content.endswith("\n"):
        content += ending
    start = len(content.replace("\r\n", "\n")) + line.index(argument)
    return start, _bytes(content + line + ending)


def _extended(reading: _Reading, argument: str) -> tuple[int, bytes]:
    """Return the main file with an argument behind the last one of its last assignment, and its offset in the text."""
    data = dict(reading.files).get(MAIN, b"")
    content = data.decode("utf-8", "surrogateescape")
    found = [each for each in reading.settings if each.name == _DEFAULT and reading.files[each.file][0] == MAIN]
    if not found:
        return _at_end(content, f'{_DEFAULT}="{argument}"', argument)
    setting = found[-1]
    if setting.value is None:
        raise Unsafe(f"{MAIN}: only a shell can tell what this assignment of {_DEFAULT} means", setting.line)
    normal = content.replace("\r\n", "\n")
    begin = normal.index("=", setting.start) + 1
    old = normal[begin : setting.end]
    filled = [mark for mark in setting.marks if mark.reference or not mark.text.isspace()]
    parting = gap(_text(setting.value)) or " "
    if not filled:
        # Nothing but quotes and space, if that; what is extended by += needs a space before it.
        at = setting.end - (old[-1:] in {'"', "'"})
        new = (" " if setting.append and not setting.marks else "") + argument
        new = new if old else f'"{new}"'
    elif filled[-1].quote:
        at, new = filled[-1].end, parting + argument
    elif all(character not in "\\\"'~" for character in old):
        start = begin + len(f'"{old}{parting}')
        return start, _bytes(_replaced(content, begin, setting.end, f'"{old}{parting}{argument}"'))
    else:
        at, new = filled[-1].end, f"\\{parting}{argument}"
    return at + new.index(argument), _bytes(_replaced(content, at, at, new))


def _replaced(content: str, start: int, end: int, new: str) -> str:
    """Return a text with a part replaced; the offsets are those of a text whose lines end in a newline alone."""
    return content[: _real(content, start)] + new + content[_real(content, end) :]


def _real(content: str, offset: int) -> int:
    """Return the offset in a text with carriage returns for one that counts each line's end as one character."""
    passed = 0
    for line in content.split("\r\n"):
        if offset <= len(line):
            break
        offset -= len(line) + 1
        passed += len(line) + 2
    return passed + offset


def _refuse_cut(line: str) -> None:
    """Refuse a kernel line behind whose end nothing can be added: GRUB ends it before, or the kernel does."""
    end, sign = _end(line)
    if sign:
        raise Unsafe(
            f"GRUB takes {sign} in the kernel arguments for a sign of its own language, so that nothing behind it would hold"
        )
    if end < len(line):
        raise Unsafe("a quote or a backslash in the kernel arguments is still open where the new one would stand")
    if ("--", None) in cmdline.parse(line):
        raise Unsafe("what stands behind `--` is not for the kernel, so that an argument at the end would not be one")


def _end(line: str) -> tuple[int, str]:
    """Return where GRUB's own language ends the kernel line, and the sign that does it; the length of the line where nothing does.

    Where a quote or a backslash is still open at the end, its place is returned, and no sign.
    """
    quote = before = ""
    opened = 0
    escaped = False
    for at, character in enumerate(line):
        if escaped:
            escaped = False
        elif character == quote:
            quote = ""
        elif quote == "'":
            pass
        elif character == "\\":
            escaped = True
        elif not quote and character in {'"', "'"}:
            quote, opened = character, at
        elif not quote and character == "{" and before == "$":
            # A variable of GRUB's.
            quote, opened = "}", at
        elif not quote and (character in "\n;&|<>{}" or (character == "#" and before in {"", " ", "\t"})):
            return at, "the line break" if character == "\n" else f"`{character}`"
        before = character
    if escaped:
        return len(line) - 1, ""
    return (opened if quote else len(line)), ""


def _refuse_lost(after: _Reading, span: range, number: int, path: str) -> None:
    """Refuse where the argument written at ``span`` of a file does not reach the kernel line, and say what keeps it away."""

    def holds(value: Value | None) -> bool:
        return value is not None and any(piece.file == number and piece.start in span for piece in value)

    if holds(after.known[_DEFAULT]):
        return
    history = [each for each in after.settings if each.name == _DEFAULT]
    first = next((at for at, each in enumerate(history) if holds(each.value)), len(history))
    lost = next((each for each in history[first:] if not holds(each.value)), None)
    if lost is None:
        raise Unsafe(f"{path}: the line with the argument would not be reached")
    culprit = after.files[lost.file][0]
    raise Unsafe(f"{culprit} sets {_DEFAULT} anew, so that an argument in {path} would be lost", lost.line)


def _refuse_overruled(after: _Reading, wanted: tuple[str, str | None]) -> None:
    """Refuse where the kernel line says something else about the same name further behind."""
    held = cmdline.values(cmdline.parse(_line(after, _DEFAULT)), wanted[0])
    if held and held[-1] == wanted[1]:
        return
    pieces, line = after.known[_DEFAULT] or (), _line(after, _DEFAULT)
    start, end = next((each for each in reversed(spans(line)) if meant(line[slice(*each)], wanted[0], None)), (0, 1))
    setting = after.settings[pieces[start].setting]
    raise Unsafe(f"{after.files[setting.file][0]} says {line[start:end]} behind it, which wins", setting.line)


def _refuse_side_effects(before: _Reading, after: _Reading) -> None:
    """Refuse where any other setting has another value, or another command stands in the files."""

    def values(reading: _Reading) -> dict[str, str | None]:
        return {name: None if value is None else _text(value) for name, value in reading.known.items() if name not in _BOTH}

    old, new = values(before), values(after)
    changed = sorted(name for name in {*old, *new} if old.get(name, "") != new.get(name, ""))
    if changed:
        raise Unsafe(f"{changed[0]} takes its value from the kernel arguments, so that it would change with them")
    if before.others != after.others:
        raise Unsafe("more of the file would change than the kernel arguments")


def _origin(reading: _Reading, word: Value, name: str) -> tuple[int, int]:
    """Return the assignment (file and number) that an argument is written in; refuse one that is put together."""
    setting = reading.settings[word[0].setting]
    path = reading.files[setting.file][0]
    if len({piece.setting for piece in word}) > 1:
        raise Unsafe(f"{path}: {name} is put together from several variables, so it cannot be taken out", setting.line)
    if setting.name not in _BOTH:
        raise Unsafe(f"{path}: {name} comes from the variable {setting.name}, which may be used elsewhere too", setting.line)
    return word[0].file, word[0].setting


def _cut(data: bytes, cuts: Sequence[tuple[_Setting, set[int]]]) -> bytes:
    """Return a file without these characters of its assignments (offsets), and without the space that parted them from others."""
    content = data.decode("utf-8", "surrogateescape")
    normal = content.replace("\r\n", "\n")
    for setting, cut in sorted(cuts, key=lambda each: each[0].start, reverse=True):
        ranges: list[tuple[int, int]] = []
        for mark, gone in zip(setting.marks, _with_gaps(setting.marks, cut), strict=True):
            if not gone:
                continue
            # Between two characters that go a joined line goes too; a quote stays.
            if ranges and not normal[ranges[-1][1] : mark.start].replace("\\\n", ""):
                ranges[-1] = (ranges[-1][0], mark.end)
            else:
                ranges.append((mark.start, mark.end))
        for start, end in reversed(ranges):
            # An argument on a line of its own takes its line with it.
            alone = normal[:start].rstrip(_SPACE[:2]).endswith("\\\n") and normal.startswith("\\\n", end)
            content = _replaced(content, start, end + 2 * alone, "")
    return _bytes(content)


def _with_gaps(marks: tuple[_Mark, ...], cut: set[int]) -> list[bool]:
    """Tell for each character of an assignment whether it goes: each word with the space before it, or behind it where it is the first."""
    gone = [mark.start in cut and not mark.reference for mark in marks]
    space = [not mark.reference and mark.text in _SPACE for mark in marks]
    solid = [number for number in range(len(marks)) if not gone[number] and not space[number]]
    for number in [number for number, each in enumerate(gone) if each]:
        first = bool(solid) and number < solid[0]
        at = number + (1 if first else -1)
        while 0 <= at < len(marks) and space[at] and not gone[at]:
            gone[at] = True
            at += 1 if first else -1
    return gone


def _without_idle_lines(data: bytes) -> bytes | None:
    """Return our drop-in without lines that set a variable to itself; None where nothing but our first line is left."""
    idle = {f'{name}="{reference}"' for name in _BOTH for reference in (f"${name}", f"${{{name}}}")}
    lines = data.decode("utf-8", "surrogateescape").split("\n")
    left = "\n".join(line for line in lines if line.strip() not in idle)
    return _bytes(left) if left.replace(_FIRST_LINE.strip(), "").strip() else None
