"""Each edited set of GRUB's files given to a real grub-mkconfig: exactly the asked argument comes or goes on the kernel line it writes."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from gpudoctor.formats import Malformed, cmdline
from gpudoctor.formats.edit import Unsafe
from gpudoctor.formats.edit.grub import DROP_IN, MAIN
from tests.edits import FOLDER
from tests.formats.edit.test_grub import KEY, edited, is_bash, opened
from tests.lab.world import needs, needs_only

if TYPE_CHECKING:
    from pathlib import Path

    from tests.formats.edit.test_grub import Files

# The folders of this machine are covered for this one process. Without os-prober and the like it is quick, and its own 10_linux is what counts.
RUN = (
    "mount --bind {work}/default /etc/default && mount --bind {work}/boot /boot && mount --bind {work}/grub.d /etc/grub.d && "
    "exec {shell} {program} -o /boot/grub/grub.cfg"
)
KERNEL = "vmlinuz-6.1.0-99-amd64"
Words = tuple[tuple[str, "str | None"], ...]


def mkconfig(work: Path, files: Files, *, bash: bool = False) -> tuple[int, list[Words]]:
    """Run grub-mkconfig on these files; return its status and the arguments of each kernel line of the grub.cfg it wrote.

    In order: the first entry, the same one in the submenu, and the recovery entry. What stands before GRUB's own ``ro`` is left out.
    """
    shutil.rmtree(work, ignore_errors=True)
    for folder in ("default/grub.d", "boot/grub", "grub.d"):
        (work / folder).mkdir(parents=True)
    for path, data in files:
        (work / "default" / path.removeprefix("/etc/default/")).write_bytes(data)
    (work / "default" / "locale").write_text("LANG=C.UTF-8\n")
    (work / "boot" / KERNEL).write_bytes(b"")
    shutil.copy("/etc/grub.d/10_linux", work / "grub.d" / "10_linux")
    script = RUN.format(work=work, shell="bash" if bash else "sh", program=shutil.which("grub-mkconfig"))
    ran = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", script],
        capture_output=True,
        timeout=60,
        check=False,
        stdin=subprocess.DEVNULL,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"},
    )
    written = work / "boot" / "grub" / "grub.cfg"
    lines = written.read_bytes().decode("utf-8", "surrogateescape").split("\n") if written.exists() else []
    found = [line.strip() for line in lines if line.lstrip().startswith("linux\t")]
    return ran.returncode, [cmdline.parse(line.partition(" ro ")[2]) for line in found]


def asked(name: str) -> tuple[Files, list[str]]:
    """Return the files of a fixture and the words of what is asked."""
    path = FOLDER / "grub" / name
    return opened(path.read_bytes()), path.with_name(f"{name}.diff").read_bytes().partition(b"\n")[0].decode().lstrip(
        "# "
    ).split()


def names(*signs: str) -> list[str]:
    """Return the fixtures whose expectation has one of these signs in the first line behind what is asked."""
    found = []
    for each in sorted((FOLDER / "grub").glob("*.diff")):
        first = each.read_bytes().split(b"\n")[1].decode()
        found += [each.with_suffix("").name] * any(sign in first for sign in signs)
    assert found
    return found


@pytest.mark.parametrize("name", names("---"))
def test_exactly_the_asked_argument_comes_or_goes(tmp_path: Path, name: str):
    """grub-mkconfig writes the same kernel line before and after the edit, but for the asked argument."""
    needs("unshare", "grub-mkconfig", "bash")
    files, words = asked(name)
    bash = is_bash(words)
    once = edited(files, words)
    status, before = mkconfig(tmp_path / "lab", files, bash=bash)
    assert (status, len(before)) == (0, 3)
    status, after = mkconfig(tmp_path / "lab", once, bash=bash)
    assert (status, len(after)) == (0, 3)
    if words[0] == "add":
        (wanted,) = cmdline.parse(words[2])
        for old, new in zip(before[:2], after[:2], strict=True):
            assert any(new[at] == wanted and new[:at] + new[at + 1 :] == old for at in range(len(new)))
            assert [value for each, value in new if each == wanted[0]][-1] == wanted[1]
        # The recovery entry gets GRUB_CMDLINE_LINUX alone.
        assert after[2] == before[2]
        return
    wanted_value = words[2] if len(words) > 2 and words[2] != "bash" else None
    same = words[1].replace("-", "_")
    assert before != after
    for old, new in zip(before, after, strict=True):
        assert new == tuple(each for each in old if each[0].replace("-", "_") != same or wanted_value not in {None, each[1]})


@pytest.mark.parametrize("name", names("unchanged"))
def test_what_is_unchanged_is_as_asked_already(tmp_path: Path, name: str):
    """Where nothing is written the kernel line has the argument as its last word about its name, or has none to lose."""
    needs("unshare", "grub-mkconfig")
    files, words = asked(name)
    status, lines = mkconfig(tmp_path / "lab", files)
    assert (status, len(lines)) == (0, 3)
    wanted = cmdline.parse(words[2])[0] if words[0] == "add" else (words[1], "".join(words[2:]) or None)
    held = [value for each, value in lines[0] if each == wanted[0]]
    assert held[-1] == wanted[1] if words[0] == "add" else not held or (wanted[1] is not None and wanted[1] not in held)


@pytest.mark.parametrize("name", names("malformed"))
def test_what_is_malformed_makes_grub_mkconfig_fail(tmp_path: Path, name: str):
    """A file that is malformed to the editor ends grub-mkconfig, and no grub.cfg is written."""
    needs("unshare", "grub-mkconfig")
    files, words = asked(name)
    with pytest.raises(Malformed):
        edited(files, words)
    status, lines = mkconfig(tmp_path / "lab", files)
    if name.startswith("nul-bytes"):
        # This sh reads over them; a disk that lost its power wrote them, and nobody meant them.
        assert status == 0
        return
    assert (status != 0, lines) == (True, [])


@pytest.mark.parametrize("name", names("would be lost", "which wins", "would not be reached"))
def test_what_is_refused_for_being_lost_is_lost(tmp_path: Path, name: str):
    """Where another file is said to win, the line that people add by hand does not decide the kernel line."""
    needs("unshare", "grub-mkconfig")
    files, words = asked(name)
    with pytest.raises(Unsafe):
        edited(files, words)
    place = MAIN if words[1] == "main" else DROP_IN
    known = dict(files)
    known[place] = known.get(place, b"") + f'{KEY}="${KEY} {words[2]}"\n'.encode()
    status, lines = mkconfig(tmp_path / "lab", tuple(known.items()))
    (wanted,) = cmdline.parse(words[2])
    assert status == 0
    assert [value for each, value in lines[0] if each == wanted[0]][-1:] != [wanted[1]]


@pytest.mark.parametrize(
    ("words", "taken"),
    [
        ("quiet if", True),
        ("quiet ; if", False),
        ("quiet\nif", False),
        ("'quiet ; if'", True),
        ("quiet \\; if", True),
        ("quiet 'open", False),
        ("quiet # 'open", True),
        ("quiet#a 'open", False),
        ("quiet & a", False),
        ("quiet | a", False),
        ("quiet < a", False),
        ("quiet > a", False),
        ("quiet {a} b", False),
        ("a} b", False),
        ("a \\{b\\} c", True),
        ("${a} b", True),
        ("quiet (a) b", True),
    ],
)
def test_which_signs_grub_takes_for_its_own(tmp_path: Path, words: str, taken: bool):
    """What the editor refuses for: behind some signs GRUB reads a command, a comment or nothing at all, where others are plain text."""
    needs_only("grub-script-check")
    script = tmp_path / "check.cfg"
    script.write_text(f"linux /{KERNEL} ro {words}\n")
    ran = subprocess.run(["grub-script-check", str(script)], capture_output=True, check=False, timeout=30)
    assert (ran.returncode == 0) == taken
