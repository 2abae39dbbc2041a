"""A line of kernel arguments with one added or taken out, every other byte kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpudoctor.formats.cmdline import parse, values
from gpudoctor.formats.edit import Unsafe, cmdline
from gpudoctor.formats.edit.cmdline import add_argument, remove_argument, spans
from tests.edits import cases, outcome

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NAME = "systemd.unified_cgroup_hierarchy"
V1 = f"{NAME}=0"


def asked(data: bytes, words: list[str]) -> bytes:
    """Do what the first line of an expectation asks: add an argument, or remove a name with any value or with one."""
    if words[0] == "add":
        return add_argument(data, " ".join(words[1:]))
    assert words[0] == "remove"
    return remove_argument(data, words[1], value=words[2] if len(words) > 2 else None)


@pytest.mark.parametrize(("path", "words", "expected"), [each for each in cases("bootline") if each.values[0].suffix == ".txt"])  # type: ignore[union-attr]
def test_fixture(path: Path, words: list[str], expected: bytes):
    """Each messy file changes exactly as its expectation says, and asking again changes nothing more."""
    assert outcome(path, lambda data: asked(data, words)) == expected
    if not expected.startswith(b"refused: "):
        once = asked(path.read_bytes(), words)
        assert asked(once, words) == once


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("{} a", "a"),
        ("a {}", "a"),
        ("a {} b", "a b"),
        ("a  {}\t b", "a\t b"),
        (" {} a ", " a "),
        ("{} {} a", "a"),
        ("a {} {} b {}", "a b"),
        ("a\t{}\r\n", "a\r\n"),
        ("{}", ""),
        ('a "b {}"', 'a "b {}"'),
        ('"{}" a', "a"),
    ],
)
def test_space_goes_with_the_argument(before: str, after: str):
    """The space before it goes, or behind it at the start, and what parts the other arguments stays."""
    data = before.format(*[V1] * 3).encode()
    wanted = after.format(V1).encode()
    assert remove_argument(data, NAME) == wanted
    assert remove_argument(data, NAME, value="0") == wanted
    assert remove_argument(data, NAME, value="1") == data


@pytest.mark.parametrize("argument", ["", "=1", "a b", "a=$b", 'a="b"', "a\\", "a;b", "a#", "-", "--", "ü=1", "a=\n"])
def test_argument_that_needs_quotes_is_refused(argument: str):
    """Only what means the same to every reader of a boot configuration is written, also where there is nothing to write it to."""
    for data in (b"", b"quiet\n"):
        with pytest.raises(Unsafe, match="no argument that can be written without quotes"):
            add_argument(data, argument)


def test_the_last_word_about_a_name_counts():
    """An argument that is there holds unless another value stands behind it; a bare name is another value."""
    assert add_argument(b"a=1 b", "a=1") == b"a=1 b"
    assert add_argument(b"a=1 a=2 b", "a=1") == b"a=1 a=2 b a=1"
    assert add_argument(b"a=1 a b", "a=1") == b"a=1 a b a=1"
    assert add_argument(b"a b", "a") == b"a b"
    assert add_argument(b"a-b=1 c", "a_b=1") == b"a-b=1 c"


@pytest.mark.parametrize(
    ("function", "damage", "verb"),
    [
        ("gap", lambda _: "", "add"),
        ("gap", lambda _: " a=1 ", "add"),
        ("spans", lambda found: found[:-1], "add"),
        ("spans", lambda found: [(start, end - 1) for start, end in found], "add"),
        ("spans", lambda found: found[:1] + found[2:], "remove"),
        ("spans", lambda found: [found[0], (found[1][0], found[1][1] - 2), *found[2:]], "remove"),
        ("meant", lambda found: not found, "remove"),
        ("meant", lambda _: True, "remove"),
    ],
)
def test_a_wrong_edit_is_found_by_the_check(
    monkeypatch: pytest.MonkeyPatch, function: str, damage: Callable[[Any], Any], verb: str
):
    """Where a place, a gap or a word was mistaken, the result is refused."""
    data = f"root=/dev/sda1 quiet {V1} splash\n".encode()
    real = getattr(cmdline, function)
    monkeypatch.setattr(cmdline, function, lambda *words: damage(real(*words)))
    with pytest.raises(Unsafe, match=r"would (not be|lose)"):
        asked(data, ["add", "a=1"] if verb == "add" else ["remove", NAME])


WORDS = st.sampled_from(
    [
        "quiet",
        "root=UUID=1-2",
        f"{NAME}=1",
        'a="b c"',
        '"d e=f"',
        "=",
        '""',
        "x=é",
        "\udcff",
        f'z="{V1} y"',
        "#1",
        "a-b",
        f"my{V1}",
    ]
)
GAPS = st.sampled_from([" ", "  ", "\t", " \t "])
ENDS = st.sampled_from(["", "\n", "\r\n", " \n", "\n\n", "\t\r\n"])


@st.composite
def lines(draw: st.DrawFn) -> bytes:
    """Draw a file of one line with odd space."""
    line = draw(st.sampled_from(["", " "])) + "ro"
    for word in draw(st.lists(WORDS, max_size=6)):
        line += draw(GAPS) + word
    return (line + draw(ENDS)).encode("utf-8", "surrogateescape")


@settings(max_examples=60, deadline=None)
@given(lines())
def test_argument_comes_last_and_goes_again(data: bytes):
    """One argument more is all that is new, twice is once, and taking it out gives the very bytes."""
    text = data.decode("utf-8", "surrogateescape")
    once = add_argument(data, V1)
    after = parse(once.decode("utf-8", "surrogateescape"))
    assert after == (*parse(text), (NAME, "0"))
    assert len(once) == len(data) + len(V1) + 1
    assert add_argument(once, V1) == once
    assert remove_argument(once, NAME, value="0") == data


@settings(max_examples=60, deadline=None)
@given(lines(), st.sampled_from([NAME, "quiet", "a", "a_b", "root", "absent"]))
def test_argument_taken_out_leaves_the_others(data: bytes, name: str):
    """No word of it is left, the others stay in order, and only its bytes and one gap for each go."""
    before = parse(data.decode("utf-8", "surrogateescape"))
    once = remove_argument(data, name)
    kept = tuple(each for each in before if not values((each,), name))
    assert parse(once.decode("utf-8", "surrogateescape")) == kept
    left = iter(data)
    assert all(byte in left for byte in once)
    assert (once == data) == (kept == before)
    assert remove_argument(once, name) == once


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet='ab="- \t\n\r\x0b#é\\', max_size=24))
def test_places_agree_with_the_parser(text: str):
    """The words at the places found mean what the parser makes of the whole line, an unclosed quote reaching to the end."""
    found = [text[start:end] for start, end in spans(text)]
    assert tuple(parse(word)[0] for word in found) == parse(text)
    assert "".join(found).replace(" ", "") == "".join(text.split()).replace(" ", "") or '"' in text
