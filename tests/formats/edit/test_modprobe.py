"""One option or blacklist line of a modprobe.d file changed, every other byte kept."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpudoctor.formats.cmdline import parse as split_parameters
from gpudoctor.formats.edit import Unsafe, modprobe
from gpudoctor.formats.edit.modprobe import add_blacklist, remove_blacklist, remove_option, set_option
from tests.edits import cases, outcome

VERBS = {"set": set_option, "remove": remove_option, "blacklist": add_blacklist, "unblacklist": remove_blacklist}
MODPROBE = shutil.which("modprobe", path="/usr/sbin:/sbin:/usr/bin:/bin") or shutil.which("modprobe")
needs_kmod = pytest.mark.skipif(MODPROBE is None, reason="modprobe (package kmod) is not installed")


def asked(data: bytes, words: list[str]) -> bytes:
    """Do what the first line of an expectation asks."""
    return VERBS[words[0]](data, *words[1:])


def kmod_reads(data: bytes) -> list[list[str]]:
    """Return what kmod itself takes from a file: verb, module, and options as it hands them to the kernel, with spaces for tabs."""
    with tempfile.TemporaryDirectory() as folder:
        empty = shown(folder)
        (Path(folder) / "a.conf").write_bytes(data)
        read = shown(folder)
    # Options of the running kernel's command line are listed as well.
    for line in empty:
        read.remove(line)
    return [(line if line.startswith("options ") else f"{line} ").split(" ", 2) for line in read]


def shown(folder: str) -> list[str]:
    """Return the options and blacklist lines of ``modprobe --showconfig`` for a folder."""
    ran = subprocess.run([str(MODPROBE), "-C", folder, "--showconfig"], capture_output=True, check=True)
    lines = ran.stdout.decode("utf-8", "surrogateescape").split("\n")
    return [line for line in lines if line.startswith(("options ", "blacklist "))]


def we_read(data: bytes) -> list[list[str]]:
    """Return the same as the editor reads it, in kmod's order: blacklist lines first."""
    lines = [line for line in modprobe._lines(data.decode("utf-8", "surrogateescape")) if line.verb]
    lines.sort(key=lambda line: line.verb)
    return [
        [line.verb, line.module, line.text[line.rest + 1 :].replace("\t", " ") if line.verb == "options" else ""]
        for line in lines
    ]


@pytest.mark.parametrize(("path", "words", "expected"), cases("modprobe"))
def test_fixture(path: Path, words: list[str], expected: bytes):
    """Each messy file changes exactly as its expectation says, and asking again changes nothing more."""
    assert outcome(path, lambda data: asked(data, words)) == expected
    if not expected.startswith(b"refused: "):
        once = asked(path.read_bytes(), words)
        assert asked(once, words) == once


@needs_kmod
@pytest.mark.parametrize(("path", "words", "expected"), cases("modprobe"))
def test_kmod_agrees_about_what_changed(path: Path, words: list[str], expected: bytes):
    """For kmod itself the asked option or blacklist line is what was wanted afterwards, and all others are as before."""
    data = path.read_bytes()
    if b"\0" in data or data.endswith(b"\\"):
        assert expected.startswith(b"refused: ")
        return
    before = kmod_reads(data)
    assert before == we_read(data)
    if expected.startswith(b"refused: "):
        return
    after = kmod_reads(asked(data, words))
    verb, module = words[0], words[1].replace("-", "_")
    if verb in {"blacklist", "unblacklist"}:
        entry = ["blacklist", module, ""]
        assert (entry in after) == (verb == "blacklist")
        mine = (entry, ["blacklist", f"{module}\r", ""])
        assert [each for each in after if each not in mine] == [each for each in before if each not in mine]
        return

    def values(read: list[list[str]], *, mine: bool) -> list[tuple[str, str, str | None]]:
        found = []
        for kind, name, text in read:
            # Words of a remark set nothing.
            words_in_front = text.partition("#")[0] if "=" not in text.partition("#")[2] else text
            found += [(name, *pair) for pair in split_parameters(words_in_front) if kind == "options"]
        wanted = (module, words[2].replace("-", "_"))
        return [each for each in found if ((each[0], each[1].replace("-", "_")) == wanted) == mine]

    assert values(after, mine=False) == values(before, mine=False)
    assert [each for each in after if each[0] == "blacklist"] == [each for each in before if each[0] == "blacklist"]
    ours = values(after, mine=True)
    assert ours[-1][2] == words[3] if verb == "set" else ours == []


def test_value_with_a_space_gets_quotes():
    """A value that would be two words is quoted, also in the place of one that was not."""
    assert set_option(b"options a b=1 c=2\n", "a", "b", "x y") == b'options a b="x y" c=2\n'
    assert set_option(b"", "a", "b", "x y") == b'options a b="x y"\n'
    assert set_option(b'options a "b=1" c=2\n', "a", "b", "x y") == b'options a "b=x y" c=2\n'


@pytest.mark.parametrize("value", ['a"b', "a\\", "a\nb", "a\0", "a\udcff"])
def test_value_that_cannot_be_written_is_refused(value: str):
    """Quotes, backslashes and control characters have no spelling in modprobe.d."""
    with pytest.raises(Unsafe, match="the new value has"):
        set_option(b"", "nvidia", "x", value)


@pytest.mark.parametrize("name", ["", "a b", "#a", "a=b", 'a"', "a\n"])
def test_name_that_is_not_one_word_is_refused(name: str):
    """No verb takes a module or an option that would be read as something else."""
    for verb in (
        lambda: set_option(b"", name, "x", "1"),
        lambda: set_option(b"", "x", name, "1"),
        lambda: remove_option(b"", "x", name),
        lambda: add_blacklist(b"", name),
        lambda: remove_blacklist(b"", name),
    ):
        with pytest.raises(Unsafe, match="cannot be the name"):
            verb()


def test_bytes_that_are_not_utf8_are_kept():
    """A comment in another encoding comes out as it went in."""
    data = b"# f\xfcr\noptions nvidia a=\xff b=1\n"
    assert set_option(data, "nvidia", "b", "2") == data.replace(b"b=1", b"b=2")


def test_last_line_goes_without_waking_the_one_above():
    """A blacklist line without effect keeps its carriage return, other lines lose their ending where the file had no final newline."""
    assert remove_option(b"# x\r\noptions m a=1", "m", "a") == b"# x"
    assert remove_option(b"blacklist x\r\noptions m a=1", "m", "a") == b"blacklist x\r\n"
    assert remove_option(b"blacklist x\noptions m a=1", "m", "a") == b"blacklist x"
    assert remove_option(b"blacklist x # y\r\noptions m a=1", "m", "a") == b"blacklist x # y"
    assert remove_option(b"# x\r\n\r\noptions m a=1", "m", "a") == b"# x\r\n\r\n"
    assert remove_option(b"\noptions m a=1", "m", "a") == b"\n"


def test_refusal_names_the_line_where_the_joined_line_begins():
    """Continuations count as lines, and the first of a joined line is named."""
    data = b"# a \\\n b \\\n c\noptions m \\\n a=1 \\\n # b=2\n"
    with pytest.raises(Unsafe, match=r"^line 4: what looks like a comment"):
        set_option(data, "m", "b", "1")


def test_empty_file_comes_and_goes():
    """What is made of nothing goes back to nothing."""
    assert remove_option(set_option(b"", "nvidia", "a", "1"), "nvidia", "a") == b""
    assert remove_blacklist(add_blacklist(b"", "nouveau"), "nouveau") == b""


@pytest.mark.parametrize(
    ("function", "damage"),
    [
        ("_inserted", lambda text: text.replace("0660", "0661")),
        ("_inserted", lambda text: text.replace("# note", "# not")),
        ("_inserted", lambda text: text.replace("blacklist nouveau\n", "")),
        ("_inserted", lambda text: text.replace("new=1", "new=10")),
        ("_inserted", lambda text: text.replace("options nvidia new=1\n", "") + "options nvidia new=1\n"),
        ("_inserted", lambda text: text.replace("\\\n", "\n")),
        ("_without", lambda text: text.replace("blacklist nouveau", "blacklist nouveau\r")),
        ("_without", lambda text: text.replace("b=2", "")),
        ("_without", lambda text: text + "\n"),
    ],
)
def test_a_wrong_edit_is_found_by_the_check(monkeypatch: pytest.MonkeyPatch, function: str, damage: Any):
    """Whatever else an edit would have changed, a value, a comment or the order, the result is refused."""
    data = b"# note\noptions nvidia a=0660 \\\n  b=2\nblacklist nouveau\n"
    real = getattr(modprobe, function)
    done = []

    def damaged(*words: Any) -> str:
        result = real(*words)
        done.append(damage(result) != result)
        return damage(result)

    monkeypatch.setattr(modprobe, function, damaged)
    with pytest.raises(Unsafe, match="more than was asked"):
        set_option(data, "nvidia", "new", "1") if function == "_inserted" else remove_option(data, "nvidia", "a")
    assert done == [True]


def test_a_reader_that_sees_something_else_stops_the_edit(monkeypatch: pytest.MonkeyPatch):
    """Where the parser the rules use does not see the new value, the file is not edited."""
    monkeypatch.setattr(modprobe, "options", lambda *_: (("a", "2", 1),))
    with pytest.raises(Unsafe, match="more than was asked"):
        set_option(b"", "nvidia", "a", "1")
    with pytest.raises(Unsafe, match="more than was asked"):
        remove_option(b"options nvidia a=1\n", "nvidia", "a")


# Messy files: whole lines, each with the values of module "m" it sets; a line of several is joined by backslashes.
PLAIN = [
    ("# options m new=5", ()),
    ("", ()),
    (" \t", ()),
    ("blacklist m", ()),
    ("blacklist\tnouveau # x", ()),
    ("  # not a comment", ()),
    ("options m ", ()),
    ("options other-m new=7 a=1", ()),
    ("softdep m pre: x", ()),
    ("options m a=1", (("a", "1"),)),
    ("\toptions\tm\ta=2\tb=3 ", (("a", "2"), ("b", "3"))),
    ('options m b="x = \' y" c', (("b", "x = ' y"), ("c", None))),
    ('options  m  "a=1 2"  b=', (("a", "1 2"), ("b", ""))),
    ("options m a=1 a=2 é=ß", (("a", "1"), ("a", "2"), ("é", "ß"))),
    ("\ufeffoptions m a=9", ()),
]
JOINED = [
    ("# x \\\noptions m new=5", ()),
    ("options m \\\n  a=1 \\\n\t b=2", (("a", "1"), ("b", "2"))),
    ("options m c=3 \\\n a=4 b=5 \\\n\\\n c=6", (("c", "3"), ("a", "4"), ("b", "5"), ("c", "6"))),
    ("options m a=\\\n7 b=8", (("a", "7"), ("b", "8"))),
]
Lines = list[tuple[str, tuple[tuple[str, str | None], ...]]]


@st.composite
def files(draw: st.DrawFn) -> tuple[Lines, bytes]:
    """Draw a file: its lines, and its bytes in Unix or, where no line is joined, in Windows or mixed line endings."""
    windows = draw(st.booleans())
    lines = draw(st.lists(st.sampled_from(PLAIN if windows else PLAIN + JOINED), max_size=7))
    text = "".join(line + (draw(st.sampled_from(["\n", "\r\n"])) if windows else "\n") for line, _ in lines)
    if lines and lines[-1][0] and draw(st.booleans()):
        text = text.removesuffix("\n").removesuffix("\r")
    return lines, text.encode()


def meant(data: bytes) -> list[tuple[str, str | None]]:
    """Return the options of module "m" in order, as the editor reads them."""
    lines = modprobe._lines(data.decode())
    return [(word.name, word.value) for line in lines if line.module == "m" for word in line.words]


def others(data: bytes) -> list[modprobe.Meaning]:
    """Return what all lines say that do not set options of module "m"."""
    meanings = [modprobe._meaning(line) for line in modprobe._lines(data.decode())]
    return [each for each in meanings if each[:2] != ("options", "m")]


@settings(max_examples=60, deadline=None)
@given(files())
def test_generated_files_are_read_as_they_were_made(file: tuple[Lines, bytes]):
    """The reading that the check rests on is the one the lines were written with."""
    lines, data = file
    assert meant(data) == [pair for _, pairs in lines for pair in pairs]


@settings(max_examples=60, deadline=None)
@given(files(), st.sampled_from(["1", "a b", ""]))
def test_new_option_comes_and_goes(file: tuple[Lines, bytes], value: str):
    """A new option is all that is new, twice is once, and removing it gives the very bytes."""
    _, data = file
    once = set_option(data, "m", "new", value)
    assert meant(once) == [*meant(data), ("new", value)]
    assert others(once) == others(data)
    left = iter(once)
    assert all(byte in left for byte in data)
    assert set_option(once, "m", "new", value) == once
    assert remove_option(once, "m", "new") == data


@settings(max_examples=60, deadline=None)
@given(files(), st.sampled_from("abc"), st.sampled_from(["9", "8 9"]))
def test_option_is_replaced_where_it_counts(file: tuple[Lines, bytes], name: str, value: str):
    """Only the last of an option changes, at most one line with it, and the old value brings the meaning back."""
    _, data = file
    before = meant(data)
    at = max((number for number, pair in enumerate(before) if pair[0] == name), default=-1)
    once = set_option(data, "m", name, value)
    assert meant(once) == ([*before[:at], (name, value), *before[at + 1 :]] if at >= 0 else [*before, (name, value)])
    assert others(once) == others(data)
    assert set_option(once, "m", name, value) == once
    if at >= 0:
        changed = [line for line in data.split(b"\n") if line not in once.split(b"\n")]
        assert len(changed) <= 1 + (b"a=\\\n7" in data)
        if before[at][1] is not None:
            assert meant(set_option(once, "m", name, before[at][1])) == before


@settings(max_examples=60, deadline=None)
@given(files(), st.sampled_from("abc"))
def test_removed_option_takes_nothing_else(file: tuple[Lines, bytes], name: str):
    """All of an option go, the others stay in their order, and no byte is new."""
    _, data = file
    once = remove_option(data, "m", name)
    assert meant(once) == [pair for pair in meant(data) if pair[0] != name]
    assert others(once) == others(data)
    left = iter(data)
    assert all(byte in left for byte in once)
    assert remove_option(once, "m", name) == once


@settings(max_examples=60, deadline=None)
@given(files())
def test_blacklist_comes_and_goes(file: tuple[Lines, bytes]):
    """A new blacklist line never ends in a carriage return, changes no option, and goes again to the very bytes."""
    _, data = file
    once = add_blacklist(data, "new")
    more = others(once)
    more.remove(("blacklist", "new", ()))
    assert more == others(data)
    assert meant(once) == meant(data)
    assert add_blacklist(once, "new") == once
    assert remove_blacklist(once, "new") == data


@needs_kmod
@settings(max_examples=30, deadline=None)
@given(files(), st.sampled_from("abcn"))
def test_kmod_reads_generated_files_as_the_editor_does(file: tuple[Lines, bytes], name: str):
    """Before and after an edit kmod takes the same lines from a file as the editor."""
    _, data = file
    for each in (data, set_option(data, "m", name, "5"), remove_option(data, "m", name), add_blacklist(data, "m")):
        assert kmod_reads(each) == we_read(each)
