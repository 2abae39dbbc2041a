"""Edited GRUB files put to the real grub-mkconfig: exactly the asked argument comes or goes on the kernel line of grub.cfg."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from gpudoctor.formats.edit.grub import add_argument, remove_argument
from tests import edits
from tests.formats.edit.test_grub import changed_files, files_of
from tests.lab.world import needs

if TYPE_CHECKING:
    from pathlib import Path

# In a mount namespace of its own /etc/default and /boot are folders of the test's, with one kernel that is none.
SCRIPT = """
mount --bind "$1/default" /etc/default && mount --bind "$1/boot" /boot && exec grub-mkconfig -o /boot/grub/grub.cfg
"""
CASES = edits.cases("grub")
SOUND = [
    case
    for case in CASES
    if not case.values[2].startswith((b"malformed", b"refused", b"unchanged"))
    and b"-bash" not in b" ".join(word.encode() for word in case.values[1])
]
BROKEN = [case for case in CASES if case.values[2].startswith(b"malformed")]


def made(files: tuple[tuple[str, bytes], ...], work: Path) -> tuple[int, list[str]]:
    """Return grub-mkconfig's exit code, and the arguments of the first entry of the grub.cfg that it makes of these files."""
    for name in ("default/grub.d", "boot/grub"):
        (work / name).mkdir(parents=True)
    (work / "boot/vmlinuz-6.1.0-99-amd64").write_bytes(b"none")
    for path, data in files:
        (work / "default" / path.removeprefix("/etc/default/")).write_bytes(data)
    ran = subprocess.run(
        ["unshare", "-m", "--propagation", "private", "sh", "-c", SCRIPT, "sh", str(work)],
        capture_output=True, timeout=60, check=False, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C", "pkgdatadir": "/usr/share/grub"},
    )  # fmt: skip
    made_file = work / "boot/grub/grub.cfg"
    lines = made_file.read_bytes().decode("utf-8", "surrogateescape").split("\n") if made_file.exists() else []
    words = next(
        (line.split()[2:] for line in lines if line.strip().startswith("linux\t") or line.strip().startswith("linux ")), []
    )
    return ran.returncode, [word for word in words if not word.startswith("root=") and word != "ro"]


@pytest.mark.parametrize(("path", "words", "expected"), SOUND)
def test_the_kernel_line_gains_or_loses_exactly_the_argument(
    tmp_path: Path, path: Path, words: list[str], expected: bytes
) -> None:
    """The real grub-mkconfig, before and after the edit: one word more at the end, or the same words without it."""
    needs("grub-mkconfig", "unshare")
    assert expected
    files = files_of(path.read_bytes())
    if words[0] == "add":
        changes = [add_argument(files, words[2], style=words[1])]  # type: ignore[arg-type]
    else:
        changes = list(remove_argument(files, words[1], value=words[2] if len(words) > 2 else None))
    code, before = made(files, tmp_path / "before")
    assert code == 0
    code, after = made(changed_files(files, changes), tmp_path / "after")
    assert code == 0
    if words[0] == "add":
        assert after == [*before, words[2]]
    else:
        gone = [
            word
            for word in before
            if word.partition("=")[0] == words[1] and (len(words) < 3 or word.partition("=")[2] == words[2])
        ]
        assert gone
        assert after == [word for word in before if word not in gone]


@pytest.mark.parametrize(("path", "words", "expected"), BROKEN)
def test_what_is_not_edited_makes_grub_mkconfig_fail(tmp_path: Path, path: Path, words: list[str], expected: bytes) -> None:
    """Files that are called malformed really make grub-mkconfig fail, `sh -n` or not."""
    needs("grub-mkconfig", "unshare")
    assert words
    assert expected
    assert made(files_of(path.read_bytes()), tmp_path / "broken")[0] != 0


def test_the_machine_itself_is_untouched() -> None:
    """The real /etc/default and /boot are not those that the tests wrote."""
    needs("grub-mkconfig", "unshare")
    assert not os.path.exists("/boot/vmlinuz-6.1.0-99-amd64")
