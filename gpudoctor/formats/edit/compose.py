"""A Compose file: a service is given keys that it lacks, every other byte kept.

YAML is never dumped: text is put in at the places of PyYAML's nodes, in the indentation and the style of the file, and the result is
parsed and compared value by value with what was wanted. Where an anchor, a merge or a value of another kind is in the way, the file is
not edited.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from gpudoctor.formats import BOM, Malformed
from gpudoctor.formats.edit import Unsafe
from gpudoctor.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

Json: TypeAlias = "str | int | bool | Sequence[Json] | Mapping[str, Json] | None"
_MOST = 20_000  # nodes, with what aliases repeat
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_/.=")
_WORDS = frozenset({"true", "false", "yes", "no", "on", "off", "null", "y", "n", "~"})


class _File(NamedTuple):
    """The text, its root, the places (start, end) of what aliases repeat, and how the file is written."""

    text: str
    root: Any
    shared: tuple[tuple[int, int, int], ...]
    newline: str
    step: int
    inset: int


def services(data: bytes) -> tuple[str, ...]:
    """Return the names of the services in a Compose file, in its order; raises as ``give`` does."""
    return tuple(key.value for key, _ in _services(_opened(data)).value)


def give(data: bytes, service: str, keys: Mapping[str, Json]) -> bytes:
    """Return the file with ``keys`` put into a service: mappings are descended into, elements that a list lacks come at its end.

    A request for a GPU among ``deploy.resources.reservations.devices`` that is there already is completed with what it lacks. The same
    bytes where all is there. Raises ``Malformed`` where the file is no YAML with one document, ``Unsafe`` where a key has another
    value already, or cannot be put in without changing more than this service.
    """
    if data.lstrip().startswith(b"{"):
        return _give_json(data, service, keys)
    file = _opened(data)
    node = _service(file, service)
    before = _plain(file.root)
    wanted = _merged(before["services"][service], keys, service)
    if wanted == before["services"][service]:
        return data
    edits = list(_edits(file, node, keys, before["services"][service]))
    text = file.text
    # From the end to the start, so that the places stay right; of two at one place the first ends up first.
    edits.sort(key=lambda edit: edit[0])
    for at, piece in edits[::-1]:
        if any(start < at <= end for start, end, _ in file.shared):
            line = next(line for start, end, line in file.shared if start < at <= end)
            raise Unsafe(
                "what stands here is used in several places by an anchor, so that the change would reach more than this service",
                line,
            )
        text = text[:at] + piece + text[at:]
    after = _plain(_opened(text.encode()).root)
    if after != {**before, "services": {**before["services"], service: wanted}}:
        raise Unsafe("the file is written in a way that cannot be edited safely", node.start_mark.line + 1)
    return (BOM if data.startswith(BOM) else b"") + text.encode()


def _give_json(data: bytes, service: str, keys: Mapping[str, Json]) -> bytes:
    """Do the same in a Compose file that is written as JSON."""
    import json

    from gpudoctor.formats import daemon_json
    from gpudoctor.formats.edit import daemon_json as editor

    daemon_json.parse(data)
    known: Any = json.loads(data.removeprefix(BOM)).get("services")
    if not isinstance(known, dict) or not isinstance(known.get(service), dict):
        raise Unsafe(f"there is no service {service} in this file")
    old = known[service]
    wanted = _merged(old, keys, service)
    for key, value in wanted.items():
        if old.get(key) != value:
            data = editor.set_value(data, ("services", service, key), value)
    return data


def _opened(data: bytes) -> _File:
    import yaml

    try:
        text = data.removeprefix(BOM).decode()
    except UnicodeDecodeError as error:
        raise Malformed("a byte that is not UTF-8 text", data.count(b"\n", 0, error.start) + 1) from None
    root: Any
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        shared = tuple(_shared(text))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        reason = getattr(error, "problem", None) or "no YAML that can be read"
        raise Malformed(reason, *(() if mark is None else (mark.line + 1, mark.column + 1))) from None
    except RecursionError:
        raise Malformed("too many levels of nesting") from None
    if not isinstance(root, yaml.MappingNode):
        raise Unsafe("this is no Compose file: there is no mapping at its top", 1)
    nested = next(
        (value for _, value in root.value if isinstance(value, yaml.MappingNode) and value.value and not value.flow_style), None
    )
    step = nested.value[0][0].start_mark.column if nested is not None else 2
    return _File(text, root, shared, "\r\n" if "\r\n" in text else "\n", step or 2, _inset(root, step or 2))


def _shared(text: str) -> Iterator[tuple[int, int, int]]:
    """Yield start, end and line of every node that has an anchor which an alias names."""
    import yaml

    used: set[str | None] = set()
    open_nodes: list[tuple[str | None, int, int]] = []
    anchored: list[tuple[str, int, int, int]] = []
    events: Iterator[Any] = yaml.parse(text, Loader=yaml.SafeLoader)
    for event in events:
        mark = event.start_mark
        if isinstance(event, yaml.AliasEvent):
            used.add(event.anchor)
        elif isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
            open_nodes.append((event.anchor, mark.index, mark.line + 1))
        elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            name, start, line = open_nodes.pop()
            if name is not None:
                anchored.append((name, start, event.end_mark.index, line))
    for name, start, end, line in anchored:
        if name in used:
            yield start, end, line


def _inset(root: Any, step: int) -> int:
    """Return how far the lists of this file stand further in than their key."""
    import yaml

    todo = [root]
    while todo:
        node = todo.pop()
        for key, value in node.value:
            if isinstance(value, yaml.SequenceNode) and not value.flow_style and value.start_mark.index > key.start_mark.index:
                return int(value.start_mark.column - key.start_mark.column)
            if isinstance(value, yaml.MappingNode) and value.start_mark.index > key.start_mark.index:
                todo.append(value)
    return step


def _services(file: _File) -> Any:
    import yaml

    found = _child(file.root, "services")
    if not isinstance(found, yaml.MappingNode):
        raise Unsafe("there is no `services:` in this file; the form without it (version 1) knows no GPU", 1)
    return found


def _service(file: _File, name: str) -> Any:
    import yaml

    node = _child(_services(file), name)
    if node is None:
        known = ", ".join(services(file.text.encode()))
        raise Unsafe(f"there is no service {name} in this file; there are: {known}")
    if not isinstance(node, yaml.MappingNode) or not node.value:
        raise Unsafe(f"the service {name} has no keys of its own", node.start_mark.line + 1)
    return node


def _child(node: Any, name: str) -> Any:
    """Return the value of a key; a key that stands twice is refused, since Compose refuses it."""
    found = [value for key, value in node.value if key.value == name]
    if len(found) > 1:
        raise Malformed(f"the key {name} stands twice", found[1].start_mark.line + 1)
    return found[0] if found else None


def _plain(node: Any, left: list[int] | None = None) -> Any:
    """Return a node as plain values: all scalars as text with their tag, merges left as the key ``<<``."""
    import yaml

    left = [_MOST] if left is None else left
    left[0] -= 1
    if left[0] < 0:
        raise Unsafe("aliases repeat more than can be looked at")
    if isinstance(node, yaml.ScalarNode):
        kind = node.tag.rpartition(":")[2]
        if kind == "int" and node.value.isdecimal() and not node.value.startswith("0"):
            return int(node.value)
        return (
            {"true": True, "false": False}.get(node.value.lower(), node.value)
            if kind == "bool"
            else None
            if kind == "null"
            else node.value
        )
    if isinstance(node, yaml.SequenceNode):
        return [_plain(each, left) for each in node.value]
    found: dict[str, Any] = {}
    for key, value in node.value:
        name = str(key.value)
        if name in found and name != "<<":
            raise Malformed(f"the key {name} stands twice", key.start_mark.line + 1)
        found[name] = _plain(value, left)
    return found


def _merged(old: Any, keys: Mapping[str, Json], where: str) -> dict[str, Any]:
    """Return the service's value with the keys put in; refuse where something else stands there."""
    found = dict(old)
    for name, value in keys.items():
        place = f"{where}.{name}"
        there = found.get(name)
        if there is None:
            if name not in old and "<<" in old and _in_merge(old["<<"], name):
                raise Unsafe(f"{place} comes by a merge (<<), which a key of its own would replace")
            found[name] = _copied(value)
        elif _is_mapping(value) and isinstance(there, dict):
            found[name] = _merged(there, value, place)  # type: ignore[arg-type]
        elif isinstance(value, (list, tuple)) and isinstance(there, list):
            found[name] = _joined(there, value, place)
        elif there != value:
            raise Unsafe(f"{place} is {there!r} already, which is not changed")
    return found


def _is_mapping(value: Json) -> bool:
    return hasattr(value, "items")


def _copied(value: Any) -> Any:
    if hasattr(value, "items"):
        return {name: _copied(each) for name, each in value.items()}
    return [_copied(each) for each in value] if isinstance(value, (list, tuple)) else value


def _in_merge(merged: Any, name: str) -> bool:
    parts = merged if isinstance(merged, list) else [merged]
    return any(isinstance(part, dict) and (name in part or ("<<" in part and _in_merge(part["<<"], name))) for part in parts)


def _joined(there: list[Any], wanted: Sequence[Any], where: str) -> list[Any]:
    """Return a list with what it lacks at its end; a request for a GPU is completed in its place."""
    found = list(there)
    for each in wanted:
        request = _request(found) if _is_mapping(each) else None
        if request is not None:
            # What names the GPUs already stays: a count or ids of somebody's own are as good as ours.
            lacks = {
                name: value for name, value in each.items() if name not in {"count", "device_ids"} or not _names(found[request])
            }
            mine = {
                name: value for name, value in lacks.items() if name != "capabilities" or "capabilities" not in found[request]
            }
            found[request] = _merged(found[request], mine, f"{where}[{request}]")
        elif not any(_same(each, known) for known in found):
            found.append(_copied(each))
    return found


def _request(devices: list[Any]) -> int | None:
    """Return which element of a list of reservations asks for a GPU."""
    for at, each in enumerate(devices):
        asks = isinstance(each, dict) and (each.get("driver") in {"nvidia", "cdi"} or "gpu" in (each.get("capabilities") or []))
        if asks:
            return at
    return None


def _names(request: dict[str, Any]) -> bool:
    return "count" in request or "device_ids" in request


def _same(wanted: Any, known: Any) -> bool:
    """Say whether a list has an element already: a node's path on the host tells, whatever it is called inside."""
    if isinstance(wanted, str) and isinstance(known, str) and wanted.startswith("/dev/"):
        return wanted.partition(":")[0] == known.partition(":")[0]
    return bool(wanted == known)


def _edits(file: _File, node: Any, keys: Mapping[str, Json], old: dict[str, Any]) -> Iterator[tuple[int, str]]:
    """Yield (offset, text) of what has to be put in below a mapping."""
    import yaml

    for name, value in keys.items():
        child = _child(node, name)
        if child is None or (isinstance(child, yaml.ScalarNode) and old.get(name) is None):
            if child is not None:
                raise Unsafe(f"`{name}:` has no value, and where one would go is not certain", child.start_mark.line + 1)
            yield _put_key(file, node, name, value)
            continue
        _own(child, node, name)
        if _is_mapping(value):
            yield from _edits(file, child, value, old[name])  # type: ignore[arg-type]
        elif isinstance(value, (list, tuple)):
            yield from _list_edits(file, child, value, old[name])


def _own(child: Any, parent: Any, name: str) -> None:
    """Refuse a value that an alias brings: it stands elsewhere."""
    if not parent.start_mark.index <= child.start_mark.index <= parent.end_mark.index:
        raise Unsafe(f"`{name}:` is an alias of what stands here, which others use as well", child.start_mark.line + 1)


def _list_edits(file: _File, node: Any, wanted: Sequence[Any], old: list[Any]) -> Iterator[tuple[int, str]]:
    new = []
    for each in wanted:
        request = _request(old) if _is_mapping(each) else None
        if request is not None:
            lacks = {
                name: value
                for name, value in each.items()
                if name not in old[request] and not (name in {"count", "device_ids"} and _names(old[request]))
            }
            _own(node.value[request], node, "devices")
            yield from _edits(file, node.value[request], lacks, old[request])
        elif not any(_same(each, known) for known in old):
            new.append(each)
    if not new:
        return
    if node.flow_style:
        end = _end(file, node)
        joined = ", ".join(_flow(each) for each in new)
        last = max((_end(file, each) for each in node.value), default=node.start_mark.index + 1)
        yield (last, f", {joined}") if node.value else (end - 1, joined)
        return
    at = _line_end(file, max(_end(file, each) for each in node.value))
    dash = " " * node.start_mark.column
    lines = [line for each in new for line in _block_element(file, each, dash)]
    yield _lines_at(file, at, lines)


def _put_key(file: _File, node: Any, name: str, value: Json) -> tuple[int, str]:
    """Return where a new key of a mapping goes, behind its last one, and its text."""
    if node.flow_style:
        last = max((_end(file, each) for pair in node.value for each in pair), default=node.start_mark.index + 1)
        text = f"{name}: {_flow(value)}"
        return (last, f", {text}") if node.value else (last, text)
    column = node.value[0][0].start_mark.column
    last_key, last_value = node.value[-1]
    end = _end(file, last_value) if last_value.start_mark.index >= last_key.end_mark.index else last_key.end_mark.index
    return _lines_at(file, _line_end(file, end), list(_block(file, name, value, " " * column)))


def _block(file: _File, name: str, value: Json, indent: str) -> Iterator[str]:
    """Yield the lines of a key and its value in block style."""
    if _is_mapping(value):
        yield f"{indent}{name}:"
        for inner, each in value.items():  # type: ignore[union-attr]
            yield from _block(file, inner, each, indent + " " * file.step)
    elif isinstance(value, (list, tuple)) and name != "capabilities":
        yield f"{indent}{name}:"
        for each in value:
            yield from _block_element(file, each, indent + " " * file.inset)
    else:
        yield f"{indent}{name}: {_flow(value)}"


def _block_element(file: _File, value: Json, indent: str) -> Iterator[str]:
    """Yield the lines of an element of a list in block style; ``indent`` is that of the dash."""
    if not _is_mapping(value):
        yield f"{indent}- {_flow(value)}"
        return
    first = True
    for name, each in value.items():  # type: ignore[union-attr]
        for line in _block(file, name, each, indent + "  "):
            yield f"{indent}- {line.lstrip()}" if first else line
            first = False


def _flow(value: Json) -> str:
    """Return a value on one line."""
    if _is_mapping(value):
        return "{" + ", ".join(f"{name}: {_flow(each)}" for name, each in value.items()) + "}"  # type: ignore[union-attr]
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_flow(each) for each in value) + "]"
    if isinstance(value, str):
        plain = (
            value and set(value) <= _PLAIN and not value[0].isdigit() and value[0] not in "-.=" and value.lower() not in _WORDS
        )
        return value if plain else '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return "null" if value is None else str(value).lower()


def _end(file: _File, node: Any) -> int:
    """Return the offset past the last sign of a node's own text, without the comments and blank lines that follow."""
    import yaml

    if isinstance(node, yaml.ScalarNode):
        return len(file.text[: node.end_mark.index].rstrip()) if node.style in {"|", ">"} else int(node.end_mark.index)
    if node.flow_style or not node.value:
        return int(node.end_mark.index)
    if isinstance(node, yaml.SequenceNode):
        last, floor = node.value[-1], node.start_mark.index
    else:
        key, last = node.value[-1]
        floor = key.end_mark.index
    if last.start_mark.index >= floor and last.end_mark.index <= node.end_mark.index:
        return _end(file, last)
    # The last value is an alias, whose node stands elsewhere: its own line ends it.
    return int(len(file.text[: node.end_mark.index].rstrip()) if isinstance(node, yaml.SequenceNode) else floor)


def _line_end(file: _File, at: int) -> int:
    """Return the offset past the line break of the line at an offset; the end of the text where there is none."""
    found = file.text.find("\n", at)
    return found + 1 if found >= 0 else len(file.text)


def _lines_at(file: _File, at: int, lines: list[str]) -> tuple[int, str]:
    """Return the lines as they are put in at an offset, which is the start of a line or the end of a file without a last line break."""
    joined = file.newline.join(lines)
    if at and file.text[at - 1] != "\n":
        return at, file.newline + joined
    return at, joined + file.newline
