"""The doctor changes nothing: every event by which a process could change a host is refused, and it still works."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from tests.cases import FIXTURES

# Runs the program with an audit hook that notes each call which writes, creates, renames, removes, connects or signals.
GUARDED = """
import os, sys
seen = []
FORBIDDEN = {
    "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.chmod", "os.chown", "os.truncate", "os.utime",
    "os.setxattr", "os.removexattr", "os.mknod", "os.putenv", "os.unsetenv", "os.kill", "shutil.rmtree", "shutil.move",
    "shutil.copyfile", "socket.connect", "socket.bind", "socket.getaddrinfo", "tempfile.mkstemp", "tempfile.mkdtemp", "os.system",
}
ALLOWED = {"docker", "nvidia-smi", "dmesg", "nvidia-ctk", "nvidia-container-cli", "runc", "podman", "systemctl", "modinfo", "rpm",
           "ldconfig", "nvml_child.py"}
def hook(event, args):
    if event == "open":
        path, mode, flags = args
        writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
        if writes and path != os.devnull:
            seen.append(f"open {path} {mode} {flags}")
    elif event == "subprocess.Popen":
        argv = [str(word) for word in args[1]]
        if not any(os.path.basename(word) in ALLOWED for word in argv):
            seen.append(f"run {argv}")
    elif event in FORBIDDEN:
        seen.append(f"{event} {args}")
sys.addaudithook(hook)
import atexit
atexit.register(lambda: os.write(2, ("SEEN " + repr(seen)).encode()))
sys.argv = ["gpudoctor", *sys.argv[1:]]
from gpudoctor.cli import main
main()
"""


def guarded(*arguments: str) -> list[str]:
    """Run the program under the hook and return what it did that could change a host."""
    ran = subprocess.run(
        [sys.executable, "-B", "-c", GUARDED, *arguments],
        capture_output=True,
        cwd=FIXTURES.parent,
        timeout=120,
        check=False,
    )
    assert b"SEEN " in ran.stderr, ran.stderr.decode()
    assert b"Traceback" not in ran.stderr, ran.stderr.decode()
    return eval(ran.stderr.decode().rpartition("SEEN ")[2])


def test_the_guard_sees_a_change():
    """The guard itself notices a write, or the other tests would prove nothing."""
    code = GUARDED.replace("from gpudoctor.cli import main\nmain()", "open(sys.argv[1], 'w').close(); os.remove(sys.argv[1])")
    target = f"/tmp/gpudoctor-guard-{os.getpid()}"
    ran = subprocess.run([sys.executable, "-B", "-c", code, target], capture_output=True, timeout=30, check=False)
    assert target in ran.stderr.decode()
    assert "os.remove" in ran.stderr.decode()


def test_doctor_live_changes_nothing():
    """On this machine the doctor opens nothing for writing, runs only commands of its list, and makes no device node."""
    before = sorted(os.listdir("/dev"))
    assert guarded("doctor") == []
    assert guarded("doctor", "--json") == []
    assert sorted(os.listdir("/dev")) == before


def test_doctor_of_recorded_and_mounted_hosts_changes_nothing():
    """Neither a recorded host nor a mounted root is written to, and nothing is run for them."""
    host = str(FIXTURES / "hosts" / "ubuntu-24.04-l4-docker29-cdi.host")
    assert guarded("doctor", "--host", host) == []
    assert guarded("doctor", "--root", "/") == []
    assert guarded("rules") == []
    assert guarded("explain", "no-nvidia-gpu") == []


def test_every_command_the_facts_ask_for_is_on_the_list():
    """Over all fixture hosts, the facts ask for no command outside the documented list."""
    from gpudoctor import engine
    from gpudoctor.facts import Facts, Given
    from gpudoctor.host.book import Recorder
    from gpudoctor.host.hostfile import load

    listed = json.loads((FIXTURES.parent / "docs" / "schema" / "commands.json").read_text())["commands"]
    asked = set()
    for path in sorted((FIXTURES / "hosts").glob("*.host")):
        recorder = Recorder(load(str(path)))
        given = Given(image="nvidia/cuda:12.4.1-base-ubuntu22.04")
        engine.diagnose(Facts(recorder, given), engine.all_rules() + engine.rules_for(given))
        for named in (Given(containers=("web",)), Given(all_containers=True)):
            engine.diagnose(Facts(recorder, named), engine.rules_for(named))
        asked |= set(recorder.answers.runs)
    assert asked
    for argv in asked:
        assert any(matches(argv, each) for each in listed), argv


def matches(argv: tuple[str, ...], pattern: list[str]) -> bool:
    """Say whether an argv is the listed one; ``UNIT``, ``SCOPE``, ``IMAGE`` and ``NAME`` stand for one word."""
    return len(argv) == len(pattern) and all(
        want in {"UNIT", "SCOPE", "IMAGE", "NAME"} or word == want for word, want in zip(argv, pattern, strict=True)
    )
