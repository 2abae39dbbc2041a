"""Starts what runs a bundle's code as a process below itself, and tells from outside where that computes; for any Python from 3.7 on.

It is piped to the bundle's own Python with a seal written into it, which nothing below it is told: a line of the verdict without the
seal is not its. Before anything of the bundle runs, it takes from itself, and so from all below it, what can be taken: the network, the
right to write into the bundle, core files, new privileges. It never imports anything of the bundle's.
"""

import ctypes
import json
import os
import select
import subprocess
import sys
import time

SEAL = ""
DEVICES = ("/dev/nv", "/dev/dxg")
"""How nodes through which a GPU is used begin: nvidia0, nvidiactl, nvidia-uvm, a Jetson's nvmap and nvgpu; of WSL2 dxg."""
LIBRARIES = (
    "libcuda.so",
    "libcudart",
    "libonnxruntime_providers_cuda",
    "libonnxruntime_providers_tensorrt",
    "libnvinfer",
    "libtorch_cuda",
)
MOST_WRITTEN = b"size=1g,mode=700"
"""What a bundle may write into its own folder: a server's own lies in an image, where it may."""
MOST_TOLD = 3 << 20
"""Bytes that a worker may tell; what floods is no longer listened to."""
NEW_MOUNTS, NEW_USER, NEW_NETWORK = 0x00020000, 0x10000000, 0x40000000
READ_ONLY, NO_SETUID, NO_DEVICES, NO_PROGRAMS, REMOUNT, BIND, RECURSIVE, PRIVATE = 1, 2, 4, 8, 32, 4096, 16384, 1 << 18
NO_DUMP, SUBREAPER, NO_NEW_PRIVILEGES = 4, 36, 38


class Out:
    """Where the verdict goes: into a file in a folder that was given, else to standard output."""

    def __init__(self, settings):
        """Take the settings: ``out`` a folder, ``nonce``."""
        self.nonce = settings.get("nonce", "")
        self.handle = 1
        if settings.get("out"):
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
            self.handle = os.open(os.path.join(settings["out"], "verdict"), flags, 0o644)

    def write(self, **line):
        """Write one line."""
        line.update(nonce=self.nonce, seal=SEAL)
        os.write(self.handle, (json.dumps(line) + "\n").encode())


# ---------------------------------------------------------------------------------------------------------------------
# Isolation


def libc():
    """Return the C library, with errno kept."""
    return ctypes.CDLL(None, use_errno=True)


def checked(result, what):
    """Raise OSError for a C function that did not return 0."""
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def loopback_up():
    """Switch the loopback device of this network namespace on."""
    import fcntl
    import socket
    import struct

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
        # SIOCSIFFLAGS of `lo`: IFF_UP and IFF_RUNNING.
        fcntl.ioctl(handle.fileno(), 0x8914, struct.pack("16sh22x", b"lo", 0x1 | 0x40))


def enter(kinds):
    """Move this process into new namespaces; as a user other than root into one in which it may make the others."""
    uid, gid = os.getuid(), os.getgid()
    if uid == 0:
        checked(libc().unshare(kinds), "unshare")
        return
    checked(libc().unshare(kinds | NEW_USER), "unshare")
    with open("/proc/self/setgroups", "w") as file:
        file.write("deny")
    # Each keeps its own number: a program that looks sees the user that it would be.
    with open("/proc/self/uid_map", "w") as file:
        file.write(f"{uid} {uid} 1")
    with open("/proc/self/gid_map", "w") as file:
        file.write(f"{gid} {gid} 1")


def protect(path):
    """Mount a folder or file over itself so that it cannot be written."""
    c = libc()
    name = os.fsencode(path)
    checked(c.mount(b"none", b"/", None, RECURSIVE | PRIVATE, None), "mount")
    checked(c.mount(name, name, None, BIND, None), "mount")
    # What the file system below forbids has to be forbidden again: a new user namespace may not allow it.
    known = os.statvfs(path).f_flag
    keep = known & (NO_SETUID | NO_DEVICES | NO_PROGRAMS | 1024 | 2048)
    times = (1 << 21) if not known & (1024 | 4096) else 0
    for more in (keep, keep | times, NO_SETUID | NO_DEVICES, NO_SETUID | NO_DEVICES | times):
        if c.mount(name, name, None, REMOUNT | BIND | READ_ONLY | more, None) == 0:
            return
    checked(-1, "mount")


def cover(path, scratch):
    """Mount a folder over itself so that what is written into it goes into memory, and away with this namespace."""
    for each in (path, scratch):
        if any(sign in each for sign in ",:\\"):
            raise OSError(0, "the words of a mount cannot have such a path")
    c = libc()
    checked(c.mount(b"none", b"/", None, RECURSIVE | PRIVATE, None), "mount")
    checked(c.mount(b"tmpfs", os.fsencode(scratch), b"tmpfs", NO_SETUID | NO_DEVICES, MOST_WRITTEN), "mount")
    for each in ("upper", "work"):
        os.mkdir(os.path.join(scratch, each), 0o700)
    words = os.fsencode(f"lowerdir={path},upperdir={scratch}/upper,workdir={scratch}/work")
    # In a user namespace its notes have to be a user's.
    for more in (b"", b",userxattr"):
        if c.mount(b"overlay", os.fsencode(path), b"overlay", NO_SETUID | NO_DEVICES, words + more) == 0:
            return
    checked(-1, "mount")


def tried(steps):
    """Say whether steps work, by taking them in a process of their own; "" or why not. What half works is then not begun."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        said = b""
        try:
            steps()
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is the answer
            said = str(error).encode() or b"it does not work here"
        os.write(writing, said[:1000])
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    return said.decode("utf-8", "replace")


def isolate(settings):
    """Take from this process what is not needed; return for each thing "" where that worked, else why not."""
    import resource

    done = {}
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    most = settings.get("largest_file")
    if most:
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    if settings.get("namespaces") and settings.get("protect") is not None:
        whole = settings["protect"]

        def covered():
            enter(NEW_NETWORK | NEW_MOUNTS)
            loopback_up()
            cover(whole, settings["scratch"])

        def both():
            enter(NEW_NETWORK | NEW_MOUNTS)
            loopback_up()
            protect(whole)

        def network():
            enter(NEW_NETWORK)
            loopback_up()

        thrown = os.path.isdir(whole) and settings.get("scratch") and not tried(covered)
        why = "" if thrown else tried(both)
        if thrown:
            covered()
            done["network"] = done["read_only"] = ""
            done["writes"] = "thrown away"
        elif not why:
            both()
            done["network"] = done["read_only"] = ""
        else:
            done["read_only"] = why
            done["network"] = tried(network)
            if not done["network"]:
                network()
    try:
        checked(libc().prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0), "prctl")
        done["privileges"] = ""
    except OSError as error:
        done["privileges"] = str(error)
    return done


def limits():
    """Return the limits of memory (bytes) and of processes that a container's cgroup has, of either version; one that is not there is left out."""
    found = {}
    for name, files in (("memory", ("memory.max", "memory/memory.limit_in_bytes")), ("pids", ("pids.max", "pids/pids.max"))):
        for each in files:
            try:
                with open(f"/sys/fs/cgroup/{each}") as file:
                    said = file.read().strip()
            except OSError:
                continue
            # Version 1 says "none" with the largest number of pages.
            if said.isdigit() and int(said) < 1 << 60:
                found[name] = int(said)
    return found


# ---------------------------------------------------------------------------------------------------------------------
# What is seen from outside


def below(top):
    """Return the processes below one in the tree, and itself."""
    parents = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                fields = file.read().rpartition(b")")[2].split()
            if fields[0] != b"Z":
                # One that has ended has nothing open, and nothing below it.
                parents[int(name)] = int(fields[1])
        except (OSError, IndexError, ValueError):
            continue
    found = {top}
    while True:
        more = {pid for pid, parent in parents.items() if parent in found} - found
        if not more:
            return sorted(found)
        found |= more


def looked_at(pid):
    """Return which GPU nodes a process has open, which of CUDA's libraries it has loaded, and which GPUs it was told to see."""
    devices, libraries = set(), set()
    seen: dict[str, str] = {}
    readable = True
    try:
        for name in os.listdir(f"/proc/{pid}/fd"):
            try:
                where = os.readlink(f"/proc/{pid}/fd/{name}")
            except OSError:
                continue
            if where.startswith(DEVICES):
                devices.add(where)
        with open(f"/proc/{pid}/maps", encoding="utf-8", errors="replace") as file:
            for line in file:
                where = line.partition("/")[2]
                if where.startswith(tuple(each[1:] for each in DEVICES)):
                    devices.add("/" + where.strip())
                name = where.strip().rpartition("/")[2]
                if name.startswith(LIBRARIES):
                    libraries.add(name)
        with open(f"/proc/{pid}/environ", "rb") as file:
            for each in file.read(4 << 20).decode("utf-8", "replace").split("\0"):
                name, _, value = each.partition("=")
                if name in {"CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES"}:
                    seen[name] = value
    except OSError:
        # One that has ended in the meantime has nothing open.
        readable = not os.path.exists(f"/proc/{pid}")
    return {"pid": pid, "devices": sorted(devices), "libraries": sorted(libraries), "visible": seen, "readable": readable}


def look(worker):
    """Return what the processes below, the collector's own left out, show of a GPU."""
    return [looked_at(pid) for pid in below(os.getpid()) if pid != os.getpid()] if worker else []


def nodded(settings, number):
    """Wait until the process that started this one has looked at the GPU's own list of processes, a few seconds at most."""
    if not settings.get("waits"):
        return
    path = os.path.join(settings["out"], f"seen-{number}")
    until = time.monotonic() + settings["waits"]
    while not os.path.exists(path) and time.monotonic() < until:
        time.sleep(0.02)


# ---------------------------------------------------------------------------------------------------------------------


def start(settings):
    """Start the worker; return it, and the pipes on which it tells and is nodded to."""
    told, up = os.pipe()
    down, nod = os.pipe()
    own = dict(settings["worker"], up=up, down=down)
    environment = dict(os.environ, **settings.get("environment", {}))
    worker = subprocess.Popen(  # noqa: S603 - our own file, by the Python that runs this one
        [sys.executable, os.path.join(settings["code"], settings["program"]), json.dumps(own)],
        stdin=subprocess.DEVNULL,
        env=environment,
        pass_fds=(up, down),
        cwd=settings.get("cwd") or None,
    )
    os.close(up)
    os.close(down)
    return worker, told, nod


def listen(out, settings, worker, told, nod):
    """Pass on what the worker tells, each time with what is seen of it from outside, until it ends."""
    data, number, passed = b"", 0, 0
    while True:
        if passed + len(data) > MOST_TOLD:
            worker.kill()
            return
        ready, _, _ = select.select([told], [], [], 0.2)
        if not ready:
            if worker.poll() is not None:
                break
            continue
        part = os.read(told, 1 << 16)
        if not part:
            break
        data += part
        while b"\n" in data:
            line, _, data = data.partition(b"\n")
            passed += len(line)
            try:
                value = json.loads(line.decode("utf-8", "replace"))
            except ValueError:
                continue
            if not isinstance(value, dict):
                continue
            worth = "answered" in value or "failed" in value or "loaded" in value
            if value.get("end"):
                value = {"done": True}
            if worth:
                number += 1
                value = dict(value, processes=look(worker), number=number)
            for own in ("nonce", "seal", "isolation", "limits", "ended"):
                value.pop(own, None)
            out.write(**value)
            if worth:
                nodded(settings, number)
            try:
                os.write(nod, b".")
            except OSError:
                return


def main():
    """Isolate, start, listen, and tell how it ended."""
    settings = json.loads(sys.argv[1]) if len(sys.argv) > 1 else {}
    if settings.get("script"):
        # It has the seal in it, and nothing of the bundle runs yet.
        os.unlink(settings["script"])
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    for name in ("HOME", "TMPDIR"):
        if os.environ.get(name):
            os.makedirs(os.environ[name], exist_ok=True)
    out = Out(settings)
    out.write(phase="start", rung="start")
    done = isolate(settings)
    out.write(isolation=done, root=os.getuid() == 0, limits=limits())
    if settings.get("needs_network") and done.get("network", "not tried"):
        why = "this server listens on every address, and no network namespace could be made to keep it in ({}); --image serves it"
        out.write(
            failed="serve", error="", text=why.format(done.get("network", "not tried")) + " in a container without a network"
        )
        out.write(end=True)
        os._exit(0)
    libc().prctl(SUBREAPER, 1, 0, 0, 0)
    # From here on another process of this user cannot read this one's memory, where the seal is.
    libc().prctl(NO_DUMP, 0, 0, 0, 0)
    worker, told, nod = start(settings)
    listen(out, settings, worker, told, nod)
    try:
        code = worker.wait(10)
    except subprocess.TimeoutExpired:
        code = None
    out.write(ended=True, code=code)
    out.write(end=True)
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
