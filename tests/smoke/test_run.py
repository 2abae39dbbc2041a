"""A probe's process: its limits, what it leaves behind, and that noise is no verdict."""

from __future__ import annotations

import os
import time

import pytest

from gpudoctor.smoke import run
from tests.amount import need_real

HEAD = """
import json, os, subprocess, sys, time
settings = json.loads(sys.argv[1])
verdict = open(os.path.join(settings["out"], "verdict"), "a")
def told(**line):
    verdict.write(json.dumps(dict(line, nonce=settings["nonce"])) + "\\n")
    verdict.flush()
"""


@pytest.fixture(autouse=True)
def _real():
    """Most of these wait: until a phase is late, until a process has gone."""
    need_real("waiting for processes")


@pytest.fixture
def script(tmp_path):
    """Return a function that writes a probe of one test."""

    def written(body: str) -> str:
        path = tmp_path / "script.py"
        path.write_text(HEAD + body)
        return str(path)

    return written


def gone(pid: int) -> bool:
    """Say whether a process has ended, waiting a moment for it."""
    for _ in range(40):
        stat = run._stat(pid)
        if stat is None or stat[0] == b"Z":
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize("phase", ["import", "load", "run"])
def test_each_phase_has_a_limit_of_its_own(probe, script, phase):
    """A phase that hangs is ended after its limit, though those before it took as long together."""
    body = "".join(
        f"told(phase={name!r}, rung='x'); time.sleep({60 if name == phase else 0.4})\n" for name in ("import", "load", "run")
    )
    ended = probe(script(body), {}, timeout=1.0)
    assert ended.late
    assert ended.phase == phase


@pytest.mark.parametrize("number", [6, 9, 11])
def test_a_signal_is_a_result(probe, script, number):
    """A process that a signal ended says so by its exit code, and the phase in which it was stands."""
    ended = probe(script(f"told(phase='run', rung='computes'); os.kill(os.getpid(), {number})\n"), {})
    assert ended.rc == -number
    assert (ended.phase, ended.rung, ended.ended, ended.late) == ("run", "computes", False, False)


@pytest.mark.parametrize("how", ["child", "own session", "own session, its parent gone", "own session, no environment"])
def test_nothing_is_left_behind(probe, script, tmp_path, how):
    """What a probe started is killed with it: in a session of its own, without its parent, without the environment."""
    pids = tmp_path / "pids"
    sleeper = f"open({str(pids)!r}, 'a').write(str(os.getpid()) + '\\n'); time.sleep(300)"
    child = f"import os, time; {sleeper}"
    start = {
        "child": f"subprocess.Popen([sys.executable, '-c', {child!r}])",
        "own session": f"subprocess.Popen([sys.executable, '-c', {child!r}], start_new_session=True)",
        "own session, its parent gone": (
            "subprocess.run([sys.executable, '-c', 'import subprocess, sys; "
            f'subprocess.Popen([sys.executable, "-c", sys.argv[1]], start_new_session=True)\', {child!r}])'
        ),
        "own session, no environment": f"subprocess.Popen([sys.executable, '-c', {child!r}], start_new_session=True, env={{}})",
    }[how]
    # It stays long enough to be seen below its parent once.
    ended = probe(script(f"told(phase='run', rung='x')\n{start}\ntime.sleep(1.2)\ntold(end=True)\n"), {})
    assert ended.ended
    assert ended.left == ()
    started = [int(line) for line in pids.read_text().split()]
    assert len(started) == 1
    assert gone(started[0])


def test_a_stranger_is_not_killed(probe, script):
    """A process that the probe did not start lives on."""
    import subprocess
    import sys

    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        probe(script("told(phase='run', rung='x'); time.sleep(60)\n"), {}, timeout=0.5)
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_noise_is_no_verdict(probe, script):
    """Neither standard output nor a line without the nonce nor half a line is taken for the verdict."""
    body = (
        'print(json.dumps({"rung": "placed", "state": "passed", "nonce": settings["nonce"]}))\n'
        'verdict.write(\'{"rung": "placed", "state": "passed"}\\nPASS gpu\\n[1]\\n{"rung": "placed", "nonce": "n0\')\n'
        "verdict.flush()\n"
    )
    ended = probe(script(body), {})
    assert ended.lines == ()
    assert not ended.ended
    assert "placed" in ended.out


def test_what_is_printed_is_bounded(probe, script):
    """Of a flood the first and the last are kept, and it does not block the probe."""
    body = "sys.stdout.write('first\\n' + 'x' * 30000000 + '\\nlast\\n'); sys.stdout.flush(); told(end=True)\n"
    ended = probe(script(body), {})
    assert ended.ended
    assert len(ended.out) <= 200_000
    assert ended.out.startswith("first")
    assert ended.out.endswith("last\n")


def test_memory_is_that_of_all_processes(probe, script):
    """The peak counts what a child holds too."""
    hold = "x = bytearray(80 << 20); import time; time.sleep(4)"
    body = f"x = bytearray(80 << 20)\nsubprocess.run([sys.executable, '-c', {hold!r}])\ntold(end=True)\n"
    ended = probe(script(body), {})
    assert ended.peak_kib is not None
    assert ended.peak_kib > 160 << 10


def test_a_python_that_is_not_there_is_told(probe):
    """A target that cannot be started has no exit code, and the reason is a phrase."""
    ended = probe("device.py", {}, python="/no/such/python")
    assert ended.rc is None
    assert ended.err == "/no/such/python: no such file or directory"


def test_a_module_in_the_working_folder_is_not_imported(probe, tmp_path):
    """A stray json.py where the probe runs does not take the place of Python's own."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "json.py").write_text("raise SystemExit('stray')\n")
    ended = probe("device.py", {"nodes": ["/dev/null"]})
    assert ended.ended


def test_a_link_in_place_of_the_verdict_is_not_followed(tmp_path):
    """A verdict that is a link to another file is not read."""
    other = tmp_path / "other"
    other.write_text('{"end": true, "nonce": "n0"}\n')
    os.symlink(other, tmp_path / "verdict")
    verdict = run._Verdict(str(tmp_path / "verdict"), "n0", lambda _: None)
    verdict.look()
    assert verdict.lines == []
