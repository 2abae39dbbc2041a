"""The command line as a user meets it: output, exit codes, bad input, bad surroundings."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

from tests.cases import FIXTURES, all_cases

HEALTHY = FIXTURES / "hosts" / "ubuntu-24.04-l4-docker29-cdi.host"
WARNED = FIXTURES / "hosts" / "ubuntu-22.04-a10g-hook.host"
SICK = FIXTURES / "rules" / "toolkit" / "no_cgroups_true_rootful" / "bad-left-from-rootless-guide.host"
SCHEMA = json.loads((FIXTURES.parent / "docs" / "schema" / "doctor.schema.json").read_text())


def test_healthy_host_is_exit_0(gpudoctor):
    """A healthy recorded host is said to be fine, with exit code 0."""
    ran = gpudoctor("doctor", "--host", str(HEALTHY))
    assert ran.returncode == 0
    assert "Nothing wrong found" in ran.stdout.decode()
    assert ran.stderr == b""


def test_sick_host_says_cause_evidence_and_cure(gpudoctor):
    """A sick host's report names the cause, the file and line, and the cure, with exit code 1."""
    ran = gpudoctor("doctor", "--host", str(SICK))
    words = ran.stdout.decode()
    assert ran.returncode == 1
    for expected in ("toolkit/no-cgroups-true-rootful", "config.toml:2", "cure:", "risk:"):
        assert expected in words
    assert "\x1b" not in words


def test_warning_is_exit_1_and_json_keeps_the_schema(gpudoctor):
    """A warning alone is exit code 1, and the JSON of every whole machine keeps the documented schema."""
    assert gpudoctor("doctor", "--json", "--host", str(WARNED)).returncode == 1
    hosts = [str(case.path) for case in all_cases() if case.rule is None]
    ran = gpudoctor("doctor", "--json", *(word for host in hosts for word in ("--host", host)))
    lines = ran.stdout.decode().splitlines()
    assert len(lines) == len(hosts) >= 24
    for line in lines:
        jsonschema.validate(json.loads(line), SCHEMA)


def test_the_worst_of_many_hosts_decides(gpudoctor):
    """Of a healthy and a sick host the sick one decides the exit code; an unreadable one is exit code 2 and the others still come."""
    both = gpudoctor("doctor", "--host", str(HEALTHY), "--host", str(SICK))
    assert both.returncode == 1
    assert both.stdout.decode().count("== ") == 2
    with_bad = gpudoctor("doctor", "--json", "--host", "/nowhere.host", "--host", str(HEALTHY))
    assert with_bad.returncode == 2
    assert len(with_bad.stdout.splitlines()) == 1
    assert b"/nowhere.host: no such file or directory" in with_bad.stderr


def test_only_takes_rules_slugs_and_areas(gpudoctor):
    """--only restricts the run to rules named in any of three ways, and refuses an unknown name with exit code 2."""
    ran = gpudoctor("doctor", "--json", "--host", str(SICK), "--only", "no-cgroups-true-rootful,host/no-nvidia-gpu")
    told = json.loads(ran.stdout)
    assert len(told["findings"]) + told["passed"] + len(told["not_applicable"]) == 2
    area = json.loads(gpudoctor("doctor", "--json", "--host", str(SICK), "--only", "security").stdout)
    assert area["passed"] + len(area["findings"]) + len(area["not_applicable"]) >= 7
    unknown = gpudoctor("doctor", "--only", "no-such-rule")
    assert unknown.returncode == 2
    assert b"no-such-rule" in unknown.stderr


def test_rules_lists_each_rule_and_explain_prints_its_page(gpudoctor):
    """`rules` lists every rule as text and JSON, and `explain` prints the page of one named by its path or slug."""
    listed = json.loads(gpudoctor("rules", "--json").stdout)
    assert listed["schema"] == 1
    assert len(listed["rules"]) >= 89
    names = [row["rule"] for row in listed["rules"]]
    assert len(gpudoctor("rules").stdout.splitlines()) == len(names)
    for name in ("toolkit/no-cgroups-true-rootful", "no-cgroups-true-rootful"):
        page = gpudoctor("explain", name)
        assert page.returncode == 0
        assert b"Cure" in page.stdout
    assert gpudoctor("explain", "no-such-rule").returncode == 1


def test_denied_decisive_fact_is_exit_3(gpudoctor):
    """Where an error-level rule cannot tell and nothing wrong was found, the exit code is 3 and the report says what was refused."""
    path = FIXTURES / "rules" / "toolkit" / "no_cgroups_true_rootful" / "untold-config-unreadable.host"
    ran = gpudoctor("doctor", "--host", str(path), "--only", "no-cgroups-true-rootful")
    assert ran.returncode == 3
    assert "config.toml" in ran.stdout.decode()
    assert "run with sudo" in ran.stdout.decode()


@pytest.fixture
def variant(tmp_path):
    """Return a function that writes the healthy host with some lines more, and returns its path."""
    folder = tmp_path / "fixtures"
    folder.mkdir()
    shutil.copy(HEALTHY, folder / "base.host")

    def write(name, lines):
        path = folder / f"{name}.host"
        path.write_text(f"-- like base.host --\n{lines}\n")
        return str(path)

    return write


CONFIG = "/etc/nvidia-container-runtime/config.toml"


@pytest.mark.parametrize(
    ("lines", "code", "strict"),
    [
        ("", 0, 0),
        (f"-- {CONFIG} -- denied", 3, 3),
        (f"-- {CONFIG} -- unseen", 0, 3),
        ("-- /usr/lib/x86_64-linux-gnu/libnvcuvid.so.1 -- absent\n-- $ ldconfig -p -- missing", 0, 1),
    ],
    ids=["healthy", "denied", "unseen", "hint"],
)
def test_exit_codes_and_strict(gpudoctor, variant, lines, code, strict):
    """On a host that is otherwise healthy and looked at, denied is 3, unseen 3 and a hint 1 only with --strict."""
    path = variant("one", lines)
    assert gpudoctor("doctor", "--host", path).returncode == code
    assert gpudoctor("doctor", "--strict", "--host", path).returncode == strict


def test_of_many_hosts_the_worst_wins_in_this_order(gpudoctor, variant):
    """Unreadable beats sick, sick beats untold, untold beats healthy, whatever comes first."""
    healthy, denied = variant("healthy", ""), variant("denied", f"-- {CONFIG} -- denied")
    for hosts, code in (((healthy, denied), 3), ((denied, str(SICK), healthy), 1), ((denied, "/none.host", str(SICK)), 2)):
        assert gpudoctor("doctor", *(word for host in hosts for word in ("--host", host))).returncode == code


def test_rules_that_do_not_apply_are_no_lack_of_sight(gpudoctor):
    """A run of rules that all do not apply to this host has looked, and is exit code 0."""
    ran = gpudoctor("doctor", "--json", "--host", str(HEALTHY), "--only", "wsl,jetson")
    assert json.loads(ran.stdout)["passed"] == 0
    assert ran.returncode == 0


def test_nothing_to_look_at_is_exit_3(gpudoctor, tmp_path):
    """An empty mounted root answers nothing about a GPU: exit code 3, never 0."""
    (tmp_path / "empty").mkdir()
    ran = gpudoctor("doctor", "--root", str(tmp_path / "empty"))
    assert ran.returncode == 3, ran.stdout.decode()


def test_host_and_root_exclude_each_other(gpudoctor, tmp_path):
    """--host with --root is wrong usage, and so is a root that is not a folder."""
    assert gpudoctor("doctor", "--host", str(HEALTHY), "--root", "/").returncode == 2
    (tmp_path / "file").write_text("")
    assert gpudoctor("doctor", "--root", str(tmp_path / "file")).returncode == 2
    assert gpudoctor("doctor", "--root", str(tmp_path / "none")).returncode == 2


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("bad-marker.host", b"who\n-- /x -- chr 1:2\n", b"bad-marker.host:2: "),
        ("bad-quote.host", b"-- '/x -- mode=0644 --\n-- /y --\n", b""),
        ("garbage.host", bytes(range(256)) * 64, b""),
        ("empty.host", b"", b""),
        ("truncated.tar.gz", b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03abc", b"truncated.tar.gz: "),
        ("bad-number.host", b"-- /x -- mode=rw\n", b"bad-number.host:1: "),
        ("like-loop.host", b"-- like like-loop.host --\n", b"like-loop.host:1: "),
    ],
)
def test_malformed_recorded_hosts(gpudoctor, tmp_path, name, content, expected):
    """A recorded host that cannot be read is named with file and line, without a traceback; one that says nothing is not healthy."""
    path = tmp_path / name
    path.write_bytes(content)
    ran = gpudoctor("doctor", "--host", str(path))
    assert b"Traceback" not in ran.stderr + ran.stdout
    if expected:
        assert ran.returncode == 2
        assert expected in ran.stderr
    else:
        assert ran.returncode in {1, 2, 3}


GARBAGE = {
    "/etc/nvidia-container-runtime/config.toml": "[nvidia-container-cli\nno-cgroups = maybe",
    "/etc/docker/daemon.json": '{"runtimes": {},} // comment',
    "/run/cdi/nvidia.yaml": "a: [b\n  - {",
    "/etc/default/grub": 'GRUB_CMDLINE_LINUX="unclosed',
    "/var/lib/dpkg/status": "Package docker-ce\nVersion\n\n\0\0Package: \n",
    "/proc/modules": "\0\1\2 nvidia",
    "/proc/devices": "195\n nvidia",
    "/proc/self/mountinfo": "1 2 3",
    "/proc/driver/nvidia/version": "NVRM version:",
    "/proc/812/stat": "812 (dockerd",
    "/etc/os-release": "=\nID",
}


@pytest.mark.parametrize("path", sorted(GARBAGE))
@pytest.mark.parametrize("body", ["as-is", "binary", "empty", "fifo", "denied", "folder", "long"])
def test_garbage_in_any_file_is_no_traceback(gpudoctor, tmp_path, path, body):
    """Whatever stands where a file is expected, no rule crashes and the report is written."""
    marks = {"fifo": " fifo", "denied": " denied", "folder": " dir"}
    bodies = {"as-is": GARBAGE[path], "binary": "\0\x7f" * 300, "long": "x" * 200_000}
    base = tmp_path / "fixtures"
    base.mkdir()
    shutil.copy(HEALTHY, base / "base.host")
    host = base / "broken.host"
    host.write_text(f"-- like base.host --\n-- {path} --{marks.get(body, '')}\n{bodies.get(body, '')}\n")
    ran = gpudoctor("doctor", "--json", "--host", str(host))
    assert ran.returncode in {0, 1, 3}, ran.stderr.decode()
    assert json.loads(ran.stdout)["crashed"] == []


def test_malformed_configuration_is_a_finding_with_its_line(gpudoctor, tmp_path):
    """Malformed config.toml, daemon.json, CDI spec and GRUB defaults are each a finding that names the file and line."""
    base = tmp_path / "fixtures"
    base.mkdir()
    shutil.copy(HEALTHY, base / "base.host")
    for path in (
        "/etc/nvidia-container-runtime/config.toml",
        "/etc/docker/daemon.json",
        "/run/cdi/nvidia.yaml",
        "/etc/default/grub",
    ):
        host = base / "broken.host"
        host.write_text(f"-- like base.host --\n-- {path} --\n{GARBAGE[path]}\n")
        told = json.loads(gpudoctor("doctor", "--json", "--host", str(host)).stdout)
        places = [proof for finding in told["findings"] for proof in finding["evidence"]]
        named = [proof for proof in places if proof["path"].endswith(path.rpartition("/")[2]) and proof["line"]]
        assert named, (path, told["findings"])


def test_live_run_says_something_and_never_a_traceback(gpudoctor):
    """On this very machine, whatever it is, the doctor answers in JSON that keeps the schema."""
    ran = gpudoctor("doctor", "--json")
    assert ran.returncode in {0, 1, 3}
    told = json.loads(ran.stdout)
    jsonschema.validate(told, SCHEMA)
    assert told["crashed"] == []


def test_a_recorded_host_cannot_steer_the_terminal(gpudoctor, tmp_path):
    """Escape sequences in a recorded host's files come out as question marks."""
    path = tmp_path / "steering.host"
    path.write_bytes(b'-- /etc/os-release --\nPRETTY_NAME="\x1b[31mred\x07"\n')
    ran = gpudoctor("doctor", "--host", str(path))
    assert b"\x1b" not in ran.stdout
    assert b"?[31mred?" in ran.stdout


def test_no_home_and_ascii_terminal(gpudoctor):
    """Without HOME and with an ASCII locale the report is plain ASCII."""
    environment = {"PATH": os.environ["PATH"], "LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    ran = subprocess.run(
        [sys.executable, "-m", "gpudoctor", "doctor", "--host", str(SICK)],
        env=environment,
        capture_output=True,
        cwd=FIXTURES.parent,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 1
    ran.stdout.decode("ascii")
    assert b"x no-cgroups" in ran.stdout


def test_closed_pipe_ends_quietly():
    """A reader that goes away (head -1) causes no message."""
    command = f"{sys.executable} -m gpudoctor rules | head -n 1; echo ${{PIPESTATUS[0]}}"
    ran = subprocess.run(["bash", "-c", command], capture_output=True, cwd=FIXTURES.parent, timeout=60, check=False)
    assert ran.stderr == b""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this machine has no /dev/full")
def test_full_disk_is_exit_4(gpudoctor):
    """Output that cannot be written is exit code 4 with one sentence."""
    with open("/dev/full", "wb") as full:
        ran = gpudoctor("rules", stdout=full)
    assert ran.returncode == 4
    assert b"no space left on device" in ran.stderr
    assert b"Traceback" not in ran.stderr


def test_terminal_gets_colour_and_no_color_takes_it_away(tmp_path):
    """On a terminal the report is coloured, with NO_COLOR it is plain."""
    import pty

    def on_terminal(**env):
        leader, follower = pty.openpty()
        child = subprocess.Popen(
            [sys.executable, "-m", "gpudoctor", "doctor", "--host", str(SICK)],
            stdout=follower,
            stderr=follower,
            stdin=subprocess.DEVNULL,
            cwd=FIXTURES.parent,
            env={"PATH": os.environ["PATH"], "TERM": "xterm-256color", "LANG": "C.UTF-8", "COLUMNS": "80", **env},
        )
        os.close(follower)
        parts = []
        while True:
            try:
                part = os.read(leader, 65536)
            except OSError:
                break
            if not part:
                break
            parts.append(part)
        child.wait(30)
        os.close(leader)
        return b"".join(parts).decode()

    coloured = on_terminal()
    assert "\x1b[" in coloured
    assert "no-cgroups = true" in coloured
    assert "\x1b[" not in on_terminal(NO_COLOR="1")


def test_snapshot_gives_the_same_findings_and_never_overwrites(gpudoctor, tmp_path):
    """A snapshot of this machine can be diagnosed as the machine itself was; an existing file is not overwritten."""
    live = json.loads(gpudoctor("doctor", "--json").stdout)
    saved = gpudoctor("snapshot", "-o", "here.tar.gz")
    assert saved.returncode == 0, saved.stderr.decode()
    again = gpudoctor("snapshot", "-o", "here.tar.gz")
    assert again.returncode == 2
    assert b"is there already" in again.stderr
    told = json.loads(gpudoctor("doctor", "--json", "--host", "here.tar.gz").stdout)
    assert [each["rule"] for each in told["findings"]] == [each["rule"] for each in live["findings"]]
    assert [each["rule"] for each in told["untold"]] == [each["rule"] for each in live["untold"]]
    assert oct((tmp_path / "here.tar.gz").stat().st_mode & 0o777) == "0o600"
