"""Docker's daemon.json with one key changed, and every other byte kept; any plain JSON object, such as ~/.docker/config.json, too.

The file is never dumped: the places of its keys and values are looked up, and text is put in or taken out there. So big integers,
``1e3``, escapes, key order, odd spacing and line endings stay as they are, and what is new is written as its neighbours are.

Docker is written in Go, whose JSON reader fits two habits that a person does not see in the file: of a key that stands twice in one
object the last counts, but objects may be merged; and a name which differs only in upper and lower case may be taken for the asked one.
Where one of them would decide what the change means, it is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gpudoctor.formats import BOM, position
from gpudoctor.formats.daemon_json import _name, _tokens, parse
from gpudoctor.formats.edit import Unsafe
from gpudoctor.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import TypeAlias

    Json: TypeAlias = str | int | float | bool | Sequence["Json"] | Mapping[str, "Json"] | None

_SPACE = " \t\r\n"
_INDENT = "    "
# The comparison of the result goes down level by level, on Python's own stack.
_DEEPEST = 100
_GONE = object()


def set_value(data: bytes | None, path: tuple[str, ...], value: Json) -> bytes:
    """Return the file with the key at ``path`` set to ``value``; the objects on the way are made where they are missing.

    ``data`` is None where there is no file yet. An object or a list that stands there is replaced as a whole. Raises ``Malformed`` where
    the file does not parse and ``Unsafe`` where the change cannot be made alone.
    """
    bom, text = _opened(data or b"")
    wanted = _tree(_dumped(value))
    if not text.strip(_SPACE):
        style = _Style(_ending(text, 0), _INDENT, ": ", ", ", "", "", lists_open=False)
        made = _written(_nested(path, value), style, "", inline=False) + style.newline
        return _checked(bom, "{}", made, path, wanted)
    root = _scanned(text)
    place = _place(text, root, path)
    if place.number < 0:
        edited = _added(text, place.boxes, _nested(place.rest[1:], value), place.rest[0])
        return _checked(bom, text, edited, path, wanted)
    node = place.boxes[-1].items[place.number].node
    old = text[node.start : node.end]
    if place.rest and old != "null":
        raise _unsafe(text, node.start, f'"{path[-len(place.rest) - 1]}" is not an object, so nothing can be set in it')
    if not place.rest and _alike(old) == _alike(_dumped(value)):
        return data or b""
    style = _style(text, root, node.start)
    inline = _goes_inline(text, place.boxes)
    if node.items:
        inline = "\n" not in old
        style = style._replace(lists_open=not inline)
    new = _written(_nested(place.rest, value), style, _indent(text, node.start), inline=inline)
    return _checked(bom, text, text[: node.start] + new + text[node.end :], path, wanted)


def remove(data: bytes, path: tuple[str, ...], *, prune: bool = False) -> bytes:
    """Return the file without the key at ``path``, its comma and its line; the same bytes where it is not there.

    An object that loses its last key stays as ``{}``; with ``prune`` it is removed as well, and so on upwards, but not the outermost one.
    Raises as ``set_value`` does.
    """
    bom, text = _opened(data)
    if not text.strip(_SPACE):
        return data
    place = _place(text, _scanned(text), path)
    if place.rest:
        return data
    if place.times > 1:
        start = place.boxes[-1].items[place.number].start
        raise _unsafe(text, start, f'"{path[-1]}" stands {place.times} times in one object; take out all but one of them first')
    boxes, index = list(place.boxes), place.number
    while prune and len(boxes) > 1 and len(boxes[-1].items) == 1:
        emptied = boxes.pop()
        index = next(number for number, item in enumerate(boxes[-1].items) if item.node is emptied)
    return _checked(bom, text, _removed(text, boxes[-1], (index,)), path, _GONE, prune=prune)


def append(data: bytes | None, path: tuple[str, ...], element: str) -> bytes:
    """Return the file with a string added at the end of the list at ``path``, which is made where it is missing.

    The same bytes where the list has it already. Raises as ``set_value`` does, and ``Unsafe`` where something else than a list is there.
    """
    bom, text = _opened(data or b"")
    found = _list(text, path)
    if found is None:
        return set_value(data, path, [element])
    boxes, elements = found
    if element in elements:
        return data or b""
    edited = _added(text, boxes, element)
    return _checked(bom, text, edited, path, [*elements, element])


def remove_element(data: bytes, path: tuple[str, ...], element: str) -> bytes:
    """Return the file with a string taken out of the list at ``path``, wherever it stands in it; an emptied list stays as ``[]``.

    The same bytes where the list or the string is not there. Raises as ``append`` does.
    """
    bom, text = _opened(data)
    found = _list(text, path)
    if found is None or element not in found[1]:
        return data
    boxes, elements = found
    which = tuple(number for number, each in enumerate(elements) if each == element)
    return _checked(bom, text, _removed(text, boxes[-1], which), path, [each for each in elements if each != element])


def replace_element(data: bytes, path: tuple[str, ...], old: str, new: str) -> bytes:
    """Return the file with one string of the list at ``path`` replaced by another, in its place.

    ``new`` is in the list once afterwards: where it is there already, ``old`` is only taken out. The same bytes where the list or ``old``
    is not there. Raises as ``append`` does.
    """
    bom, text = _opened(data)
    found = _list(text, path)
    if found is None or old not in found[1] or old == new:
        return data
    boxes, elements = found
    if new in elements:
        return remove_element(data, path, old)
    first, *others = (number for number, each in enumerate(elements) if each == old)
    # What is taken out stands after the first one, whose place stays the same.
    edited = _removed(text, boxes[-1], tuple(others))
    node = boxes[-1].items[first].node
    edited = edited[: node.start] + _dumped(new) + edited[node.end :]
    wanted = [new if number == first else each for number, each in enumerate(elements) if number not in others]
    return _checked(bom, text, edited, path, wanted)


class _Node(NamedTuple):
    """A value: from its first character to after its last. ``kind`` is ``{``, ``[``, or empty for what holds nothing."""

    kind: str
    start: int
    end: int
    items: tuple[_Item, ...]


class _Item(NamedTuple):
    """One entry: it starts with its name in an object (up to ``name_end``) and with its value in a list."""

    start: int
    name_end: int
    name: str
    node: _Node


class _Place(NamedTuple):
    """Where a path leads: the objects it goes through, and the entry of the last one (-1 where the next name is missing).

    ``rest`` holds the names that are not there, and ``times`` how often the last name stands in its object.
    """

    boxes: tuple[_Node, ...]
    number: int
    rest: tuple[str, ...]
    times: int


class _Style(NamedTuple):
    """How the file is written: ``pad`` is inside braces in one line, ``list_pad`` inside brackets; ``lists_open`` is an element a line."""

    newline: str
    unit: str
    colon: str
    comma: str
    pad: str
    list_pad: str
    lists_open: bool


def _opened(data: bytes) -> tuple[bytes, str]:
    """Return the byte order mark and the text; refuse what does not parse and what cannot be given back byte for byte."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise Unsafe("the file is UTF-16 text; save it as UTF-8 first")
    parse(data)
    bom = BOM if data.startswith(BOM) else b""
    body = data[len(bom) :]
    try:
        return bom, body.decode()
    except UnicodeDecodeError as error:
        line = body.count(b"\n", 0, error.start) + 1
        raise Unsafe("a byte here is not UTF-8 text; save the file as UTF-8 first", line) from None


def _unsafe(text: str, offset: int, reason: str) -> Unsafe:
    """Say why, with the line."""
    return Unsafe(reason, position(text, offset)[0])


def _scanned(text: str) -> _Node:
    """Find the places of all names and values of a text that parses."""
    open_boxes: list[tuple[str, int, list[_Item]]] = [("", 0, [])]
    # The name that waits for its value: its text, start and end.
    waiting: list[tuple[str, int, int] | None] = [None]
    for lexeme, at in _tokens(text):
        end = at + len(lexeme)
        if lexeme in {"{", "["}:
            if len(open_boxes) > _DEEPEST:
                raise _unsafe(text, at, "this is nested too deeply to be edited safely")
            open_boxes.append((lexeme, at, []))
            waiting.append(None)
            continue
        if lexeme in {":", ","}:
            continue
        if lexeme in {"}", "]"}:
            kind, start, items = open_boxes.pop()
            waiting.pop()
            node = _Node(kind, start, end, tuple(items))
        elif open_boxes[-1][0] == "{" and waiting[-1] is None:
            waiting[-1] = (_name(lexeme), at, end)
            continue
        else:
            node = _Node("", at, end, ())
        name, start, name_end = waiting[-1] or ("", node.start, node.start)
        waiting[-1] = None
        open_boxes[-1][2].append(_Item(start, name_end, name, node))
    return open_boxes[0][2][0].node


def _boxes(node: _Node) -> Iterator[_Node]:
    """Give all objects and lists that hold something, in the order of the text."""
    if node.items:
        yield node
        for item in node.items:
            yield from _boxes(item.node)


def _place(text: str, root: _Node, path: tuple[str, ...]) -> _Place:
    """Follow a path as far as it goes; refuse where Docker might follow another one."""
    boxes = [root]
    for depth, name in enumerate(path):
        items = boxes[-1].items
        for item in items:
            if item.name != name and item.name.casefold() == name.casefold():
                reason = (
                    f'"{item.name}" differs from "{name}" only in upper and lower case, and Docker may take one for the other'
                )
                raise _unsafe(text, item.start, f"{reason}; settle on one spelling first")
        same = [number for number, item in enumerate(items) if item.name == name]
        if not same:
            return _Place(tuple(boxes), -1, path[depth:], 0)
        last = depth == len(path) - 1
        if len(same) > 1 and (not last or any("{" in text[items[each].node.start : items[each].node.end] for each in same)):
            reason = f'"{name}" stands {len(same)} times in one object, which Docker may merge'
            raise _unsafe(text, items[same[-1]].start, f"{reason}; make one of them first")
        node = items[same[-1]].node
        if last or node.kind != "{":
            return _Place(tuple(boxes), same[-1], path[depth + 1 :], len(same))
        boxes.append(node)
    raise ValueError("the path names no key")


def _list(text: str, path: tuple[str, ...]) -> tuple[tuple[_Node, ...], list[Any]] | None:
    """Return the list at a path, after what it stands in, and its elements; None where nothing is there."""
    if not text.strip(_SPACE):
        return None
    place = _place(text, _scanned(text), path)
    if place.rest:
        return None
    node = place.boxes[-1].items[place.number].node
    if text[node.start : node.end] == "null":
        return None
    if node.kind != "[":
        raise _unsafe(text, node.start, f'"{path[-1]}" is not a list, so no element of it can be changed')
    return (*place.boxes, node), _tree(text[node.start : node.end])


def _style(text: str, root: _Node, at: int) -> _Style:
    """Look at how the file is written, and how the line of an offset ends."""
    unit = pad = list_pad = comma = ""
    colons: list[str] = []
    one_line_lists = open_lists = 0
    for box in _boxes(root):
        inside = text[box.start + 1 : box.items[0].start]
        one_line = "\n" not in text[box.start : box.end]
        outer, inner = _indent(text, box.start), _indent(text, box.items[0].start)
        if not unit and "\n" in inside and inner.startswith(outer):
            unit = inner.removeprefix(outer)
        if box.kind == "[":
            one_line_lists += one_line
            open_lists += "\n" in inside
            list_pad = " " if one_line and inside[:1] == " " else list_pad
            continue
        colons += [_colon(text, item) for item in box.items]
        if one_line:
            pad = " " if inside[:1] == " " else pad
            if not comma and len(box.items) > 1:
                comma = ", " if ", " in text[box.items[0].node.end : box.items[1].start] else ","
    colon = max(colons, key=colons.count) if colons else ": "
    comma = comma or ("," if colon == ":" else ", ")
    return _Style(_ending(text, at), unit or _INDENT, colon, comma, pad, list_pad, lists_open=open_lists > 0 == one_line_lists)


def _colon(text: str, item: _Item) -> str:
    """Return the colon after a name with at most one space on each side: spaces that only align are not copied."""
    before, _, after = text[item.name_end : item.node.start].partition(":")
    return ": " if "\n" in before + after else f"{before[:1]}:{after[:1]}"


def _ending(text: str, offset: int) -> str:
    """Return how the line of an offset ends, or the last line that ends at all."""
    end = text.find("\n", offset)
    if end < 0:
        end = text.rfind("\n")
    return "\r\n" if end > 0 and text[end - 1] == "\r" else "\n"


def _indent(text: str, offset: int) -> str:
    """Return the white space at the start of the line of an offset."""
    line = text[text.rfind("\n", 0, offset) + 1 : offset]
    return line[: len(line) - len(line.lstrip(" \t"))]


def _goes_inline(text: str, boxes: tuple[_Node, ...]) -> bool:
    """Tell whether a new object in the last of these boxes is written in one line: as its neighbours are, else as what it is in."""
    for box in reversed(boxes):
        if not box.items:
            continue
        objects = [item.node for item in box.items if item.node.kind == "{" and item.node.items]
        if objects:
            return "\n" not in text[objects[-1].start : objects[-1].end]
        return "\n" not in text[box.start : box.end]
    return False


def _added(text: str, boxes: tuple[_Node, ...], value: Json, name: str | None = None) -> str:
    """Put an entry at the end of the last box, written as the entries before it are."""
    from itertools import pairwise

    box = boxes[-1]
    end = box.items[-1].node.end if box.items else box.start
    style = _style(text, boxes[0], end)
    inline = _goes_inline(text, boxes)
    if not box.items:
        content: Json = [value] if name is None else {name: value}
        made = _written(content, style, _indent(text, box.start), inline=inline)
        return text[: box.start] + made + text[box.end :]
    items = box.items
    lead = "" if name is None else _dumped(name) + (_colon(text, items[-1]))
    gaps = [text[one.node.end : other.start] for one, other in pairwise(items)]
    broken = [gap for gap in gaps if "\n" in gap]
    tail = text[end : box.end - 1]
    head = text[box.start + 1 : items[0].start]
    if not broken and "\n" not in tail and "\n" not in head:
        made = lead + _written(value, style, _indent(text, end), inline=inline)
        return text[:end] + (gaps[-1] if gaps else style.comma) + made + text[end:]
    comma = ","
    if broken:
        before, _, after = broken[-1].partition(",")
        margin = broken[-1].rpartition("\n")[2]
        if "\n" in before and "\n" not in after:
            # Commas stand at the start of the line: this one is part of the margin.
            comma, inline = "", True
        newline = _ending(broken[-1], 0)
    else:
        start_of_line = text.rfind("\n", 0, items[0].start) + 1
        margin = "".join(each if each in " \t" else " " for each in text[start_of_line : items[0].start])
        newline = _ending(tail + head, 0)
    at = end
    if "\n" in tail:
        # White space at the end of the last line stays on it.
        at = end + tail.index("\n")
        if text[at - 1] == "\r" and at > end:
            at -= 1
        newline = _ending(tail, 0)
    made = lead + _written(value, style._replace(newline=newline), margin, inline=inline)
    return text[:end] + comma + text[end:at] + newline + margin + made + text[at:]


def _removed(text: str, box: _Node, which: tuple[int, ...]) -> str:
    """Take entries out of a box, each with one comma, and with its line where nothing else is on it."""
    if len(which) == len(box.items):
        return text[: box.start + 1] + text[box.end - 1 :]
    for index in reversed(which):
        text = _cut(text, box, index)
        box = next(each for each in _boxes(_scanned(text)) if each.start == box.start)
    return text


def _cut(text: str, box: _Node, index: int) -> str:
    """Take one entry out of a box that has others."""
    start, end = box.items[index].start, box.items[index].node.end
    previous = box.items[index - 1].node.end if index else -1
    following = box.items[index + 1].start if index + 1 < len(box.items) else -1
    line_start = text.rfind("\n", 0, start) + 1
    line_end = text.find("\n", end) + 1
    before, after = text[line_start:start], text[end:line_end]
    if line_end and not (before + after).strip(_SPACE + ","):
        commas = before.count(",") + after.count(",")
        if commas == 1:
            return text[:line_start] + text[line_end:]
        if commas == 0 and following < 0:
            comma = text.index(",", previous)
            return text[:comma] + text[comma + 1 : line_start] + text[line_end:]
    if previous >= 0 and (following < 0 or "\n" in text[end:following]):
        return text[:previous] + text[end:]
    return text[:start] + text[following:]


def _nested(names: tuple[str, ...], value: Json) -> Json:
    """Wrap a value in the objects of the names that lead to it."""
    for name in reversed(names):
        value = {name: value}
    return value


def _dumped(value: Json) -> str:
    """Write a value in one line, with nothing escaped that need not be."""
    import json

    written = json.dumps(value, ensure_ascii=False, allow_nan=False)
    if not written.isascii():
        try:
            written.encode()
        except UnicodeEncodeError:
            raise Unsafe("the new value has a byte that is not UTF-8 text, which JSON cannot hold") from None
    return written


def _written(value: Any, style: _Style, margin: str, *, inline: bool) -> str:
    """Write a value as the file does; ``margin`` is the indentation of the line it starts on."""
    if not isinstance(value, (dict, list, tuple)) or not value:
        return _dumped(value)
    deeper = margin + style.unit
    if isinstance(value, dict):
        pad, signs = style.pad, "{}"
        parts = [_dumped(name) + style.colon + _written(each, style, deeper, inline=inline) for name, each in value.items()]
    else:
        pad, signs = style.list_pad, "[]"
        inline = inline or not style.lists_open
        parts = [_written(each, style, deeper, inline=inline) for each in value]
    if inline:
        return signs[0] + pad + style.comma.join(parts) + pad + signs[1]
    lines = f",{style.newline}{deeper}".join(parts)
    return f"{signs[0]}{style.newline}{deeper}{lines}{style.newline}{margin}{signs[1]}"


def _tree(text: str) -> Any:
    """Read a value with nothing lost: objects as their pairs in order, numbers as they are written."""
    import json

    return json.loads(
        text,
        object_pairs_hook=lambda pairs: ("object", tuple(pairs)),
        parse_int=lambda digits: ("number", digits),
        parse_float=lambda digits: ("number", digits),
    )


def _alike(text: str) -> Any:
    """Read a value so that two of the same meaning are equal: the order of names and the form of a fraction do not count."""
    import json

    def collected(pairs: list[tuple[str, Any]]) -> Any:
        found = dict(pairs)
        return found if len(found) == len(pairs) else ("twice", pairs)

    return json.loads(
        text,
        object_pairs_hook=collected,
        parse_int=lambda digits: ("integer", digits),
        parse_float=lambda digits: ("fraction", float(digits)),
    )


def _checked(bom: bytes, old: str, new: str, path: tuple[str, ...], wanted: Any, *, prune: bool = False) -> bytes:
    """Return the new text as bytes if it says what the old one said with only the asked key changed, else raise ``Unsafe``.

    ``wanted`` is what ``_tree`` makes of the new value. Nothing here looks at the places that the edit was made by.
    """
    expected = _changed(_tree(old), path, wanted, prune=prune)
    try:
        same = _tree(new) == expected
    except ValueError:
        same = False
    if not same:
        raise Unsafe("the change would have touched more than was asked, so it is not made; please edit the file by hand")
    return bom + new.encode()


def _changed(tree: Any, path: tuple[str, ...], wanted: Any, *, prune: bool) -> Any:
    """Return the pairs of an object with one key set, or removed where ``_GONE`` is wanted."""
    pairs = list(tree[1])
    name = path[0]
    at = max((number for number, pair in enumerate(pairs) if pair[0] == name), default=len(pairs))
    if len(path) > 1:
        inner = pairs[at][1] if at < len(pairs) else None
        wanted = _changed(("object", ()) if inner is None else inner, path[1:], wanted, prune=prune)
    emptied = prune and wanted == ("object", ())
    pairs[at : at + 1] = [] if wanted is _GONE or emptied else [(name, wanted)]
    return "object", tuple(pairs)
