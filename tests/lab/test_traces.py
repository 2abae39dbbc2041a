"""That the lab leaves nothing behind is a check that can fail: on records that differ, and on what is really left in a namespace."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.device_args.hosts import ROOT
from tests.lab import traces
from tests.lab.world import needs

if TYPE_CHECKING:
    from pathlib import Path

BEFORE: traces.Record = {
    "mounts": traces.mounts("24 30 0:22 / /proc rw,nosuid shared:13 - proc proc rw\n30 1 259:1 / / rw - ext4 /dev/root rw\n"),
    "cgroups": {"/sys/fs/cgroup": "", "/sys/fs/cgroup/system.slice": ""},
    "nodes": {"/dev/null": "crw-rw-rw- 0:0 1:3", "/dev/fuse": "crw-rw-rw- 0:0 10:229"},
    "files": {"/etc/fstab": "-rw-r--r-- 0:0 20 bytes changed at 1", "/run/lock": "drwxrwxrwt 0:0"},
    "processes": {},
    "network": {"interface lo": ""},
}


@pytest.mark.parametrize(
    ("area", "name", "facts", "said"),
    [
        (
            "mounts",
            "/proc",
            "proc proc rw of /, tmpfs none rw of /",
            "mounts: changed: /proc: proc proc rw of / -> proc proc rw of /, tmpfs none rw of /",
        ),
        ("mounts", "/mnt", "tmpfs none rw of /", "mounts: left behind: /mnt tmpfs none rw of /"),
        ("cgroups", "/sys/fs/cgroup/docker", "", "cgroups: left behind: /sys/fs/cgroup/docker"),
        ("cgroups", "/sys/fs/cgroup/system.slice", None, "cgroups: taken away: /sys/fs/cgroup/system.slice"),
        ("nodes", "/dev/nvidiactl", "crw-rw-rw- 0:0 195:255", "nodes: left behind: /dev/nvidiactl crw-rw-rw- 0:0 195:255"),
        (
            "nodes",
            "/dev/fuse",
            "crw------- 0:0 10:229",
            "nodes: changed: /dev/fuse: crw-rw-rw- 0:0 10:229 -> crw------- 0:0 10:229",
        ),
        ("files", "/etc/fstab", "-rw-r--r-- 0:0 20 bytes changed at 2", "files: changed: /etc/fstab: "),
        ("files", "/etc/fstab", None, "files: taken away: /etc/fstab -rw-r--r-- 0:0 20 bytes changed at 1"),
        ("processes", "77 started at 9", "dockerd", "processes: left behind: 77 started at 9 dockerd"),
        ("network", "interface docker0", "", "network: left behind: interface docker0"),
        ("network", "iptables-save: -A INPUT -j DROP", "", "network: left behind: iptables-save: -A INPUT -j DROP"),
    ],
)
def test_each_kind_of_difference_is_said(area: str, name: str, facts: str | None, said: str):
    """One thing new, gone or changed in any area is one line that names it, and the same record has none."""
    after = {each: dict(names) for each, names in BEFORE.items()}
    assert traces.left(BEFORE, after) == []
    if facts is None:
        del after[area][name]
    else:
        after[area][name] = facts
    (line,) = traces.left(BEFORE, after)
    assert line.startswith(said)


def test_what_others_do_is_passed_over_and_nothing_else():
    """A new terminal is nobody's leftover; a node beside it is one."""
    after = {**BEFORE, "nodes": {**BEFORE["nodes"], "/dev/pts/3": "crw--w---- 0:5 136:3", "/dev/nvidia0": "crw-rw-rw- 0:0 195:0"}}
    assert traces.left(BEFORE, after) == ["nodes: left behind: /dev/nvidia0 crw-rw-rw- 0:0 195:0"]
    assert all(reason for _, _, reason in traces.OTHERS)


def test_a_record_of_this_machine_agrees_with_itself():
    """Two records in a row differ in nothing, and each has what every Linux has."""
    needs("unshare")
    first, second = traces.record("nobody's"), traces.record("nobody's")
    assert "/" in first["mounts"]
    assert "/dev/null" in first["nodes"]
    assert "interface lo" in first["network"]
    assert [line for line in traces.left(first, second) if not line.startswith("cgroups: ")] == []


LITTER = """
import json, os, subprocess, sys, time
sys.path.insert(0, sys.argv[1])
from tests.lab import traces
subprocess.run(
    "mount -t tmpfs none /run; mount -t tmpfs none /dev; mknod /dev/null c 1 3; "
    "mount -t tmpfs none /sys/fs/cgroup", shell=True, check=True,
)
before = traces.record("litter")
again = traces.left(before, traces.record("litter"))
subprocess.run(
    "mkdir /run/left /sys/fs/cgroup/left; mount -t tmpfs none /run/left; echo text >/run/file; mknod /dev/nvidiactl c 195 255; "
    "ip link add left type bridge; iptables -A INPUT -s 192.0.2.1 -j DROP",
    shell=True, check=True,
)
child = subprocess.Popen(["sleep", "60"], env={**os.environ, traces.NONCE: "litter"})
found = traces.left(before, traces.record("litter"))
child.kill()
print(json.dumps([again, found]))
"""


def test_what_is_really_left_is_found(tmp_path: Path):
    """In a namespace of its own a mount, a file, a node, a cgroup, an interface, a rule and a process are left, and each is named."""
    needs("unshare", "ip", "iptables")
    script = tmp_path / "litter.py"
    script.write_text(LITTER)
    unshare = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "private"]
    ran = subprocess.run(
        [*unshare, sys.executable, "-B", str(script), str(ROOT)], capture_output=True, text=True, check=False, timeout=60
    )
    assert ran.returncode == 0, ran.stderr
    again, found = json.loads(ran.stdout)
    assert again == []
    for start in (
        "mounts: left behind: /run/left tmpfs",
        "files: left behind: /run/file -rw-r--r-- 0:0 5 bytes",
        "nodes: left behind: /dev/nvidiactl crw-r--r-- 0:0 195:255",
        "cgroups: left behind: /sys/fs/cgroup/left",
        "network: left behind: interface left",
        "network: left behind: iptables-save: -A INPUT -s 192.0.2.1/32 -j DROP",
        "processes: left behind: ",
    ):
        assert any(line.startswith(start) for line in found), found
