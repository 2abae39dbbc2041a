"""One key of config.toml changed, every other byte kept."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpudoctor.formats import Malformed
from gpudoctor.formats.edit import Unsafe, toml
from gpudoctor.formats.edit.toml import remove, set_value
from gpudoctor.formats.toml import get, line_of, parse
from tests.edits import cases, outcome

if TYPE_CHECKING:
    from pathlib import Path

NO_CGROUPS = "nvidia-container-cli.no-cgroups"


def asked(data: bytes, words: list[str]) -> bytes:
    """Do what the first line of an expectation asks: a verb, a dotted key, and a JSON value."""
    if words[0] == "set":
        return set_value(data, words[1], json.loads(" ".join(words[2:])))
    assert words[0] == "remove"
    return remove(data, words[1])


@pytest.mark.parametrize(("path", "words", "expected"), cases("toml"))
def test_fixture(path: Path, words: list[str], expected: bytes):
    """Each messy file changes exactly as its expectation says, asking again changes nothing more, and the key is there or gone."""
    assert outcome(path, lambda data: asked(data, words)) == expected
    if not expected.startswith((b"malformed: ", b"refused: ")):
        once = asked(path.read_bytes(), words)
        assert asked(once, words) == once
        value = get(parse(once), words[1])
        assert value == (json.loads(" ".join(words[2:])) if words[0] == "set" else None)


@pytest.mark.parametrize(
    ("old", "value"),
    [
        ("'auto'", "auto"),
        ('"\\u0061uto"', "auto"),
        ('"""\nauto"""', "auto"),
        ("0x1F", 31),
        ("1_000", 1000),
        ("[ 'a',\n 'b', # c\n]", ["a", "b"]),
        ("[]", []),
    ],
)
def test_what_is_there_already_is_left_as_it_is_spelt(old: str, value: Any):
    """A value that means the asked one stays byte for byte, however it is spelt."""
    data = f"[t]\nx ={old} # y\n".encode()
    assert set_value(data, "t.x", value) == data


@pytest.mark.parametrize(
    ("old", "value", "new"),
    [
        ("1", True, "true"),
        ("true", 1, "1"),
        ("1.0", 1, "1"),
        ('"1"', 1, "1"),
        ("[1]", ["1"], '["1"]'),
        ("[]", ["a'b", 'c"\\', "\x7f\t"], '["a\'b", "c\\"\\\\", "\\u007f\\t"]'),
        ("'a'", "b'c", '"b\'c"'),
        ("'''\na\n'''", "b", "'b'"),
        ('"""a"""""', "b", '"b"'),
        ("1979-05-27 07:32:00", "b", '"b"'),
        ('[ "a" , [ "]" ] ]', ["b"], '[ "b" ]'),
        ('["a","b"]', ["b", "c"], '["b","c"]'),
        ('[\n\t"a",\r\n\t"b" ]', ["b", "c"], '["b", "c"]'),
    ],
)
def test_a_value_of_another_kind_is_replaced(old: str, value: Any, new: str):
    """What TOML reads as something else is replaced, and nothing beside it."""
    data = f"[t]\nf = 1e2\nx  =  {old}\t# x = 1\n[u]\nx=1".encode()
    assert set_value(data, "t.x", value) == data.replace(f"=  {old}".encode(), f"=  {new}".encode())


def test_a_new_key_gets_the_quotes_of_the_file():
    """Where most texts stand in single quotes a new one does too, if it can."""
    data = b"a = 'x'\nb = ['y']\nc = \"z\"\n"
    assert set_value(data, "d", "it") == data + b"d = 'it'\n"
    assert set_value(data, "d", "it's") == data + b'd = "it\'s"\n'
    assert set_value(data, "d", ["it"]) == data + b"d = ['it']\n"


def test_names_that_need_quotes_get_them():
    """A name with other signs is written as TOML wants it."""
    assert set_value(b"", "a b.ü", 1) == '["a b"]\n"ü" = 1\n'.encode()


def test_indentation_of_an_empty_table_is_that_of_the_others():
    """A table without keys gets one that is indented as the keys of the first table that has some."""
    data = b"  [a]\n\n[b]\n    c = 1\n"
    assert set_value(data, "a.d", 1) == b"  [a]\n      d = 1\n\n[b]\n    c = 1\n"
    assert set_value(data, "e.d", 1) == data + b"\n[e]\n    d = 1\n"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"a = 1\r\nb = 2\n", b"a = 1\r\nb = 2\nx = 1\n"),
        (b"a = 1\nb = 2\r\n", b"a = 1\nb = 2\r\nx = 1\r\n"),
        (b"a = 1\r\nb = 2", b"a = 1\r\nb = 2\r\nx = 1"),
        (b"a = [\n1]\r\n", b"a = [\n1]\r\nx = 1\r\n"),
        (b"[b]\r\n", b"x = 1\r\n\r\n[b]\r\n"),
    ],
)
def test_a_new_line_ends_as_its_neighbour_does(before: bytes, after: bytes):
    """In a file of mixed line endings the line above decides."""
    assert set_value(before, "x", 1) == after


def test_comments_of_a_commented_table_are_not_its_neighbours():
    """A key that is commented out below a header that is commented out is not of the table above, until a live key follows."""
    data = b"[a]\n#[b]\n#x = 1\n\ny = 1\n#x = 2\n"
    assert set_value(data, "a.x", 2) == b"[a]\n#[b]\n#x = 1\n\ny = 1\nx = 2\n"
    assert set_value(b"[a]\n#[b]\n#x = 1\n", "a.x", 2) == b"[a]\nx = 2\n#[b]\n#x = 1\n"


@pytest.mark.parametrize(
    ("before", "dotted", "after"),
    [
        ("[a]\nx = 1\n\n#y = 1\n[b]\n", "a.z", "[a]\nx = 1\nz = 5\n\n#y = 1\n[b]\n"),
        ("[a]\nx = 1\n#y = 1\n[b]\n", "a.z", "[a]\nx = 1\n#y = 1\nz = 5\n[b]\n"),
        ("[a]\nx = 1\n\n#y = 1\n", "a.z", "[a]\nx = 1\n\n#y = 1\nz = 5\n"),
        ("[a]\n  #x=1\n", "a.z", "[a]\n  #x=1\n  z=5\n"),
        ("[a]\n#z = 1\n#z = 2\nx = 1\n", "a.z", "[a]\n#z = 1\nz = 5\nx = 1\n"),
        ("[a]\nx = 1\n\n", "b.z", "[a]\nx = 1\n\n[b]\nz = 5\n"),
        ("#a.b.z = 1\n\n[a.d]\nx = 1\n", "a.b.z", "#a.b.z = 1\n\n[a.d]\nx = 1\n\n[a.b]\nz = 5\n"),
        ("# c\n\n", "z", "# c\n\nz = 5\n"),
        ("[a]\nx=1\n[b]\ny = 1\n[c]\n", "c.z", "[a]\nx=1\n[b]\ny = 1\n[c]\nz = 5\n"),
        ("a = {b = {c = 1, d=2}}\n", "a.b.z", "a = {b = {c = 1, d=2, z=5}}\n"),
        ("a = {}\n", "a.b.c.z", "a = { b = { c = { z = 5 } } }\n"),
        ("a = 1\nb = 2\r\n", "c.z", "a = 1\nb = 2\r\n\r\n[c]\r\nz = 5\r\n"),
        ("\na = 1", "z", "\na = 1\nz = 5"),
    ],
)
def test_place_and_spacing_of_a_new_key(before: str, dotted: str, after: str):
    """A new key comes after the table's own ones, commented ones too, and is written as its nearest neighbour is."""
    assert set_value(before.encode(), dotted, 5) == after.encode()


def test_last_key_of_a_file_without_a_final_newline():
    """The line above loses its ending, as the file had none, but a blank line stays."""
    assert remove(b"a = 1\r\nb = 1", "b") == b"a = 1"
    assert remove(b"# a\r\n\r\nb = 1", "b") == b"# a\r\n\r\n"
    assert remove(b"\nb = 1", "b") == b"\n"
    assert remove(b"b = 1", "b") == b""


def test_found_line_is_the_new_one():
    """The reader that names lines in reports finds the key on the line it was put on."""
    data = set_value(b"# a\n[nvidia-container-cli]\n#no-cgroups = false\n[x]\n", NO_CGROUPS, value=True)
    assert line_of(data, "nvidia-container-cli", "no-cgroups") == 3


@pytest.mark.parametrize("dotted", ["a.b.c", "a", "l.x", "l", "i.j.k", "x.y.z"])
def test_what_is_no_plain_key_is_refused(dotted: str):
    """Nothing is set in a number or a list, and no table or list of tables is replaced by a value."""
    data = b'a.b = 1\ni = {j = "x"}\nx = [{y = 1}]\n[[l]]\nx = 1\n'
    with pytest.raises(Unsafe, match=r'^line [1-4]: "[abjlx]" is (not )?a (table|list of tables)') as caught:
        set_value(data, dotted, 5)
    assert caught.value.line == {"a": 1, "i": 2, "x": 3, "l": 4}[dotted[0]]


def test_list_of_inline_tables_is_a_value():
    """A list that is written in one place can be replaced and taken out as any value."""
    data = b'x = [{y = "]"}] # z\n'
    assert set_value(data, "x", []) == b"x = [] # z\n"
    assert remove(data, "x") == b""


def test_what_cannot_be_there_is_not_removed():
    """Nothing is below a number, so there is nothing to remove; a table and a list of tables stay."""
    data = b"a = 1\n[b]\nc = 1\n[[l]]\n"
    assert remove(data, "a.b") == remove(data, "c") == remove(data, "l.x") == data
    for dotted in ("b", "l"):
        with pytest.raises(Unsafe, match=r"is a (table|list of tables)"):
            remove(data, dotted)


@pytest.mark.parametrize("dotted", ["", "a.", ".a", "a..b"])
def test_empty_name_is_refused(dotted: str):
    """A path with an empty name is a mistake of the caller, never a key."""
    with pytest.raises(Unsafe, match="empty name"):
        set_value(b"a = {}\n", dotted, 1)


def test_a_path_that_is_not_text_is_refused():
    """A file name with a byte that is not UTF-8 cannot be written in TOML."""
    with pytest.raises(Unsafe, match="not UTF-8"):
        set_value(b"", "nvidia-container-cli.path", "/opt/\udcff")


def test_a_malformed_file_is_never_edited():
    """Both verbs pass on what the parser says."""
    for data in (b"a = ", b"a = 1\na = 1\n", b"[a\n", b"\xef\xbb\xbfa = 1\n", b"# \xff\n", b"a = [1,\n"):
        with pytest.raises(Malformed):
            set_value(data, "x", 1)
        with pytest.raises(Malformed):
            remove(data, "x")


@pytest.mark.parametrize(
    ("function", "damage"),
    [
        ("_inserted", lambda text: text.replace("1e3", "1000.0")),
        ("_inserted", lambda text: text.replace("b = true", "b = 1")),
        ("_inserted", lambda text: text.replace("1979-05-27", "1979-05-28")),
        ("_inserted", lambda text: text.replace("[t]", "[u]")),
        ("_inserted", lambda text: text.replace("[t]\n", "")),
        ("_inserted", lambda text: text.replace("new = 5", "new = '5'")),
        ("_inserted", lambda text: text.replace("new = 5", "new = 5\nnew = 5")),
        ("_inserted", lambda text: text.replace("i = 1\n", "")),
        ("_replaced", lambda text: text.replace("c = 1", "c = 1.0")),
        ("_cut", lambda text: text.replace("d = 2", "d = 3")),
    ],
)
def test_a_wrong_edit_is_found_by_the_check(monkeypatch: pytest.MonkeyPatch, function: str, damage: Any):
    """Whatever else an edit would have changed, a value, its kind, a name or a table, the result is refused."""
    data = b"f = 1e3\nb = true\ni = 1\nt1 = 1979-05-27\nin = { c = 1, d = 2, e = 3 }\n\n[t]\nx = 1\n"
    real = getattr(toml, function)
    done = []

    def damaged(*words: Any) -> str:
        result = real(*words)
        done.append(damage(result) != result)
        return damage(result)

    monkeypatch.setattr(toml, function, damaged)
    with pytest.raises(Unsafe, match="more than was asked"):
        remove(data, "in.c") if function == "_cut" else set_value(data, "new" if function == "_inserted" else "i", 5)
    assert done == [True]


# Messy files: a table is its name, its header as it is written, and lines of which some set a key of it.
BESIDE = ["", "  ", "# prose, a = 1 too", "#\ttab", "#[old]", "#  new = 7", "# new = 8 or 9", "## ü"]
LINES: list[tuple[str, tuple[str, ...]]] = [
    ("a = 1", ("a",)),
    ("\tb\t= 'x' # b = 2 ", ("b",)),
    ('"c"=[ "]#", # x\n\t"new = 1" ]', ("c",)),
    ('d = """\n[t]\nnew = 2\n\\"""\n""" # e = 1', ("d",)),
    ("e = '''\n# x'''''", ("e",)),
    ('f.g = { "h i" = "}", j = [{ k = 1 }] }', ("f", "g")),
    ("f . 'l' = 1e400", ("f", "l")),
    ("m = {}", ("m",)),
    ("n = 1979-05-27 07:32:00 ", ("n",)),
]
TABLES = [("t", "[t]"), ("u", "\t[ u ] # [t]"), ("t.v", "[t.'v']"), ("w", "[w]"), ("", "[[l]]")]


@st.composite
def bodies(draw: st.DrawFn, commented: str = "") -> list[tuple[str, tuple[str, ...]]]:
    """Draw the lines of one table: each key at most once, in any order, with comments and blank lines between."""
    keys = draw(st.lists(st.sampled_from(LINES), max_size=4, unique=True))
    lines = [
        line for key in keys for line in (*((each, ()) for each in draw(st.lists(st.sampled_from(BESIDE), max_size=2))), key)
    ]
    lines += [(each, ()) for each in draw(st.lists(st.sampled_from(BESIDE), max_size=3))]
    if commented and draw(st.booleans()):
        lines.insert(draw(st.integers(0, len(lines))), (commented, ()))
    return lines


@st.composite
def files(draw: st.DrawFn) -> tuple[list[tuple[str, str]], bytes]:
    """Draw a file: the keys it sets, as (table, key), and its bytes."""
    tables = [("", ""), *draw(st.lists(st.sampled_from(TABLES), max_size=4, unique=True))]
    keys: list[tuple[str, str]] = []
    text = ""
    for name, header in tables:
        text += f"{header}\n" if header else ""
        for line, key in draw(bodies()):
            text += f"{line}\n"
            if key and not header.startswith("[["):
                keys.append((name, ".".join(key)))
    text = text.replace("\n", draw(st.sampled_from(["\n", "\r\n"])))
    return keys, (text.removesuffix("\n").removesuffix("\r") if draw(st.booleans()) else text).encode()


def values(data: bytes) -> Any:
    """Return all values, each with its kind."""
    return toml._tree(data.decode())


def put(tree: Any, dotted: str, value: Any) -> Any:
    """Set a key in what ``values`` gives."""
    *tables, key = dotted.split(".")
    here = tree
    for name in tables:
        here = here.setdefault(name, {})
    here[key] = value
    return tree


def split(data: bytes) -> list[bytes]:
    """Return the lines, without the final newline."""
    return data.replace(b"\r\n", b"\n").split(b"\n")


def added(old: list[bytes], new: list[bytes]) -> list[bytes]:
    """Return what a list has more than another whose members it has in the same order; fails where it has not."""
    left, more = list(old), []
    for line in new:
        if left and line == left[0]:
            left.pop(0)
        else:
            more.append(line)
    assert not left
    return more


VALUES = st.sampled_from([(True, "true"), (False, "false"), (17, "17"), ([], "[]")])


@settings(max_examples=60, deadline=None)
@given(files(), st.sampled_from(["new", "t.new", "u.new", "t.v.new", "w.new", "brand.new"]), VALUES)
def test_new_key_is_one_new_line_and_goes_again(file: tuple[list[tuple[str, str]], bytes], dotted: str, value: tuple[Any, str]):
    """A new key is one new line, with its header or a blank line where needed; no other line and value changes, and it goes again."""
    _, data = file
    once = set_value(data, dotted, value[0])
    assert values(once) == put(values(data), dotted, toml._typed(value[0]))
    assert set_value(once, dotted, value[0]) == once
    # A last line that gets its newline only now is the same line.
    more = [line.strip() for line in added(split(data), split(once)) if line.strip()]
    table = dotted.rpartition(".")[0]
    assert more[-1].replace(b" ", b"").replace(b"\t", b"") == f"new={value[1]}".encode()
    assert more[:-1] in ([], [f"[{table}]".encode()])
    assert b"\r\n" in data or b"\r" not in once
    gone = remove(once, dotted)
    # A last line without a newline has one afterwards.
    if not more[:-1] and len(split(once)) == len(split(data)) + 1 and (not data or data.endswith(b"\n")):
        assert gone == data
    assert remove(gone, dotted) == gone


@settings(max_examples=60, deadline=None)
@given(files().filter(lambda file: file[0]), st.data(), VALUES)
def test_value_is_replaced_in_its_place(file: tuple[list[tuple[str, str]], bytes], data: st.DataObject, value: tuple[Any, str]):
    """All before and behind the old value stays, and a value with comments in it is refused."""
    keys, old = file
    table, key = data.draw(st.sampled_from(keys))
    dotted = f"{table}.{key}".lstrip(".")
    if key == "c":
        with pytest.raises(Unsafe, match="comments inside"):
            set_value(old, dotted, value[0])
        return
    if key in {"f.g", "m"}:
        with pytest.raises(Unsafe, match="is a table"):
            set_value(old, dotted, value[0])
        return
    once = set_value(old, dotted, value[0])
    assert values(once) == put(values(old), dotted, toml._typed(value[0]))
    assert set_value(once, dotted, value[0]) == once
    written = value[1].encode()
    assert any(
        old.startswith(once[:at]) and old.endswith(once[at + len(written) :])
        for at in range(len(once))
        if once.startswith(written, at)
    )


@settings(max_examples=60, deadline=None)
@given(files().filter(lambda file: file[0]), st.data())
def test_removed_key_takes_only_its_lines(file: tuple[list[tuple[str, str]], bytes], data: st.DataObject):
    """The other lines stay as they are, in their order, and so do the other values."""
    keys, old = file
    table, key = data.draw(st.sampled_from(keys))
    dotted = f"{table}.{key}".lstrip(".")
    if key in {"f.g", "m"}:
        with pytest.raises(Unsafe, match="is a table"):
            remove(old, dotted)
        return
    once = remove(old, dotted)
    written = next(line for line, path in LINES if ".".join(path) == key)
    newline = b"\r\n" if b"\r\n" in old else b"\n"
    line = written.encode().replace(b"\n", newline)
    without = [
        old[:at] + old[at + len(each) :]
        for each in (line + newline, newline + line, line)
        for at in range(len(old))
        if old.startswith(each, at)
    ]
    assert once in without
    again = put(values(once), dotted, get(values(old), dotted))
    assert again == values(old)
    assert remove(once, dotted) == once


@settings(max_examples=60, deadline=None)
@given(bodies("  #new=false # why"), bodies("#new = true"), st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_commented_default_is_taken_only_in_its_table(one: Any, other: Any, newline: str, value: bool):
    """A commented default of the asked table becomes the key, in its place and with its remark; that of another table never does."""
    above, below = ("\n".join(line for line, _ in lines) for lines in (one, other))
    data = f"[t]\n{above}\n[u]\n{below}\n".replace("\n", newline).encode()
    once = set_value(data, "t.new", value)
    assert values(once) == put(values(data), "t.new", toml._typed(value))
    tail = once.partition(f"[u]{newline}".encode())[2]
    assert tail == data.partition(f"[u]{newline}".encode())[2]
    own, hidden = [line for line, _ in one], False
    if "  #new=false # why" in own:
        at = own.index("  #new=false # why")
        live = [number for number, (_, key) in enumerate(one) if key and number < at]
        hidden = "#[old]" in own[(live or [-1])[-1] + 1 : at]
    if "  #new=false # why" in own and not hidden:
        spelt = f"  new={str(value).lower()} # why".encode()
        assert once == data.replace(b"  #new=false # why", spelt, 1)
    else:
        assert len(added(split(data), split(once))) == 1
        assert b"new = true" not in added(split(data), split(once))[0] or value
