"""The writer under fire: each system call that writes fails or is the last one, power goes at random moments, the disk is full."""

from __future__ import annotations

import errno
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest

from gpudoctor.fix import apply, journal, write
from gpudoctor.fix.write import NotWritten
from gpudoctor.host import Ran
from gpudoctor.model import REBOOT, Plan
from tests import amount
from tests.fix import transaction
from tests.fix.transaction import NEW, OLD

CALLS = (
    "open",
    "write",
    "fsync",
    "rename",
    "link",
    "unlink",
    "mkdir",
    "rmdir",
    "fchmod",
    "fchown",
    "ftruncate",
    "pwrite",
    "makedirs",
)
CHANGING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


class Fault:
    """A stand-in for the module ``os`` that does something at the n-th call which changes the disk."""

    def __init__(self, at, act):
        """Take the number of the call, counted from 1, and what happens there."""
        self.at, self.act, self.count = at, act, 0
        for name in CALLS:
            setattr(self, name, self._guarded(name))

    def _guarded(self, name):
        real = getattr(os, name)

        def call(*args, **kwargs):
            if name != "open" or args[1] & CHANGING:
                self.count += 1
                if self.count == self.at:
                    self.act()
            return real(*args, **kwargs)

        return call

    def __getattr__(self, name):
        """Be os in all else."""
        return getattr(os, name)


def with_fault(monkeypatch, at, act):
    """Put the stand-in where the writer and the journal look for os."""
    fault = Fault(at, act)
    for module in (write, journal):
        monkeypatch.setattr(module, "os", fault)
    return fault


def number_of_calls(monkeypatch, folder):
    """Return how many calls that change the disk a whole transaction makes."""
    root = transaction.make_root(folder)
    fault = with_fault(monkeypatch, 0, lambda: None)
    assert not transaction.carry_out(root).problem
    monkeypatch.undo()
    return fault.count


def is_whole(root):
    """Say whether no file is anything but its old or its new self."""
    now = transaction.state(root)
    return all(now[path] in {OLD[path], NEW[path]} for path in now)


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC, errno.EROFS])
def test_a_failure_at_every_step_leaves_all_old_or_all_new(tmp_path, monkeypatch, code):
    """Whatever call fails, nothing is half-done: all files old and it is said, or all new; and no temporary file stays."""
    total = number_of_calls(monkeypatch, tmp_path / "count")
    assert total > 20
    seen = set()
    for at in range(1, total + 1):
        root = transaction.make_root(tmp_path / f"{code}-{at}")

        def fail():
            raise OSError(code, os.strerror(code))

        with_fault(monkeypatch, at, fail)
        try:
            problem = transaction.carry_out(root).problem
        except NotWritten as refused:
            problem = str(refused)
        monkeypatch.undo()
        assert is_whole(root), at
        transaction.recover(root)
        now = transaction.state(root)
        assert now in (OLD, NEW), at
        assert bool(problem) or now == NEW, at
        assert not transaction.leftovers(root), at
        seen.add(now == NEW)
        assert not transaction.carry_out(root).problem or now == NEW, at
    assert False in seen


def run_and_die(root, monkeypatch, at):
    """Carry out the plan in a child that is gone at its n-th call, as by SIGKILL; return whether it got that far."""
    child = os.fork()
    if child == 0:
        with_fault(monkeypatch, at, lambda: os._exit(9))
        transaction.carry_out(root)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


def test_death_at_every_step_leaves_each_file_old_or_new_and_is_recovered(tmp_path, monkeypatch):
    """Killed before any of its calls, each file is old or new, and the next run takes back what was begun, or finds it done."""
    at, taken_back = 0, 0
    while True:
        at += 1
        root = transaction.make_root(tmp_path / str(at))
        if not run_and_die(root, monkeypatch, at):
            break
        assert is_whole(root), at
        taken_back += len(transaction.recover(root))
        now = transaction.state(root)
        assert now in (OLD, NEW), at
        assert not transaction.leftovers(root), at
        if now == OLD:
            assert not transaction.carry_out(root).problem, at
        assert transaction.state(root) == NEW, at
    assert at > 20
    assert taken_back > 10


def test_death_while_recovering_is_recovered_too(tmp_path, monkeypatch):
    """A recovery that is killed at any of its own steps is finished by the next one."""
    tried = 0
    for at in (16, 22, 28, 32, 36, 40) if amount.FULL else (22, 36):
        inner = 0
        while True:
            inner += 1
            root = transaction.make_root(tmp_path / f"{at}-{inner}")
            assert run_and_die(root, monkeypatch, at)
            child = os.fork()
            if child == 0:
                with_fault(monkeypatch, inner, lambda: os._exit(9))
                transaction.recover(root)
                os._exit(0)
            died = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
            assert is_whole(root), (at, inner)
            transaction.recover(root)
            assert transaction.state(root) in (OLD, NEW), (at, inner)
            assert not transaction.leftovers(root), (at, inner)
            if not died:
                break
            tried += 1
    assert tried > 10


def test_sigkill_at_random_moments(tmp_path):
    """Killed by a real signal at a random moment, each file is old or new, and the next run makes the rest right."""
    rounds = 500 if amount.FULL else 120
    chance = random.Random(11)
    interrupted = 0
    started = time.monotonic()
    for number in range(5):
        transaction.carry_out(transaction.make_root(tmp_path / f"timed-{number}"))
    length = (time.monotonic() - started) / 5
    for number in range(rounds):
        root = transaction.make_root(tmp_path / str(number))
        ready, begin = os.pipe()
        child = os.fork()
        if child == 0:
            os.write(begin, b"x")
            transaction.carry_out(root)
            os._exit(0)
        os.read(ready, 1)
        os.close(ready)
        os.close(begin)
        time.sleep(chance.uniform(0, length))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        assert is_whole(root), number
        interrupted += len(transaction.recover(root))
        assert transaction.state(root) in (OLD, NEW), number
        if transaction.state(root) == OLD:
            assert not transaction.carry_out(root).problem, number
        assert transaction.state(root) == NEW, number
        assert not transaction.leftovers(root), number
        shutil.rmtree(root)
    assert interrupted > rounds // 10


def test_two_at_once(tmp_path):
    """Of two that start together, one does it and the other finds it done: never twice, never half."""
    for number in range(50):
        root = transaction.make_root(tmp_path / str(number))
        children = []
        for _ in range(2):
            child = os.fork()
            if child == 0:
                done = transaction.carry_out(root)
                os._exit(0 if not done.problem else 7)
            children.append(child)
        codes = sorted(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children)
        assert codes == [0, 7], number
        assert transaction.state(root) == NEW, number
        assert [each.state for each in transaction.hands(root).journal.entries()] == ["done"], number


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small tmpfs needs root")
def test_a_full_disk(tmp_path):
    """On a real tmpfs without room for the new file, everything stays old and the message says that the disk is full."""
    if subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode:
        pytest.skip("no private mount namespace is to be had here")
    (tmp_path / "disk").mkdir()
    script = (
        "import os, pathlib, sys\n"
        "from tests.fix import transaction\n"
        "root = transaction.make_root(pathlib.Path(sys.argv[1]))\n"
        "room = os.statvfs(root); free = room.f_bavail * room.f_frsize\n"
        "pathlib.Path(sys.argv[1], 'ballast').write_bytes(b'x' * max(free - int(sys.argv[2]), 0))\n"
        "from gpudoctor.fix.write import NotWritten\n"
        "try:\n"
        "    problem = transaction.carry_out(root).problem\n"
        "except NotWritten as refused:\n"
        "    problem = str(refused)\n"
        "assert transaction.state(root) in (transaction.OLD, transaction.NEW)\n"
        "print('new' if transaction.state(root) == transaction.NEW else 'old', problem)\n"
    )
    said = []
    for left in (0, 4096, 8192, 12288, 16384, 65536):
        ran = subprocess.run(
            ["unshare", "-m", "sh", "-c", 'mount -t tmpfs -o size=128k none "$0" && exec "$@"', str(tmp_path / "disk"),
             sys.executable, "-c", script, str(tmp_path / "disk"), str(left)],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert ran.returncode == 0, ran.stderr
        said.append(ran.stdout.strip())
    assert all("the disk is full" in each for each in said if each.startswith("old")), said
    assert said[0].startswith("old")
    assert said[-1] == "new"


def test_a_failing_command_takes_the_files_back_and_runs_its_undo(tmp_path):
    """A command that fails after the files were written restores them, and the commands that had run are undone."""
    root = transaction.make_root(tmp_path)
    said = []
    second = transaction.TELL._replace(argv=("break",), undo=None)

    def run(argv):
        said.append(" ".join(argv))
        return Ran(1 if argv == ("break",) else 0, b"", b"no such thing\n")

    done = transaction.carry_out(root, (transaction.TELL, second), run)
    assert transaction.state(root) == OLD
    assert said == ["tell new", "break", "tell old"]
    assert done.step == "break"
    assert "no such thing" in done.problem
    assert set(done.restored) == set(OLD)
    assert not done.conflicts


def test_what_the_host_shows_afterwards_decides(tmp_path):
    """Where the host, asked again, does not show what was promised, the files are taken back."""
    root = transaction.make_root(tmp_path)
    done = transaction.carry_out(root, verify=lambda _: "it is still found")
    assert done.problem == "it is still found."
    assert transaction.state(root) == OLD


def test_a_signal_takes_back(tmp_path):
    """SIGTERM, SIGINT and SIGHUP (a lost ssh session) in the middle take everything back before the program ends."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        root = transaction.make_root(tmp_path / number.name)

        def run(argv, number=number):
            if argv == ("tell", "new"):
                os.kill(os.getpid(), number)
            return Ran(0, b"", b"")

        done = transaction.carry_out(root, run=run)
        assert number.name in done.problem
        assert transaction.state(root) == OLD


def test_what_is_all_left_to_the_user_makes_no_entry(tmp_path):
    """A plan of a reboot alone changes nothing, so there is nothing to take back, and an undo still means the fix before it."""
    root = transaction.make_root(tmp_path)
    first = transaction.carry_out(root)
    using = transaction.hands(root)
    using.journal.lock(wait=20)
    done = apply.execute(using, Plan((), (REBOOT,), (), (), (), ()), ["area/rule"], allow_restart=True)
    using.journal.unlock()
    assert done == apply.Done(left=(REBOOT,))
    assert [entry.id for entry in using.journal.entries()] == [first.id]
