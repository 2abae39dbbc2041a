"""YAML with the line of each value, read by the C parser's events and never made into Python objects.

An alias is the value that it stands for, not a copy of it: a file of aliases of aliases costs nothing until somebody walks all of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gpudoctor.formats import BOM, Malformed, position, strict
from gpudoctor.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

LONGEST = 4 * 1024 * 1024
"""Bytes of a file that is read: real ones have kilobytes."""
_MOST = 20_000
"""Values in one file."""
_DEEPEST = 100


class Yaml(NamedTuple):
    """A value: a map, a list, or a text as it is written; ``tag`` is what YAML takes it for (``str``, ``int``, ``null`` ...).

    ``line`` is that of its key where it has one. ``twice`` are keys that stand more than once in a map, with the line of the second.
    What is not there is ``NOTHING``, so that a path of keys can be asked without looking at each step.
    """

    tag: str
    line: int
    text: str = ""
    items: tuple[Yaml, ...] = ()
    keys: dict[str, Yaml] = {}  # noqa: RUF012 - a NamedTuple's default; never written to
    twice: tuple[tuple[str, int], ...] = ()

    def get(self, *names: str) -> Yaml:
        """Return what is at a path of keys."""
        found = self
        for name in names:
            found = found.keys.get(name, NOTHING)
        return found

    def word(self, *names: str) -> str:
        """Return the text at a path of keys, "" where there is none."""
        found = self.get(*names)
        return "" if found.tag == "null" else found.text

    def __bool__(self) -> bool:
        """Tell whether it is there and says something."""
        return self.tag not in {"", "null"}


NOTHING = Yaml("", 0)


def parse(data: bytes) -> Yaml:
    """Read a file whose outermost value is a map; of a key that stands twice the last value counts. Raises Malformed for anything else."""
    text = strict(data.removeprefix(BOM))
    import yaml

    # The C parser where PyYAML was built with it; both have the same events.
    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        opened = loader(text)
        try:
            root = _built(opened)
        finally:
            opened.dispose()
    except yaml.reader.ReaderError as error:
        raise Malformed("a character that YAML does not allow", *position(text, error.position)) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        raise Malformed(_reason(error), *((mark.line + 1, mark.column + 1) if mark else ())) from None
    except yaml.YAMLError as error:
        raise Malformed(str(error)) from None
    if root.tag != "map":
        what = {"seq": "a list", "": "nothing", "null": "nothing"}.get(root.tag, "a text")
        raise Malformed(f"{what}, where a mapping (name: value) is expected", root.line or 1)
    return root


def plain(node: Yaml, most: int = 10_000) -> Any:
    """Return a value as JSON has it; raises Malformed where that would be more than ``most`` values."""
    left = [most]
    return _plain(node, left)


def _plain(node: Yaml, left: list[int]) -> Any:
    left[0] -= 1
    if left[0] < 0:
        raise Malformed("more values than an example has", node.line)
    if node.tag == "map":
        return {name: _plain(value, left) for name, value in node.keys.items()}
    if node.tag == "seq":
        return [_plain(value, left) for value in node.items]
    made: Callable[[str], Any] = {"int": _integer, "float": _real, "bool": _truth, "null": _none}.get(node.tag, str)
    return made(node.text)


def _integer(text: str) -> int | str:
    word = text.replace("_", "")
    try:
        return int(word, 0 if word.lstrip("+-")[:2].lower() in {"0x", "0b"} else 10) if len(word) < 30 else text
    except ValueError:
        return text


def _real(text: str) -> float | str:
    try:
        return float(text.replace("_", "").lower().replace(".inf", "inf").replace(".nan", "nan"))
    except ValueError:
        return text


def _truth(text: str) -> bool:
    return text.lower() in {"true", "yes", "on"}


def _none(_: str) -> None:
    return None


def _reason(error: Any) -> str:
    problem = str(error.problem or "no YAML that can be read")
    if "\\t" in problem or "character that cannot start any token" in problem:
        return "a tab or another sign that can begin no value"
    if error.context and "single document" in str(error.context):
        return "a second document, where one is expected"
    return problem


def _built(loader: Any) -> Yaml:
    import yaml

    anchors: dict[str, Yaml | None] = {}
    # What is open: its start event, and the values in it so far. The first holds the document.
    levels: list[tuple[Any, list[Yaml]]] = [(None, [])]
    count = documents = 0
    while loader.check_event():
        event: Any = loader.get_event()
        line: int = event.start_mark.line + 1
        anchor: str = getattr(event, "anchor", None) or ""
        count += 1
        if count > 2 * _MOST:
            raise Malformed(f"more than {_MOST} values, which no such file has", line)
        if isinstance(event, yaml.ScalarEvent):
            node = _scalar(event, loader, line)
        elif isinstance(event, yaml.CollectionStartEvent):
            if len(levels) > _DEEPEST:
                raise Malformed("too many levels of nesting", line)
            if anchor:
                anchors[anchor] = None
            levels.append((event, []))
            continue
        elif isinstance(event, yaml.CollectionEndEvent):
            opened, inside = levels.pop()
            anchor = opened.anchor or ""
            line = opened.start_mark.line + 1
            is_map = isinstance(opened, yaml.MappingStartEvent)
            node = _map(inside, line) if is_map else Yaml("seq", line, items=tuple(inside))
        elif isinstance(event, yaml.AliasEvent):
            target = anchors.get(anchor)
            if target is None:
                reason = f"anchor {anchor} has an alias of itself in it" if anchor in anchors else f"there is no anchor {anchor}"
                raise Malformed(reason, line)
            node, anchor = target._replace(line=line), ""
        else:
            documents += isinstance(event, yaml.DocumentStartEvent)
            if documents > 1:
                raise Malformed("a second document, where one is expected", line)
            continue
        if anchor:
            anchors[anchor] = node
        levels[-1][1].append(node)
    return levels[0][1][0] if levels[0][1] else NOTHING


def _scalar(event: Any, loader: Any, line: int) -> Yaml:
    import yaml

    tag = event.tag or loader.resolve(yaml.ScalarNode, event.value, event.implicit)
    return Yaml(str(tag).rpartition(":")[2].lstrip("!") or "str", line, event.value)


def _map(inside: list[Yaml], line: int) -> Yaml:
    own: dict[str, Yaml] = {}
    merged: dict[str, Yaml] = {}
    twice: list[tuple[str, int]] = []
    for key, value in zip(inside[::2], inside[1::2], strict=True):
        if key.tag == "merge":
            for source in value.items or (value,):
                merged = {**source.keys, **merged}
        elif key.tag not in {"map", "seq"}:
            if key.text in own:
                twice.append((key.text, key.line))
            own[key.text] = value._replace(line=key.line)
    return Yaml("map", line, keys={**merged, **own}, twice=tuple(twice))
