"""A requirements file of pip's (``requirements.txt``): what is asked for, from which indexes, and which other files belong to it.

It is read as pip reads it: a comment begins at the line's start or after a blank, a line that ends in a backslash goes on in the next
one, and options stand behind the requirement or on a line of their own. A line that pip would refuse is skipped. Nothing is looked
up: variables (``${TOKEN}``) stay as they are written. A requirement that names no package, such as a folder (``-e .``), has the name "".

Not to be taken for ``formats/requirements.py``, which reads what an image requires of the driver (NVIDIA_REQUIRE_CUDA).
Sources: pip (src/pip/_internal/req/req_file.py), PEP 503, PEP 508.
"""

from __future__ import annotations

from gpudoctor.values import NamedTuple

_VALUED = {
    "-r": "files",
    "--requirement": "files",
    "-c": "constraints",
    "--constraint": "constraints",
    "-i": "indexes",
    "--index-url": "indexes",
    "--pypi-url": "indexes",
    "--extra-index-url": "others",
    "-f": "links",
    "--find-links": "links",
    "-e": "editable",
    "--editable": "editable",
}
"""Options with a value, and where it goes."""
_ARCHIVES = (".whl", ".tar.gz", ".zip", ".tar.bz2", ".tar.xz", ".tgz")
_WHEEL_PARTS = 5
_MOST_NESTED = 50
"""How deep parentheses of a marker are followed; real ones have one or two."""


class Requirement(NamedTuple):
    """One package that is asked for.

    ``name`` is normalised (PEP 503; "" where the line names none), ``spec`` has no blanks (``>=2.1,<3``; of a wheel's address its
    version), ``marker`` is what stands behind the semicolon, ``url`` an address or a path. ``line`` is the first line of it.
    """

    name: str
    extras: tuple[str, ...]
    spec: str
    marker: str
    url: str
    line: int


class Named(NamedTuple):
    """An option's value, and its line."""

    value: str
    line: int


class Options(NamedTuple):
    """What the file's options say.

    ``indexes`` (--index-url; the last one counts) replace the default, ``others`` (--extra-index-url) and ``links`` (--find-links)
    are asked beside it. ``files`` (-r) and ``constraints`` (-c) are other files, as they are written: their paths count from the
    folder of this one. ``no_index``: no index is asked; ``pre``: releases before the final one are taken too.
    """

    indexes: tuple[Named, ...] = ()
    others: tuple[Named, ...] = ()
    links: tuple[Named, ...] = ()
    files: tuple[Named, ...] = ()
    constraints: tuple[Named, ...] = ()
    no_index: bool = False
    pre: bool = False


class Requirements(NamedTuple):
    """What one file asks for, in its order, and its options; lines tell the order between the two."""

    requirements: tuple[Requirement, ...]
    options: Options


def decode(data: bytes) -> str:
    """Return the text of a file: UTF-16 where its first bytes say so (as PowerShell writes it), else UTF-8 with U+FFFD for what is not."""
    if data[:2] in {b"\xff\xfe", b"\xfe\xff"}:
        return data.decode("utf-16", "replace")
    return data.decode("utf-8", "replace").removeprefix("\ufeff")


def parse(text: str) -> Requirements:
    """Read a requirements or constraints file; nothing is refused, what is no requirement is left out."""
    found: list[Requirement] = []
    named: dict[str, list[Named]] = {}
    no_index = pre = False
    for line, content in _lines(text.removeprefix("\ufeff")):
        words = content.split()
        at = next((at for at, word in enumerate(words) if word.startswith("-")), len(words))
        if at:
            # What follows a requirement are options of its own (--hash): they say nothing of the package.
            requirement = one(" ".join(words[:at]), line)
            found += [requirement] if requirement is not None else []
            continue
        for what, value in _options(words):
            if what == "editable":
                requirement = one(value, line)
                found += [requirement] if requirement is not None else []
            else:
                named.setdefault(what, []).append(Named(value, line))
        no_index = no_index or "--no-index" in words
        pre = pre or "--pre" in words
    each = {what: tuple(values) for what, values in named.items()}
    return Requirements(
        tuple(found),
        Options(
            each.get("indexes", ()),
            each.get("others", ()),
            each.get("links", ()),
            each.get("files", ()),
            each.get("constraints", ()),
            no_index,
            pre,
        ),
    )


def _lines(text: str) -> list[tuple[int, str]]:
    """Return the lines that say something, with their numbers: continued ones joined, comments taken off."""
    found: list[tuple[int, str]] = []
    joined = ""
    first = 0
    for number, line in enumerate(text.splitlines(), start=1):
        first = first or number
        comment = line.lstrip().startswith("#")
        if line.endswith("\\") and not comment:
            joined += line[:-1]
            continue
        content = _without_comment(joined + (" " if comment else "") + line)
        if content:
            found.append((first, content))
        joined, first = "", 0
    content = _without_comment(joined)
    return [*found, (first, content)] if content else found


def _without_comment(line: str) -> str:
    at = line.find("#")
    while at > 0 and not line[at - 1].isspace():
        at = line.find("#", at + 1)
    return (line if at < 0 else line[:at]).strip()


def _options(words: list[str]) -> list[tuple[str, str]]:
    """Return the options of a line that have a value we keep: ``-r FILE``, ``-rFILE``, ``--requirement FILE``, ``--requirement=FILE``."""
    found = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        name, sign, value = word.partition("=")
        if not word.startswith("--") and len(word) > 2:
            name, sign, value = word[:2], "=", word[2:].removeprefix("=")
        what = _VALUED.get(name)
        if what is None:
            continue
        if not sign:
            # The value of an editable may have blanks before its marker; only the address itself is kept.
            value = rest.pop(0) if rest else ""
        value = value.strip("'\"")
        if value:
            found.append((what, value))
    return found


def one(words: str, line: int = 0) -> Requirement | None:
    """Read one requirement as it stands in a file or on pip's command line; None where it is none."""
    words = words.strip()
    name, at, address = words.partition("@")
    if at and "://" not in name and _plain(name)[0] and ("://" in address or address.strip().startswith((".", "/", "file:"))):
        name, extras, _ = _plain(name)
        address, _, marker = address.strip().partition(" ;")
        return Requirement(name, extras, _wheel(address)[1], marker.strip(), address.strip(), line)
    if (
        "://" in words
        or words.startswith((".", "/", "file:", "git+"))
        or words.partition(";")[0].strip().lower().endswith(_ARCHIVES)
    ):
        address, _, marker = words.partition(" ;")
        address = address.strip()
        name, spec = _wheel(address)
        extras = ()
        if not name:
            name, extras, _ = _plain(_egg(address))
        return Requirement(name, extras, spec, marker.strip(), address, line)
    rest, _, marker = words.partition(";")
    if "/" in rest:
        return Requirement("", (), "", marker.strip(), rest.strip(), line)
    name, extras, spec = _plain(rest)
    if not name or (spec and spec[0] not in "<>=!~"):
        return None
    return Requirement(name, extras, spec, marker.strip(), "", line)


def normalised(name: str) -> str:
    """Return a package's name as PEP 503 compares it: lower case, one dash for each run of dashes, dots and underscores."""
    return "-".join(part for part in name.strip().lower().replace("_", "-").replace(".", "-").split("-") if part)


def _plain(words: str) -> tuple[str, tuple[str, ...], str]:
    """Take ``name[extra] (>=1.0, <2)`` apart; the name is "" where there is none."""
    words = words.strip()
    end = next((at for at, sign in enumerate(words) if sign in "[(=<>!~ \t"), len(words))
    name, rest = words[:end], words[end:].strip()
    if not name or not name.isascii() or not name.replace("-", "").replace("_", "").replace(".", "").isalnum():
        return "", (), ""
    extras: tuple[str, ...] = ()
    if rest.startswith("["):
        inside, _, rest = rest[1:].partition("]")
        extras = tuple(normalised(each) for each in inside.split(",") if each.strip())
    rest = "".join(rest.split())
    if rest.startswith("(") and rest.endswith(")"):
        rest = rest[1:-1]
    return normalised(name), extras, rest


def _wheel(address: str) -> tuple[str, str]:
    """Return the name and version that the file name of a wheel says; two empty strings where it is no wheel."""
    file = address.partition("#")[0].partition("?")[0].rpartition("/")[2].replace("%2B", "+").replace("%2b", "+")
    parts = file.split("-")
    if not file.lower().endswith(".whl") or len(parts) < _WHEEL_PARTS:
        return "", ""
    return normalised(parts[0]), f"=={parts[1]}"


def _egg(address: str) -> str:
    """Return what ``#egg=NAME`` at the end of an address says."""
    for part in address.partition("#")[2].split("&"):
        if part.startswith("egg="):
            return part[len("egg=") :]
    return ""


def holds(marker: str, python: tuple[int, ...] = (), machine: str = "") -> bool | None:
    """Say whether a marker is true in a Linux image with this Python (3, 11) and machine (``x86_64``); None where that cannot be told.

    What is not given is not known. An extra that a marker asks for was not asked for here.
    """
    if not marker:
        return True
    tokens = _tokens(marker)
    if not tokens:
        return None
    value, rest = _either(tokens, python, machine, 0)
    return None if rest else value


def _tokens(marker: str) -> list[str]:
    found: list[str] = []
    at = 0
    while at < len(marker):
        sign = marker[at]
        if sign.isspace():
            at += 1
        elif sign in "()":
            found.append(sign)
            at += 1
        elif sign in "'\"":
            end = marker.find(sign, at + 1)
            if end < 0:
                return []
            found.append("'" + marker[at + 1 : end])
            at = end + 1
        else:
            kind = sign in "<>=!~"
            end = at
            while end < len(marker) and (marker[end] in "<>=!~") == kind and marker[end] not in " \t()'\"":
                end += 1
            found.append(marker[at:end])
            at = end
    return found


def _either(tokens: list[str], python: tuple[int, ...], machine: str, depth: int) -> tuple[bool | None, list[str]]:
    value, tokens = _both(tokens, python, machine, depth)
    while tokens[:1] == ["or"]:
        other, tokens = _both(tokens[1:], python, machine, depth)
        value = True if True in {value, other} else None if None in {value, other} else False
    return value, tokens


def _both(tokens: list[str], python: tuple[int, ...], machine: str, depth: int) -> tuple[bool | None, list[str]]:
    value, tokens = _compared(tokens, python, machine, depth)
    while tokens[:1] == ["and"]:
        other, tokens = _compared(tokens[1:], python, machine, depth)
        value = False if False in {value, other} else None if None in {value, other} else True
    return value, tokens


def _compared(tokens: list[str], python: tuple[int, ...], machine: str, depth: int) -> tuple[bool | None, list[str]]:
    """Return what one comparison, or one in parentheses, says, and the tokens after it."""
    if tokens[:1] == ["("]:
        if depth > _MOST_NESTED:
            return None, []
        value, rest = _either(tokens[1:], python, machine, depth + 1)
        return (value, rest[1:]) if rest[:1] == [")"] else (None, rest)
    words = 4 if tokens[1:3] == ["not", "in"] else 3
    left, operator, right = tokens[0:1], " ".join(tokens[1 : words - 1]), tokens[words - 1 : words]
    if not left or not right:
        return None, []
    return _truth(left[0], operator, right[0], python, machine), tokens[words:]


def _truth(left: str, operator: str, right: str, python: tuple[int, ...], machine: str) -> bool | None:
    if left.startswith("'") and not right.startswith("'"):
        turned = {"<": ">", ">": "<", "<=": ">=", ">=": "<=", "==": "==", "!=": "!="}.get(operator)
        return None if turned is None else _truth(right, turned, left, python, machine)
    if not right.startswith("'"):
        return None
    asked = right[1:]
    if left in {"python_version", "python_full_version"}:
        return _version_truth(operator, asked, python, full=left == "python_full_version")
    known = {
        "sys_platform": "linux",
        "platform_system": "Linux",
        "os_name": "posix",
        "extra": "",
        "platform_machine": machine or None,
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
    }.get(left)
    if known is None:
        return None
    if operator in {"==", "==="}:
        return known == asked
    if operator == "!=":
        return known != asked
    if operator == "in":
        return known in asked
    return known not in asked if operator == "not in" else None


def _version_truth(operator: str, asked: str, python: tuple[int, ...], *, full: bool) -> bool | None:
    """Compare the Python's version; of a patch release that is not known nothing is said where it would decide."""
    if not python:
        return None
    if operator in {"in", "not in"}:
        inside = ".".join(map(str, python[:2])) in [each.strip() for each in asked.replace(",", " ").split()]
        return inside if operator == "in" else not inside
    any_patch = asked.endswith(".*")
    numbers = asked.removesuffix(".*").split(".")
    if not all(number.isdigit() for number in numbers):
        return None
    wanted = tuple(map(int, numbers))
    if any_patch:
        same = python[: len(wanted)] == wanted if len(python) >= len(wanted) else None
        return same if operator == "==" else None if same is None else not same if operator == "!=" else None
    have = python if full else python[:2]
    if full and len(have) < 3 and have == wanted[: len(have)]:
        return None
    width = max(len(have), len(wanted))
    have, wanted = have + (0,) * (width - len(have)), wanted + (0,) * (width - len(wanted))
    if operator == "~=":
        return have >= wanted and have[: len(numbers) - 1] == wanted[: len(numbers) - 1]
    compared = {"==": have == wanted, "!=": have != wanted, "<": have < wanted, "<=": have <= wanted}
    compared |= {">": have > wanted, ">=": have >= wanted}
    return compared.get(operator)
