"""Several Compose files as Compose takes them together: variables put in, merged, with ``extends`` followed, each value with its place.

Compose does it file by file: it puts the variables in, resolves ``extends`` within the file, and lays the result over what the files
before it said. Maps are merged, lists are appended, one value replaces another; a value that is ``null`` changes nothing. A few keys
have rules of their own: variables by their names, devices by the path in the container, commands as a whole. ``!reset`` takes away what
an earlier file said and ``!override`` puts its own value in place of it.

What a file names by ``include`` is a project of its own: its files are merged by themselves, with their own ``.env`` and with paths that
start from their own folder, and its services are then there beside those of the file. What is not on this host is not followed.
"""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

from gpudoctor.formats import Malformed
from gpudoctor.formats.compose import Found, entries, resolved, tree
from gpudoctor.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Literal

    from gpudoctor.formats.compose import Node

_NAME_SIGNS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")
_WHOLE = frozenset({"command", "entrypoint"})
_DEEPEST_EXTENDS = 20
_DEEPEST_INCLUDE = 20
_MOST_INCLUDES = 100
_MOST_STEPS = 200_000
"""How many values are merged at most: aliases of aliases would make billions of them."""


class Value(NamedTuple):
    """A value of a Compose file, as Compose sees it; ``file`` and ``line`` are where it is written (its key, where it has one).

    ``kind`` says which fields count: ``map`` has ``pairs``, ``list`` has ``elements``, ``text`` has ``text``, with its variables put in.
    ``tag`` is what YAML takes it for (``str``, ``int``, ``null`` ...). ``unset`` are variables without value and default, for which
    Compose puts in nothing; with ``${NAME:?}`` it refuses the file then.
    """

    kind: Literal["map", "list", "text"]
    text: str
    tag: str
    file: str
    line: int
    pairs: Mapping[str, Value] = {}
    elements: tuple[Value, ...] = ()
    unset: tuple[str, ...] = ()
    mark: str = ""

    @property
    def empty(self) -> bool:
        """Whether it is ``null``."""
        return self.kind == "text" and self.tag == "null"

    def get(self, *path: str) -> Value | None:
        """Return the value at the end of a path through maps, None where there is none or it is ``null``."""
        found: Value | None = self
        for name in path:
            found = found.pairs.get(name) if found is not None and found.kind == "map" else None
        return None if found is None or found.empty else found

    def all(self, *path: str) -> tuple[Value, ...]:
        """Return the elements of the list at the end of a path; one value alone is one element."""
        found = self.get(*path)
        if found is None:
            return ()
        return found.elements if found.kind == "list" else (found,)


class Lacking(NamedTuple):
    """Why a service is not wholly known: the place of its ``extends``, and what is missing there."""

    place: Value
    why: str


class Composed(NamedTuple):
    """The merged services by name, why some are not wholly known, and the ``include`` entries that could not be followed.

    ``layers`` are the files by themselves, in the order in which they were laid over each other. ``homes`` says of the files of an
    ``include`` from which path the relative ones in them start.
    """

    services: Mapping[str, Value]
    layers: tuple[Value, ...]
    lacking: Mapping[str, Lacking]
    includes: tuple[Value, ...]
    homes: Mapping[str, str] = {}


def merged(
    files: tuple[tuple[str, bytes], ...],
    beside: Callable[[str, str], tuple[str, bytes] | None],
    variable: Callable[[str], str | None],
) -> Composed:
    """Return what Compose makes of files (path and bytes) in this order.

    ``beside(file, path)`` returns another file that a file names, None where it is not there; ``variable`` a variable's value. Raises
    ``Malformed`` with its ``path`` for what is no Compose file, and where aliases make more of it than can be merged.
    """
    work = _Work(beside, variable)
    services, layers = work.project(files, ())
    return Composed(services, layers, work.lacking, tuple(work.unfollowed), work.homes)


def env_file(data: bytes, variable: Callable[[str], str | None]) -> dict[str, str]:
    """Return the variables of an ``.env`` file: ``NAME=value`` a line, quoted or not, with ``#`` comments and variables put in."""
    found: dict[str, str] = {}

    def known(name: str) -> str | None:
        told = variable(name)
        return found.get(name) if told is None else told

    for line in data.decode("utf-8", "replace").replace("\r\n", "\n").split("\n"):
        name, sign, value = line.strip().removeprefix("export ").partition("=")
        name, value = name.strip(), value.strip()
        if not sign or not name or name.startswith("#"):
            continue
        quote = value[:1]
        if quote in {"'", '"'}:
            value = value[1:].partition(quote)[0]
        elif value.startswith("#"):
            value = ""
        else:
            value = value.partition(" #")[0].rstrip()
        found[name] = value if quote == "'" else substituted(value, known)[0]
    return found


def substituted(text: str, variable: Callable[[str], str | None]) -> tuple[str, tuple[str, ...]]:
    """Return a text with its variables put in, and the names of those that have neither value nor default.

    The forms are ``$NAME``, ``${NAME}``, ``${NAME:-default}``, ``${NAME-default}``, ``${NAME:+other}``, ``${NAME+other}`` and
    ``${NAME:?error}``; ``$$`` is a dollar. Raises ValueError for braces that are not closed.
    """
    if "$" not in text:
        return text, ()
    made: list[str] = []
    unset: list[str] = []
    at = 0
    while at < len(text):
        dollar = text.find("$", at)
        if dollar < 0:
            break
        made.append(text[at:dollar])
        following = text[dollar + 1 : dollar + 2]
        if following == "{":
            end = _closing(text, dollar + 1)
            value, missing = _braced(text[dollar + 2 : end], variable)
            made.append(value)
            unset += missing
            at = end + 1
        elif following in _NAME_SIGNS and following and not following.isdigit():
            end = dollar + 1
            while text[end : end + 1] and text[end] in _NAME_SIGNS:
                end += 1
            value, missing = _braced(text[dollar + 1 : end], variable)
            made.append(value)
            unset += missing
            at = end
        else:
            made.append("$")
            at = dollar + (2 if following == "$" else 1)
    made.append(text[at:])
    return "".join(made), tuple(unset)


def _closing(text: str, start: int) -> int:
    """Return where the brace at ``start`` is closed."""
    depth = 0
    for at in range(start, len(text)):
        depth += (text[at] == "{") - (text[at] == "}")
        if depth == 0:
            return at
    raise ValueError("a brace that is not closed")


def _braced(inside: str, variable: Callable[[str], str | None]) -> tuple[str, tuple[str, ...]]:
    """Return the value of what stands in ``${...}``, and the variables that it lacks."""
    end = 0
    while end < len(inside) and inside[end] in _NAME_SIGNS:
        end += 1
    name, rest = inside[:end], inside[end:]
    value = variable(name)
    colon = rest.startswith(":")
    sign, word = rest[colon : colon + 1], rest[colon + 1 :]
    there = bool(value) if colon else value is not None
    if sign == "+":
        return substituted(word, variable) if there else ("", ())
    if there:
        return value or "", ()
    if sign == "-":
        return substituted(word, variable)
    return "", (name,)


def _services(top: Value) -> Mapping[str, Value]:
    found = top.get("services")
    return found.pairs if found is not None and found.kind == "map" else {}


class _Work:
    """One merge: the files read so far, and how much was merged."""

    def __init__(self, beside: Callable[[str, str], tuple[str, bytes] | None], variable: Callable[[str], str | None]) -> None:
        self.beside = beside
        self.variable = variable
        self.lacking: dict[str, Lacking] = {}
        self.unfollowed: list[Value] = []
        self.homes: dict[str, str] = {}
        self.included = 0
        self.steps = 0

    def project(self, files: tuple[tuple[str, bytes], ...], chain: tuple[str, ...]) -> tuple[dict[str, Value], tuple[Value, ...]]:
        """Return the services of files that lie over each other, with those that they include, and the files by themselves."""
        services: dict[str, Value] = {}
        layers: list[Value] = []
        for path, data in files:
            top = self.read(path, data)
            layers.append(top)
            for name, value in _services(top).items():
                value = self.extended(top, name, value, ())  # noqa: PLW2901 - as Compose does it, before it merges
                joined = self.join(services.get(name), value, ("service",))
                services.pop(name, None) if joined is None else services.__setitem__(name, joined)
            for each in top.all("include"):
                for name, value in self._include(each, (*chain, path)).items():
                    services.setdefault(name, value)
        return services, tuple(layers)

    def _include(self, entry: Value, chain: tuple[str, ...]) -> dict[str, Value]:
        """Return the services of the project that an entry of ``include`` names; one that cannot be followed is noted."""
        named = entry.all("path") if entry.kind == "map" else (entry,)
        self.included += 1
        files = []
        for each in named:
            found = None if each.kind != "text" or each.unset else self._other(entry.file, each.text)
            if found is None or found[0] in chain or len(chain) > _DEEPEST_INCLUDE or self.included > _MOST_INCLUDES:
                self.unfollowed.append(entry)
                return {}
            files.append(found)
        if not files:
            return {}
        folder = entry.get("project_directory") if entry.kind == "map" else None
        home = files[0][0]
        if folder is not None and folder.kind == "text":
            home = posixpath.join(
                posixpath.dirname(self.homes.get(entry.file, entry.file)), folder.text, posixpath.basename(home)
            )
        outer = self.variable
        own: dict[str, str] = {}
        listed = entry.all("env_file") if entry.kind == "map" else ()
        # Its own .env stands beside its first file; an env_file is named from the file that includes.
        pairs = [(entry.file, each.text) for each in listed if each.kind == "text"] or [(home, ".env")]
        for holder, name in pairs:
            found = self._other(holder, name)
            own.update(env_file(found[1], outer) if found is not None else {})
        self.homes.update((path, home) for path, _ in files if path != home)

        def variable(name: str) -> str | None:
            told = outer(name)
            return own.get(name) if told is None else told

        self.variable = variable
        try:
            return self.project(tuple(files), chain)[0]
        finally:
            self.variable = outer

    def _other(self, file: str, named: str) -> tuple[str, bytes] | None:
        """Return another file that a file names."""
        return self.beside(self.homes.get(file, file), named)

    def read(self, path: str, data: bytes) -> Value:
        """Return a file's values; each node is made once, however often aliases repeat it."""
        known: dict[int, Value] = {}

        def made(node: Node) -> Value:
            if id(node) in known:
                return known[id(node)]
            mark = node.tag if node.tag in {"!reset", "!override"} else ""
            place = (node.tag, path, node.line)
            if node.kind == "map":
                pairs = {name: made(each.node)._replace(line=each.line) for name, each in entries(Found(node, 0)).items()}
                value = Value("map", "", *place, pairs, mark=mark)
            elif node.kind == "list":
                value = Value("list", "", *place, elements=tuple(made(resolved(each).node) for each in node.elements), mark=mark)
            else:
                try:
                    text, unset = substituted(node.value, self.variable)
                except ValueError as wrong:
                    raise Malformed(str(wrong), node.line, node.column + 1) from None
                value = Value("text", text, *place, unset=unset, mark=mark)
            known[id(node)] = value
            return value

        try:
            return made(tree(data).root)
        except Malformed as bad:
            raise Malformed(bad.reason, bad.line, bad.column, path) from None

    def extended(self, top: Value, name: str, value: Value, chain: tuple[tuple[str, str], ...]) -> Value:
        """Return a service with what it extends below it; what cannot be followed is noted as lacking."""
        asked = value.get("extends")
        if asked is None or value.mark == "!reset":
            return value
        file = asked.get("file") if asked.kind == "map" else None
        wanted = asked.get("service") if asked.kind == "map" else asked
        if wanted is None or wanted.kind != "text":
            return value
        other, missing = top, ""
        if wanted.unset or (file is not None and file.unset):
            missing = "what it extends depends on a variable that is not set"
        elif file is not None:
            found = self._other(value.file, file.text)
            if found is None:
                missing = f"{file.text}, which it extends, is not there or cannot be read"
            else:
                other = self.read(*found)
        base = None if missing else _services(other).get(wanted.text)
        step = (other.file, wanted.text)
        if not missing and (base is None or step in chain or len(chain) >= _DEEPEST_EXTENDS):
            missing = (
                f"the service {wanted.text}, which it extends, is not in {other.file}" if base is None else "it extends itself"
            )
        if missing or base is None:
            self.lacking.setdefault(name, Lacking(asked, missing))
            return value
        base = self.extended(other, name, base, (*chain, step))
        own = {key: each for key, each in value.pairs.items() if key != "extends"}
        kept = {key: each for key, each in base.pairs.items() if key != "extends"}
        joined = self.join(base._replace(pairs=kept), value._replace(pairs=own), ("service",)) or value
        # What is taken away here is also taken from the files below.
        reset = {key: each for key, each in own.items() if each.mark == "!reset"}
        return joined._replace(pairs={**joined.pairs, **reset})

    def join(self, base: Value | None, over: Value, path: tuple[str, ...]) -> Value | None:
        """Return a value laid over another one, None where it is taken away."""
        self.steps += 1
        if self.steps > _MOST_STEPS:
            raise Malformed("more values than can be looked at, once its aliases are put in", over.line, 0, over.file)
        if over.mark == "!reset":
            return None
        if over.mark == "!override":
            base = None
        if path == ("service", "gpus"):
            base, over = _gpus(base), _gpus(over) or over
        if path == ("service", "environment"):
            base, over = _variables(base), _variables(over) or over
        if over.empty and base is not None and path[:2] != ("service", "environment"):
            return base
        if over.kind == "map" and (base is None or base.kind == "map"):
            pairs = dict(base.pairs) if base is not None else {}
            for name, value in over.pairs.items():
                joined = self.join(pairs.get(name), value, (*path, name))
                # What is joined stands where it stood.
                pairs.pop(name, None) if joined is None else pairs.__setitem__(name, joined)
            return over._replace(pairs=pairs)
        if over.kind == "list" or (base is not None and base.kind == "list" and path[-1] in {"env_file", "profiles"}):
            own = over.elements if over.kind == "list" else (over,)
            kept = tuple(each for each in own if each.mark != "!reset")
            before = () if base is None or path[-1] in _WHOLE else base.elements if base.kind == "list" else (base,)
            elements = before + kept
            if path == ("service", "devices"):
                elements = tuple({_target(each): each for each in elements}.values())
            return over._replace(kind="list", elements=elements)
        return over


def _gpus(value: Value | None) -> Value | None:
    """Return ``gpus: all`` as the list that it stands for."""
    if value is None or value.kind != "text" or value.text != "all":
        return value
    each = value._replace(kind="map", text="", pairs={"count": value})
    return value._replace(kind="list", text="", elements=(each,))


def _variables(value: Value | None) -> Value | None:
    """Return a list of ``NAME=value`` as the map that it stands for."""
    if value is None or value.kind != "list":
        return value
    pairs: dict[str, Value] = {}
    for each in value.elements:
        name, sign, told = each.text.partition("=")
        pairs[name] = each._replace(text=told, tag="str" if sign else "null")
    return value._replace(kind="map", pairs=pairs, elements=())


def _target(value: Value) -> str:
    """Return the path that a device has in the container, by which Compose tells devices apart."""
    if value.kind == "map":
        found = value.get("target") or value.get("source")
        return found.text if found is not None else str(id(value))
    source, _, rest = value.text.partition(":")
    return rest.partition(":")[0] or source
