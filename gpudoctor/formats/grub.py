"""/etc/default/grub and the drop-ins of /etc/default/grub.d: shell files, parsed and never run.

grub-mkconfig sources them in `sh -e`: first the main file, then `*.cfg` in the order of their names. The last
assignment wins, and a file that makes the shell fail leaves the old grub.cfg in place, so that no change of
any of them takes effect. Three of the broken forms pass `sh -n` (two words without quotes, spaces round the
equals sign, `+=` in dash), which is why the text is really parsed here.

Only the part of the shell is understood that such files use: quotes, references, comments, continued lines,
several commands in a line. Whatever needs the shell to run (a command substitution, an `if`) has no value
here rather than a guessed one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.formats import BOM, Malformed, text
from gpudoctor.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_OPENING = ("if", "for", "while", "until", "case", "{")
_CLOSING = ("fi", "done", "esac", "}")
_ASIDE = ("then", "else", "elif", "do", "!", "in")
# Commands after which every variable may be anything, and those that change the ones they name.
_HIDING = (".", "source", "eval")
_CHANGING = ("unset", "read")
_FAILING = ("false", "exit")
_BREAKS = " \t\n;&|()"


class Part(NamedTuple):
    """A piece of a value: text, or the name of a variable whose value stands here."""

    text: str
    reference: bool


class Assignment(NamedTuple):
    """One assignment.

    `value` is the text with `${NAME}` where a variable is named, or None where only a running shell could
    tell it. `parts` is the same in pieces, () where it cannot be told. `append` marks `+=`. `line` is that of
    the name, `raw` the assignment as written.
    """

    name: str
    value: str | None
    line: int
    append: bool
    raw: str
    parts: tuple[Part, ...]


class Effective(NamedTuple):
    """The value grub-mkconfig sees after all files, and the last place that sets it.

    `value` is None where nothing sets it (`path` is then "") or where it cannot be computed; then
    `computable` is False and `problem` says in one sentence why.
    """

    value: str | None
    path: str
    line: int
    computable: bool
    problem: str


class _Word(NamedTuple):
    """A word as written, the pieces it means (None where only a shell could tell), and its offset."""

    raw: str
    parts: tuple[Part, ...] | None
    offset: int


class _Command(NamedTuple):
    """A simple command: its words, its line, and whether it runs for sure and in this shell."""

    words: tuple[_Word, ...]
    line: int
    certain: bool


def assignments(content: str) -> list[Assignment]:
    """Give every assignment in order.

    Raises `Malformed` with the line for a missing quote, two words without quotes and spaces round the equals
    sign.
    """
    found: list[Assignment] = []
    for command in _commands(content):
        found.extend(_assigned(command)[0])
    return found


def effective(files: Sequence[tuple[str, bytes]], name: str, *, bash: bool = False) -> Effective:
    """Compute a variable over the main file and the drop-ins, (path, bytes) in the order of sourcing.

    Drop-ins whose name does not end in `.cfg` are left out, as grub-mkconfig does. Raises `Malformed`, with
    the path, for a file that makes grub-mkconfig fail. `bash` says that /bin/sh is bash, which knows `+=`.
    """
    result = Effective(None, "", 0, computable=True, problem="")
    known: dict[str, str | None] = {}
    # What a GRUB variable is that no file has set: empty, until a command has run that may set anything.
    unset: str | None = ""
    for path, data in files:
        if "/grub.d/" in path and (not path.endswith(".cfg") or "/." in path):
            continue
        try:
            _refuse_signs(data)
            for command in _commands(text(data)):
                found, rest = _assigned(command)
                _refuse_failing(command, found, rest, bash=bash)
                for assignment in found:
                    value = _value(assignment, known, unset)
                    known[assignment.name] = value
                    if assignment.name == name:
                        problem = "" if value is not None else f"only a shell can tell what {_shown(assignment.raw)} means"
                        result = Effective(value, path, assignment.line, value is not None, problem)
                verb = rest[0].raw if rest else ""
                if verb in _HIDING:
                    known.clear()
                    unset = None
                elif verb in _CHANGING:
                    known.update(dict.fromkeys((word.raw for word in rest[1:]), None))
                if verb in _HIDING or (verb in _CHANGING and any(word.raw == name for word in rest[1:])):
                    problem = f"the command `{verb}` in line {command.line} may change it"
                    result = Effective(None, path, command.line, computable=False, problem=problem)
                if verb == "return" and command.certain:
                    break
        except Malformed as error:
            raise Malformed(error.reason, error.line, error.column, path) from None
    return result


def _refuse_signs(data: bytes) -> None:
    """Raise for signs that an editor hides and sh takes for a command; it was tried with the real grub-mkconfig."""
    if data.startswith(BOM):
        raise Malformed("a byte order mark, which sh takes for part of the first command", 1)
    for number, line in enumerate(data.split(b"\n") if b"\r" in data else (), 1):
        if line.endswith(b"\r") and not line.strip():
            raise Malformed("a carriage return on an empty line, which sh takes for a command", number)


def _value(assignment: Assignment, known: dict[str, str | None], unset: str | None) -> str | None:
    """Put the values of the variables in; None where one is not known.

    A GRUB variable that no file has set is `unset`; others come from grub-mkconfig's surroundings.
    """
    if assignment.value is None:
        return None
    value = ""
    parts = assignment.parts
    if assignment.append:
        parts = (Part(assignment.name, reference=True), *parts)
    for part in parts:
        piece = part.text
        if part.reference:
            looked_up = known.get(part.text, unset if part.text.startswith("GRUB_") else None)
            if looked_up is None:
                return None
            piece = looked_up
        value += piece
        # A value that refers to itself twice doubles with each line; no command line is that long.
        if len(value) > 65536:
            return None
    return value


def _refuse_failing(command: _Command, found: list[Assignment], rest: tuple[_Word, ...], *, bash: bool) -> None:
    """Raise for what parses and yet makes grub-mkconfig fail."""
    if not command.certain:
        return
    if any(assignment.append for assignment in found) and not bash:
        raise Malformed("`+=`, which sh takes for the name of a command", command.line)
    if rest and rest[0].raw in _FAILING:
        raise Malformed(f"the command `{rest[0].raw}`, which ends update-grub", command.line)
    # A kernel argument on a line of its own: `nvidia-drm.modeset=1`.
    if rest and "=" in rest[0].raw and rest[0].raw[0].isalpha():
        raise Malformed(f"`{_shown(rest[0].raw)}` is no setting, and sh takes it for a command", command.line)


def _shown(raw: str) -> str:
    """Cut a word for a message: its first line, and not all of a long one."""
    first = raw.partition("\n")[0]
    return first if len(first) <= 80 else f"{first[:79]}…"


def _assigned(command: _Command) -> tuple[list[Assignment], tuple[_Word, ...]]:
    """Split a simple command into the assignments at its start and the words of a command behind them."""
    words = command.words
    if words and words[0].raw in {"export", "readonly"}:
        words = tuple(word for word in words[1:] if "=" in word.raw)
    found: list[Assignment] = []
    for number, word in enumerate(words):
        name, equals, _ = word.raw.partition("=")
        append = name.endswith("+")
        name = name.removesuffix("+")
        if not equals or not name.isascii() or not name.isidentifier():
            if number and words[number - 1].raw.startswith("GRUB_"):
                raise Malformed(_two_words(words[number - 1]), command.line)
            if not number and len(words) > 1 and word.raw.isidentifier() and words[1].raw.startswith(("=", "+=")):
                raise Malformed("a space before the equals sign", command.line)
            return found, words[number:]
        found.append(_assignment(name, word, command, append=append))
    return found, ()


def _two_words(before: _Word) -> str:
    """Say why a second word follows an assignment."""
    if before.raw.endswith("="):
        return "a space after the equals sign"
    return "two words without quotes round them, of which sh takes the second for a command"


def _assignment(name: str, word: _Word, command: _Command, *, append: bool) -> Assignment:
    """Make the value of a word that assigns."""
    parts: tuple[Part, ...] = ()
    value = None
    if word.parts is not None and command.certain:
        # The name and the equals sign are always at the start of the first piece.
        first, *others = word.parts
        parts = (Part(first.text.partition("=")[2], reference=False), *others)
        parts = tuple(part for part in parts if part.text) or (Part("", reference=False),)
        value = "".join(f"${{{part.text}}}" if part.reference else part.text for part in parts)
    return Assignment(name, value, command.line, append, word.raw, parts)


def _commands(content: str) -> Iterator[_Command]:
    """Split a file into its simple commands, telling which of them run whatever happens."""
    if "\0" in content:
        raise Malformed("a NUL byte", content.count("\n", 0, content.index("\0")) + 1)
    content = content.replace("\r\n", "\n").removesuffix("\r")
    depth = parens = 0
    linked = False
    line, counted = 1, 0
    at, end = 0, len(content)
    words: list[_Word] = []
    while at <= end:
        character = content[at : at + 1]
        if character and character not in _BREAKS:
            if character == "#":
                newline = content.find("\n", at)
                at = newline if newline >= 0 else end
                continue
            if content.startswith("\\\n", at):
                at += 2
                continue
            word, at = _word(content, at)
            words.append(word)
            continue
        if character in {" ", "\t"}:
            at += 1
            continue
        # The end of a command: what ends it says whether it, and what follows, runs for sure.
        operator = content[at : at + 2] if content.startswith(("&&", "||"), at) else character
        at += len(operator) or 1
        while words and words[0].raw in (*_OPENING, *_CLOSING, *_ASIDE):
            keyword = words.pop(0).raw
            depth += (keyword in _OPENING) - (keyword in _CLOSING)
        certain = depth <= 0 and not parens and not linked and operator not in {"|", "&", "(", "&&", "||"}
        if words:
            line += content.count("\n", counted, words[0].offset)
            counted = words[0].offset
            yield _Command(tuple(words), line, certain)
        # A line may end in an operator, and the command it links to stands in the next one.
        linked = operator in {"&&", "||", "|"} or (linked and operator == "\n" and not words)
        # The closing parenthesis of a pattern in `case` has no opening one.
        parens = max(0, parens + (operator == "(") - (operator == ")"))
        words = []
    if depth > 0 or parens:
        raise Malformed("a block that is never closed", content.count("\n") + 1)


def _word(content: str, start: int) -> tuple[_Word, int]:
    """Read one word with its quotes; give it and the offset behind it."""
    pieces: list[Part] = []
    literal: list[str] = []
    computable = True
    at, end = start, len(content)

    def reference(name: str) -> None:
        if literal:
            pieces.append(Part("".join(literal), reference=False))
            literal.clear()
        pieces.append(Part(name, reference=True))

    quoted = False
    opened = start
    spanning = -1
    while at < end:
        character = content[at]
        if character == '"':
            quoted = not quoted
            opened = at
            at += 1
        elif character == "\\":
            at, escaped = _escape(content, at, quoted=quoted)
            literal.append(escaped)
        elif character == "`" or content.startswith("$(", at):
            at = _substitution_end(content, at)
            computable = False
        elif character == "$":
            at, name = _reference(content, at)
            if name is None:
                computable = False
            elif name:
                reference(name)
            else:
                literal.append("$")
        elif quoted:
            # Where a quote is missing, the first string that runs over a line's end is the likeliest culprit.
            spanning = opened if character == "\n" and spanning < 0 else spanning
            literal.append(character)
            at += 1
        elif character == "'":
            close = content.find("'", at + 1)
            if close < 0:
                raise Malformed("a quote that is never closed", content.count("\n", 0, at) + 1)
            literal.append(content[at + 1 : close])
            at = close + 1
        elif character in _BREAKS:
            break
        else:
            literal.append(character)
            at += 1
    if quoted:
        raise Malformed("a quote that is never closed", content.count("\n", 0, spanning if spanning >= 0 else opened) + 1)
    if literal or not pieces:
        pieces.append(Part("".join(literal), reference=False))
    return _Word(content[start:at], tuple(pieces) if computable else None, start), at


def _escape(content: str, at: int, *, quoted: bool) -> tuple[int, str]:
    """Read a backslash; in double quotes it only acts on four characters and the line's end."""
    following = content[at + 1 : at + 2]
    if following == "\n":
        return at + 2, ""
    if quoted and following not in {'"', "$", "`", "\\"}:
        return at + 1, "\\"
    return at + 2, following


def _reference(content: str, at: int) -> tuple[int, str | None]:
    """Read a dollar sign: a plain reference's name, "" for a lone dollar, None for what needs a shell."""
    braced = content.startswith("${", at)
    start = at + 1 + braced
    stop = start
    while stop < len(content) and (content[stop].isalnum() or content[stop] == "_"):
        stop += 1
    name = content[start:stop]
    if braced:
        close = content.find("}", stop)
        if close < 0:
            raise Malformed("a brace that is never closed", content.count("\n", 0, at) + 1)
        return close + 1, name if close == stop and name.isidentifier() else None
    if name:
        return stop, name if name.isidentifier() else None
    special = content[start : start + 1]
    return (start + 1, None) if special and special in "?$!#@*-" else (start, "")


def _substitution_end(content: str, at: int) -> int:
    """Give the offset behind a command substitution, which may hold quotes and others of its kind."""
    begin = at
    if content[at] == "`":
        at += 1
        while at < len(content) and content[at] != "`":
            at += 2 if content[at] == "\\" else 1
        if at < len(content):
            return at + 1
    else:
        depth = 0
        while at < len(content):
            character = content[at]
            if character == "\\":
                at += 1
            elif character in {"'", '"'}:
                close = content.find(character, at + 1)
                at = close if close >= 0 else len(content)
            depth += (character == "(") - (character == ")")
            at += 1
            if character == ")" and not depth:
                return at
    raise Malformed("a command substitution that is never closed", content.count("\n", 0, begin) + 1)
