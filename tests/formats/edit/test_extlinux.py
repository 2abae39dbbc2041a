"""One kernel argument of the default entry of extlinux.conf added or taken out, every other byte kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpudoctor.formats.edit import Unsafe, cmdline
from gpudoctor.formats.edit.extlinux import add_argument, remove_argument
from tests.edits import cases, outcome

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NAME = "systemd.unified_cgroup_hierarchy"
V1 = f"{NAME}=0"
JETSON = (
    f"DEFAULT one\n\nLABEL two\n  LINUX /boot/B\n  APPEND ro {V1}\nLABEL one\n  LINUX /boot/Image\n  APPEND ro quiet\n# end\n"
)


def asked(data: bytes, words: list[str]) -> bytes:
    """Do what the first line of an expectation asks: add an argument, or remove a name with any value or with one."""
    if words[0] == "add":
        return add_argument(data, words[1])
    assert words[0] == "remove"
    return remove_argument(data, words[1], value=words[2] if len(words) > 2 else None)


@pytest.mark.parametrize(("path", "words", "expected"), [each for each in cases("bootline") if each.values[0].suffix == ".conf"])  # type: ignore[union-attr]
def test_fixture(path: Path, words: list[str], expected: bytes):
    """Each messy file changes exactly as its expectation says, and asking again changes nothing more."""
    assert outcome(path, lambda data: asked(data, words)) == expected
    if not expected.startswith(b"refused: "):
        once = asked(path.read_bytes(), words)
        assert asked(once, words) == once


def test_only_the_default_entry_is_changed():
    """Another entry has the argument or not: it stays as it is, so that there is something to fall back to."""
    once = add_argument(JETSON.encode(), V1).decode()
    assert once == JETSON.replace("ro quiet", f"ro quiet {V1}")
    assert remove_argument(once.encode(), NAME).decode() == JETSON
    assert remove_argument(JETSON.encode(), NAME).decode() == JETSON
    other = JETSON.replace("DEFAULT one", "DEFAULT two").encode()
    assert add_argument(other, V1) == other
    assert remove_argument(other, NAME, value="0") == other.replace(f" {V1}".encode(), b"")
    assert remove_argument(other, NAME, value="1") == other


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("DEFAULT one\n", "\n", 0),
        ("DEFAULT one\n", "DEFAULT one\nDEFAULT two\n", 2),
        ("DEFAULT one\n", "DEFAULT ONE\n", 1),
        ("DEFAULT one\n", "\ufeffDEFAULT one\n", 0),
        ("  LINUX /boot/B\n", "  menu  default\n", 4),
        ("LABEL two\n", "LABEL one\n", 6),
        ("LABEL one\n", "LABEL one\n  append ro\n", 9),
        ("  APPEND ro quiet\n", "", 1),
        ("ro quiet", "ro # quiet", 8),
        ("ro quiet", "ro quiet \\", 8),
        ("ro quiet", 'ro "quiet', 8),
        ("ro quiet", "ro\u2003quiet", 8),
        ("ro quiet", "-", 8),
        ("ro quiet", "", 8),
        ("# end", "\0", 0),
    ],
)
def test_what_readers_may_not_agree_on_is_refused(old: str, new: str, line: int):
    """Each of these keeps both verbs away, with the line that is to blame."""
    assert JETSON.count(old) == 1
    for verb in (lambda data: add_argument(data, "a=1"), lambda data: remove_argument(data, "quiet")):
        with pytest.raises(Unsafe) as caught:
            verb(JETSON.replace(old, new).encode())
        assert caught.value.line == line


def test_argument_that_needs_quotes_is_refused():
    """Only what means the same to every reader is written."""
    for argument in ("", "a b", "a#b", 'a="b"', "a\nLABEL x", "${a}"):
        with pytest.raises(Unsafe, match="no argument that can be written without quotes"):
            add_argument(JETSON.encode(), argument)


@pytest.mark.parametrize(
    "damage",
    [
        lambda line: line + "\n  APPEND x",
        lambda line: line + "\nLABEL three",
        lambda line: line + "\n  INITRD /x",
        lambda line: line + " # comment",
        lambda line: line + " ",
        lambda line: line + "\n# comment",
    ],
)
@pytest.mark.parametrize("function", ["extended", "without"])
def test_a_wrong_edit_is_found_by_the_check(monkeypatch: pytest.MonkeyPatch, function: str, damage: Callable[[str], str]):
    """Arguments that would change more of the file than themselves are refused."""
    real = getattr(cmdline, function)
    monkeypatch.setattr(cmdline, function, lambda *words: damage(real(*words)))
    edit: dict[str, Callable[[], Any]] = {
        "extended": lambda: add_argument(JETSON.encode(), V1),
        "without": lambda: remove_argument(JETSON.encode(), "quiet"),
    }
    with pytest.raises(Unsafe):
        edit[function]()


INDENTS = st.sampled_from(["", "  ", "\t", "      "])
NOISE = [
    "",
    "# APPEND quiet",
    "TIMEOUT 30",
    "MENU TITLE boot options",
    "  INITRD /boot/initrd",
    "\tFDT /boot/dtb",
    "#LABEL one",
    " ",
    "UI menu.c32",
]


@st.composite
def files(draw: st.DrawFn) -> tuple[bytes, str, str]:
    """Draw a file of several entries; return it, the line of the default entry's arguments, and how lines end."""
    labels = draw(st.lists(st.sampled_from(["primary", "backup", "Primary", "jp 5.1"]), min_size=1, max_size=3, unique=True))
    default = draw(st.sampled_from(labels))
    lines = [*draw(st.lists(st.sampled_from(NOISE), max_size=3)), draw(st.sampled_from(["DEFAULT ", "default\t"])) + default]
    marked = ""
    for label in labels:
        lines += draw(st.lists(st.sampled_from(NOISE), max_size=2))
        lines.append(draw(st.sampled_from(["LABEL ", "label  "])) + label + draw(st.sampled_from(["", " "])))
        lines += draw(st.lists(st.sampled_from(NOISE), max_size=3))
        words = draw(
            st.lists(st.sampled_from(["quiet", "${cbootargs}", "root=/dev/mmcblk0p1", 'a="b c"', f"{NAME}=1"]), max_size=4)
        )
        gap = draw(st.sampled_from([" ", "\t", "  "]))
        line = draw(INDENTS) + draw(st.sampled_from(["APPEND ", "append\t"])) + gap.join(["ro", *words])
        lines.append(line)
        marked = line if label == default else marked
    ending = draw(st.sampled_from(["\n", "\r\n"]))
    return (ending.join(lines) + draw(st.sampled_from(["", ending]))).encode(), marked, ending


@settings(max_examples=60, deadline=None)
@given(files())
def test_argument_comes_alone_and_goes_again(file: tuple[bytes, str, str]):
    """Only the default entry's line grows at its end, twice is once, and taking it out gives the very bytes."""
    data, line, ending = file
    once = add_argument(data, V1)
    old, new = data.decode().split(ending), once.decode().split(ending)
    changed = [(before, after) for before, after in zip(old, new, strict=True) if before != after]
    assert len(changed) == 1
    before, after = changed[0]
    assert before == line
    assert after in {f"{line} {V1}", f"{line}\t{V1}"}
    assert add_argument(once, V1) == once
    assert remove_argument(once, NAME, value="0") == data
