"""What a run of the lab could leave on the machine, recorded before and after: mounts, cgroups, nodes, files, processes, network.

``record()`` reads and changes nothing. ``left(before, after)`` is a pure function of two records and says each difference in one line;
nothing left is an empty list. What other people's programs do meanwhile is passed over by ``OTHERS``, each with its reason.
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from pathlib import Path

Record = dict[str, dict[str, str]]

NONCE = "GPUDOCTOR_LAB_RUN"
"""The variable by which every process of a run is known as its own; ``world.py`` sets it."""
OTHERS = (
    ("nodes", "/dev/pts/", "a terminal opens and closes when somebody logs in"),
    ("nodes", "/dev/shm/", "shared memory belongs to the programs that are running; the lab's have a /dev of their own"),
    ("files", "/etc/ld.so.cache", "a package that is installed meanwhile brings libraries"),
)
"""Area, how a name begins, and why a difference there tells nothing of the lab."""
FOLDERS = ("/etc", "/run", "/boot", "/usr/bin", "/usr/sbin")
STATES = ("docker", "containerd", "containers", "cni", "gpudoctor", "nvidia")
"""Folders in /var/lib that daemons and gpudoctor keep; two levels are enough to see that somebody was there."""


def record(nonce: str) -> Record:
    """Return what is on this machine now, as name and facts in each area; processes only where they carry this nonce."""
    return {
        "mounts": mounts(Path("/proc/self/mountinfo").read_text()),
        "cgroups": cgroups(),
        "nodes": {path: facts for path, facts in tree("/dev") if path != "/dev"},
        "files": dict(each for folder in FOLDERS for each in tree(folder)),
        "states": {path: "" for name in STATES for path, _ in tree(f"/var/lib/{name}", depth=2)},
        "processes": processes(nonce),
        "network": network(),
        "loops": {
            str(path): path.read_text().strip() for path in Path("/sys/block").glob("loop*/loop/backing_file") if path.exists()
        },
    }


def mounts(text: str) -> dict[str, str]:
    """Return the mount points in a mountinfo: what is mounted there, one above the other."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        words, _, kind = line.partition(" - ")
        root, where = words.split()[3:5]
        found[where] = f"{found[where]}, {kind} of {root}" if where in found else f"{kind} of {root}"
    return found


def cgroups() -> dict[str, str]:
    """Return the cgroups at the top of each hierarchy, without those of another run of the lab that goes on now.

    What is below a cgroup that was there before is made and removed by its owner (systemd, a session), at any moment.
    """
    top = Path("/sys/fs/cgroup")
    # Version 2 is one hierarchy; version 1 has a folder for each.
    hierarchies = [top] if (top / "cgroup.controllers").exists() else [top, *(path for path in top.iterdir() if path.is_dir())]
    return {str(path): "" for folder in hierarchies for path in folder.iterdir() if path.is_dir() and not foreign(path.name)}


def foreign(cgroup: str) -> bool:
    """Say whether a cgroup is that of another run which is still going: its name has the process id of that run."""
    words = cgroup.removeprefix("gpudoctor-lab-").split("-")
    if not cgroup.startswith("gpudoctor-lab-") or not words[0].isdigit():
        return False
    return int(words[0]) != os.getpid() and Path(f"/proc/{words[0]}").exists()


def tree(top: str, depth: int = 99) -> list[tuple[str, str]]:
    """Return every path below a folder, itself too, with its kind, mode, owner, numbers or size, and time of change."""
    found = []
    below = [(top, 0)]
    while below:
        path, level = below.pop()
        try:
            facts = os.lstat(path)
            if stat.S_ISDIR(facts.st_mode) and level < depth and (level == 0 or not os.path.ismount(path)):
                below += [(f"{path}/{name}", level + 1) for name in os.listdir(path)]
        except OSError:
            continue
        words = [stat.filemode(facts.st_mode), f"{facts.st_uid}:{facts.st_gid}"]
        if stat.S_ISCHR(facts.st_mode) or stat.S_ISBLK(facts.st_mode):
            # A terminal's time is that of its last key.
            words.append(f"{os.major(facts.st_rdev)}:{os.minor(facts.st_rdev)}")
        elif stat.S_ISREG(facts.st_mode):
            words += [f"{facts.st_size} bytes", f"changed at {facts.st_mtime_ns}"]
        elif stat.S_ISLNK(facts.st_mode):
            words.append(os.readlink(path))
        found.append((path, " ".join(words)))
    return found


def processes(nonce: str) -> dict[str, str]:
    """Return the processes that carry this nonce, by id and start; this one and its ancestors do not."""
    found = {}
    wanted = f"{NONCE}={nonce}".encode()
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            if wanted in (folder / "environ").read_bytes().split(b"\0"):
                started = (folder / "stat").read_text().rpartition(")")[2].split()[19]
                words = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
                found[f"{folder.name} started at {started}"] = words.strip()
        except OSError:
            continue
    return found


def network() -> dict[str, str]:
    """Return interfaces, named network namespaces and each rule of the packet filter; without the programs that show them, none."""
    # /sys/class/net would show those of the namespace that /sys was mounted in.
    lines = Path("/proc/self/net/dev").read_text().splitlines()[2:]
    found = {f"interface {line.partition(':')[0].strip()}": "" for line in lines}
    found |= {f"namespace {path.name}": "" for path in Path("/run/netns").glob("*")}
    for program in ("iptables-save", "ip6tables-save"):
        if shutil.which(program) is None:
            continue
        ran = subprocess.run([program], capture_output=True, text=True, check=False, timeout=30, stdin=subprocess.DEVNULL)
        for line in ran.stdout.splitlines():
            if line.startswith(("-A", ":", "*")):
                # Behind the policy of a chain stand its counters.
                found[f"{program}: {line.partition(' [')[0]}"] = ""
    return found


def left(before: Record, after: Record) -> list[str]:
    """Return what differs between two records, one line each: what is new, what is gone, what is not as it was."""
    found = []
    for area in after:
        old, new = before.get(area, {}), after[area]
        for name in sorted(old.keys() | new.keys()):
            if old.get(name) == new.get(name) or any(area == where and name.startswith(start) for where, start, _ in OTHERS):
                continue
            if name not in old:
                found.append(f"{area}: left behind: {name} {new[name]}".rstrip())
            elif name not in new:
                found.append(f"{area}: taken away: {name} {old[name]}".rstrip())
            else:
                found.append(f"{area}: changed: {name}: {old[name]} -> {new[name]}")
    return found
