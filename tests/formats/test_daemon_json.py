"""Docker's daemon.json as dockerd reads it: what passes, what is flagged, what is refused and where."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpudoctor.formats import Malformed, daemon_json

CONFIGURED = b"""\
{
    "path": "elsewhere",
    "default-runtime": "nvidia",
    "log-opts": {"runtimes": "{\\"nvidia\\": 1}", "max-size": "10m"},
    "exec-opts": ["native.cgroupdriver=cgroupfs", {"path": 1}],
    "runtimes": {
        "other": {"path": "/usr/bin/crun"},
        "nvidia": {
            "args": [],
            "path": "nvidia-container-runtime"
        }
    }
}
"""


def test_a_configured_file_gives_its_value() -> None:
    """The output of nvidia-ctk is read without any flag."""
    document = daemon_json.parse(CONFIGURED)
    assert document.value["runtimes"]["nvidia"] == {"args": [], "path": "nvidia-container-runtime"}
    assert (document.duplicates, document.bom, document.empty) == ((), False, False)


def test_big_integers_are_kept() -> None:
    """A number beyond 2**53 does not lose digits."""
    assert daemon_json.parse(b'{"shm": 9223372036854775807}').value == {"shm": 9223372036854775807}


@pytest.mark.parametrize("data", [b"", b" \n\t\r\n", b"\xef\xbb\xbf\n"])
def test_a_file_without_content_is_flagged_empty(data: bytes) -> None:
    """Old engines refuse it and new ones take it, so it is no error here."""
    document = daemon_json.parse(data)
    assert (document.value, document.empty) == ({}, True)


@pytest.mark.parametrize(
    "data",
    [b"\xef\xbb\xbf" + b'{"debug": true}', '{"debug": true}'.encode("utf-16")],
    ids=["utf-8", "utf-16"],
)
def test_a_byte_order_mark_is_flagged(data: bytes) -> None:
    """What an editor on Windows writes is read, and told."""
    document = daemon_json.parse(data)
    assert (document.value, document.bom) == ({"debug": True}, True)


def test_duplicate_keys_are_named_and_the_last_wins() -> None:
    """Two blocks of runtimes silently become the second one."""
    document = daemon_json.parse(b'{"runtimes": {"a": {}, "a": {}},\n "debug": true, "runtimes": {"b": {}}}')
    assert document.value == {"runtimes": {"b": {}}, "debug": True}
    assert document.duplicates == ("runtimes.a", "runtimes")


def test_what_go_replaces_is_replaced() -> None:
    """A byte that is not UTF-8 and half a surrogate pair do not stop dockerd, and can be printed."""
    value = daemon_json.parse(b'{"labels": ["caf\xe9", "\\ud800", "\\ud83d\\ude00"]}').value
    assert value["labels"][0] == "caf\ufffd"
    assert value["labels"][2] == "\U0001f600"
    json.dumps(value, ensure_ascii=False).encode()


@pytest.mark.parametrize(
    ("data", "line", "column", "reason"),
    [
        ('{\n  "a": 1,\n}', 2, 9, "a comma before the closing brace"),
        ('{"a": [1, 2,\n ]}', 1, 12, "a comma before the closing bracket"),
        ('{\n  "a": 1\n  "b": 2\n}', 3, 3, "a comma is missing before this"),
        ('{\n  // gpu\n  "a": 1}', 2, 3, "a comment, which JSON does not have"),
        ('{"a": 1, # gpu\n "b": 2}', 1, 10, "a comment, which JSON does not have"),
        ('{"a": 1} /* end */', 1, 10, "a comment, which JSON does not have"),
        ('{"a": {}}\n{"b": {}}\n', 2, 1, "a second object after the first one"),
        ('{"a": {}}\n}', 2, 1, "one closing brace too many"),
        ('{"a": {}} x', 1, 11, "something after the closing brace"),
        (
            "{\n  “default-runtime”: “nvidia”\n}",
            2,
            3,
            "a typographic quote, where JSON needs a straight double quote",
        ),
        ('{"a": „b“}', 1, 7, "a typographic quote, where JSON needs a straight double quote"),
        ("{'a': 1}", 1, 2, "a single quote, where JSON needs a double quote"),
        ("<!DOCTYPE html>\n<html>", 1, 1, "this is HTML, not JSON"),
        ('["a"]', 1, 1, "the file must hold one object in braces"),
        ("null", 1, 1, "the file must hold one object in braces"),
        ("default-runtime=nvidia", 1, 1, "the file must hold one object in braces"),
        ('{"a": NaN}', 1, 7, "a number that JSON does not have"),
        ('{"NaN": "NaN",\n "b": -Infinity}', 2, 7, "a number that JSON does not have"),
        ('{"a": 1', 1, 8, "the file ends before its closing brace"),
        ('{"a": {"b": 1}\n', 2, 1, "the file ends before its closing brace"),
        ('{"a": [1}', 1, 9, "a closing brace that does not fit the one that was opened"),
        ('{"a" 1}', 1, 6, "a colon is missing after the name"),
        ("{a: 1}", 1, 2, "a name that does not stand in double quotes"),
        (
            '{"a": True}',
            1,
            7,
            "no value JSON knows: text needs double quotes, yes and no are spelt true and false",
        ),
        ('{"a": "b}', 1, 7, "a double quote that is never closed"),
        ('{"a": "b\n"}', 1, 9, "a line break or control character inside quotes"),
        ('{"a": "C:\\dir"}', 1, 10, "a backslash that means nothing in JSON"),
        ('{"a": \0}', 1, 7, "bytes that are not text"),
    ],
)
def test_what_dockerd_refuses_has_a_place_and_a_plain_reason(data: str, line: int, column: int, reason: str) -> None:
    """Each broken file says where and why, in the same words under every Python."""
    with pytest.raises(Malformed) as caught:
        daemon_json.parse(data.encode())
    assert (caught.value.line, caught.value.column, caught.value.reason) == (line, column, reason)


@pytest.mark.parametrize(
    "data",
    [b'{"a":' * 50000, b"[" * 200000, b'{"a": ' + b"9" * 10000 + b"}", b"\x7fELF\x02\x01", b"\xff" * 9],
)
def test_hostile_files_are_malformed(data: bytes) -> None:
    """Deep nesting, endless numbers and binary files are refused, and looking for a line in them ends."""
    daemon_json.line_of(data, "a.a")
    with pytest.raises(Malformed):
        daemon_json.parse(data)


@pytest.mark.parametrize(
    ("key", "line"),
    [
        ("path", 2),
        ("runtimes", 6),
        ("runtimes.nvidia", 8),
        ("runtimes.nvidia.path", 10),
        ("runtimes.other.path", 7),
        ("exec-opts", 5),
        ("exec-opts.1.path", 5),
        ("log-opts.max-size", 4),
        ("nvidia", None),
        ("runtimes.path", None),
        ("log-opts.runtimes.nvidia", None),
    ],
)
def test_the_line_of_a_key_is_found_by_its_path(key: str, line: int | None) -> None:
    """A key of the same name elsewhere, or in a string, is not taken."""
    assert daemon_json.line_of(CONFIGURED, key) == line


def test_the_line_of_a_key_with_dots_escapes_or_a_twin() -> None:
    """A name may hold dots or escapes, and of two the last is in force."""
    data = b'{"runtimes": {\n"io.containerd.runc.v2": {}},\n"d\\u0065bug": true,\n"debug": false}'
    assert daemon_json.line_of(data, "runtimes.io.containerd.runc.v2") == 2
    assert daemon_json.line_of(data, "debug") == 4


@given(st.one_of(st.binary(), st.text(alphabet='{}[]:,"\\/ \nau1').map(str.encode)))
def test_random_bytes_never_raise_anything_else(data: bytes) -> None:
    """Whatever the file holds, the only error is Malformed, and it has a reason."""
    daemon_json.line_of(data, "a")
    try:
        daemon_json.parse(data)
    except Malformed as error:
        assert error.reason  # noqa: PT017 - either outcome is fine


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(st.text(), st.recursive(st.integers(), lambda of: st.lists(of) | st.dictionaries(st.text(), of))))
def test_any_object_is_read_back(value: dict[str, object]) -> None:
    """What json writes is read as it was, and each key at the top has a line."""
    data = json.dumps(value, indent=1).encode()
    document = daemon_json.parse(data)
    assert document.duplicates == ()
    assert document.value == json.loads(json.dumps(value).encode())
    for key in document.value:
        assert daemon_json.line_of(data, key) is not None
