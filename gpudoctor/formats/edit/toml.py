"""The toolkit's config.toml with one key changed, and every other byte kept; any plain TOML file too.

The file is never dumped: its lines are walked over, the place of the key is looked up, and text is put in or taken out there. So comments,
order, spacing, quotes and line endings stay as they are, and what is new is written as its neighbours are.

The toolkit's own file is full of defaults that are commented out (``#no-cgroups = false``). Where the asked key stands so in its table, that
line is used. Such a line counts where the key follows the ``#`` at once or after one space: what is indented more is an example in prose.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from gpudoctor.formats import position
from gpudoctor.formats.edit import Unsafe
from gpudoctor.formats.toml import parse
from gpudoctor.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TypeAlias

    Value: TypeAlias = bool | str | int | list[str]
    Path: TypeAlias = tuple[str, ...]

_SPACE = " \t"
_BARE = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def set_value(data: bytes, dotted: str, value: Value) -> bytes:
    """Return the file with a key (``table.key``, or ``key`` at the top) set to ``value``; its table is made where it is missing.

    An empty file is one that is not there yet. Raises ``Malformed`` where the file does not parse and ``Unsafe`` where the change cannot be
    made alone.
    """
    path = tuple(dotted.split("."))
    text, tree = _opened(data)
    regions = _regions(text)
    depth = _depth(text, regions, tree, path)
    wanted = _typed(value)
    if depth == len(path) and _at(tree, path) == wanted:
        return data
    if depth < len(path) and not isinstance(_at(tree, path[:depth]), dict):
        raise _unsafe(text, regions, path[:depth], f'"{path[depth - 1]}" is not a table, so nothing can be set in it')
    if depth == len(path):
        if isinstance(_at(tree, path), dict):
            raise _unsafe(text, regions, path, f'"{path[-1]}" is a table, so it cannot be given a value')
        edited = _replaced(text, _entry(text, regions, path), value)
    else:
        edited = _added(text, regions, path, value)
    table = tree
    for name in path[:-1]:
        table = table.setdefault(name, {})
    table[path[-1]] = wanted
    return _checked(edited, tree)


def remove(data: bytes, dotted: str) -> bytes:
    """Return the file without a key (``table.key``, or ``key`` at the top), its line and the comment on that; its table stays.

    The same bytes where it is not set. Raises as ``set_value`` does.
    """
    path = tuple(dotted.split("."))
    text, tree = _opened(data)
    regions = _regions(text)
    if _depth(text, regions, tree, path) < len(path):
        return data
    if isinstance(_at(tree, path), dict):
        raise _unsafe(text, regions, path, f'"{path[-1]}" is a table, which is not taken out as a whole')
    entry = _entry(text, regions, path)
    part = entry.part
    if entry.box is not None:
        edited = _cut(text, entry)
    else:
        edited = text[: part.start] + text[part.end :]
        if not text.endswith("\n") and edited.rpartition("\n")[0].rpartition("\n")[2].strip():
            # A file without a final newline stays without one, but a blank line stays too.
            edited = edited.removesuffix("\n").removesuffix("\r")
    # Tables that only this dotted key made go with it.
    tables = [tree]
    for name in path[:-1]:
        tables.append(tables[-1][name])
    del tables[-1][path[-1]]
    for level in range(1, len(part.names)):
        if not tables[-level]:
            del tables[-level - 1][path[-level - 1]]
    return _checked(edited, tree)


class _Part(NamedTuple):
    """One statement with all its lines: from the start of its line (``start``) to behind its newline (``end``).

    ``kind`` is "blank", "comment", "header-comment" (a header commented out), "header", "several" (a header in two brackets) or "entry";
    ``at`` is where the text begins behind the indentation. ``names`` is the key or the table's name. A comment that is an entry commented
    out has ``names`` and the places of its value.
    """

    kind: str
    start: int
    at: int
    end: int
    names: Path = ()
    value_start: int = 0
    value_end: int = 0


class _Region(NamedTuple):
    """A header and all up to the next one; the first has no header. ``path`` is None in a list of tables, where no name leads to."""

    path: Path | None
    header: _Part | None
    parts: tuple[_Part, ...]


class _Entry(NamedTuple):
    """A key that is set. ``box`` is the braces it stands in (first character, after the last), None where it has its own line."""

    path: Path
    region: _Region
    part: _Part
    box: tuple[int, int] | None


def _opened(data: bytes) -> tuple[str, dict[str, Any]]:
    """Return the text and its values as ``_tree`` gives them; refuse what does not parse."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise Unsafe("the file is UTF-16 text; save it as UTF-8 first")
    parse(data)
    text = data.decode()
    return text, _tree(text)


def _touched() -> Unsafe:
    """Say that the result is not what was asked."""
    return Unsafe("the change would have touched more than was asked, so it is not made; please edit the file by hand")


def _unsafe(text: str, regions: list[_Region], path: Path, reason: str) -> Unsafe:
    """Say why, with the line where a path is first met."""
    places = [entry.part.at for entry in _entries(text, regions) if entry.path[: len(path)] == path]
    places += [each.header.at for each in regions if each.header is not None and each.header.names[: len(path)] == path]
    return Unsafe(reason, position(text, min(places))[0] if places else 0)


def _tree(text: str) -> dict[str, Any]:
    """Read the values so that two are equal only where they are of one kind: ``1`` is not ``true``, and fractions are as written."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    found: dict[str, Any] = _typed(tomllib.loads(text, parse_float=lambda digits: ("fraction", digits)))
    return found


def _typed(value: Any) -> Any:
    """Mark each value with its kind, down to the last one."""
    if isinstance(value, dict):
        return {name: _typed(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_typed(each) for each in value]
    return value if isinstance(value, (str, tuple)) else (type(value).__name__, str(value))


def _at(tree: Any, path: Path) -> Any:
    """Return the value at a path that is there."""
    for name in path:
        tree = tree[name]
    return tree


def _depth(text: str, regions: list[_Region], tree: Any, path: Path) -> int:
    """Return how many names of a path are there; refuse where a name is there in other letters, which the toolkit may take for it."""
    for depth, name in enumerate(path):
        if not name:
            raise Unsafe("the asked key has an empty name")
        if not isinstance(tree, dict):
            return depth
        for other in tree:
            if other != name and other.casefold() == name.casefold():
                reason = (
                    f'"{other}" differs from "{name}" only in upper and lower case, and the toolkit may take one for the other'
                )
                raise _unsafe(text, regions, (*path[:depth], other), f"{reason}; settle on one spelling first")
        if name not in tree:
            return depth
        tree = tree[name]
    return len(path)


def _regions(text: str) -> list[_Region]:
    """Take a text that parses apart."""
    regions: list[_Region] = []
    header: _Part | None = None
    path: Path | None = ()
    parts: list[_Part] = []
    lists: set[Path] = set()
    at = 0
    while at < len(text):
        part = _part(text, at)
        at = part.end
        if part.kind not in {"header", "several"}:
            parts.append(part)
            continue
        regions.append(_Region(path, header, tuple(parts)))
        header, parts = part, []
        if part.kind == "several":
            lists.add(part.names)
        path = None if any(part.names[:length] in lists for length in range(len(part.names) + 1)) else part.names
    regions.append(_Region(path, header, tuple(parts)))
    return regions


def _part(text: str, start: int) -> _Part:
    """Read the statement that begins on a line."""
    at = _skip(text, start)
    first = text[at : at + 1]
    if first == "#":
        return _commented(text, start, at)
    if first == "[":
        several = text.startswith("[[", at)
        names, behind = _key(text, at + 1 + several)
        return _Part("several" if several else "header", start, at, _line_end(text, behind), names)
    if first in {"", "\n", "\r"}:
        return _Part("blank", start, at, _line_end(text, at))
    return _pair(text, start, at)


def _pair(text: str, start: int, at: int) -> _Part:
    """Read a key and its value; ``end`` is behind the line."""
    names, behind = _key(text, at)
    value_start = _skip(text, behind + 1)
    value_end = _value_end(text, value_start)
    return _Part("entry", start, at, _line_end(text, value_end), names, value_start, value_end)


def _commented(text: str, start: int, at: int) -> _Part:
    """Read a comment line; one that is an entry or a header commented out gets its names."""
    end = _line_end(text, at)
    plain = _Part("comment", start, at, end)
    inside = at
    while text[inside : inside + 1] == "#":
        inside += 1
    inside += text[inside : inside + 1] in {" ", "\t"}
    body = text[inside:end].strip("\r\n")
    if not body or body[0] in " \t#" or ("=" not in body and body[0] != "["):
        return plain
    try:
        _tree(body)
    except (ValueError, RecursionError):
        return plain
    if body[0] == "[":
        return plain._replace(kind="header-comment")
    pair = _pair(text, start, inside)
    return plain._replace(names=pair.names, value_start=pair.value_start, value_end=pair.value_end)


def _key(text: str, at: int) -> tuple[Path, int]:
    """Read a dotted key; give its names and the offset behind it and the space that follows."""
    names: list[str] = []
    while True:
        at = _skip(text, at)
        start = at
        if text[at] in "\"'":
            at = _string_end(text, at)
            names.append(next(iter(_tree(f"{text[start:at]} = 0"))))
        else:
            while text[at] in _BARE:
                at += 1
            names.append(text[start:at])
        at = _skip(text, at)
        if text[at] != ".":
            return tuple(names), at
        at += 1


def _skip(text: str, at: int) -> int:
    """Return the offset behind spaces and tabs."""
    while text[at : at + 1] in {" ", "\t"}:
        at += 1
    return at


def _line_end(text: str, at: int) -> int:
    """Return the offset behind the newline that ends this line."""
    return text.find("\n", at) + 1 or len(text)


def _string_end(text: str, at: int) -> int:
    """Return the offset behind the string that begins here."""
    quote = text[at]
    closing = quote * 3 if text.startswith(quote * 3, at) else quote
    at += len(closing)
    while not text.startswith(closing, at):
        at += 2 if quote == '"' and text[at] == "\\" else 1
    at += len(closing)
    # Of five quotes at the end of a long string two belong to it.
    while len(closing) == 3 and text[at : at + 1] == quote:
        at += 1
    return at


def _value_end(text: str, at: int) -> int:
    """Return the offset behind the value that begins here."""
    if text[at] in "\"'":
        return _string_end(text, at)
    if text[at] in "[{":
        depth = 0
        while True:
            if text[at] in "\"'":
                at = _string_end(text, at)
                continue
            if text[at] == "#":
                at = text.index("\n", at)
            depth += (text[at] in "[{") - (text[at] in "]}")
            at += 1
            if not depth:
                return at
    start = at
    while at < len(text) and text[at] not in ",]}#\r\n":
        at += 1
    return start + len(text[start:at].rstrip(_SPACE))


def _has_comment(value: str) -> bool:
    """Tell whether a value in brackets has a comment in it."""
    at = 0
    while at < len(value):
        if value[at] == "#":
            return True
        at = _string_end(value, at) if value[at] in "\"'" else at + 1
    return False


def _entries(text: str, regions: list[_Region]) -> Iterator[_Entry]:
    """Give all keys that are set where a path leads to, those in inline tables too."""
    for region in regions:
        for part in region.parts:
            if part.kind == "entry" and region.path is not None:
                entry = _Entry((*region.path, *part.names), region, part, None)
                yield entry
                yield from _inside(text, entry)


def _inside(text: str, entry: _Entry) -> Iterator[_Entry]:
    """Give what stands in an inline table."""
    start, end = entry.part.value_start, entry.part.value_end
    if text[start] != "{":
        return
    at = start + 1
    while True:
        while text[at] in " \t\r\n,":
            at += 1
        if text[at] == "#":
            at = _line_end(text, at)
            continue
        if text[at] == "}":
            return
        part = _pair(text, at, at)
        inner = _Entry((*entry.path, *part.names), entry.region, part._replace(end=part.value_end), (start, end))
        yield inner
        yield from _inside(text, inner)
        at = part.value_end


def _entry(text: str, regions: list[_Region], path: Path) -> _Entry:
    """Return where the value at a path stands."""
    for entry in _entries(text, regions):
        if entry.path == path:
            return entry
    raise _unsafe(text, regions, path, f'"{path[-1]}" is a list of tables, which is not edited')


def _replaced(text: str, entry: _Entry, value: Value) -> str:
    """Put a new value in the place of the old one, in its layout."""
    start, end = entry.part.value_start, entry.part.value_end
    old = text[start:end]
    if old[0] in "[{" and _has_comment(old):
        line = position(text, start)[0]
        raise Unsafe(f'there are comments inside the value of "{entry.path[-1]}", which would be lost; change it by hand', line)
    return text[:start] + _written(value, old) + text[end:]


def _added(text: str, regions: list[_Region], path: Path, value: Value) -> str:
    """Put in a key that is not there: into its inline table, in place of its commented default, or on a line of its own."""
    table = path[:-1]
    entries = list(_entries(text, regions))
    for entry in reversed(entries):
        if text[entry.part.value_start] == "{" and entry.path == path[: len(entry.path)]:
            return _into_braces(text, entry, path[len(entry.path) :], value)
    home = next((each for each in regions if each.path == table and (each.header is None or each.header.kind == "header")), None)
    anchor: _Part | None = None
    if home is None:
        home, anchor = _dotted_home(entries, table)
    default = _default(text, regions, home, path, value)
    if default is not None:
        return _uncommented(text, default, value)
    if home is None:
        return _with_table(text, regions, path, value)
    names = path[len(home.path or ()) :]
    anchor = anchor or _last_of(home, attached=home is not regions[-1])
    if anchor is None:
        return _at_the_top(text, regions, f"{_name(names)}{_equals(text, None, entries)}{_fresh(text, value, entries)}")
    if anchor.kind == "header" or (anchor.kind == "comment" and not anchor.names):
        margin = _margin(text, home, regions)
    else:
        margin = text[anchor.start : anchor.at]
    line = f"{margin}{_name(names)}{_equals(text, anchor, entries)}{_fresh(text, value, entries)}"
    return _inserted(text, anchor.end, line)


def _dotted_home(entries: list[_Entry], table: Path) -> tuple[_Region | None, _Part | None]:
    """Return where keys of this table, or else of the table around it, are set by dotted keys, and the last of these keys."""
    for length in range(len(table), 0, -1):
        for entry in reversed(entries):
            if (
                entry.box is None
                and entry.path[:length] == table[:length]
                and len(entry.region.path or ()) < length < len(entry.path)
            ):
                return entry.region, entry.part
    return None, None


def _own(region: _Region, *, attached: bool) -> list[_Part]:
    """Return the entries of a table, those commented out too, but not those of a table commented out below it.

    ``attached`` tells that another table follows: comments that stand right above its header, behind a blank line, are that one's.
    """
    parts = list(region.parts)
    if attached:
        last = len(parts)
        while last and parts[last - 1].kind in {"comment", "header-comment"}:
            last -= 1
        if last and parts[last - 1].kind == "blank":
            del parts[last:]
    own: list[_Part] = []
    foreign = False
    for part in parts:
        foreign = part.kind == "header-comment" or (foreign and part.kind != "entry")
        if part.names and not foreign:
            own.append(part)
    return own


def _last_of(region: _Region, *, attached: bool) -> _Part | None:
    """Return what a new entry of a table comes after; None where it is at the top and has nothing."""
    own = _own(region, attached=attached)
    if own or region.header is None:
        return own[-1] if own else None
    # A comment right below the header explains the table.
    last = region.header
    for number, part in enumerate(region.parts):
        if part.kind != "comment":
            return region.header if part.kind == "header-comment" else last
        if attached and number == len(region.parts) - 1:
            return region.header
        last = part
    return last


def _default(text: str, regions: list[_Region], home: _Region | None, path: Path, value: Value) -> _Part | None:
    """Return the commented entry of a key, of several the one with the wanted value, else the last."""
    found: list[_Part] = []
    for region in regions:
        above = region.path
        if above is None or (home is not None and region is not home):
            continue
        # A dotted key may not add to a table that has a header.
        if home is None and any((each.path or ())[: len(above) + 1] == path[: len(above) + 1] for each in regions):
            continue
        found += [part for part in _own(region, attached=False) if part.kind == "comment" and (*above, *part.names) == path]
    wanted = [part for part in found if _tree(f"x = {text[part.value_start : part.value_end]}")["x"] == _typed(value)]
    found = wanted or found
    return found[-1] if found else None


def _uncommented(text: str, default: _Part, value: Value) -> str:
    """Take the sign off a commented entry and put the value in; a comment behind it stays."""
    at = default.at
    while text[at] in "# \t":
        at += 1
    start, end = default.value_start, default.value_end
    old = text[start:end]
    same = _tree(f"x = {old}")["x"] == _typed(value)
    return text[: default.at] + text[at:start] + (old if same else _written(value, old)) + text[end:]


def _with_table(text: str, regions: list[_Region], path: Path, value: Value) -> str:
    """Put a new table at the end."""
    entries = list(_entries(text, regions))
    line = f"{_margin(text, None, regions)}{_name(path[-1:])}{_equals(text, None, entries)}{_fresh(text, value, entries)}"
    newline = _ending(text, len(text))
    added = f"[{_name(path[:-1])}]{newline}{line}"
    # Tables that follow each other without blank lines are continued so.
    above = [part.kind for part in regions[-2].parts if part.kind in {"blank", "entry"}] if len(regions) > 1 else []
    content = text.rstrip()
    if content and above[-1:] != ["entry"] and text.count("\n", len(content)) < 2:
        added = newline + added
    return _inserted(text, len(text), added)


def _at_the_top(text: str, regions: list[_Region], line: str) -> str:
    """Put a key before the first table and what is written above that, where there was no key."""
    parts = regions[0].parts
    if len(regions) == 1:
        # Comments alone.
        newline = _ending(text, len(text))
        return _inserted(text, len(text), newline + line if parts and parts[-1].kind != "blank" else line)
    first = len(parts)
    while first and parts[first - 1].kind != "blank":
        first -= 1
    header = regions[1].header
    at = parts[first].start if first < len(parts) else header.start if header else 0
    return _inserted(text, at, line + _ending(text, at))


def _into_braces(text: str, entry: _Entry, names: Path, value: Value) -> str:
    """Put a key at the end of an inline table."""
    start, end = entry.part.value_start, entry.part.value_end
    inner = [each for each in _inside(text, entry) if each.box == (start, end)]
    equals = _equals(text, inner[-1].part if inner else entry.part, [])
    written = _fresh(text, value, inner)
    for name in reversed(names[1:]):
        written = f"{{ {_name((name,))}{equals}{written} }}"
    made = f"{_name(names[:1])}{equals}{written}"
    if not inner:
        return f"{text[:start]}{{ {made} }}{text[end:]}"
    at = inner[-1].part.value_end
    comma = "," if len(inner) > 1 and text[inner[-2].part.value_end : inner[-1].part.at] == "," else ", "
    return text[:at] + comma + made + text[at:]


def _cut(text: str, entry: _Entry) -> str:
    """Take a key out of an inline table, with one comma."""
    start, end = entry.box or (0, 0)
    part = entry.part
    before = text[start + 1 : part.at].rstrip(_SPACE)
    if before.endswith(","):
        return text[: start + 1 + len(before[:-1].rstrip(_SPACE))] + text[part.value_end :]
    behind = _skip(text, part.value_end)
    if text[behind] == ",":
        return text[: part.at] + text[_skip(text, behind + 1) :]
    return text[: start + 1] + text[end - 1 :]


def _inserted(text: str, at: int, line: str) -> str:
    """Put a line in where another one begins or the text ends; a file without a final newline stays without one."""
    newline = _ending(text, at)
    if at and text[at - 1] != "\n":
        return text[:at] + newline + line + text[at:]
    return text[:at] + line + newline + text[at:]


def _ending(text: str, at: int) -> str:
    """Return how the line before an offset ends, else the first one."""
    end = text.rfind("\n", 0, at)
    if end < 0:
        end = text.find("\n")
    return "\r\n" if end > 0 and text[end - 1] == "\r" else "\n"


def _margin(text: str, home: _Region | None, regions: list[_Region]) -> str:
    """Return the indentation of a table's first key: that of its header and what other tables' keys have more."""
    header = home.header if home else None
    margin = text[header.start : header.at] if header else ""
    for region in regions:
        keys = [part for part in region.parts if part.kind == "entry"]
        if region.header and keys:
            outer, inner = text[region.header.start : region.header.at], text[keys[0].start : keys[0].at]
            return margin + inner.removeprefix(outer) if inner.startswith(outer) else margin
    return margin


def _equals(text: str, part: _Part | None, entries: list[_Entry]) -> str:
    """Return the equals sign of an entry, or of the last one, with at most one space on each side: alignment is not copied."""
    if part is None or not part.names or part.kind == "header":
        part = entries[-1].part if entries else None
    if part is None:
        return " = "
    head = text[: part.value_start]
    bare = head.rstrip(_SPACE)
    key = bare[:-1]
    return f"{key[len(key.rstrip(_SPACE)) :][:1]}={head[len(bare) :][:1]}"


def _name(names: Path) -> str:
    """Write a key."""
    return ".".join(name if all(each in _BARE for each in name) else _string(name, '"') for name in names)


def _fresh(text: str, value: Value, entries: list[_Entry]) -> str:
    """Write a value where none was, with the quotes most values have."""
    firsts = [text[entry.part.value_start : entry.part.value_end].lstrip("[ \t\r\n")[:1] for entry in entries]
    return _written(value, "''" if firsts.count("'") > firsts.count('"') else '""')


def _written(value: Value, old: str) -> str:
    """Write a value in the quotes and, where both are lists, in the layout of the old one."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    quote = old.lstrip("[ \t\r\n")[:1]
    if isinstance(value, str):
        return _string(value, quote)
    parts = [_string(each, quote) for each in value]
    if not parts or old[0] != "[" or not old[1:-1].strip():
        return f"[{', '.join(parts)}]"
    lines = old[1:-1].split("\n")
    inner, last = lines[1] if len(lines) > 1 else "", lines[-1]
    if len(lines) > 2 and not lines[0].strip() and inner.strip() and not last.strip():
        newline = "\r\n" if lines[0].endswith("\r") else "\n"
        margin = inner[: len(inner) - len(inner.lstrip())]
        comma = "," if old[:-1].rstrip().endswith(",") else ""
        return "[" + newline + f",{newline}".join(margin + each for each in parts) + comma + newline + last + "]"
    pad = " " if old[1] == " " else ""
    comma = "," if "," in old and not any(f",{gap}" in old for gap in " \t\r\n") else ", "
    return f"[{pad}{comma.join(parts)}{pad}]"


def _string(value: str, quote: str) -> str:
    """Write a string in the wanted quotes where they can hold it, else in double ones."""
    import json

    try:
        value.encode()
    except UnicodeEncodeError:
        raise Unsafe("the new value has a byte that is not UTF-8 text, which TOML cannot hold") from None
    if quote == "'" and "'" not in value and value.isprintable():
        return f"'{value}'"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _checked(edited: str, wanted: dict[str, Any]) -> bytes:
    """Return the new text as bytes if its values are the wanted ones, else raise ``Unsafe``."""
    try:
        same = _tree(edited) == wanted
    except ValueError:
        same = False
    if not same:
        raise _touched()
    return edited.encode()
