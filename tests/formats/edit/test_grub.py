"""The editor of GRUB's files: the exact change of many messy ones, and that nothing but the argument ever comes or goes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpudoctor.fix.diff import unified
from gpudoctor.formats import Malformed, cmdline, grub
from gpudoctor.formats.edit import Unsafe
from gpudoctor.formats.edit.grub import DROP_IN, MAIN, add_argument, remove_argument
from tests import edits

if TYPE_CHECKING:
    from pathlib import Path

ARGUMENT = "systemd.unified_cgroup_hierarchy=0"
NAME = "systemd.unified_cgroup_hierarchy"


def files_of(data: bytes) -> tuple[tuple[str, bytes], ...]:
    """Return the files that a fixture holds: the main one, and each drop-in below a line ``### its path``."""
    main, *rest = data.split(b"### ")
    drop_ins = (part.partition(b"\n") for part in rest)
    return ((MAIN, main), *((path.decode(), body) for path, _, body in drop_ins))


def asked(path: Path, words: list[str]) -> bytes:
    """Return what comes of an ask, in the form that the expectation has."""
    files = files_of(path.read_bytes())
    bash = words[0].endswith("-bash")
    try:
        if words[0].startswith("add"):
            changed = [add_argument(files, words[2], style=words[1], bash=bash)]
        else:
            changed = list(remove_argument(files, words[1], value=words[2] if len(words) > 2 else None, bash=bash))
    except Unsafe as unsafe:
        return f"refused: {unsafe}\n".encode()
    except Malformed as malformed:
        return f"malformed: {malformed}\n".encode()
    before = dict(files)
    return b"".join(unified(name, before.get(name), after) for name, after in changed) or b"unchanged\n"


@pytest.mark.parametrize(("path", "words", "expected"), edits.cases("grub"))
def test_the_change_is_exactly_the_expected_one(path, words, expected):
    """Each messy file changes as its neighbour says, byte for byte."""
    assert asked(path, words) == expected


def line(files):
    """Return the words on the kernel line, as grub-mkconfig puts them: GRUB_CMDLINE_LINUX, then the default ones."""
    both = (grub.effective(files, name) for name in ("GRUB_CMDLINE_LINUX", "GRUB_CMDLINE_LINUX_DEFAULT"))
    return cmdline.parse(" ".join(each.value or "" for each in both))


def changed_files(files, changes):
    """Return the files after changes, sorted as grub-mkconfig sources them."""
    known = {**dict(files), **dict(changes)}
    return tuple(
        sorted(((path, data) for path, data in known.items() if data is not None), key=lambda each: (each[0] != MAIN, each[0]))
    )


WORD = st.sampled_from(
    ["quiet", "splash", "nomodeset", "console=ttyS0", "pci=realloc", "systemd.unified_cgroup_hierarchy=1", "a.b=c,d"]
)
VALUE = st.lists(WORD, max_size=4).map(" ".join)
ASSIGNMENT = st.builds(
    lambda name, value, quote, before, after: f"{before}{name}={quote}{value}{quote}{after}",
    st.sampled_from(["GRUB_CMDLINE_LINUX", "GRUB_CMDLINE_LINUX_DEFAULT", "GRUB_TIMEOUT_STYLE"]),
    VALUE,
    st.sampled_from(['"', "'"]),
    st.sampled_from(["", "export ", "  ", "\t"]),
    st.sampled_from(["", " # why", "   "]),
)
OTHER = st.sampled_from(
    ["# a comment", "", "GRUB_TIMEOUT=5", '#GRUB_CMDLINE_LINUX_DEFAULT="quiet"', "GRUB_TERMINAL=console; GRUB_DEFAULT=0"]
)
CONTENT = st.tuples(st.lists(st.one_of(ASSIGNMENT, OTHER), max_size=6), st.sampled_from(["\n", "\r\n"]), st.booleans()).map(
    lambda made: (made[1].join(made[0]) + (made[1] if made[2] else "")).encode()
)
FILES = st.tuples(CONTENT, st.lists(CONTENT, max_size=2)).map(
    lambda made: ((MAIN, made[0]), *((f"/etc/default/grub.d/{at}0-x.cfg", data) for at, data in enumerate(made[1])))
)


@settings(max_examples=60, deadline=None)
@given(FILES, st.sampled_from(["main", "drop-in"]))
def test_an_argument_comes_last_and_nothing_else_changes(files, style):
    """Added, the argument is the last word; added again, nothing changes; all other words and settings stay."""
    try:
        path, data = add_argument(files, ARGUMENT, style=style)
    except Unsafe:
        assert style == "main"
        return
    after = changed_files(files, [(path, data)])
    if after == changed_files(files, []):
        assert cmdline.values(line(files), NAME)[-1] == "0"
        return
    assert line(after) == (*line(files), (NAME, "0"))
    again, same = add_argument(after, ARGUMENT, style=style)
    assert dict(after)[again] == same
    back = changed_files(after, remove_argument(after, NAME, value="0"))
    if style == "drop-in":
        assert back == changed_files(files, [])
    assert line(back) == line(files)


@settings(max_examples=60, deadline=None)
@given(FILES)
def test_what_is_removed_is_gone_and_all_else_stays(files):
    """Removed, no such argument is left on the kernel line, and every other word is."""
    after = changed_files(files, remove_argument(files, NAME))
    assert line(after) == tuple(word for word in line(files) if word[0] != NAME)
    assert remove_argument(after, NAME) == ()


def test_our_own_drop_in_goes_when_it_is_empty():
    """What was added as a drop-in and taken away leaves no file behind."""
    files = ((MAIN, b'GRUB_CMDLINE_LINUX_DEFAULT="quiet"\n'),)
    path, data = add_argument(files, ARGUMENT, style="drop-in")
    assert path == DROP_IN
    assert remove_argument((*files, (path, data)), NAME) == ((DROP_IN, None),)


@pytest.mark.parametrize("argument", ["", "a b", "x=$(reboot)", 'a="b"', "a;b", "a\\b", "a`b`"])
def test_an_argument_that_needs_quotes_is_refused(argument):
    """Nothing that a shell could take for more than a word is ever written."""
    with pytest.raises(Unsafe):
        add_argument(((MAIN, b""),), argument, style="main")
