"""systemd units and drop-ins."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpudoctor.formats import unit
from gpudoctor.formats.unit import ExecLine

UNIT = "/lib/systemd/system/docker.service"
DROP_IN = "/etc/systemd/system/docker.service.d/override.conf"
SERVICE = b"""\
[Unit]
ExecStart=/not/this
[Service]
Type=notify
# ExecStart=/nor/this
ExecStart=-/usr/bin/dockerd -H fd:// \\
; a comment between
    --exec-opt native.cgroupdriver=cgroupfs
Environment="HTTP_PROXY=http://p:1/a b" NO_PROXY=localhost
broken line
[Install]
WantedBy=multi-user.target
"""


def test_the_command_of_a_service() -> None:
    """The prefix is dropped, the line goes on, and other sections do not count."""
    argv = ("/usr/bin/dockerd", "-H", "fd://", "--exec-opt", "native.cgroupdriver=cgroupfs")
    assert unit.exec_start([(UNIT, SERVICE)]) == (ExecLine(argv, UNIT, 6),)


def test_an_empty_assignment_resets() -> None:
    """A drop-in that clears ExecStart first replaces it; one that does not adds a second."""
    replacing = b"[Service]\nExecStart=\nExecStart=/usr/bin/dockerd --debug\n"
    adding = b"[Service]\r\nExecStart=/bin/true\r\n"
    assert unit.exec_start([(UNIT, SERVICE), (DROP_IN, replacing)]) == (ExecLine(("/usr/bin/dockerd", "--debug"), DROP_IN, 3),)
    assert [e.path for e in unit.exec_start([(UNIT, SERVICE), (DROP_IN, adding)])] == [UNIT, DROP_IN]


@pytest.mark.parametrize(
    ("value", "argv"),
    [
        ("+-/bin/sh -c 'a \"b\" c' x", ("/bin/sh", "-c", 'a "b" c', "x")),
        ("@/usr/sbin/apache2 httpd -k start", ("/usr/sbin/apache2", "-k", "start")),
        ('/bin/echo "" a\\ b "c\\"d"', ("/bin/echo", "", "a b", 'c"d')),
        ('/bin/echo "open to the end', ("/bin/echo", "open to the end")),
        ("/usr/bin/x %i $OPTS", ("/usr/bin/x", "%i", "$OPTS")),
    ],
)
def test_words_of_a_command(value: str, argv: tuple[str, ...]) -> None:
    """Quotes, escapes and the signs before the program are read as systemd reads them."""
    assert unit.exec_start([(UNIT, f"[Service]\nExecStart={value}\n".encode())])[0].argv == argv


def test_settings_of_a_section() -> None:
    """Each has its line, and a value may hold equals signs."""
    assert unit.settings(b"[Path]\nPathChanged = /a=b\n\nPathChanged=/c\n[X]\nY=1", "Path") == (
        ("PathChanged", "/a=b", 2),
        ("PathChanged", "/c", 4),
    )


def test_the_environment_of_a_service() -> None:
    """Quotes protect spaces, later files win, and an empty line clears."""
    later = (DROP_IN, b"[Service]\nEnvironment=NO_PROXY=*.lan 'X=1 2'\n")
    assert unit.environment([(UNIT, SERVICE), later]) == {
        "HTTP_PROXY": "http://p:1/a b",
        "NO_PROXY": "*.lan",
        "X": "1 2",
    }
    assert unit.environment([(UNIT, SERVICE), (DROP_IN, b"[Service]\nEnvironment=\n")]) == {}


@given(st.one_of(st.binary(), st.text(alphabet="\\\"' \n[]=#@-").map(str.encode)))
def test_random_bytes_never_raise(data: bytes) -> None:
    """What systemd would skip is skipped."""
    files = [
        (UNIT, data),
        (DROP_IN, b"[Service]\nExecStart=" + data),
        (DROP_IN, b"[Service]\nEnvironment=" + data),
    ]
    unit.exec_start(files)
    unit.environment(files)
