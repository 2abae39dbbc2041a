"""A Compose file in which a service is given a GPU, or other keys that it lacks, every other byte kept.

YAML is never dumped: text is put in at the places of the nodes, in the indentation and the style of the file, and the result is read
again and compared value by value with what was wanted. A file that is JSON is written as JSON.

Nothing that the file says is changed or taken away. Where what is lacking would have to go into text that others use as well (an anchor
with aliases, a merge, a service that another one extends), or where another value stands, the file is not edited.

What the keys need: ``deploy.resources.reservations.devices`` docker-compose 1.28 and no ``version:`` below 3 for docker-compose 1
(Compose 2 and later do not look at it); ``gpus:`` Compose 2.30, in the short form 2.33; CDI names in ``devices:`` Compose 2.30 and an
engine that takes them. What a service gets from another file by ``extends`` is not seen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gpudoctor.formats import BOM, Malformed
from gpudoctor.formats.compose import Ask, Found, Node, Tree, ask, device, entries, interpolated, resolved, tree
from gpudoctor.formats.edit import Unsafe
from gpudoctor.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import TypeAlias

    Json: TypeAlias = str | int | bool | Sequence["Json"] | Mapping[str, "Json"] | None

_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_/.=")
_WORDS = frozenset({"true", "false", "yes", "no", "on", "off", "null", "y", "n"})
_RESERVED = ("deploy", "resources", "reservations", "devices")
_ALL = frozenset({"all", "-1"})
"""What `count:` says for every GPU; -1 is what the engine is told."""
_PLAN_AT = 2
"""How many names lead to a service."""


class _Wall(NamedTuple):
    """Why nothing can be put in somewhere, and the line."""

    reason: str
    line: int


class _Gap(NamedTuple):
    """Something that is lacking: ``path`` leads to it, ``node`` is the map or list it goes into, or the ``null`` it takes the place of.

    The last of ``path`` is a name in a map and a number in a list. ``inside`` is the map that holds a ``null``.
    """

    path: tuple[str | int, ...]
    node: Node
    value: Json
    inside: Node | None = None


class _Style(NamedTuple):
    """How the file is written: steps of indentation, how far lists stand in from their key, quotes of texts and of keys."""

    step: int
    inset: int
    quote: str
    key_quote: str


def services(data: bytes) -> tuple[str, ...]:
    """Return the names of the services in a Compose file, in its order; raises as ``give`` does."""
    return tuple(_services(tree(data)))


def give(data: bytes, service: str, keys: Mapping[str, Json]) -> bytes:
    """Return the file with ``keys`` put into a service: maps are descended into, elements that a list lacks come at its end.

    A request for a GPU that is there already is completed with what it lacks. The same bytes where all is there. Raises ``Malformed``
    where the file is no YAML map with one document, ``Unsafe`` where a key has another value already, or cannot be put in without
    changing more than this service.
    """
    file = tree(data)
    found, wall = _service(file, service)
    gaps: list[_Gap] = []
    if found.node.kind == "map":
        _refuse_two_ways(found, keys)
        keys = {name: value for name, value in keys.items() if not _inherited(file, found, service, name, value)}
    if keys:
        holder = _services_found(file)
        wall = _walled(file, holder.node, wall, "services")
        _plan_key(file, holder, ("services",), service, keys, wall, gaps)
    return _filled(data, file, gaps)


def _services_found(file: Tree) -> Found:
    found = entries(Found(file.root, 0)).get("services")
    if found is not None and found.node.kind != "map":
        raise Unsafe("`services:` is no mapping with services here", found.line)
    if found is None:
        raise Unsafe("there is no `services:` in this file; the form without it (version 1) knows no GPU", 1)
    return found


def _services(file: Tree) -> dict[str, Found]:
    """Return the services by name."""
    return entries(_services_found(file))


def _service(file: Tree, name: str) -> tuple[Found, _Wall | None]:
    """Return a service, and the one that would change with it because it extends it."""
    known = _services(file)
    if name not in known:
        raise Unsafe(f"there is no service {name} in this file; there are: {', '.join(known) or 'none'}")
    found = known[name]
    if found.node.kind != "map" and not found.empty:
        raise Unsafe(f"service {name} is no mapping", found.line)
    for other, each in known.items():
        base = _extended(each)
        if base is not None and base[0] == name:
            return found, _Wall(f"service {other} extends {name} here, so that the change would reach it too", base[1])
    return found, None


def _extended(found: Found) -> tuple[str, int] | None:
    """Return the service of the same file that a service extends, and the line."""
    if found.node.kind != "map":
        return None
    extends = entries(found).get("extends")
    if extends is None:
        return None
    if extends.node.kind == "map":
        keys = entries(extends)
        base = keys.get("service")
        return (base.node.value, extends.line) if base is not None and "file" not in keys else None
    return extends.node.value, extends.line


def _inherited(file: Tree, found: Found, service: str, name: str, value: Json) -> bool:
    """Tell whether a service of this file that is extended brings all of a key; refuse where its request for a GPU is another one."""
    known, seen = _services(file), {service}
    base = _extended(found)
    while base is not None and base[0] in known and base[0] not in seen:
        seen.add(base[0])
        there = known[base[0]]
        if there.node.kind != "map":
            return False
        reason = f"what is asked for comes from service {base[0]}, which {service} extends here; edit that service"
        gaps: list[_Gap] = []
        try:
            _plan_map(file, there, ("services", service), {name: value}, None, gaps)
        except Unsafe:
            raise Unsafe(reason, base[1]) from None
        if not gaps:
            return True
        for path in (_RESERVED, ("gpus",)):
            if any(gap.path[_PLAN_AT : _PLAN_AT + len(path)] == path for gap in gaps) and any(_asks(there, path)):
                raise Unsafe(reason, base[1])
        base = _extended(there)
    return False


def _asks(service: Found, path: tuple[str, ...]) -> Iterator[Ask]:
    """Yield the requests for a GPU of a service, below one of its keys."""
    found: Found | None = service
    for name in path:
        found = entries(found).get(name) if found is not None and found.node.kind == "map" else None
    if found is not None and found.node.kind == "list":
        told = (ask(resolved(each, found.via)) for each in found.node.elements)
        yield from (each for each in told if _for_gpu(each))


def _refuse_two_ways(service: Found, keys: Mapping[str, Json]) -> None:
    """Refuse to ask for a GPU in one way where the service asks in another: the engine would be asked twice."""
    reserved: Any = keys
    for name in _RESERVED:
        reserved = reserved.get(name) if _is_map(reserved) else None
    gpus = entries(service).get("gpus")
    if gpus is not None and not gpus.empty and (reserved or _cdi(keys)) and "gpus" not in keys:
        raise Unsafe("the service asks for its GPU by `gpus:` here already", gpus.line)
    if not reserved and ("gpus" in keys or _cdi(keys)):
        for each in _asks(service, _RESERVED):
            raise Unsafe("the service reserves its GPU under `deploy:` here already", each.line)


def _cdi(keys: Mapping[str, Json]) -> bool:
    devices = keys.get("devices")
    return isinstance(devices, (list, tuple)) and any(isinstance(each, str) and not each.startswith("/") for each in devices)


def _for_gpu(told: Ask) -> bool:
    """Tell whether a request is one for a GPU; one that says neither driver nor capability is no other either."""
    return told.for_gpu or (told.driver is None and told.capabilities is None)


def _own(node: Node, name: str) -> Node | None:
    """Return what a map itself has under a name, as it stands there: perhaps an alias."""
    return next((value for key, value in node.pairs if key.value == name and key.tag != "merge"), None)


def _walled(file: Tree, node: Node | None, wall: _Wall | None, what: str) -> _Wall | None:
    """Return why a value cannot be changed: what was in the way above it, else its being an alias or having aliases."""
    if wall is not None or node is None:
        return wall
    if node.target is not None:
        return _Wall(f"`{what}:` is an alias of what stands in line {node.target.line}, which others use as well", node.line)
    if node.anchor in file.aliases:
        used = ", ".join(str(line) for line in file.aliases[node.anchor])
        reason = (
            f"what stands here is used again by its anchor (line {used}), so that the change would reach more than this service"
        )
        return _Wall(reason, node.line)
    if node.tag == "!reset":
        return _Wall(f"`{what}:` is taken away here (!reset)", node.line)
    return None


def _child_wall(file: Tree, holder: Found, name: str, child: Found, wall: _Wall | None) -> _Wall | None:
    own = _own(holder.node, name)
    if own is None:
        return wall or _Wall(f"`{name}:` comes by the merge (<<) here, and a key of its own would replace it", child.via)
    return _walled(file, own, wall, name)


def _plan_map(
    file: Tree, found: Found, path: tuple[str | int, ...], wanted: Mapping[str, Json], wall: _Wall | None, gaps: list[_Gap]
) -> None:
    """Find what a map lacks."""
    for name, value in wanted.items():
        _plan_key(file, found, path, name, value, wall, gaps)


def _plan_key(
    file: Tree,
    found: Found,
    path: tuple[str | int, ...],
    name: str,
    value: Json,
    wall: _Wall | None,
    gaps: list[_Gap],
) -> None:
    """Find what a key of a map lacks."""
    child = entries(found).get(name)
    own = _own(found.node, name)
    nothing = child is None or child.empty or not (child.node.pairs or child.node.elements or child.node.kind == "text")
    if own is None and nothing:
        _need(wall)
        gaps.append(_Gap((*path, name), found.node, value))
        return
    assert child is not None  # noqa: S101 - there is an own one, or a merged one with something in it
    wall = _child_wall(file, found, name, child, wall)
    if child.empty:
        _need(wall)
        gaps.append(_Gap((*path, name), child.node, value, found.node))
    else:
        _plan_value(file, child, (*path, name), value, wall, gaps)


def _need(wall: _Wall | None) -> None:
    """Refuse where something is in the way of a change that is needed."""
    if wall is not None:
        raise Unsafe(*wall)


def _plan_value(file: Tree, found: Found, path: tuple[str | int, ...], value: Json, wall: _Wall | None, gaps: list[_Gap]) -> None:
    """Find what a value lacks that is there already."""
    name, below, node = path[-1], path[_PLAN_AT:], found.node
    if below == ("environment",):
        _plan_environment(file, found, path, value, wall, gaps)
    elif _is_map(value) and node.kind == "map":
        _plan_map(file, found, path, value, wall, gaps)  # type: ignore[arg-type]
    elif isinstance(value, (list, tuple)) and node.kind == "list":
        for each in value:
            if below in {_RESERVED, ("gpus",)} and _is_map(each):
                there = _plan_ask(file, found, path, each, wall, gaps)
            elif below == ("devices",) and isinstance(each, str):
                there = _has_device(found, each)
            else:
                there = any(_plain(resolved(known).node) == _wanted(each) for known in node.elements)
            if not there:
                _need(wall)
                gaps.append(_Gap((*path, len(node.elements)), node, each))
    elif node.kind != "text" or node.value != _text_of(value):
        told = f"`{node.value}`" if node.kind == "text" else f"a {'mapping' if node.kind == 'map' else 'list'}"
        raise Unsafe(f"`{name}:` is {told} here already, which is not changed", node.line)


def _is_map(value: object) -> bool:
    return hasattr(value, "items")


def _text_of(value: Json) -> str | None:
    """Return one value as YAML writes it; None for what is not one value."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, (str, int)) else None


def _plan_environment(
    file: Tree, found: Found, path: tuple[str | int, ...], value: Json, wall: _Wall | None, gaps: list[_Gap]
) -> None:
    """Find which variables are lacking; asked for in one form, they are written in the one that is there."""
    if isinstance(value, (list, tuple)):
        value = {name: told for name, _, told in [str(each).partition("=") for each in value]}
    if found.node.kind == "map":
        _plan_map(file, found, path, value, wall, gaps)  # type: ignore[arg-type]
        return
    if found.node.kind != "list" or not _is_map(value):
        raise Unsafe("`environment:` is neither a mapping nor a list here", found.node.line)
    known = {}
    for element in found.node.elements:
        name, _, told = resolved(element).node.value.partition("=")
        known[name] = (told, element.line)
    for name, each in value.items():  # type: ignore[union-attr]
        if name not in known:
            _need(wall)
            gaps.append(_Gap((*path, len(found.node.elements)), found.node, f"{name}={_text_of(each)}"))
        elif known[name][0] != _text_of(each):
            raise Unsafe(f"`{name}` is `{known[name][0]}` here already, which is not changed", known[name][1])


def _plan_ask(
    file: Tree,
    found: Found,
    path: tuple[str | int, ...],
    wanted: Any,
    wall: _Wall | None,
    gaps: list[_Gap],
) -> bool:
    """Say whether a list has a request for a GPU, and find what that lacks."""
    asks = [(at, ask(resolved(each, found.via))) for at, each in enumerate(found.node.elements)]
    mine = [(at, told) for at, told in asks if _for_gpu(told)]
    if not mine:
        return False
    at, told = next(((at, told) for at, told in mine if not _lacks(told, wanted)), mine[0])
    _refuse_another(told, wanted)
    element = found.node.elements[at]
    inner = _walled(file, element, wall, "this request")
    _plan_map(file, resolved(element, found.via), (*path, at), _lacks(told, wanted), inner, gaps)
    return True


def _lacks(told: Ask, wanted: Mapping[str, Json]) -> dict[str, Json]:
    """Return the keys of ``wanted`` that a request for a GPU lacks; its driver is not one, as the engine finds that by itself."""
    found: dict[str, Json] = {}
    if told.number is None and told.device_ids is None:
        found = {name: wanted[name] for name in ("count", "device_ids") if name in wanted}
    able: Any = wanted.get("capabilities", ())
    known = {each.text for each in told.capabilities or ()}
    found_by_name = told.driver is not None or "nvidia" in known
    missing = [each for each in able if each not in known and not (each == "gpu" and known and found_by_name)]
    by_cdi = told.driver is not None and told.driver.text == "cdi"
    # CDI looks at no capability, but Compose refuses a request that names none at all.
    if missing and not (by_cdi and told.capabilities is not None):
        found["capabilities"] = missing
    return found


def _refuse_another(told: Ask, wanted: Mapping[str, Json]) -> None:
    """Refuse where a request names other GPUs than the wanted ones, or none."""
    number, ids = told.number, told.device_ids
    if number is not None and ids is not None:
        raise Unsafe("this request has `count` and `device_ids`, which exclude each other; take one of them out", told.line)
    if number is not None and number.text == "0":
        raise Unsafe("this request asks for no GPU (`count: 0`), which is not changed", number.line)
    asked_ids: Any = wanted.get("device_ids")
    asked: Any = wanted.get("count")
    if number is not None and (asked_ids or asked not in _ALL) and number.text not in _ALL:
        if interpolated(number.text):
            raise Unsafe(f"how many GPUs are asked for is filled in by a variable here (`{number.text}`)", number.line)
        if asked_ids or not (number.text.isdecimal() and int(number.text) >= int(asked)):
            raise Unsafe(f"this request is for {number.text} GPU already, which is not changed", number.line)
    if ids is not None and (asked_ids or asked not in _ALL):
        texts = {each.text for each in ids}
        if not (texts >= set(asked_ids) if asked_ids else len(texts) >= int(asked)):
            raise Unsafe(f"this request is for {', '.join(each.text for each in ids)} already, which is not changed", told.line)


def _has_device(found: Found, wanted: str) -> bool:
    """Say whether a service's ``devices:`` have a node or a CDI name; refuse where it is there in another way."""
    source, _, target = wanted.partition(":")
    for element in found.node.elements:
        known = device(resolved(element, found.via))
        if interpolated(known.source) and "nvidia" in known.source:
            raise Unsafe(f"which device this is depends on a variable (`{known.source}`)", known.line)
        if not wanted.startswith("/"):
            kind, _, name = wanted.partition("=")
            if known.source == wanted or (
                known.source.startswith(f"{kind}=") and "all" in {name, known.source.partition("=")[2]}
            ):
                return True
        elif known.source == source and known.target in {"", target}:
            if known.permissions and not {"r", "w"} <= set(known.permissions):
                raise Unsafe(f"{source} is given with `{known.permissions}` alone here, which is not changed", known.line)
            return True
        elif (known.target or known.source) == target:
            raise Unsafe(f"{target} is {known.source} of the host here, which is not changed", known.line)
    return False


def _plain(node: Node) -> list[Any]:
    """Return a node as plain values that can be compared: aliases as such, values with what YAML takes them for."""
    head = (node.kind, node.tag, node.anchor)
    if node.kind == "map":
        return [head, {key.value: _plain(value) for key, value in node.pairs}]
    return [head, [_plain(each) for each in node.elements] if node.kind == "list" else node.value]


def _wanted(value: Json) -> list[Any]:
    """Return a new value in the form of ``_plain``."""
    if _is_map(value):
        return [("map", "map", ""), {name: _wanted(each) for name, each in value.items()}]  # type: ignore[union-attr]
    if isinstance(value, (list, tuple)):
        return [("list", "seq", ""), [_wanted(each) for each in value]]
    tag = "bool" if isinstance(value, bool) else "int" if isinstance(value, int) else "str"
    return [("text", tag, ""), _text_of(value)]


def _filled(data: bytes, file: Tree, gaps: list[_Gap]) -> bytes:
    """Return the file with all gaps filled, if it then says what it said before with only these added; else raise ``Unsafe``."""
    if not gaps:
        return data
    expected = _plain(file.root)
    for gap in gaps:
        holder: Any = expected
        for step in gap.path[:-1]:
            holder = holder[1][step]
        if gap.node.kind == "list":
            holder[1].append(_wanted(gap.value))
        else:
            holder[1][gap.path[-1]] = _wanted(gap.value)
    as_json = _is_json(file.text)
    if not as_json and "\r" in file.text.replace("\r\n", ""):
        line = file.text[: file.text.replace("\r\n", "\n\n").index("\r")].count("\n") + 1
        raise Unsafe("this line ends in a carriage return alone; give the file the line ends of Unix or Windows first", line)
    text = _json_written(file, gaps) if as_json else _written(file, gaps)
    bom = BOM if data.startswith(BOM) else b""
    made = bom + text.encode()
    try:
        # In their written order: the place of a key counts too.
        same = repr(_plain(tree(made).root)) == repr(expected)
    except Malformed:
        same = False
    if not same:
        last = [each for each in _all(file.root) if each.style in {"|", ">"} and each.end == len(file.text)]
        if last:
            reason = "the file ends in this block of text without a line break, which it would get; put one at the end of the file first"
            raise Unsafe(reason, last[0].line)
        raise Unsafe("the file is written in a way that cannot be edited safely; please edit it by hand", gaps[0].node.line)
    return made


def _is_json(text: str) -> bool:
    if text.lstrip()[:1] != "{":
        return False
    from gpudoctor.formats.daemon_json import parse

    try:
        parse(text.encode())
    except Malformed:
        return False
    return True


def _json_written(file: Tree, gaps: list[_Gap]) -> str:
    """Return a JSON file's text with the gaps filled, each in the layout of its neighbours."""
    from gpudoctor.formats.edit.daemon_json import _added, _goes_inline, _indent, _scanned
    from gpudoctor.formats.edit.daemon_json import _style as _json_style
    from gpudoctor.formats.edit.daemon_json import _written as _json_value

    text = file.text
    for gap in gaps:
        boxes = [_scanned(text)]
        steps = gap.path if gap.node.kind == "text" else gap.path[:-1]
        for step in steps:
            items = boxes[-1].items
            at = step if isinstance(step, int) else next(at for at, item in enumerate(items) if item.name == step)
            boxes.append(items[at].node)
        if gap.node.kind != "text":
            name = gap.path[-1]
            text = _added(text, tuple(boxes), gap.value, name if isinstance(name, str) else None)
            continue
        node = boxes.pop()
        style = _json_style(text, boxes[0], node.start)
        inline = _goes_inline(text, tuple(boxes))
        new = _json_value(gap.value, style, _indent(text, node.start), inline=inline)
        text = text[: node.start] + new + text[node.end :]
    return text


def _written(file: Tree, gaps: list[_Gap]) -> str:
    """Return a YAML file's text with the gaps filled."""
    style = _style(file, gaps[0].path)
    brackets: dict[int, list[_Gap]] = {}
    changes = []
    for gap in gaps:
        if gap.inside is not None:
            changes.append((len(gap.path), _in_place(file.text, gap, gap.inside, style)))
        elif _in_block(gap.node):
            changes.append((len(gap.path), _below(file.text, gap, style)))
        else:
            brackets.setdefault(id(gap.node), []).append(gap)
    for group in brackets.values():
        changes += [(len(group[0].path), change) for change in _in_brackets(file.text, group, style)]
    # At one place what belongs deeper comes first, else what was asked for first.
    changes.sort(key=lambda each: (each[1][0], -each[0]))
    text = file.text
    for _, (start, end, piece) in reversed(changes):
        text = text[:start] + piece + text[end:]
    return text


def _style(file: Tree, path: tuple[str | int, ...]) -> _Style:
    """Look at how the file is written, at the service itself first."""
    holder = _services_found(file).node
    service = resolved(_own(holder, str(path[1])) or holder).node
    step = holder.column - file.root.column
    for node in (service, holder, file.root):
        inner = [each.column - node.column for _, each in node.pairs if _in_block(each) and each.kind == "map"]
        if _in_block(node) and inner and inner[0] > 0:
            step = inner[0]
            break
    insets = [each for node in (service, holder, file.root) for each in _insets(node)]
    quotes = [each.style for each in _all(file.root) if each.kind == "text" and each.style in {"'", '"'}]
    keys = [key.style for key, _ in (service.pairs or holder.pairs)]
    every = keys[0] if keys and keys[0] in {"'", '"'} and len(set(keys)) == 1 else ""
    step = step if step > 0 else 2
    inset = insets[0] if insets else step
    return _Style(step, inset, max(quotes, key=quotes.count) if quotes else '"', every)


def _in_block(node: Node) -> bool:
    """Tell whether a map or list is written in lines of its own."""
    return node.style == "" and bool(node.pairs or node.elements)


def _all(node: Node) -> Iterator[Node]:
    """Yield all nodes in the order of the text, keys too."""
    yield node
    for key, value in node.pairs:
        yield key
        yield from _all(value)
    for each in node.elements:
        yield from _all(each)


def _insets(node: Node) -> Iterator[int]:
    """Yield how far the lists of a map stand in from their keys."""
    for key, value in node.pairs:
        if value.kind == "list" and _in_block(value):
            yield value.column - key.column
        else:
            yield from _insets(value)
    for each in node.elements:
        yield from _insets(each)


def _below(text: str, gap: _Gap, style: _Style) -> tuple[int, int, str]:
    """Return what comes below the last entry of a map or list that is written in lines."""
    node, margin = gap.node, " " * gap.node.column
    if node.kind == "map":
        return _lines_at(text, node.end, list(_block(style, str(gap.path[-1]), gap.value, margin)))
    return _lines_at(text, node.end, list(_block_element(style, gap.value, margin, _last_quote(node))))


def _last_quote(node: Node) -> str:
    """Return the quote of the last key of a map or the last text of a list."""
    last = node.pairs[-1][0] if node.pairs else node.elements[-1] if node.elements else None
    return last.style if last is not None and last.kind == "text" and last.style in {"'", '"'} else ""


def _in_place(text: str, gap: _Gap, inside: Node, style: _Style) -> tuple[int, int, str]:
    """Return what takes the place of no value, or of ``null``."""
    node = gap.node
    if node.anchor or text[node.start : node.start + 1] == "!":
        raise Unsafe(f"`{gap.path[-1]}:` has no value but a mark here, and where one would go is not certain", node.line)
    simple = _text_of(gap.value) is not None
    if node.end > node.start:
        return node.start, node.end, _flow(gap.value, style)
    if simple or not _in_block(inside):
        return node.end, node.end, f" {_flow(gap.value, style)}"
    if _is_map(gap.value):
        margin = " " * (inside.column + style.step)
        lines = [line for name, each in gap.value.items() for line in _block(style, name, each, margin)]  # type: ignore[union-attr]
    else:
        margin = " " * (inside.column + style.inset)
        lines = [line for each in gap.value for line in _block_element(style, each, margin, "")]  # type: ignore[union-attr]
    return _lines_at(text, node.end, lines)


def _in_brackets(text: str, gaps: list[_Gap], style: _Style) -> Iterator[tuple[int, int, str]]:
    """Yield what puts entries at the end of a list or map in brackets, on lines of their own where the last one has one."""
    node = gaps[0].node
    quote = _last_quote(node)
    if node.kind == "map":
        quote = quote if node.pairs else style.key_quote
        style = style._replace(key_quote=quote)
        pieces = [f"{quote}{gap.path[-1]}{quote}: {_flow(gap.value, style)}" for gap in gaps]
    else:
        pieces = [_flow(gap.value, style, quote) for gap in gaps]
    close = node.end - 1
    starts = [key.start for key, _ in node.pairs] or [each.start for each in node.elements]
    if not starts:
        opened = text.index("{" if node.kind == "map" else "[", node.start) + 1
        blank = not text[opened:close].strip(" ")
        pad = " " if blank and opened < close else ""
        yield opened, close if blank else opened, pad + ", ".join(pieces) + pad
        return
    ends = [value.end for _, value in node.pairs] or [each.end for each in node.elements]
    start, end = starts[-1], ends[-1]
    if node.pairs:
        key, value = node.pairs[-1]
        # No value at all ends at the bracket.
        end = key.end if value.start == value.end and not text[key.end : end].strip() else end
    comma = "," if len(starts) > 1 and text[ends[-2] : start] == "," else ", "
    line_start = text.rfind("\n", 0, start) + 1
    margin = text[line_start:start]
    if margin.strip(" ") or line_start <= node.start:
        yield end, end, "".join(comma + piece for piece in pieces)
        return
    rest = text[end:close]
    after = len(rest) - len(rest.lstrip(" "))
    trailing = rest[after : after + 1] == ","
    newline = _newline(text, start)
    lines = f",{newline}{margin}".join(pieces)
    stop = rest.find("\n")
    if stop < 0:
        # The bracket stands behind the last entry.
        at = end + after + 1 if trailing else end
        yield at, at, f"{newline}{margin}{lines}," if trailing else f",{newline}{margin}{lines}"
        return
    at = end + stop - (rest[stop - 1 : stop] == "\r")
    if not trailing:
        yield end, end, ","
    yield at, at, f"{newline}{margin}{lines}{',' if trailing else ''}"


def _block(style: _Style, name: str, value: Json, margin: str) -> Iterator[str]:
    """Yield the lines of a key and its value; a list of capabilities or ids stands in one line."""
    key = f"{style.key_quote}{name}{style.key_quote}"
    if _is_map(value) and value:
        yield f"{margin}{key}:"
        for inner, each in value.items():  # type: ignore[union-attr]
            yield from _block(style, inner, each, margin + " " * style.step)
    elif isinstance(value, (list, tuple)) and value and name not in {"capabilities", "device_ids"}:
        yield f"{margin}{key}:"
        for each in value:
            yield from _block_element(style, each, margin + " " * style.inset, "")
    else:
        yield f"{margin}{key}: {_flow(value, style)}"


def _block_element(style: _Style, value: Json, margin: str, quote: str) -> Iterator[str]:
    """Yield the lines of an element of a list; ``margin`` is that of the dash, ``quote`` that of the element before it."""
    if not _is_map(value):
        path = isinstance(value, str) and value.startswith("/") and set(value) <= _PLAIN | {":"} and value[-1] != ":"
        yield f"{margin}- {value if path and not (quote or style.key_quote) else _flow(value, style, quote)}"
        return
    first = True
    for name, each in value.items():  # type: ignore[union-attr]
        for line in _block(style, name, each, margin + "  "):
            yield f"{margin}- {line[len(margin) + 2 :]}" if first else line
            first = False


def _flow(value: Json, style: _Style, quote: str = "") -> str:
    """Return a value in one line; a text stands in quotes where it needs some, or where ``quote`` asks for them."""
    if _is_map(value):
        key = style.key_quote
        return "{" + ", ".join(f"{key}{name}{key}: {_flow(each, style)}" for name, each in value.items()) + "}"  # type: ignore[union-attr]
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_flow(each, style) for each in value) + "]"
    if not isinstance(value, str):
        return str(_text_of(value))
    quote = quote or style.key_quote
    plain = value and set(value) <= _PLAIN and not value[0].isdigit() and value[0] not in "-.=" and value.lower() not in _WORDS
    if plain and not quote:
        return value
    if (quote or style.quote) == "'":
        return "'" + value.replace("'", "''") + "'"
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _newline(text: str, at: int) -> str:
    """Return how the line of an offset ends, or the line before where it has no end."""
    stop = text.find("\n", at)
    stop = stop if stop >= 0 else text.rfind("\n")
    return "\r\n" if stop > 0 and text[stop - 1] == "\r" else "\n"


def _lines_at(text: str, at: int, lines: list[str]) -> tuple[int, int, str]:
    """Return lines put in below the line that ends at an offset; the last line of a file may have no end, and then the new one has none."""
    newline = _newline(text, max(at - 1, 0))
    joined = newline.join(lines)
    stop = at - 1 if text[at - 1 : at] == "\n" else text.find("\n", at)
    if stop < 0:
        return len(text), len(text), newline + joined
    return stop + 1, stop + 1, joined + newline
