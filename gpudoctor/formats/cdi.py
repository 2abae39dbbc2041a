"""CDI specs (/etc/cdi, /var/run/cdi): the device nodes, mounts and hooks that come with a device's name.

The CDI library reads YAML and JSON alike. JSON is parsed as JSON, because tabs are allowed there and PyYAML
refuses them. YAML of the plain kind that programs write, nvidia-ctk among them, is read line by line: to
import PyYAML costs more than to read a whole spec. All other YAML goes to libyaml's *base* loader, because
pure Python takes 30 ms for 8 GPUs, and because any other loader makes the number 60 of the MIG device `1:0`.
"""

from __future__ import annotations

from typing import Any

from gpudoctor.formats import BOM, Malformed, position, strict
from gpudoctor.values import NamedTuple

_TWO_SPECS = "expected a single document in the stream"
_PARTS = 3
_PLAIN = b'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-=:+,@" \n'
"""What plain YAML is written with."""
# libyaml takes no key beyond 1024 signs, and too deep a nesting is for it to refuse.
_LONGEST_LINE = 1000
_DEEPEST = 20


class Node(NamedTuple):
    """A device node to make in the container.

    `host_path` equals `path` where the spec names none. `major` and `minor` are None where the spec leaves
    them to the runtime, which then asks the host. `type` is "c", "b" or "". `line` is the first line that
    names the path.
    """

    path: str
    host_path: str
    major: int | None
    minor: int | None
    type: str
    line: int | None


class Device(NamedTuple):
    """A device as `kind=name` asks for it. `mounts` are host paths, `hooks` the paths of their programs."""

    name: str
    nodes: tuple[Node, ...]
    mounts: tuple[str, ...]
    hooks: tuple[str, ...]
    env: tuple[str, ...]


class Spec(NamedTuple):
    """A spec file. `nodes`, `mounts`, `hooks` and `env` come with each of its devices.

    `version` and `kind` are "" where they are missing, which the CDI library refuses.
    """

    version: str
    kind: str
    devices: tuple[Device, ...]
    nodes: tuple[Node, ...]
    mounts: tuple[str, ...]
    hooks: tuple[str, ...]
    env: tuple[str, ...]
    annotations: tuple[tuple[str, str], ...]


class _Edits(NamedTuple):
    """The parts of a `containerEdits`."""

    nodes: tuple[Node, ...]
    mounts: tuple[str, ...]
    hooks: tuple[str, ...]
    env: tuple[str, ...]


def parse(data: bytes, path: str) -> Spec:
    """Parse a spec; `path` only tells by its ending whether JSON is meant.

    Raises `Malformed` for what is neither JSON nor YAML, and for a document that is no spec: no mapping,
    devices that are no list, a device without a name.
    """
    content = strict(data.removeprefix(BOM))
    json_first = path.endswith(".json") or content.lstrip()[:1] == "{"
    document = _from_json(content) if json_first else _from_yaml(content)
    top = _mapping(document, "the spec")
    lines: dict[str, int | None] = {}
    common = _edits(top, content, lines)
    devices = []
    for item in _list(top, "devices"):
        device = _mapping(item, "a device")
        name = _text(device, "name", "a device")
        if not name:
            raise Malformed("a device without a name")
        devices.append(Device(name, *_edits(device, content, lines)))
    notes = _mapping(top.get("annotations") or {}, "annotations")
    return Spec(
        _text(top, "cdiVersion", "the spec"),
        _text(top, "kind", "the spec"),
        tuple(devices),
        *common,
        tuple((str(name), str(value)) for name, value in notes.items()),
    )


def line_of(data: bytes, needle: str) -> int | None:
    """Give the first line (from 1) that contains a text; None where none does."""
    at = data.find(needle.encode("utf-8", "replace"))
    return data.count(b"\n", 0, at) + 1 if at >= 0 else None


def refusal(spec: Spec) -> tuple[str, str] | None:
    """Say what the CDI library refuses in a spec that parses, as (what is wrong, the text that shows it); None where nothing is.

    One fault is enough for the whole file to be dropped. Source: container-device-interface, pkg/cdi (spec.go,
    device.go, container-edits.go) and pkg/parser. A version newer than any known one is not judged here.
    """
    numbers = spec.version.removeprefix("v").split(".")
    if len(numbers) != _PARTS or not all(number.isascii() and number.isdigit() for number in numbers):
        return (f"cdiVersion {spec.version!r} is no version" if spec.version else "there is no cdiVersion"), "cdiVersion"
    vendor, slash, kind = spec.kind.partition("/")
    if not slash or not _word(vendor, ".-_") or not _word(kind, "-_") or not (vendor[0] + kind[0]).isalpha():
        return (f"kind {spec.kind!r} is not of the form vendor/class" if spec.kind else "there is no kind"), "kind"
    if not spec.devices:
        return "it defines no device", "devices"
    seen: set[str] = set()
    for device in spec.devices:
        if not _word(device.name, "-_.:"):
            return f"{device.name!r} is no name for a device", device.name
        if device.name in seen:
            return f"it defines device {device.name!r} twice", device.name
        seen.add(device.name)
    everything: tuple[Spec | Device, ...] = (spec, *spec.devices)
    for edits in everything:
        wrong = _refused_edits(edits)
        if wrong is not None:
            return wrong
    return None


def _refused_edits(edits: Spec | Device) -> tuple[str, str] | None:
    for node in edits.nodes:
        if not node.path:
            return "a device node has no path", "deviceNodes"
        if node.type not in {"", "b", "c", "u", "p"}:
            return f"device node {node.path} has the unknown type {node.type!r}", node.path
    for entry in edits.env:
        if entry.find("=") < 1:
            return f"environment entry {entry!r} is not of the form NAME=value", entry
    if not all(edits.mounts):
        return "a mount has no hostPath", "mounts"
    return None if all(edits.hooks) else ("a hook has no path", "hooks")


def _word(text: str, inside: str) -> bool:
    """Say whether a name has letters and digits at both ends, and only these and a few more signs in between."""
    bare = text.translate({ord(sign): "a" for sign in inside})
    return bool(text) and text.isascii() and bare.isalnum() and text[0].isalnum() and text[-1].isalnum()


def _from_json(content: str) -> object:
    """Parse JSON, or YAML's braces, which the CDI library takes as well."""
    import json

    try:
        return json.loads(content)
    except json.JSONDecodeError as error:
        place = position(content, error.pos)
        try:
            return _from_yaml(content)
        except Malformed:
            raise Malformed(f"neither JSON nor YAML ({error.msg.lower()})", *place) from None
    except RecursionError:
        raise Malformed("too many levels of nesting") from None
    except ValueError:
        raise Malformed("a number with too many digits") from None


def _from_yaml(content: str) -> object:
    """Parse YAML with every value left as text."""
    plain = _from_lines(content)
    if plain is not None:
        return plain
    import yaml

    try:
        # The base loader makes text, lists and mappings only; no tag makes it build anything else.
        return yaml.load(content, Loader=getattr(yaml, "CBaseLoader", yaml.BaseLoader))  # noqa: S506
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        reason = error.problem or "no YAML"
        if error.context and error.context.startswith(_TWO_SPECS):
            reason = "a second document, where one spec is expected"
        raise Malformed(reason, mark.line + 1 if mark else 0, mark.column + 1 if mark else 0) from None
    except yaml.YAMLError:
        raise Malformed("a character that YAML does not allow") from None
    except RecursionError:
        raise Malformed("too many levels of nesting") from None
    except (ValueError, TypeError):
        raise Malformed("no YAML that can be read") from None


def _from_lines(content: str) -> dict[str, object] | None:
    """Parse the plain part of YAML: one `key: value`, `key:`, `- value` or `- key: value` a line; None for anything else.

    Whatever is read here the base loader reads alike. None is no fault: comments, flow style, tabs, escapes,
    values that go on on the next line, a key that comes twice and so on are just not read here.
    """
    if content.encode().translate(None, _PLAIN):
        return None
    lines = content.rstrip("\n").split("\n")
    if lines[0] == "---":
        del lines[0]
    top: dict[str, object] = {}
    # The mappings and lists that are open, each with the column of its entries.
    levels: list[tuple[int, Any]] = [(0, top)]
    waiting = ""  # the last key, where it has no value yet
    for line in lines:
        text = line.lstrip(" ")
        column = len(line) - len(text)
        entry = text.startswith("- ")
        if len(line) > _LONGEST_LINE or len(levels) > _DEEPEST:
            return None
        at, holder = levels[-1]
        # What stands further in is the value of the key before; the entries of a list may also stand right below it.
        if waiting and (column > at or (entry and column == at)):
            holder[waiting] = [] if entry else {}
            levels.append((column, holder[waiting]))
        waiting = ""
        while levels[-1][0] > column or (levels[-1][0] == column and isinstance(levels[-1][1], list) and not entry):
            levels.pop()
        at, holder = levels[-1]
        if at != column or isinstance(holder, list) is not entry:
            return None
        if entry:
            text = text[2:]
        key, colon, value = text.partition(":")
        if entry and (not colon or value[:1] not in {"", " "} or text[0] == '"'):
            alone = _scalar(text)
            if alone is None:
                return None
            holder.append(alone)
            continue
        if entry:
            holder.append({})
            levels.append((column + 2, holder[-1]))
            holder = holder[-1]
        told = _scalar(value[1:]) if value[:1] == " " else (None if value or not colon else "")
        if told is None or not key.isalnum() or key in holder:
            return None
        holder[key] = told
        waiting = "" if value else key
    return top or None


def _scalar(text: str) -> str | None:
    """Read a value that stands in quotes or needs none; None for anything else."""
    if text[:1] == '"':
        inside = text[1:-1]
        return inside if len(text) > 1 and text[-1] == '"' and '"' not in inside else None
    first = text.lstrip("-")[:1]
    if not (first.isalnum() or first in {"/", "."}):
        return None
    return None if text[-1] == ":" or '"' in text or " " in text else text


def _edits(holder: dict[object, object], content: str, lines: dict[str, int | None]) -> _Edits:
    """Read the containerEdits of a device or of the whole spec; empty where there are none."""
    edits = _mapping(holder.get("containerEdits") or {}, "containerEdits")
    if not edits:
        return _Edits((), (), (), ())
    nodes = []
    for item in _list(edits, "deviceNodes"):
        node = _mapping(item, "a device node")
        path = _text(node, "path", "a device node")
        if path not in lines:
            lines[path] = _line(content, path)
        nodes.append(
            Node(
                path,
                _text(node, "hostPath", "a device node") or path,
                _number(node, "major"),
                _number(node, "minor"),
                _text(node, "type", "a device node"),
                lines[path],
            )
        )
    return _Edits(
        tuple(nodes),
        tuple(_text(_mapping(item, "a mount"), "hostPath", "a mount") for item in _list(edits, "mounts")),
        tuple(_text(_mapping(item, "a hook"), "path", "a hook") for item in _list(edits, "hooks")),
        tuple(str(item) for item in _list(edits, "env") if isinstance(item, str)),
    )


def _line(content: str, path: str) -> int | None:
    """Find the first line that names exactly this path, and not a longer one that begins or ends with it."""
    at = content.find(path) if path else -1
    while at >= 0:
        behind = content[at + len(path) : at + len(path) + 1]
        before = content[at - 1 : at] if at else ""
        if not behind.isalnum() and behind not in {"-", "_", "/", "."} and not before.isalnum():
            return content.count("\n", 0, at) + 1
        at = content.find(path, at + 1)
    return None


def _mapping(value: object, what: str) -> dict[object, object]:
    """Give a mapping, or raise."""
    if not isinstance(value, dict):
        raise Malformed(f"{what} must be a mapping")
    return value


def _list(holder: dict[object, object], key: str) -> list[object]:
    """Give the list under a key, [] where there is none, or raise."""
    value = holder.get(key)
    if value is None or value == "":
        return []
    if not isinstance(value, list):
        raise Malformed(f"{key} must be a list")
    return value


def _text(holder: dict[object, object], key: str, what: str) -> str:
    """Give the text under a key, "" where there is none, or raise."""
    value = holder.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise Malformed(f"the {key} of {what} must be text")
    return value


def _number(holder: dict[object, object], key: str) -> int | None:
    """Give the number under a key; None where there is none, or raise where it is something else."""
    value = holder.get(key)
    if value is None or value == "":
        return None
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        return int(value)
    raise Malformed(f"the {key} of a device node must be a number")
