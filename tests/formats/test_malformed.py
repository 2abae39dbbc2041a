"""The one error of the parsers, and how text is decoded."""

from __future__ import annotations

import copy
import pickle

import pytest

from gpudoctor.formats import Malformed, position, strict, text


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (Malformed("a comma is missing", 3, 14), "line 3, column 14: a comma is missing"),
        (Malformed("a comma is missing", 3), "line 3: a comma is missing"),
        (Malformed("not a cache"), "not a cache"),
    ],
)
def test_malformed_says_as_much_of_the_place_as_is_known(error: Malformed, said: str) -> None:
    """The words name line and column only where they are known."""
    assert str(error) == said


def test_malformed_survives_pickling_and_copying() -> None:
    """An error that crosses a process keeps its place and its reason."""
    error = Malformed("a quote that is never closed", 2, 7, "/etc/default/grub")
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert (again.reason, again.line, again.column, again.path) == (
            "a quote that is never closed",
            2,
            7,
            "/etc/default/grub",
        )


def test_text_replaces_what_is_not_utf8() -> None:
    """A line-oriented file can always be printed."""
    assert text(b"NVRM: \xff\xfe ok") == "NVRM: \ufffd\ufffd ok"


def test_strict_names_the_first_bad_byte() -> None:
    """A byte in Latin-1 is refused with its place."""
    with pytest.raises(Malformed) as caught:
        strict("one\nzwei ü\n".encode() + b"tr\xe8s")
    assert (caught.value.line, caught.value.column) == (3, 3)


def test_position_counts_from_one() -> None:
    """The first character is line 1, column 1, and an offset past the end is the end."""
    assert position("ab\ncd", 0) == (1, 1)
    assert position("ab\ncd", 4) == (2, 2)
    assert position("ab\ncd", 99) == (2, 3)
