"""A Compose file: what each service asks of a GPU, and where in the file it says so.

Aliases and merges (``<<: *name``) are followed, and both places are kept: the line where a value is written, and the line of the alias
or the merge that brings it into the service. ``extends``, ``include`` and further files are not followed. Values stay the text they are
written as: ``${GPUS:-all}`` is put in by Compose later (`interpolated` tells).

PyYAML's pure Python events are read and no value is made of them: its composer forgets where an alias stands. Stricter than Compose 5
in two things: a second document and a tab between values are refused, as docker-compose 1 refuses them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gpudoctor.formats import BOM, Malformed, position, strict
from gpudoctor.values import NamedTuple

if TYPE_CHECKING:
    from typing import Literal

_DEEPEST = 100
_SPLICED = frozenset({"!reset", "!override"})
"""Compose's own tags, for a value that takes away or replaces what another file says."""


class Node(NamedTuple):
    """A piece of YAML. ``start`` and ``end`` are offsets, ``end`` past its last sign (no comment, no blank line); lines count from 1.

    ``kind`` says which fields count: ``map`` has ``pairs``, ``list`` has ``elements``, ``text`` has ``value``, and ``alias`` has
    ``value``, the anchor's name, and ``target``. ``column`` is that of the first key or dash. ``style`` is the quote or the sign before a
    block of text, empty for plain text; ``flow`` for what stands in brackets, empty for other lists and maps. ``tag`` is what YAML takes
    it for (``str``, ``int``, ``null``, ``merge`` ...), or the tag that is written before it.
    """

    kind: Literal["map", "list", "text", "alias"]
    tag: str
    value: str
    start: int
    end: int
    line: int
    column: int
    style: str
    anchor: str
    pairs: tuple[tuple[Node, Node], ...] = ()
    elements: tuple[Node, ...] = ()
    target: Node | None = None


class Tree(NamedTuple):
    """A whole file: its text without byte order mark, its outermost map, and of each anchor that is used the lines of its aliases."""

    text: str
    root: Node
    aliases: dict[str, tuple[int, ...]]


class Found(NamedTuple):
    """A value where it is written, never an alias; ``via`` is the line of the alias or merge that brings it here, 0 for none.

    ``line`` is that of its key, where it has one.
    """

    node: Node
    via: int
    line: int = 0

    @property
    def empty(self) -> bool:
        """Whether nothing is said: no value, or ``null``."""
        return self.node.kind == "text" and self.node.tag in {"null", "!reset"}


class Text(NamedTuple):
    """A value as it is written, its line, and the line of what brings it here (0 where it stands in its place)."""

    text: str
    line: int
    via: int = 0


class Setting(NamedTuple):
    """An environment variable; ``value`` is None where it is taken from the environment of Compose itself."""

    name: str
    value: str | None
    line: int
    via: int = 0


class Ask(NamedTuple):
    """A request for devices, of ``deploy.resources.reservations.devices`` or of ``gpus:``; what it does not say is None.

    ``number`` is its ``count:``. Compose wants ``capabilities``, and takes ``count`` or ``device_ids``, which exclude each other.
    """

    driver: Text | None
    number: Text | None
    device_ids: tuple[Text, ...] | None
    capabilities: tuple[Text, ...] | None
    line: int
    via: int = 0

    @property
    def for_gpu(self) -> bool:
        """Whether it asks for an NVIDIA GPU: by its driver, a capability, or names of CDI."""
        if self.driver is not None and self.driver.text == "nvidia":
            return True
        if any(each.text in {"gpu", "nvidia"} for each in self.capabilities or ()):
            return True
        return any(each.text.startswith("nvidia.com/") for each in self.device_ids or ())


class Device(NamedTuple):
    """An entry of ``devices:``; ``target`` and ``permissions`` are empty where it does not say them. A CDI name is a ``source`` alone."""

    source: str
    target: str
    permissions: str
    line: int
    via: int = 0


class Extends(NamedTuple):
    """The service that another one extends; ``file`` is empty for one of this file."""

    service: str
    file: str
    line: int


class Service(NamedTuple):
    """A service. What it does not say is None or empty; ``keys`` are all of its keys, those that a merge brings too.

    ``gpus`` holds the requests of a list, and ``gpus_all`` the text of ``gpus: all``. ``misplaced`` are devices asked for where Compose
    takes none, by their dotted names (``deploy.resources.limits.devices``). ``command`` in one text is one element.
    """

    name: str
    line: int
    keys: tuple[Text, ...]
    devices: tuple[Device, ...]
    reservations: tuple[Ask, ...]
    misplaced: tuple[Text, ...]
    gpus: tuple[Ask, ...]
    gpus_all: Text | None
    runtime: Text | None
    environment: tuple[Setting, ...]
    shm_size: Text | None
    ipc: Text | None
    profiles: tuple[Text, ...]
    extends: Extends | None
    image: Text | None
    build: Text | None
    command: tuple[Text, ...]
    device_cgroup_rules: tuple[Text, ...]
    privileged: Text | None
    network_mode: Text | None

    def variable(self, name: str) -> Setting | None:
        """Return the setting of an environment variable, the last where it stands twice in a list."""
        return next((each for each in reversed(self.environment) if each.name == name), None)


class Compose(NamedTuple):
    """A Compose file; ``extensions`` are the names of its ``x-`` keys. The first form of the file, of 2014, has no ``services``."""

    version: Text | None
    services: tuple[Service, ...]
    extensions: tuple[Text, ...]

    def service(self, name: str) -> Service | None:
        """Return a service by its name."""
        return next((each for each in self.services if each.name == name), None)


def interpolated(text: str) -> bool:
    """Tell whether Compose puts the value of a variable into a text (``$NAME``, ``${NAME:-default}``); ``$$`` is a plain dollar."""
    rest = text.replace("$$", "")
    at = rest.find("$")
    while at >= 0:
        following = rest[at + 1 : at + 2]
        if following in {"{", "_"} or (following.isascii() and following.isalpha()):
            return True
        at = rest.find("$", at + 1)
    return False


def parse(data: bytes) -> Compose:
    """Read a Compose file, YAML or JSON. Raises ``Malformed`` for what is neither, and where a value is not of the kind Compose wants."""
    root = Found(tree(data).root, 0)
    top = entries(root)
    services = []
    holder = top.get("services")
    if holder is not None and not holder.empty:
        for name, found in _map(holder, "services").items():
            services.append(_service(name, found))
    extensions = tuple(Text(key.value, key.line) for key, _ in root.node.pairs if key.value.startswith("x-"))
    return Compose(_text(top, "version"), tuple(services), extensions)


def tree(data: bytes) -> Tree:
    """Return the nodes of a file, with their places. Raises ``Malformed`` for what is no YAML map or has a key twice in one map."""
    text = strict(data.removeprefix(BOM))
    import yaml

    try:
        return _built(text, yaml.SafeLoader(_without_tabs(text)))
    except yaml.reader.ReaderError as error:
        raise Malformed("a character that YAML does not allow", *position(text, error.position)) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        raise Malformed(_reason(error), *((mark.line + 1, mark.column + 1) if mark else ())) from None


def resolved(node: Node, via: int = 0) -> Found:
    """Return what an alias stands for; any other node as it is."""
    return Found(node, via) if node.target is None else Found(node.target, via or node.line)


def entries(found: Found) -> dict[str, Found]:
    """Return the values of a map by name, with what its merges bring; a key of its own goes before a merged one."""
    return _entries(found.node, found.via, {})


def _entries(node: Node, via: int, known: dict[int, dict[str, Found]]) -> dict[str, Found]:
    # Each map is looked at once, however often aliases repeat it.
    if id(node) in known:
        return known[id(node)]
    own: dict[str, Found] = {}
    merged: dict[str, Found] = {}
    for key, value in node.pairs:
        if key.tag != "merge":
            own[key.value] = resolved(value, via)._replace(line=key.line)
            continue
        target = resolved(value).node
        for part in target.elements if target.kind == "list" else (value,):
            source = resolved(part).node
            if source.kind != "map":
                raise Malformed("a merge (<<) of something that is no mapping", key.line, key.column + 1)
            for name, each in _entries(source, 0, known).items():
                merged.setdefault(name, each._replace(via=via or key.line))
    known[id(node)] = {**{name: each for name, each in merged.items() if name not in own}, **own}
    return known[id(node)]


def _without_tabs(text: str) -> str:
    """Return JSON with spaces for tabs, which PyYAML refuses and Compose takes: in JSON a bare tab is always white space."""
    if "\t" not in text or text.lstrip()[:1] != "{":
        return text
    import json

    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return text
    return text.replace("\t", " ")


def _reason(error: Any) -> str:
    """Say in a plain phrase what PyYAML found."""
    problem = error.problem or "no YAML that can be read"
    if "'\\t'" in problem:
        return "a tab, where YAML takes only spaces"
    if error.context and error.context.startswith("expected a single document"):
        return "a second document, where one is expected"
    return str(problem)


def _built(text: str, loader: Any) -> Tree:
    """Build the nodes of the one document from the loader's events."""
    import yaml

    anchors: dict[str, Node | None] = {}
    aliases: dict[str, list[int]] = {}
    # What is open: its start event, and the nodes in it so far. The first holds the document.
    levels: list[tuple[Any, list[Node]]] = [(None, [])]
    documents = 0
    while loader.check_event():
        event: Any = loader.get_event()
        mark: Any = event.start_mark
        end: int = event.end_mark.index
        anchor: str = getattr(event, "anchor", None) or ""
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                raise Malformed("a second document, where one is expected", mark.line + 1, mark.column + 1)
        elif isinstance(event, yaml.CollectionStartEvent):
            if len(levels) > _DEEPEST:
                raise Malformed("too many levels of nesting", mark.line + 1, mark.column + 1)
            if anchor:
                anchors[anchor] = None
            levels.append((event, []))
        elif isinstance(event, yaml.CollectionEndEvent):
            opened, inside = levels.pop()
            node = _collection(text, opened, event, inside)
            anchors |= {node.anchor: node} if node.anchor else {}
            levels[-1][1].append(node)
        elif isinstance(event, yaml.AliasEvent):
            target = anchors.get(anchor)
            if target is None:
                reason = f"anchor {anchor} has an alias of itself in it" if anchor in anchors else f"there is no anchor {anchor}"
                raise Malformed(reason, mark.line + 1, mark.column + 1)
            aliases.setdefault(anchor, []).append(mark.line + 1)
            place = (mark.index, end, mark.line + 1, mark.column)
            levels[-1][1].append(Node("alias", "", anchor, *place, "", "", target=target))
        elif isinstance(event, yaml.ScalarEvent):
            node = _scalar(text, event, loader)
            anchors |= {node.anchor: node} if node.anchor else {}
            levels[-1][1].append(node)
    made = levels[0][1]
    if not made or made[0].kind != "map":
        raise Malformed("there is no mapping at the top, so this is no Compose file", 1)
    return Tree(text, made[0], {name: tuple(lines) for name, lines in aliases.items()})


def _collection(text: str, opened: Any, closed: Any, inside: list[Node]) -> Node:
    """Return a map or a list from its two events and what is between them."""
    import yaml

    mark = opened.start_mark
    is_map = isinstance(opened, yaml.MappingStartEvent)
    pairs = tuple(zip(inside[::2], inside[1::2], strict=True)) if is_map else ()
    end, column = closed.end_mark.index, mark.column
    if not opened.flow_style and inside:
        # The end event comes only at the next thing in the file.
        end = max(each.end for each in inside[-2:]) if is_map else inside[-1].end
        if is_map:
            column = inside[0].column
        else:
            # The mark is at the first dash or behind it; an anchor may stand before.
            at = opened.end_mark
            column = at.column if text[at.index : at.index + 1] == "-" else at.column - 1
    seen: set[str] = set()
    for key, _ in pairs:
        if key.kind != "text":
            raise Malformed("a key that is no text", key.line, key.column + 1)
        if key.value.startswith("\u00a0"):
            raise Malformed("no-break spaces, which are no indentation but part of the key", key.line, key.column + 1)
        if key.value in seen:
            raise Malformed(f"the key {key.value} stands twice", key.line, key.column + 1)
        seen.add(key.value)
    tag = opened.tag if opened.tag in _SPLICED else ("map" if is_map else "seq")
    place = (mark.index, end, mark.line + 1, column)
    elements = () if is_map else tuple(inside)
    kind: Literal["map", "list"] = "map" if is_map else "list"
    return Node(kind, tag, "", *place, "flow" if opened.flow_style else "", opened.anchor or "", pairs, elements)


def _scalar(text: str, event: Any, loader: Any) -> Node:
    """Return a text from its event."""
    import yaml

    tag = event.tag or loader.resolve(yaml.ScalarNode, event.value, event.implicit)
    end = event.end_mark.index
    style = event.style or ""
    if style and style in "|>":
        header = text[event.start_mark.index : end].partition("\n")[0].partition("#")[0]
        # The blank lines behind a block of text are part of it only where it says so.
        end = end if "+" in header else len(text[:end].rstrip())
    place = (event.start_mark.index, end, event.start_mark.line + 1, event.start_mark.column)
    return Node("text", tag.rpartition(":")[2], event.value, *place, style, event.anchor or "")


def _service(name: str, found: Found) -> Service:
    """Read one service."""
    keys = {} if found.empty else _map(found, f"service {name}")
    misplaced: list[Text] = []
    reserved: tuple[Ask, ...] = ()
    deploy = _inner(keys, "deploy")
    resources = _inner(deploy, "resources")
    reservations = resources.get("reservations")
    if reservations is not None and reservations.node.kind == "map":
        reserved = _asks(entries(reservations).get("devices"))
    for path, holder in (
        ("deploy.resources.limits", _inner(resources, "limits")),
        ("deploy.resources", resources),
        ("deploy", deploy),
        ("deploy.reservations", _inner(deploy, "reservations")),
    ):
        if "devices" in holder:
            place = holder["devices"]
            misplaced.append(Text(f"{path}.devices", place.line, place.via))
    gpus = keys.get("gpus")
    listed = gpus is not None and gpus.node.kind != "text"
    return Service(
        name,
        found.line,
        tuple(Text(each, place.line, place.via) for each, place in keys.items()),
        tuple(device(each) for each in _list(keys, "devices")),
        reserved,
        tuple(misplaced),
        _asks(gpus) if listed else (),
        None if listed else _text(keys, "gpus"),
        _text(keys, "runtime"),
        _environment(keys.get("environment")),
        _text(keys, "shm_size"),
        _text(keys, "ipc"),
        _texts(keys, "profiles"),
        _extends(keys.get("extends")),
        _text(keys, "image"),
        _build(keys.get("build")),
        _texts(keys, "command"),
        _texts(keys, "device_cgroup_rules"),
        _text(keys, "privileged"),
        _text(keys, "network_mode"),
    )


def _map(found: Found, what: str) -> dict[str, Found]:
    if found.node.kind != "map":
        raise Malformed(f"{what} must be a mapping", found.node.line, found.node.column + 1)
    return entries(found)


def _inner(keys: dict[str, Found], name: str) -> dict[str, Found]:
    """Return the map under a key, empty where there is none."""
    found = keys.get(name)
    return {} if found is None or found.empty else _map(found, name)


def _list(keys: dict[str, Found], name: str) -> tuple[Found, ...]:
    """Return the elements of a list under a key, none where there is none."""
    found = keys.get(name)
    if found is None or found.empty:
        return ()
    if found.node.kind != "list":
        raise Malformed(f"{name} must be a list", found.node.line, found.node.column + 1)
    return tuple(resolved(each, found.via) for each in found.node.elements)


def _written(found: Found, what: str) -> Text:
    """Return one text with its place."""
    if found.node.kind != "text":
        raise Malformed(f"{what} must be one value", found.node.line, found.node.column + 1)
    return Text(found.node.value, found.node.line, found.via)


def _text(keys: dict[str, Found], name: str) -> Text | None:
    found = keys.get(name)
    return None if found is None or found.empty else _written(found, name)


def _texts(keys: dict[str, Found], name: str) -> tuple[Text, ...]:
    """Return the elements of a list of texts; one text alone is one element."""
    found = keys.get(name)
    if found is not None and found.node.kind == "text":
        return () if found.empty else (_written(found, name),)
    return tuple(_written(each, name) for each in _list(keys, name))


def _asks(found: Found | None) -> tuple[Ask, ...]:
    """Return the requests of a list that have their form; what has not is for the rules to name, since people write it to get a GPU."""
    asked: list[Ask] = []
    for each in found.node.elements if found is not None and found.node.kind == "list" else ():
        try:
            asked.append(ask(resolved(each, found.via if found is not None else 0)))
        except Malformed:
            continue
    return tuple(asked)


def ask(found: Found) -> Ask:
    """Read a request for devices."""
    keys = _map(found, "a request for devices")
    ids = _texts(keys, "device_ids") if "device_ids" in keys and not keys["device_ids"].empty else None
    able = _texts(keys, "capabilities") if "capabilities" in keys and not keys["capabilities"].empty else None
    return Ask(_text(keys, "driver"), _text(keys, "count"), ids, able, found.node.line, found.via)


def device(found: Found) -> Device:
    """Read an entry of ``devices:``, in one text or as a map."""
    if found.node.kind == "map":
        keys = entries(found)
        source, target, permissions = (
            told.text if (told := _text(keys, name)) else "" for name in ("source", "target", "permissions")
        )
        return Device(source, target, permissions, found.node.line, found.via)
    text = _written(found, "an entry of devices").text
    if "/" in text.partition("=")[0] and "=" in text and not text.startswith("/"):
        return Device(text, "", "", found.node.line, found.via)
    # The colons in ${NAME:-value} part nothing.
    parts, depth = [""], 0
    for sign in text:
        depth += (sign == "{") - (sign == "}")
        if sign == ":" and depth == 0:
            parts.append("")
        else:
            parts[-1] += sign
    source, target, permissions = (*parts, "", "")[:3]
    return Device(source, target, permissions, found.node.line, found.via)


def _environment(found: Found | None) -> tuple[Setting, ...]:
    """Read ``environment:`` in either of its forms."""
    if found is None or found.empty:
        return ()
    settings = []
    if found.node.kind == "map":
        for name, value in entries(found).items():
            told = None if value.empty else _written(value, name).text
            settings.append(Setting(name, told, value.line, value.via))
        return tuple(settings)
    for each in _list({"environment": found}, "environment"):
        name, equals, told = _written(each, "an environment variable").text.partition("=")
        settings.append(Setting(name, told if equals else None, each.node.line, each.via))
    return tuple(settings)


def _extends(found: Found | None) -> Extends | None:
    """Read ``extends:``, a name or a map of ``service`` and ``file``."""
    if found is None or found.empty:
        return None
    if found.node.kind == "text":
        return Extends(found.node.value, "", found.node.line)
    keys = _map(found, "extends")
    service, file = _text(keys, "service"), _text(keys, "file")
    return Extends(service.text if service else "", file.text if file else "", found.node.line)


def _build(found: Found | None) -> Text | None:
    """Return the folder that is built, empty where only a Dockerfile's text is given."""
    if found is None or found.empty:
        return None
    if found.node.kind == "text":
        return _written(found, "build")
    return _text(_map(found, "build"), "context") or Text("", found.node.line, found.via)
