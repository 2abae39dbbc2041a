"""Each edited daemon.json given to a real dockerd: what it takes before the edit it takes after it, and what it cannot read is not edited."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from gpudoctor.formats import Malformed
from gpudoctor.formats.edit import Unsafe
from tests.edits import FOLDER
from tests.formats.edit.test_daemon_json import asked
from tests.lab.world import NEWER_DOCKER, missing, needs

if TYPE_CHECKING:
    from pathlib import Path

# Where Docker keeps anything is empty memory of this one process. As another user dockerd reads its configuration, and ends
# before it makes a file: it asks for root next.
READ = (
    "mount -t tmpfs none /run && mount -t tmpfs none /var/lib && cp {file} /run/daemon.json && chmod 644 /run/daemon.json && "
    "exec setpriv --reuid 65534 --regid 65534 --clear-groups {program} --config-file /run/daemon.json"
)
UNREAD = (
    "invalid character",
    "unexpected end of JSON input",
    "unexpected EOF",
    ": EOF",
    "invalid UTF-8",
    "cannot unmarshal array",
)
UNKNOWN = "directives don't match any configuration option: "
ENGINES = ["installed", "newer"]


def engine(which: str) -> str:
    """Return the command that reads a configuration and starts nothing; skip where this engine is not here."""
    needs("unshare", "setpriv", *["dockerd"][: which == "installed"])
    if which == "installed":
        return "dockerd"
    program = NEWER_DOCKER / "sbin" / "dockerd"
    if not program.exists():
        pytest.skip("needs the Docker that scripts/lab fetches")
    return f"{program} --validate"


def said(program: str, work: Path, data: bytes) -> str:
    """Return why dockerd refuses a daemon.json, empty where it takes it."""
    file = work / "daemon.json"
    file.write_bytes(data)
    ran = subprocess.run(
        ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "sh", "-c", READ.format(file=file, program=program)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    if "configuration OK" in ran.stderr or "needs to be started with root" in ran.stderr:
        return ""
    assert ran.returncode == 1, ran.stderr
    reason = ran.stderr.strip().rpartition("unable to configure the Docker daemon with file /run/daemon.json: ")[2]
    start, unknown, names = reason.partition(UNKNOWN)
    # The names come in any order.
    return start + unknown + ", ".join(sorted(names.split(", ")))


def edits() -> list[tuple[str, bytes, bytes | None, str]]:
    """Return for each fixture its name, the file as it is and as it is edited (None where it is not), and why it is not."""
    found = []
    for each in sorted((FOLDER / "daemon_json").glob("*.diff")):
        words = each.read_bytes().partition(b"\n")[0].decode().lstrip("# ").split()
        data = each.with_suffix("").read_bytes()
        try:
            found.append((each.name, data, asked(data, words), ""))
        except Malformed:
            found.append((each.name, data, None, "malformed"))
        except Unsafe:
            found.append((each.name, data, None, "unsafe"))
    return found


@pytest.mark.parametrize("which", ENGINES)
def test_what_dockerd_takes_it_takes_after_the_edit(tmp_path: Path, which: str):
    """A file that dockerd takes is taken after the edit, and one it refuses is cured or refused for the same reason still."""
    program = engine(which)
    taken = 0
    for name, data, edited, _ in edits():
        if edited is None or edited == data or name.startswith("client-"):
            continue
        before, after = said(program, tmp_path, data), said(program, tmp_path, edited)
        if which == "installed" and after.endswith(f"{UNKNOWN}cdi-spec-dirs"):
            # A key that this engine is too old for.
            continue
        assert after in {"", before}, name
        taken += not after
    assert taken >= 40


@pytest.mark.parametrize("which", ENGINES)
def test_what_dockerd_cannot_read_is_not_edited(tmp_path: Path, which: str):
    """A file that is malformed to the editor is to dockerd too, and the other way round."""
    program = engine(which)
    malformed = 0
    for name, data, edited, why in edits():
        unread = any(sign in said(program, tmp_path, data) for sign in UNREAD)
        if why == "malformed":
            # 20.10 reads the first object and looks no further.
            assert unread or (which == "installed" and name.startswith("pasted-twice")), name
            malformed += 1
        elif edited is not None and not data.startswith(b"\xef\xbb\xbf") and data.strip():
            # 20.10 refuses a byte order mark and a file without content; newer ones take both.
            assert not unread, name
        elif edited is not None and which == "newer":
            assert not unread, name
    assert malformed >= 8


@pytest.mark.parametrize("which", ENGINES)
@pytest.mark.parametrize(
    ("wrong", "right", "reason"),
    [
        ('"log-level": "loud"', '"log-level": "info"', "loud"),
        ('"labels": ["nonsense"]', '"labels": ["a=b"]', "nonsense"),
        ('"max-concurrent-downloads": -1', '"max-concurrent-downloads": 1', "-1"),
    ],
)
def test_of_a_key_that_stands_twice_the_last_counts(tmp_path: Path, which: str, wrong: str, right: str, reason: str):
    """What the editor relies on: dockerd judges the last of two plain values or lists, and does not look at the first."""
    program = engine(which)
    assert reason in said(program, tmp_path, f"{{{right}, {wrong}}}".encode())
    assert said(program, tmp_path, f"{{{wrong}, {right}}}".encode()) == ""


@pytest.mark.parametrize("which", ENGINES)
def test_names_below_are_read_in_any_case(tmp_path: Path, which: str):
    """What the editor refuses for: below the outermost object dockerd takes a name in other letters for its own."""
    program = engine(which)
    for name in ("path", "PATH"):
        reason = said(program, tmp_path, f'{{"runtimes": {{"nvidia": {{"{name}": 5}}}}}}'.encode())
        assert "cannot unmarshal number into Go struct field" in reason, reason


def test_lab_is_asked_for(monkeypatch: pytest.MonkeyPatch):
    """Without scripts/lab nothing here runs."""
    monkeypatch.delenv("GPUDOCTOR_LAB", raising=False)
    assert missing("sh") == "the lab is run by scripts/lab"
