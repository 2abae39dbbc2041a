"""/etc/os-release."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gpudoctor.formats import osrelease


def test_values_are_unquoted() -> None:
    """Bare, single and double quotes, escapes, comments and CRLF."""
    data = (
        b'# who\nID=ubuntu\nVERSION_ID="22.04"\r\nNAME=\'Pop!_OS\'\nPRETTY_NAME="a \\"b\\" \\$c \\\\d"\n'
        b'ID_LIKE=\n VARIANT=x \nbroken\n2X=1\nID=debian\nHALF="open\n'
    )
    assert osrelease.parse(data) == {
        "ID": "debian",
        "VERSION_ID": "22.04",
        "NAME": "Pop!_OS",
        "PRETTY_NAME": 'a "b" $c \\d',
        "ID_LIKE": "",
        "VARIANT": "x",
        "HALF": '"open',
    }


@given(st.one_of(st.binary(), st.text(alphabet="A='\"\\\n ").map(str.encode)))
def test_random_bytes_never_raise(data: bytes) -> None:
    """What is no assignment is skipped."""
    osrelease.parse(data)
    osrelease.parse(b"A=" + data)
