"""A fake GPU host on stock paths: run inside private namespaces, it lays out a fixture host and does there what it is told.

Called as ``unshare … python machine.py PLAN``; the plan is JSON (see ``tests/lab/world.py``, which calls it), and so is the answer.
Everything is on tmpfs or bound over in this mount namespace, and every process is in this PID namespace, so that nothing is left
when it ends. The nodes have no driver behind them: opening one that the device cgroup allows gives ENXIO, one that it denies EPERM.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpudoctor.host.hostfile import load

if TYPE_CHECKING:
    from gpudoctor.host.book import Book

PLAIN = {"null": (1, 3), "zero": (1, 5), "full": (1, 7), "random": (1, 8), "urandom": (1, 9), "tty": (5, 0), "fuse": (10, 229)}
# What a container says of one node: allowed gives ENXIO; one it was not given is made by hand first and refused.
PROBE = """
for each in $WANTED; do
    if error=$({ : <"$each"; } 2>&1); then echo "$each opened"; else echo "$each ${error##*: }"; fi
done
number=0
for each in $UNWANTED; do
    number=$((number + 1))
    path=${each%=*}; numbers=${each#*=}
    [ -e "$path" ] && echo "$path is there"
    mknod /tmp/$number c ${numbers%:*} ${numbers#*:}
    if error=$({ : </tmp/$number; } 2>&1); then echo "$path opened"; else echo "$path ${error##*: }"; fi
done
echo "NVIDIA_VISIBLE_DEVICES=$NVIDIA_VISIBLE_DEVICES"
"""


def run(*argv: str, check: bool = True, timeout: float = 60, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a program; what it printed is in the error where it fails."""
    ran = subprocess.run(argv, capture_output=True, text=True, timeout=timeout, check=False, stdin=subprocess.DEVNULL, **options)
    if check and ran.returncode:
        raise SystemExit(f"{argv}: {ran.returncode}\n{ran.stdout}\n{ran.stderr}")
    return ran


def mount(kind: str, where: str, *options: str) -> None:
    """Mount an empty file system."""
    run("mount", "-t", kind, *options, "none", where)


def make_nodes(book: Book) -> None:
    """Make the character devices of a fixture host; there is no driver behind them."""
    for path, node in book.nodes.items():
        if node.kind == "char" and node.rdev is not None and not path.startswith("/dev/char/"):
            os.makedirs(os.path.dirname(path), exist_ok=True)
            os.mknod(path, 0o020000 | node.stat().mode, os.makedev(*node.rdev))


def cover(book: Book, work: Path) -> None:
    """Bind a fixture host's driver files, PCI bus and kernel majors over those of this machine."""
    for folder, where in (("/proc/driver", work / "driver"), ("/sys/bus/pci/devices", work / "pci")):
        where.mkdir()
        for path, node in book.nodes.items():
            if not path.startswith(f"{folder}/") or node.stat_miss is not None:
                continue
            target = where / path.removeprefix(f"{folder}/")
            target.parent.mkdir(parents=True, exist_ok=True)
            if node.kind == "dir":
                target.mkdir(exist_ok=True)
            elif node.kind == "link" and node.target is not None:
                target.symlink_to(node.target)
            elif node.kind == "file":
                target.write_bytes(node.body)
        run("mount", "--bind", str(where), folder)
    majors = work / "devices"
    majors.write_bytes(book.read("/proc/devices"))
    run("mount", "--bind", str(majors), "/proc/devices")


def lay_out(fixture: str, work: Path) -> None:
    """Put the devices, driver files, PCI bus and kernel majors of a fixture host where the programs look for them."""
    book = load(fixture)
    mount("tmpfs", "/dev", "-o", "mode=755")
    os.umask(0)
    for name, (major, minor) in PLAIN.items():
        os.mknod(f"/dev/{name}", 0o020666, os.makedev(major, minor))
    for name in ("pts", "shm", "mqueue"):
        os.mkdir(f"/dev/{name}")
    mount("devpts", "/dev/pts", "-o", "newinstance,ptmxmode=0666")
    os.symlink("pts/ptmx", "/dev/ptmx")
    os.symlink("/proc/self/fd", "/dev/fd")
    make_nodes(book)
    cover(book, work)
    mount("tmpfs", "/run")
    # What is written to /etc and /var/lib from here on stays in this namespace.
    for folder in ("/etc", "/var/lib"):
        name = folder.replace("/", "_")
        for each in (name, f"{name}-work"):
            (work / each).mkdir()
        mount("overlay", folder, "-o", f"lowerdir={folder},upperdir={work / name},workdir={work / f'{name}-work'}")
    for folder in ("/etc/docker", "/etc/cdi"):
        os.makedirs(folder, exist_ok=True)
        mount("tmpfs", folder)


def cgroups(version: int) -> None:
    """Show the hierarchy of this version in this mount namespace, as dockerd looks for it."""
    if version == 2:
        run("umount", "-l", "/sys/fs/cgroup")
        mount("cgroup2", "/sys/fs/cgroup")


def hook(folder: Path) -> None:
    """Put a stand-in for the toolkit's hook on dockerd's PATH: with it Docker offers --gpus; it injects nothing."""
    folder.mkdir(exist_ok=True)
    program = folder / "nvidia-container-runtime-hook"
    program.write_text("#!/bin/sh\nexit 0\n")
    program.chmod(0o755)


# `service docker restart` for a machine without an init: ends the one dockerd here and starts it again with the same words.
SERVICE = """#!{python}
import os, signal, subprocess, sys, time
assert sys.argv[1:] == ["docker", "restart"], sys.argv
pids = [name for name in os.listdir("/proc") if name.isdigit()]
words = {{pid: open(f"/proc/{{pid}}/cmdline", "rb").read().split(b"\\0")[:-1] for pid in pids}}
(pid, argv), = [(int(pid), each) for pid, each in words.items() if each[:1] and os.path.basename(each[0]) == b"dockerd"]
os.kill(pid, signal.SIGTERM)
for _ in range(300):
    try:
        if open(f"/proc/{{pid}}/stat").read().rpartition(")")[2].split()[0] == "Z":
            break
    except FileNotFoundError:
        break
    time.sleep(0.1)
log = open(sys.argv[0] + ".log", "wb")
subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
for _ in range(300):
    if subprocess.run(["docker", "version"], capture_output=True).returncode == 0:
        sys.exit(0)
    time.sleep(0.1)
sys.exit("dockerd does not answer: " + open(sys.argv[0] + ".log").read()[-2000:])
"""


def service(folder: Path) -> None:
    """Put a stand-in for the program service on the PATH, which really restarts the daemon."""
    folder.mkdir(exist_ok=True)
    program = folder / "service"
    program.write_text(SERVICE.format(python=sys.executable))
    program.chmod(0o755)


class Docker:
    """A dockerd of this namespace."""

    def __init__(self, plan: dict[str, Any], work: Path) -> None:
        """Start it, and give it one small image."""
        self.programs = plan["docker"]
        self.environment = {**os.environ, "PATH": f"{work / 'bin'}:{self.programs}:{os.environ['PATH']}", "HOME": str(work)}
        self.environment.pop("DOCKER_HOST", None)
        config = work / "daemon.json"
        config.write_text(json.dumps(plan.get("daemon_json", {})))
        self.log = (work / "dockerd.log").open("w")
        flags = ["--iptables=false", "--ip6tables=false", "--bridge=none", "--ip-forward=false", "--storage-driver=overlay2"]
        flags += ["--exec-opt", "native.cgroupdriver=cgroupfs", f"--cgroup-parent=/{plan['cgroup']}"]
        self.process = subprocess.Popen(
            ["dockerd", "--data-root", str(work / "data"), "--exec-root", "/run/docker", "--config-file", str(config), *flags],
            env=self.environment,
            stdout=self.log,
            stderr=self.log,
            stdin=subprocess.DEVNULL,
        )
        for _ in range(200):
            if self("version", check=False).returncode == 0:
                break
            if self.process.poll() is not None:
                raise SystemExit("dockerd ended:\n" + (work / "dockerd.log").read_text())
            time.sleep(0.1)
        else:
            raise SystemExit("dockerd does not answer:\n" + (work / "dockerd.log").read_text())
        root = work / "image"
        for name in ("bin", "tmp", "dev", "proc", "sys", "etc"):
            (root / name).mkdir(parents=True, exist_ok=True)
        busybox = Path("/bin/busybox").read_bytes()
        for name in ("busybox", "sh", "mknod"):
            (root / "bin" / name).write_bytes(busybox)
            (root / "bin" / name).chmod(0o755)
        run("tar", "-C", str(root), "-cf", str(work / "image.tar"), ".")
        self("import", str(work / "image.tar"), "probe")

    def __call__(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Call the docker command line."""
        return run("docker", *words, check=check, env=self.environment)

    def stop(self) -> None:
        """End it and wait."""
        self.process.terminate()
        self.process.wait(30)
        self.log.close()


def gpudoctor(plan: dict[str, Any], environment: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    """Run gpudoctor live on this fake host."""
    return run(sys.executable, "-m", "gpudoctor", "device-args", *plan["gpus"], *words, check=False, env=environment)


def spent() -> float:
    """Return the CPU seconds of all children so far; os.times() would count in hundredths."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def cost(environment: dict[str, str], argv: list[str]) -> float:
    """Return the CPU seconds of a program and of all that it calls, the median of eleven runs; it may say that something is missing."""
    times = []
    for _ in range(11):
        before = spent()
        ran = run(*argv, env=environment, check=False)
        if ran.returncode not in {0, 1}:
            raise SystemExit(f"{argv}: {ran.returncode}\n{ran.stderr}")
        times.append(spent() - before)
    return sorted(times)[5]


def scenario(plan: dict[str, Any], work: Path) -> dict[str, Any]:
    """Do what the plan says and return what came of it."""
    lay_out(plan["fixture"], work)
    cgroups(plan["version"])
    if plan.get("driver"):
        from tests.lab import fake_driver

        fake_driver.lay_out(plan["driver"], work)
    if plan.get("hook"):
        hook(work / "bin")
    service(work / "bin")
    # A machine without a GPU has no arguments to be told.
    told = json.loads(gpudoctor(plan, dict(os.environ), "--format", "json").stdout or '{"nodes": []}')
    probe = {
        "WANTED": " ".join(node["path"] for node in told["nodes"] if node["in"]),
        "UNWANTED": " ".join(f"{node['path']}={node['major']}:{node['minor']}" for node in told["nodes"] if not node["in"]),
        "PROBE": PROBE,
        "PYTHON": sys.executable,
        "ASK": " ".join(plan["gpus"]),
    }
    found: dict[str, Any] = {"nodes": told["nodes"], "version": plan["version"]}
    if plan["engine"] == "podman":
        return {**found, **podman(plan, work, probe)}
    docker = Docker(plan, work)
    try:
        environment = {**docker.environment, **probe}
        found["server"] = docker("info", "--format", "{{.ServerVersion}} {{.CgroupVersion}}").stdout.split()
        for name, text in plan.get("files", {}).items():
            Path(name).parent.mkdir(parents=True, exist_ok=True)
            Path(name).write_text(text)
        if plan.get("cpu"):
            ask = [sys.executable, "-m", "gpudoctor", "device-args", *plan["cpu"]]
            found["ratio"] = cost(environment, ask) / cost(environment, [sys.executable, "-c", "pass"])
        # Whoever has a driver's files may load no module for real.
        less = ["setpriv", "--bounding-set", "-sys_module"] if plan.get("driver") else []
        ran = run(*less, "sh", "-c", plan["command"], env=environment, cwd=str(work), check=False)
        found.update(rc=ran.returncode, out=ran.stdout, err=ran.stderr)
    finally:
        docker.stop()
    return found


def podman(plan: dict[str, Any], work: Path, probe: dict[str, str]) -> dict[str, Any]:
    """Run podman on a root file system of its own."""
    root = work / "root"
    for name in ("bin", "tmp", "dev", "proc", "sys", "etc", "run"):
        (root / name).mkdir(parents=True, exist_ok=True)
    for name in ("busybox", "sh", "mknod"):
        (root / "bin" / name).write_bytes(Path("/bin/busybox").read_bytes())
        (root / "bin" / name).chmod(0o755)
    config = work / "containers.conf"
    config.write_text(
        '[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]\n'
        '[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "none"\n'
    )
    environment = {**os.environ, **probe, "CONTAINERS_CONF": str(config), "HOME": str(work), "ROOTFS": str(root)}
    environment["PODMAN"] = (
        f"podman --root {work}/storage --runroot /run/storage --tmpdir /run/libpod --runtime runc run --rm --network none "
        f"--cgroup-parent /{plan['cgroup']} --pids-limit -1 --cap-add MKNOD --env WANTED --env UNWANTED"
    )
    version = run("podman", "--version").stdout.split()[-1]
    ran = run("sh", "-c", plan["command"], env=environment, cwd=str(work), check=False)
    return {"server": [version], "rc": ran.returncode, "out": ran.stdout, "err": ran.stderr}


def main() -> None:
    """Do the plan in the first argument; the answer is the last line of standard output."""
    plan = json.loads(sys.argv[1])
    work = Path(plan["work"])
    print(json.dumps(scenario(plan, work)))


if __name__ == "__main__":
    main()
