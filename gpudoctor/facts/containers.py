"""The containers that were given to be examined: what each was given of the GPU, in which way, and what it is admitted to now.

``docker inspect`` tells what a container was started with. A GPU gets in by ``--gpus`` (DeviceRequests), by a CDI name (a request of
the driver ``cdi``), by the nvidia runtime together with NVIDIA_VISIBLE_DEVICES, or by device nodes named one by one, which bring no
driver library. What the daemon adds to the variables of a request is not in the answer and is worked out here as it does it.

What a container is admitted to now shows in ``devices.list`` on cgroup v1. On v2 it is a program in the kernel that nobody can read;
there systemd says at least which rules it knows, which are those that the next daemon-reload leaves.
"""

from __future__ import annotations

from typing import Any, Literal

from gpudoctor.facts import Area, fact
from gpudoctor.host import Denied, Unseen
from gpudoctor.values import NamedTuple

INSPECT = ("docker", "inspect", "--type", "container")
LIST = ("docker", "ps", "--format", "{{.ID}}")
DEFAULT_SHM = 64 << 20
CAPABILITIES = ("compute", "compat32", "graphics", "utility", "video", "display", "ngx")
"""What NVIDIA_DRIVER_CAPABILITIES may name; other capabilities of a request only choose who serves it (moby, daemon/nvidia_linux.go)."""
_PROGRAM_LIBRARIES = ("libcuda.so", "libnvidia-ml.so")
"""The libraries of the driver that programs open themselves."""
_NONE = frozenset({"", "void", "none"})
_CONTROL = (195, 255)

How = Literal["gpus", "cdi", "runtime", "devices"]


class Way(NamedTuple):
    """One way in which a container was given GPUs: by what, which ones (``all``, indexes, UUIDs, nodes), and where it stands."""

    how: How
    which: tuple[str, ...]
    says: str


class Container(NamedTuple):
    """A container as ``docker inspect`` shows it; ``env`` is what its programs get, with what the daemon adds for a request."""

    name: str
    id: str
    image: str
    running: bool
    pid: int
    runtime: str
    ways: tuple[Way, ...]
    env: dict[str, str]
    own_env: dict[str, str]
    shm: int
    ipc: str
    privileged: bool
    mounts: tuple[str, ...]
    error: str = ""
    """Why it did not start, in the words of the daemon and of runc."""

    @property
    def source(self) -> str:
        """The command that tells about it, for evidence."""
        return f"docker inspect {self.name}"

    @property
    def has_gpu(self) -> bool:
        """Whether it was given a GPU in any way."""
        return bool(self.ways)

    @property
    def has_libraries(self) -> bool:
        """Whether it was given the driver's libraries too: nodes that are named one by one bring none."""
        return any(way.how != "devices" for way in self.ways)


class Containers(Area):
    """The containers that were named, or every running one."""

    @fact
    def all(self) -> tuple[Container, ...]:
        """Return the containers that were given and are there, in the order given; raises Unseen where Docker cannot be asked."""
        return tuple(found for name in self.names if (found := self._one(name)) is not None)

    @fact
    def names(self) -> tuple[str, ...]:
        """Return the names that were given, or those of all running containers."""
        given = self.facts.given
        if not given.all_containers:
            return given.containers
        ran = self._ask(*LIST)
        return tuple(dict.fromkeys(ran.decode("utf-8", "replace").split()))

    @fact
    def missing(self) -> tuple[str, ...]:
        """Return the names of which Docker knows no container."""
        return tuple(name for name in self.names if self._one(name) is None)

    def name_of(self, identity: str) -> str:
        """Return the name of the container with this id, "" where Docker knows none; raises NoAnswer as ``all`` does."""
        found = self._one(identity)
        return found.name if found is not None else ""

    def _ask(self, *argv: str) -> bytes:
        docker = self.facts.docker
        asked = " ".join(argv)
        if not self.host.closed and (docker.remote or not docker.daemons):
            raise Unseen(asked, "no Docker daemon of this machine answers")
        ran = self.host.command(*argv)
        if ran is None:
            raise Unseen(asked, "docker is not installed")
        said = ran.err.decode("utf-8", "replace").lower()
        if "permission denied" in said:
            raise Denied(asked, "permission denied on the Docker socket")
        if ran.rc != 0 and "no such" not in said:
            raise Unseen(asked, said.strip().partition("\n")[0][:200] or f"ended with {ran.rc}")
        return ran.out

    def _one(self, name: str) -> Container | None:
        import json

        kept: dict[str, Container | None] = self.__dict__.setdefault("kept", {})
        if name not in kept:
            try:
                value = json.loads(self._ask(*INSPECT, name) or b"[]")
            except (ValueError, RecursionError):
                raise Unseen(" ".join((*INSPECT, name)), "is not JSON") from None
            first = value[0] if isinstance(value, list) and value else None
            kept[name] = self._read(first) if isinstance(first, dict) else None
        return kept[name]

    def _read(self, told: dict[str, Any]) -> Container:
        config, host, state = (_object(told, key) for key in ("Config", "HostConfig", "State"))
        own = {key: value for key, _, value in (str(entry).partition("=") for entry in _list(config, "Env"))}
        runtime = str(host.get("Runtime") or "")
        env = dict(own)
        ways: list[Way] = []
        for request in _list(host, "DeviceRequests"):
            if isinstance(request, dict):
                ways += _requested(request, env)
        if runtime.startswith("nvidia") and not ways:
            ways += _by_runtime(runtime, env)
        nodes = tuple(str(each.get("PathOnHost")) for each in _list(host, "Devices") if isinstance(each, dict))
        gpus = tuple(
            path for path in nodes if path.removeprefix("/dev/nvidia").isdigit() or path in {"/dev/dxg", "/dev/nvhost-gpu"}
        )
        if gpus:
            ways.append(Way("devices", gpus, f"Devices: {', '.join(gpus)}"))
        return Container(
            str(told.get("Name") or "").lstrip("/"),
            str(told.get("Id") or ""),
            str(config.get("Image") or ""),
            state.get("Running") is True,
            _int(state, "Pid"),
            runtime,
            tuple(ways),
            env,
            own,
            _int(host, "ShmSize"),
            str(host.get("IpcMode") or ""),
            host.get("Privileged") is True,
            tuple(str(each.get("Destination")) for each in _list(told, "Mounts") if isinstance(each, dict)),
            str(state.get("Error") or ""),
        )

    def count(self, container: Container) -> int | None:
        """Return how many GPUs a container sees, None where that cannot be told (MIG, names that no list explains)."""
        gpus = self.facts.gpus
        if gpus.mig_instances or not gpus.count:
            return None
        if not container.ways:
            return 0
        if container.privileged:
            return gpus.count
        seen: set[str] = set()
        for way in container.ways:
            for which in way.which:
                name = which.removeprefix("nvidia.com/gpu=").removeprefix("/dev/nvidia")
                if name == "all":
                    return gpus.count
                uuid = next((str(at) for at, gpu in enumerate(gpus.taken) if gpu.uuid and gpu.uuid == name), name)
                if not uuid.isdigit():
                    return None
                seen.add(uuid)
        return len(seen)

    def own_variable(self, container: Container, name: str) -> tuple[tuple[int, str], ...]:
        """Return (process, value) where a process of a running container began with another value of a variable than the container has.

        Raises Denied where the processes' variables may not be read.
        """
        found = []
        for pid in self._processes(container):
            environ = self.host.bytes(f"/proc/{pid}/environ") or b""
            entry = next((each for each in environ.split(b"\0") if each.startswith(f"{name}=".encode())), None)
            value = entry.partition(b"=")[2].decode("utf-8", "replace") if entry is not None else None
            if value is not None and value != container.env.get(name):
                found.append((pid, value))
        return tuple(found)

    def _processes(self, container: Container) -> tuple[int, ...]:
        """Return the processes of a running container, by its cgroup."""
        text = self.host.text(f"/proc/{container.pid}/cgroup") if container.running and container.pid else None
        for line in (text or "").split("\n"):
            _, _, rest = line.partition(":")
            controllers, _, path = rest.partition(":")
            # Of cgroup v1 any hierarchy that Docker makes its folders in serves.
            folder = {"": "/sys/fs/cgroup", "pids": "/sys/fs/cgroup/pids"}.get(controllers)
            told = self.host.text(f"{folder}{path}/cgroup.procs") if folder is not None and container.id[:12] in path else None
            if told:
                return tuple(int(each) for each in told.split() if each.isascii() and each.isdigit())
        return ()

    def unlinked_libraries(self, container: Container) -> tuple[str, ...]:
        """Return the driver's libraries that are mounted into a running container and that its linker does not find by their names.

        The toolkit mounts ``libcuda.so.550.54.14``; ldconfig, which it runs in the container, makes the link libcuda.so.1 beside it and
        lists it in /etc/ld.so.cache. Where neither was done, no program finds it. Raises Denied where the container's files may not be seen.
        """
        from gpudoctor.formats import Malformed, ldcache, mountinfo

        root = f"/proc/{container.pid}/root"
        data = self.host.bytes(f"/proc/{container.pid}/mountinfo") if container.running and container.pid else None
        found = []
        for mount in mountinfo.parse(data) if data is not None else ():
            folder, _, file = mount.point.rpartition("/")
            name = next((name for name in _PROGRAM_LIBRARIES if file.startswith(f"{name}.") and file != f"{name}.1"), None)
            if name is not None and not self.host.exists(f"{root}{folder}/{name}.1"):
                found.append((f"{name}.1", mount.point))
        if not found:
            return ()
        cache = self.host.bytes(f"{root}/etc/ld.so.cache")
        try:
            cached = ldcache.from_cache(cache, tuple(name for name, _ in found)) if cache is not None else {}
        except Malformed:
            cached = {}
        return tuple(point for name, point in found if name not in cached)

    def admits(self, container: Container) -> tuple[bool, str] | None:
        """Return whether the container's device cgroup admits /dev/nvidiactl now, and the file that says so; None on cgroup v2.

        Every use of the GPU opens that node, whose numbers are fixed.
        """
        text = self.host.text(f"/proc/{container.pid}/cgroup") if container.pid else None
        for line in (text or "").split("\n"):
            _, _, rest = line.partition(":")
            controllers, _, path = rest.partition(":")
            if "devices" in controllers.split(","):
                file = f"/sys/fs/cgroup/devices{path}/devices.list"
                rules = self.host.text(file)
                return None if rules is None else (_admits(rules, *_CONTROL), file)
        return None

    def known_to_systemd(self, container: Container) -> tuple[bool, str] | None:
        """Return whether systemd knows a rule for NVIDIA's nodes in the container's scope, and the command that says so; None: no scope."""
        if not (self.facts.platform.systemd and container.id and self.facts.docker.cgroup_driver == "systemd"):
            return None
        argv = ("systemctl", "show", "-p", "DeviceAllow", f"docker-{container.id}.scope")
        ran = self.host.command(*argv)
        text = ran.out.decode("utf-8", "replace") if ran is not None and ran.rc == 0 else ""
        # Every container of Docker's has rules for /dev/null and its like: without any the scope is not there.
        if "/dev/char/" not in text and "char-" not in text:
            return None
        return any(words in text for words in ("/dev/char/195:", "char-nvidia", "/dev/nvidia")), " ".join(argv)


def _requested(request: dict[str, Any], env: dict[str, str]) -> list[Way]:
    """Return what one DeviceRequest gives, and add to ``env`` what the daemon adds."""
    driver = str(request.get("Driver") or "")
    ids = tuple(str(each) for each in _list(request, "DeviceIDs"))
    if driver == "cdi":
        found = tuple(each for each in ids if each.startswith("nvidia.com/"))
        return [Way("cdi", found, f"DeviceRequests: {', '.join(found)}")] if found else []
    sets = [[str(each) for each in chosen] for chosen in _list(request, "Capabilities") if isinstance(chosen, list)]
    if driver not in {"", "nvidia"} or not any({"gpu", "nvidia"} & set(chosen) for chosen in sets):
        return []
    count = _int(request, "Count")
    named = [each for each in (sets[0] if sets else ()) if each in CAPABILITIES]
    if named:
        env["NVIDIA_DRIVER_CAPABILITIES"] = ",".join(named)
    if ids:
        env["NVIDIA_VISIBLE_DEVICES"] = ",".join(ids)
        return [Way("gpus", ids, f"DeviceRequests: device IDs {', '.join(ids)}")]
    if count:
        which = ("all",) if count < 0 else tuple(map(str, range(count)))
        env["NVIDIA_VISIBLE_DEVICES"] = ",".join(which)
        return [Way("gpus", which, f"DeviceRequests: {'all GPUs' if count < 0 else f'count {count}'}")]
    # With neither count nor names the daemon adds nothing, and the image's own variable decides.
    which = _visible(env)
    return [Way("gpus", which, "DeviceRequests without a count, and NVIDIA_VISIBLE_DEVICES")] if which else []


def _by_runtime(runtime: str, env: dict[str, str]) -> list[Way]:
    which = _visible(env)
    says = f"Runtime: {runtime}, NVIDIA_VISIBLE_DEVICES={env.get('NVIDIA_VISIBLE_DEVICES', 'unset, in an old CUDA image')}"
    return [Way("runtime", which, says)] if which else []


def _visible(env: dict[str, str]) -> tuple[str, ...]:
    """Return the GPUs that NVIDIA_VISIBLE_DEVICES names; unset in a CUDA image of before 2018 it means all of them."""
    told = env.get("NVIDIA_VISIBLE_DEVICES")
    if told is None:
        return ("all",) if "CUDA_VERSION" in env and "NVIDIA_REQUIRE_CUDA" not in env else ()
    return () if told.strip() in _NONE else tuple(each.strip() for each in told.split(",") if each.strip())


def _admits(rules: str, major: int, minor: int) -> bool:
    """Say whether a devices.list lets a character device be read and written."""
    for line in rules.split("\n"):
        words = line.replace(":", " ").split()
        fits = len(words) == 4 and words[0] in {"a", "c"} and words[1] in {"*", str(major)} and words[2] in {"*", str(minor)}
        # Every container may make any node (m), and not open it.
        if fits and "r" in words[3] and "w" in words[3]:
            return True
    return False


def _object(value: dict[str, Any], key: str) -> dict[str, Any]:
    found = value.get(key)
    return found if isinstance(found, dict) else {}


def _list(value: dict[str, Any], key: str) -> list[Any]:
    found = value.get(key)
    return found if isinstance(found, list) else []


def _int(value: dict[str, Any], key: str) -> int:
    found = value.get(key)
    return found if isinstance(found, int) and not isinstance(found, bool) else 0
