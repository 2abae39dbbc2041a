"""One key of daemon.json changed, every other byte kept."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpudoctor.formats import BOM, Malformed
from gpudoctor.formats.daemon_json import parse
from gpudoctor.formats.edit import Unsafe, daemon_json
from gpudoctor.formats.edit.daemon_json import append, remove, remove_element, replace_element, set_value
from tests.edits import cases, outcome

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

PATH = ("runtimes", "nvidia", "path")


def asked(data: bytes, words: list[str]) -> bytes:
    """Do what the first line of an expectation asks: a verb, a path as a JSON list, and JSON values."""
    verb, path, rest = words[0], tuple(json.loads(words[1])), words[2:]
    if verb == "set":
        return set_value(data, path, json.loads(" ".join(rest)))
    if verb == "remove":
        return remove(data, path, prune=rest == ["prune"])
    if verb == "append":
        return append(data, path, json.loads(rest[0]))
    if verb == "take":
        return remove_element(data, path, json.loads(rest[0]))
    assert verb == "replace"
    return replace_element(data, path, json.loads(rest[0]), json.loads(rest[1]))


@pytest.mark.parametrize(("path", "words", "expected"), cases("daemon_json"))
def test_fixture(path: Path, words: list[str], expected: bytes):
    """Each messy file changes exactly as its expectation says, and asking again changes nothing more."""
    assert outcome(path, lambda data: asked(data, words)) == expected
    if not expected.startswith((b"malformed: ", b"refused: ")):
        once = asked(path.read_bytes(), words)
        assert asked(once, words) == once
        parse(once)


def test_a_file_that_is_not_there_is_made():
    """No file gives a tidy one with four spaces and a final newline, and the same for a list."""
    assert set_value(None, ("features", "cdi"), value=True) == b'{\n    "features": {\n        "cdi": true\n    }\n}\n'
    assert append(None, ("exec-opts",), "native.cgroupdriver=cgroupfs") == (
        b'{\n    "exec-opts": ["native.cgroupdriver=cgroupfs"]\n}\n'
    )


@pytest.mark.parametrize(
    ("old", "value"),
    [
        ("1e3", 1000.0),
        ("1.50", 1.5),
        ("12345678901234567890", 12345678901234567890),
        ('"\\u0026\\/"', "&/"),
        ('{"b": [1, 2.0],\n "a": null}', {"a": None, "b": [1, 2.0]}),
        ("[ ]", []),
    ],
)
def test_what_is_there_already_is_left_as_it_is_spelt(old: str, value: Any):
    """A value that means the asked one stays byte for byte, however it is spelt."""
    data = f'{{ "x" :{old}}}'.encode()
    assert set_value(data, ("x",), value) == data


@pytest.mark.parametrize(
    ("old", "value", "new"),
    [
        ("1", True, "true"),
        ("true", 1, "1"),
        ("1.0", 1, "1"),
        ("1e400", 1e300, "1e+300"),
        ("9007199254740993", 9007199254740992, "9007199254740992"),
        ('"1"', 1, "1"),
        ("null", False, "false"),
        ('{"a": 1, "a": 2}', {"a": 2}, '{"a": 2}'),
        ('{"a": 1, "b": 2}', {"a": 1}, '{"a": 1}'),
        ('"a"', "<&>é/", '"<&>é/"'),
    ],
)
def test_a_value_of_another_kind_or_size_is_replaced(old: str, value: Any, new: str):
    """What Go reads as something else is replaced, and nothing beside it."""
    assert set_value(f'{{"n": 1e2, "x": {old} }}\n'.encode(), ("x",), value) == f'{{"n": 1e2, "x": {new} }}\n'.encode()


def test_an_object_is_replaced_as_a_whole_in_its_own_layout():
    """An object or a list in lines stays in lines and one in a line stays in a line; nothing is merged."""
    data = b'{\n\t"a": {\n\t\t"x": 1\n\t},\n\t"b": {"x": 1},\n\t"c": [\n\t\t"x"\n\t],\n\t"d": ["x"]\n}\n'
    data = set_value(data, ("a",), {"y": [1]})
    data = set_value(data, ("b",), {"y": {"z": 2}})
    data = set_value(data, ("c",), ["y", "z"])
    data = set_value(data, ("d",), ["y", "z"])
    assert data == (
        b'{\n\t"a": {\n\t\t"y": [\n\t\t\t1\n\t\t]\n\t},\n\t"b": {"y": {"z": 2}},\n'
        b'\t"c": [\n\t\t"y",\n\t\t"z"\n\t],\n\t"d": ["y", "z"]\n}\n'
    )


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b'{\n  "a": 1,\n  "b": 2\r\n}', b'{\n  "a": 1,\n  "b": 2,\r\n  "x": {\r\n    "y": 1\r\n  }\r\n}'),
        (b'{\r\n  "a": 1,\r\n  "b": 2\n}', b'{\r\n  "a": 1,\r\n  "b": 2,\n  "x": {\n    "y": 1\n  }\n}'),
        (b'{\n  "x": {},\r\n  "b": 2\n}', b'{\n  "x": {\r\n    "y": 1\r\n  },\r\n  "b": 2\n}'),
        (b'{\n  "x": null,\r\n  "b": 2\n}', b'{\n  "x": {\r\n    "y": 1\r\n  },\r\n  "b": 2\n}'),
        (b'{\r\n"a": 1,\n"b": 2}', b'{\r\n"a": 1,\n"b": 2,\n"x": {\n    "y": 1\n}}'),
        (b'{\r\n"a": 1,\r\n"b": 2}\n', b'{\r\n"a": 1,\r\n"b": 2,\r\n"x": {\r\n    "y": 1\r\n}}\n'),
        (b'{\r\n\t"x": {}}', b'{\r\n\t"x": {\r\n\t\t"y": 1\r\n\t}}'),
        (b'{\r\n\t"a": 1}', b'{\r\n\t"a": 1,\r\n\t"x": {\r\n\t\t"y": 1\r\n\t}}'),
    ],
)
def test_a_new_line_ends_as_its_neighbour_does(before: bytes, after: bytes):
    """In a file of mixed line endings the nearest line decides."""
    assert set_value(before, ("x", "y"), 1) == after


def test_lists_of_both_layouts_give_a_new_one_in_a_line():
    """A new list has an element a line only where no list of the file is in one line."""
    lines = b'{\n  "a": [\n    1\n  ]\n}'
    assert set_value(lines, ("x",), ["y"]) == b'{\n  "a": [\n    1\n  ],\n  "x": [\n    "y"\n  ]\n}'
    both = b'{\n  "a": [\n    1\n  ],\n  "b": [1]\n}'
    assert set_value(both, ("x",), ["y"]) == b'{\n  "a": [\n    1\n  ],\n  "b": [1],\n  "x": ["y"]\n}'


def test_the_last_key_of_a_crowded_line_leaves_the_line_break():
    """Taken out of the end of a line, a key does not pull the next line up."""
    assert remove(b'{\n "a": 1, "b": 2,\n "c": 3\n}', ("b",)) == b'{\n "a": 1,\n "c": 3\n}'


def test_the_last_line_goes_whole_and_only_the_comma_above_it():
    """Trailing spaces go with the line they are on and stay on the line above."""
    assert remove(b'{\n "a": 1,  \n "b": 2   \n}', ("b",)) == b'{\n "a": 1  \n}'


def test_null_counts_as_nothing_there():
    """Docker takes null for an object or a list as none, so it is replaced by the one that is asked for."""
    assert set_value(b'{"a": null}', ("a", "b"), 1) == b'{"a": {"b": 1}}'
    assert append(b'{"a": null}', ("a",), "b") == b'{"a": ["b"]}'
    assert remove_element(b'{"a": null}', ("a",), "b") == b'{"a": null}'
    assert remove(b'{"a": null}', ("a", "b")) == b'{"a": null}'


def test_what_cannot_be_below_a_text_is_not_removed():
    """Nothing is below a text, so there is nothing to remove; nothing can be set there either."""
    data = b'{"runtimes":\n"nvidia"}'
    assert remove(data, PATH) == data
    with pytest.raises(Unsafe, match=r'^line 2: "runtimes" is not an object'):
        set_value(data, PATH, "x")


def test_prune_removes_emptied_parents_but_not_the_outermost():
    """With prune the parents that lose their last key go too, and what else they hold keeps them; without it {} stays."""
    data = b'{"a": {"b": {"c": 1}, "d": {}}}'
    assert remove(data, ("a", "b", "c")) == b'{"a": {"b": {}, "d": {}}}'
    assert remove(data, ("a", "b", "c"), prune=True) == b'{"a": {"d": {}}}'
    assert remove(b'{"a": {"b": {"c": 1}}}\n', ("a", "b", "c"), prune=True) == b"{}\n"
    assert remove(b'{"a": {}}', ("a", "b"), prune=True) == b'{"a": {}}'


@pytest.mark.parametrize(
    "line",
    [
        '"DEBUG": true',
        '"\\u0044ebug": true',
        '"debug": false, "deBug": true',
    ],
)
def test_a_name_in_other_letters_is_refused(line: str):
    """A name that differs only in case is refused for every verb, even where the asked one is there too."""
    data = f'{{"log-level": "info",\n{line}}}'.encode()
    for verb in (
        lambda: set_value(data, ("debug",), value=True),
        lambda: remove(data, ("debug",)),
        lambda: append(data, ("debug",), "x"),
        lambda: remove_element(data, ("debug",), "x"),
        lambda: replace_element(data, ("debug",), "x", "y"),
    ):
        with pytest.raises(Unsafe, match=r"^line 2: .*only in upper and lower case"):
            verb()
    assert set_value(data, ("log-level",), "warn") == data.replace(b"info", b"warn")


@pytest.mark.parametrize("name", ["\u017ftorage-driver", "STORAGE-DRIVER"])
def test_letters_that_go_folds_are_refused(name: str):
    """Go takes the long s for an s; so does the refusal."""
    with pytest.raises(Unsafe, match="only in upper and lower case"):
        set_value(json.dumps({name: "vfs"}).encode(), ("storage-driver",), "overlay2")


@pytest.mark.parametrize(
    ("data", "path"),
    [
        ('{"a": {"b": 1}, "a": {"c": 2}}', ("a", "b")),
        ('{"a": {"b": 1}, "a": null}', ("a", "b")),
        ('{"a": {"b": 1}, "a": 1}', ("a",)),
        ('{"a": [{"b": 1}], "a": [{"c": 1}]}', ("a",)),
        ('{"a": {}, "a": {}}', ("a", "b")),
        ('{"x": {"a": {}, "a": {}}}', ("x", "a", "b")),
    ],
)
def test_objects_that_stand_twice_are_refused(data: str, path: tuple[str, ...]):
    """Docker merges some objects that stand twice and replaces others, so neither of them is edited."""
    with pytest.raises(Unsafe, match=r"stands 2 times in one object, which Docker may merge"):
        set_value(data.encode(), path, 5)


def test_of_a_plain_value_that_stands_twice_the_last_is_meant():
    """The last of two counts: it is set, or found to be right already, and removing one is refused."""
    data = b'{"a": 1,\n"a": 2}'
    assert set_value(data, ("a",), 2) == data
    assert set_value(data, ("a",), 1) == b'{"a": 1,\n"a": 1}'
    assert append(b'{"a": ["x"], "a": []}', ("a",), "x") == b'{"a": ["x"], "a": ["x"]}'
    with pytest.raises(Unsafe, match=r'^line 2: "a" stands 2 times in one object; take out all but one'):
        remove(data, ("a",))


def test_replacing_an_element_keeps_its_place_and_leaves_it_once():
    """The first one is replaced in its place, others like it go, and where the new one is listed the old one only goes."""
    path = ("exec-opts",)
    assert replace_element(b'{"exec-opts": ["a", "b" , "c"]}', path, "b", "x") == b'{"exec-opts": ["a", "x" , "c"]}'
    assert replace_element(b'{"exec-opts": ["b", "a", "b"]}', path, "b", "x") == b'{"exec-opts": ["x", "a"]}'
    assert replace_element(b'{"exec-opts": ["b", "x", "b"]}', path, "b", "x") == b'{"exec-opts": ["x"]}'
    assert replace_element(b'{"exec-opts": ["b"]}', path, "b", "b") == b'{"exec-opts": ["b"]}'
    assert replace_element(b"{}", path, "b", "x") == b"{}"


def test_list_with_other_things_than_text_keeps_them():
    """Numbers and objects in a list are neither matched nor touched."""
    data = b'{"a": [1e2, {"x": 12345678901234567890}, "1e2"]}'
    assert append(data, ("a",), "b") == b'{"a": [1e2, {"x": 12345678901234567890}, "1e2", "b"]}'
    assert remove_element(data, ("a",), "1e2") == b'{"a": [1e2, {"x": 12345678901234567890}]}'


def test_a_path_that_is_not_text_is_refused():
    """A file name with a byte that is not UTF-8 cannot be written in JSON."""
    with pytest.raises(Unsafe, match="not UTF-8"):
        set_value(b"{}", PATH, "/opt/\udcff/runtime")


def test_a_malformed_file_is_never_edited():
    """Every verb passes on what the parser says."""
    for verb in (
        lambda data: set_value(data, ("a",), 1),
        lambda data: remove(data, ("a",)),
        lambda data: append(data, ("a",), "x"),
        lambda data: remove_element(data, ("a",), "x"),
        lambda data: replace_element(data, ("a",), "x", "y"),
    ):
        for data in (b'{"a": 1,}', b"[]", b'{"a": NaN}', b'{"a": 1} //'):
            with pytest.raises(Malformed):
                verb(data)


@pytest.mark.parametrize(
    ("function", "damage"),
    [
        ("_added", lambda text: text.replace("12345678901234567890", "12345678901234567000")),
        ("_added", lambda text: text.replace("1e3", "1000.0")),
        ("_added", lambda text: text.replace('"debug"', '"Debug"')),
        ("_added", lambda text: text.replace('"twice": 1, ', "")),
        ("_added", lambda text: text.replace("}", ",}")),
        ("_added", lambda text: text.replace(', "nvidia"', ', "new": 1, "nvidia"')),
        ("_added", lambda text: '{"nvidia": 5, ' + text[1:].replace(', "nvidia": 5', "")),
        ("_removed", lambda text: text.replace(', "last": "x"', "")),
        ("_removed", lambda text: text + "}"),
    ],
)
def test_a_wrong_edit_is_found_by_the_check(monkeypatch: pytest.MonkeyPatch, function: str, damage: Any):
    """Whatever else an edit would have changed, values, names, order or number of keys, the result is refused."""
    data = b'{"debug": true, "big": 12345678901234567890, "f": 1e3, "twice": 1, "twice": 2, "last": "x"}'
    real = getattr(daemon_json, function)
    done = []

    def damaged(*words: Any) -> str:
        result = real(*words)
        done.append(damage(result) != result)
        return damage(result)

    monkeypatch.setattr(daemon_json, function, damaged)
    with pytest.raises(Unsafe, match="more than was asked"):
        set_value(data, ("nvidia",), 5) if function == "_added" else remove(data, ("debug",))
    assert done == [True]


# Messy files: their parts are kept as they are written, so that what should have come out can be told without the editor.
SPACES = st.sampled_from(["", "", " ", "  ", "\n", "\n  ", "\r\n\t", "\n\n    ", " \n", "\t", "\r"])
NAMES = ["debug", "log-opts", "runtimes", "n\\u0076idia", "a b", "Größe", "x,y", "{", "[", "]:", '\\"', "e\\\\"]
PLAIN = [
    "1",
    "-0",
    "1.0",
    "1e3",
    "12345678901234567890",
    "true",
    "null",
    '""',
    '"\\u0026<>&"',
    '"a, b: {"',
    '"\\ud83d"',
    '"è\\/"',
]
Tree = Any  # text of a plain value, a list of trees, or a dict of names as they are written to trees
TREES: st.SearchStrategy[Tree] = st.recursive(
    st.sampled_from(PLAIN),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
    max_leaves=12,
)
OBJECTS = st.dictionaries(st.sampled_from(NAMES), TREES, max_size=5)


def compact(tree: Tree) -> str:
    """Write a tree without any white space."""
    if isinstance(tree, dict):
        return "{" + ",".join(f'"{name}":{compact(each)}' for name, each in tree.items()) + "}"
    return "[" + ",".join(map(compact, tree)) + "]" if isinstance(tree, list) else tree


def squeezed(data: bytes) -> str:
    """Take out all white space that is not in quotes."""
    return re.sub(r'("(?:[^"\\]|\\.)*")|[ \t\r\n]+', r"\1", data.removeprefix(BOM).decode())


@st.composite
def wild(draw: st.DrawFn) -> tuple[Tree, bytes]:
    """Draw an object and a file of it with any white space between any two signs."""
    tree = draw(OBJECTS)
    signs = re.findall(r'"(?:[^"\\]|\\.)*"|[^"{}\[\]:,]+|.', compact(tree))
    gaps = draw(st.lists(SPACES, min_size=len(signs) + 1, max_size=len(signs) + 1))
    text = gaps[0] + "".join(sign + gap for sign, gap in zip(signs, gaps[1:], strict=True))
    return tree, draw(st.sampled_from([b"", BOM])) + text.encode()


@st.composite
def tidy(draw: st.DrawFn, *, marked: bool = False) -> tuple[Tree, bytes]:
    """Draw an object and a file of it in one of the layouts people use, each object and list in lines or in one line."""
    tree = draw(OBJECTS)
    if marked:
        entries = list(tree.items())
        entries.insert(draw(st.integers(0, len(entries))), ("marked", '"MARK"'))
        tree = dict(entries)
    newline, unit = draw(st.sampled_from(["\n", "\r\n"])), draw(st.sampled_from(["  ", "    ", "\t", " "]))
    colon = draw(st.sampled_from([": ", ":", " : "]))
    comma_first, end = draw(st.booleans()), draw(st.sampled_from(["", "\n", "\r\n", " \n\n"]))

    def written(tree: Tree, depth: int) -> str:
        if isinstance(tree, str):
            return tree
        if isinstance(tree, dict):
            parts = [f'"{name}"{colon}{written(each, depth + 1)}' for name, each in tree.items()]
            signs = "{}"
        else:
            parts, signs = [written(each, depth + 1) for each in tree], "[]"
        if not parts or draw(st.booleans()):
            return signs[0] + ", ".join(parts) + signs[1]
        margin = newline + unit * depth
        if comma_first:
            return signs[0] + " " + f"{margin}, ".join(parts) + margin + signs[1]
        return signs[0] + margin + unit + f",{draw(st.sampled_from(['', ' ']))}{margin}{unit}".join(parts) + margin + signs[1]

    return tree, (written(tree, 0) + end).encode()


FILES = wild() | tidy()
VALUES = st.sampled_from(
    ["nvidia", "<&>", 5, 12345678901234567890, True, False, None, 1.5, [], ["a", "b"], {}, {"k": {"l": "m"}}]
)


def shared(one: Sequence[Any], other: Sequence[Any]) -> int:
    """Return how many members two sequences share from their start."""
    return next(
        (number for number, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]), min(len(one), len(other))
    )


def named(name: str) -> str:
    """Return a name without its escapes."""
    return json.loads(f'"{name}"')


def plain(value: Any) -> str:
    """Write a new value as a tree's text."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


@settings(max_examples=60, deadline=None)
@given(FILES, VALUES)
def test_new_key_comes_last_and_goes_again(file: tuple[Tree, bytes], value: Any):
    """A new key is all that is new, twice is once, and removing it gives the very bytes, where the object held something."""
    tree, data = file
    once = set_value(data, ("new",), value)
    assert squeezed(once) == compact({**tree, "new": plain(value)})
    assert once.startswith(BOM) == data.startswith(BOM)
    assert set_value(once, ("new",), value) == once
    assert remove(once, ("new",)) == data or not tree


@settings(max_examples=60, deadline=None)
@given(FILES, VALUES, st.data())
def test_new_key_anywhere_comes_last_and_goes_again(file: tuple[Tree, bytes], value: Any, data: st.DataObject):
    """The same for objects below, those on the way made and pruned again."""
    tree, old = file
    path: list[str] = []
    here = tree
    while inner := [name for name, each in here.items() if isinstance(each, dict)]:
        if path and data.draw(st.booleans()):
            break
        path.append(data.draw(st.sampled_from(inner)))
        here = here[path[-1]]
    held = len(here)
    names = (*map(named, path), "new", "newer")
    once = set_value(old, names, value)
    here["new"] = {"newer": plain(value)}
    assert squeezed(once) == compact(tree)
    assert set_value(once, names, value) == once
    if value == {}:
        assert remove(once, names[:-1]) == old or not held
    else:
        assert remove(once, names, prune=True) == old or not held


@settings(max_examples=60, deadline=None)
@given(FILES.filter(lambda file: file[0]), VALUES, st.data())
def test_value_is_replaced_in_its_place(file: tuple[Tree, bytes], value: Any, data: st.DataObject):
    """Only the bytes of the old value go, and setting the old one again brings them back where it is written plainly."""
    tree, old = file
    name = data.draw(st.sampled_from(sorted(tree)))
    before = tree[name]
    once = set_value(old, (named(name),), value)
    if once == old:
        assert json.loads(compact(before)) == value
        return
    assert squeezed(once) == compact({**tree, name: plain(value)})
    assert set_value(once, (named(name),), value) == once
    if isinstance(before, str):
        kept = shared(old, once) + shared(old[::-1], once[::-1])
        assert kept >= len(old) - len(before.encode())
        if before in {"1", "12345678901234567890", "true", "null", '""'}:
            assert set_value(once, (named(name),), json.loads(before)) == old


@settings(max_examples=60, deadline=None)
@given(FILES.filter(lambda file: file[0]), st.data())
def test_removed_key_takes_only_its_comma(file: tuple[Tree, bytes], data: st.DataObject):
    """Nothing is added, the other names and values stay as they are written, and a second time changes nothing."""
    tree, old = file
    name = data.draw(st.sampled_from(sorted(tree)))
    once = remove(old, (named(name),))
    rest = {each: value for each, value in tree.items() if each != name}
    assert squeezed(once) == compact(rest)
    left = iter(old)
    assert all(byte in left for byte in once)
    assert remove(once, (named(name),)) == once


@settings(max_examples=60, deadline=None)
@given(tidy(marked=True))
def test_removed_key_takes_only_its_line(file: tuple[Tree, bytes]):
    """Of the lines it does not stand on, at most one changes: the one that loses its comma or moves up to the brace."""
    tree, old = file
    once = remove(old, ("marked",))
    if len(tree) == 1:
        assert once.strip() == b"{}"
        return
    others = [line for line in old.split(b"\n") if b"MARK" not in line]
    left = once.split(b"\n")
    above = shared(others, left)
    below = shared(others[above:][::-1], left[above:][::-1])
    assert above + below >= len(others) - 1


@settings(max_examples=60, deadline=None)
@given(FILES, st.lists(st.sampled_from([*PLAIN, '"b"']), max_size=4), st.sampled_from(["a&b", "b"]))
def test_element_of_a_list_comes_and_goes(file: tuple[Tree, bytes], elements: list[str], element: str):
    """A string is added once at the end and taken out again, and the rest of the list stays as it is written."""
    tree, data = file
    data = data.rstrip().removesuffix(b"}") + (b"," if tree else b"") + b'\n"list" : [' + " ,\n".join(elements).encode() + b"]\n}"
    tree = {**tree, "list": list(elements)}
    once = append(data, ("list",), element)
    written = f'"{element}"'
    assert squeezed(once) == compact({**tree, "list": elements if written in elements else [*elements, written]})
    assert append(once, ("list",), element) == once
    gone = remove_element(once, ("list",), element)
    assert squeezed(gone) == compact({**tree, "list": [each for each in elements if each != written]})
    assert gone == data or not elements or written in elements
    other = replace_element(once, ("list",), element, "new")
    assert replace_element(other, ("list",), "new", element) == once or elements.count(written) > 1
