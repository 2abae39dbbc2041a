"""The live host: bounded reads, children that are killed with all they started, and nothing opened that may block."""

from __future__ import annotations

import os
import stat as st
import time
from typing import TYPE_CHECKING

import pytest

from gpudoctor.host import READ_LIMIT, Absent, Denied, Slow
from gpudoctor.host.live import OUTPUT_LIMIT, Live, run_bounded

if TYPE_CHECKING:
    from pathlib import Path


def _alive(pid: int) -> bool:
    """Say whether a process runs; a zombie that nobody has waited for yet does not."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as handle:
            return handle.read().rpartition(b")")[2].split()[0] != b"Z"
    except FileNotFoundError:
        return False


def _gone(pid: int) -> bool:
    for _ in range(100):
        if not _alive(pid):
            return True
        time.sleep(0.02)
    return False


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder that is first on PATH."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return tmp_path


def _script(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_a_command_runs_to_its_end(tool: Path) -> None:
    """Exit code and both streams come back, the language is C, there is no standard input, and the folder is /."""
    _script(tool, "thing", 'echo "$1 $LC_ALL $(pwd)"; cat; echo bad >&2; exit 7')
    assert Live().run("thing", "a b") == (7, b"a b C /\n", b"bad\n")


def test_a_program_is_run_by_its_whole_path(tool: Path) -> None:
    """A whole path is that program and no other; one that is not there is absent, one that may not be executed is denied."""
    path = _script(tool, "thing", "echo ran")
    assert Live().run(str(path)).out == b"ran\n"
    with pytest.raises(Absent):
        Live().run(f"{tool}/usr/bin/env")
    path.chmod(0o644)
    with pytest.raises(Denied):
        Live().run(str(path))


def test_a_child_past_its_deadline_is_killed_with_its_group(tool: Path) -> None:
    """A child that sleeps, and what it started, are both gone after the deadline, and the answer is Slow."""
    _script(tool, "hang", f"sleep 300 & echo $! > {tool}/grandchild; echo $$ > {tool}/child; sleep 300")
    began = time.monotonic()
    with pytest.raises(Slow) as missed:
        Live(deadline=0.5).run("hang", "-L")
    assert time.monotonic() - began < 3
    assert str(missed.value) == "hang -L: no answer within 0.5 s"
    assert _gone(int((tool / "child").read_text()))
    assert _gone(int((tool / "grandchild").read_text()))


def test_a_child_that_closes_its_streams_still_has_a_deadline(tool: Path) -> None:
    """Closing standard output does not end a child's time."""
    _script(tool, "quiet", f"echo $$ > {tool}/child; exec >&- 2>&-; sleep 300")
    with pytest.raises(Slow):
        Live(deadline=0.4).run("quiet")
    assert _gone(int((tool / "child").read_text()))


def test_a_child_that_ignores_signals_is_killed(tool: Path) -> None:
    """SIGKILL cannot be ignored."""
    _script(tool, "stubborn", f"trap '' TERM INT HUP; echo $$ > {tool}/child; while :; do sleep 1; done")
    with pytest.raises(Slow):
        Live(deadline=0.4).run("stubborn")
    assert _gone(int((tool / "child").read_text()))


def test_a_grandchild_that_keeps_the_pipe_is_not_waited_for(tool: Path) -> None:
    """A daemon left behind with the pipe open does not hold the answer back."""
    _script(tool, "leaves", f"echo done; sleep 300 & echo $! > {tool}/left")
    began = time.monotonic()
    try:
        assert Live(deadline=20).run("leaves") == (0, b"done\n", b"")
        assert time.monotonic() - began < 3
    finally:
        os.kill(int((tool / "left").read_text()), 9)


def test_a_grandchild_that_keeps_writing_is_not_listened_to_for_ever(tool: Path) -> None:
    """A process left behind that writes without end holds the answer back until the deadline at most."""
    _script(tool, "babbles", f"(while :; do echo x; done) & echo $! > {tool}/left; exit 3")
    began = time.monotonic()
    try:
        ran = Live(deadline=1.0).run("babbles")
        assert ran.rc == 3
        assert len(ran.out) <= OUTPUT_LIMIT + 65536
        assert time.monotonic() - began < 4
    finally:
        os.kill(int((tool / "left").read_text()), 9)


def test_output_is_bounded(tool: Path) -> None:
    """Of an endless flood 8 MiB are kept, the child still ends, and its code is known."""
    _script(tool, "flood", f"head -c {OUTPUT_LIMIT * 3} /dev/zero; exit 4")
    ran = Live().run("flood")
    assert ran.rc == 4
    assert OUTPUT_LIMIT <= len(ran.out) <= OUTPUT_LIMIT + 65536


def test_commands_that_are_not_there(tool: Path) -> None:
    """A command that is nowhere on PATH is Absent, one that may not be executed Denied, and so is what is no program."""
    with pytest.raises(Absent):
        Live().run("no-such-command-here")
    (tool / "plain").write_text("text")
    with pytest.raises(Denied):
        Live().run("plain")
    (tool / "garbage").write_bytes(b"\0\1\2")
    (tool / "garbage").chmod(0o755)
    with pytest.raises(Denied):
        Live().run("garbage")
    (tool / "folder").mkdir()
    with pytest.raises((Absent, Denied)):
        Live().run("folder")
    with pytest.raises(Absent):
        run_bounded([str(tool / "gone")], "gone", 1.0)


def test_a_relative_folder_on_path_is_never_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program in the current folder is not run because PATH says `.` or has an empty entry."""
    _script(tmp_path, "surprise", "echo ran")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", ".::bin")
    with pytest.raises(Absent):
        Live().run("surprise")


def test_questions_without_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """date, id and uname are answered by system calls, even where there is no PATH."""
    monkeypatch.setenv("PATH", "")
    assert abs(int(Live().run("date", "+%s").out) - time.time()) < 5
    assert int(Live().run("id", "-u").out) == os.geteuid()
    assert Live().run("uname", "-m").out.decode().strip() == os.uname().machine


def test_reads(tmp_path: Path) -> None:
    """Regular files are read through links, empty ones too; what is not there is Absent."""
    (tmp_path / "a").write_bytes(b"\0\xff")
    (tmp_path / "link").symlink_to("a")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to("loop")
    live = Live()
    assert live.read(str(tmp_path / "link")) == b"\0\xff"
    assert live.read("/proc/self/comm")
    for name in ("nowhere", "dangling", "loop", "a/below", "x" * 300):
        with pytest.raises(Absent):
            live.read(str(tmp_path / name))


def test_what_must_not_be_opened_is_denied(tmp_path: Path) -> None:
    """A FIFO, a device, a socket and a folder are refused at once, with the reason."""
    import socket

    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "to-fifo").symlink_to("fifo")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        reasons = {}
        for path in (tmp_path / "fifo", tmp_path / "to-fifo", "/dev/null", tmp_path / "socket", tmp_path):
            with pytest.raises(Denied) as missed:
                Live().read(str(path))
            reasons[str(path)] = missed.value.why
    assert reasons[str(tmp_path / "fifo")] == reasons[str(tmp_path / "to-fifo")] == "is a FIFO, not a regular file"
    assert reasons["/dev/null"] == "is a character device, not a regular file"
    assert reasons[str(tmp_path / "socket")] == "is a socket, not a regular file"
    assert reasons[str(tmp_path)] == "is a folder, not a regular file"


def test_a_file_that_is_too_large_is_denied(tmp_path: Path) -> None:
    """Reads end at 32 MiB; the file is sparse, so that the test costs no disk."""
    path = tmp_path / "large"
    with open(path, "wb") as handle:
        handle.truncate(READ_LIMIT)
    assert len(Live().read(str(path))) == READ_LIMIT
    os.truncate(path, READ_LIMIT + 1)
    with pytest.raises(Denied, match="larger than 32 MiB"):
        Live().read(str(path))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_permission_denied(tmp_path: Path) -> None:
    """A file and a folder without permission are Denied, and what lies below such a folder too."""
    (tmp_path / "file").write_text("x")
    (tmp_path / "file").chmod(0)
    (tmp_path / "folder").mkdir(mode=0)
    for ask in (lambda: Live().read(str(tmp_path / "file")), lambda: Live().list(str(tmp_path / "folder"))):
        with pytest.raises(Denied, match="permission denied"):
            ask()
    with pytest.raises(Denied):
        Live().stat(str(tmp_path / "folder" / "below"))


def test_permission_denied_to_another_user(tmp_path: Path) -> None:
    """Run by root, the same is seen from a child that has given up its rights."""
    if os.geteuid() != 0:
        pytest.skip("only root can give up its rights")
    (tmp_path / "file").write_text("x")
    (tmp_path / "file").chmod(0o600)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.chdir(tmp_path)
        os.setgid(65534)
        os.setuid(65534)
        try:
            Live().read("file")
            os.write(write, b"read")
        except Denied as missed:
            os.write(write, str(missed).encode())
        finally:
            os._exit(0)
    os.close(write)
    os.waitpid(child, 0)
    assert os.read(read, 100) == b"file: permission denied"
    os.close(read)


def test_stat_of_every_kind(tmp_path: Path) -> None:
    """Kinds, modes, device numbers and link targets come as the kernel has them, and a final link is not followed."""
    (tmp_path / "file").write_text("x")
    (tmp_path / "file").chmod(0o640)
    (tmp_path / "link").symlink_to("../up")
    os.mkfifo(tmp_path / "fifo")
    live = Live()
    found = live.stat(str(tmp_path / "file"))
    assert (found.kind, found.mode, found.rdev, found.target) == ("file", 0o640, None, None)
    assert found.mtime == int((tmp_path / "file").stat().st_mtime)
    assert (live.stat(str(tmp_path / "link")).kind, live.stat(str(tmp_path / "link")).target) == ("link", "../up")
    assert live.stat(str(tmp_path / "fifo")).kind == "fifo"
    null = live.stat("/dev/null")
    assert (null.kind, null.rdev) == ("char", (1, 3))
    assert st.S_IMODE(os.stat(tmp_path).st_mode) == live.stat(str(tmp_path)).mode
    with pytest.raises(Absent):
        live.stat(str(tmp_path / "gone"))


def test_lists_are_sorted(tmp_path: Path) -> None:
    """Names come sorted; a file is no folder."""
    for name in ("b", "a", "C"):
        (tmp_path / name).touch()
    assert Live().list(str(tmp_path)) == ("C", "a", "b")
    with pytest.raises(Absent):
        Live().list(str(tmp_path / "a"))
    assert Live().names(str(tmp_path / "gone")) == ()


def test_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that is set to nothing is there, one that is not set is Absent."""
    monkeypatch.setenv("GPUDOCTOR_TEST", "")
    assert Live().env("GPUDOCTOR_TEST") == ""
    monkeypatch.delenv("GPUDOCTOR_TEST")
    with pytest.raises(Absent):
        Live().env("GPUDOCTOR_TEST")
