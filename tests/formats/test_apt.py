"""APT's package sources in both forms."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpudoctor.formats import Malformed, apt
from gpudoctor.formats.apt import Source

LIST = "/etc/apt/sources.list.d/nvidia-container-toolkit.list"
SOURCES = "/etc/apt/sources.list.d/cuda.sources"
TOOLKIT = "https://nvidia.github.io/libnvidia-container/stable/deb/$(ARCH)"


def test_one_line_sources() -> None:
    """Options may be spaced, a commented source is disabled, and prose in comments is no source."""
    data = f"""\
# See sources.list(5). The deb lines below are ours.
deb [ arch=amd64 signed-by=/usr/share/keyrings/nvidia.gpg ] {TOOLKIT} /
#deb [signed-by=/usr/share/keyrings/nvidia.gpg] {TOOLKIT}/experimental /
# deb http://old.example jammy main # disabled on upgrade to noble

deb-src http://deb.example/debian bookworm main contrib # source
deb\thttp://deb.example/debian bookworm main\r
"""
    key = "/usr/share/keyrings/nvidia.gpg"
    assert apt.parse(LIST, data.encode()) == (
        Source(LIST, 2, TOOLKIT, "/", key, enabled=True),
        Source(LIST, 3, f"{TOOLKIT}/experimental", "/", key, enabled=False),
        Source(LIST, 4, "http://old.example", "jammy", None, enabled=False),
        Source(LIST, 6, "http://deb.example/debian", "bookworm", None, enabled=True),
        Source(LIST, 7, "http://deb.example/debian", "bookworm", None, enabled=True),
    )


def test_deb822_sources() -> None:
    """Every address comes with every suite, a key may stand inside, and a stanza can be switched off."""
    data = b"""\
# Modernized by hand
Types: deb deb-src
URIs: http://a.example/debian http://b.example/debian
Suites: trixie trixie-updates
# in between
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

enabled: no
types: deb
uris: http://c.example
suites: /
signed-by:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 mQINBF
 -----END PGP PUBLIC KEY BLOCK-----
"""
    key = "/usr/share/keyrings/debian-archive-keyring.gpg"
    assert apt.parse(SOURCES, data) == (
        Source(SOURCES, 2, "http://a.example/debian", "trixie", key, enabled=True),
        Source(SOURCES, 2, "http://a.example/debian", "trixie-updates", key, enabled=True),
        Source(SOURCES, 2, "http://b.example/debian", "trixie", key, enabled=True),
        Source(SOURCES, 2, "http://b.example/debian", "trixie-updates", key, enabled=True),
        Source(SOURCES, 9, "http://c.example", "/", "inline", enabled=False),
    )


def test_an_empty_file_has_no_sources() -> None:
    """Neither form needs any content."""
    assert apt.parse(LIST, b"\n") == ()
    assert apt.parse(SOURCES, b"") == ()


@pytest.mark.parametrize(
    ("path", "data", "line", "reason"),
    [
        (LIST, b"\n<!doctype html>\n<html>", 2, "HTML where a line must begin with deb or deb-src"),
        (
            LIST,
            b"# Unsupported\nUnsupported distribution!\n",
            2,
            "a line that begins with neither deb nor deb-src",
        ),
        (LIST, b"deb http://a.example\n", 1, "a source without an address or without a suite"),
        (LIST, b"deb [signed-by=/k http://a.example /\n", 1, "options without their closing bracket"),
        (SOURCES, b"<!doctype html>\n", 1, "a line that is neither a field nor its continuation"),
        (SOURCES, b"\n continued\n", 2, "a line that continues nothing"),
        (SOURCES, b"\nTypes: deb\nURIs: http://a.example\n", 2, "a source without Types, URIs or Suites"),
    ],
)
def test_what_apt_refuses_is_malformed(path: str, data: bytes, line: int, reason: str) -> None:
    """A saved error page and incomplete sources are told with their line."""
    with pytest.raises(Malformed) as caught:
        apt.parse(path, data)
    assert (caught.value.line, caught.value.reason) == (line, reason)


@given(
    st.one_of(st.binary(), st.text(alphabet="deb [=]:#\n/").map(str.encode)),
    st.sampled_from([b"", b"deb ", b"Types: "]),
    st.sampled_from([LIST, SOURCES]),
)
def test_random_bytes_never_raise_anything_else(data: bytes, before: bytes, path: str) -> None:
    """Whatever the file holds, the only error is Malformed, and it has a line."""
    try:
        apt.parse(path, before + data)
    except Malformed as error:
        assert error.line  # noqa: PT017 - either outcome is fine
