"""Which process of which container uses which GPU, and how much of its memory.

NVML names the processes that have CUDA open, by the PIDs of this host; /proc/PID/cgroup tells the container, and Docker its name.
"""

from __future__ import annotations

from typing import Any

from gpudoctor.facts import Area, fact
from gpudoctor.host import NoAnswer, Unseen
from gpudoctor.values import NamedTuple

_ID = 64  # hexadecimal digits of a container's id
_ENGINES = (
    ("libpod", "podman"),
    ("docker", "docker"),
    ("cri-containerd", "kubernetes"),
    ("crio", "kubernetes"),
    ("kubepods", "kubernetes"),
)
"""What a container's cgroup is called, and whose it then is."""


class User(NamedTuple):
    """A process on a GPU: ``memory`` in bytes, None where NVML does not tell; ``container`` is a name, or an id where none is known.

    ``engine`` is who runs the container, "" for a process of the host; None where its cgroup cannot be read.
    """

    pid: int
    memory: int | None
    program: str
    engine: str | None
    container: str
    container_id: str


class Gpu(NamedTuple):
    """A GPU and who uses it: ``number`` is NVML's index; ``used`` and ``total`` in bytes, ``users`` None where NVML does not tell."""

    number: int
    name: str
    pci: str
    uuid: str
    total: int | None
    used: int | None
    users: tuple[User, ...] | None
    error: str


class Usage(Area):
    """The GPUs as NVML sees them."""

    @fact
    def gpus(self) -> tuple[Gpu, ...]:
        """Return every GPU with its processes; raises NoAnswer where NVML may not be asked or does not answer."""
        told = self.facts.driver.nvml
        if told is None:
            raise Unseen("NVML", "was not asked, or did not answer, on this host")
        if told.get("init") != 0:
            raise Unseen("NVML", str(told.get("error") or f"nvmlInit ended with {told.get('init')}"))
        found = told.get("gpus")
        return tuple(self._gpu(each) for each in (found if isinstance(found, list) else ()) if isinstance(each, dict))

    def _gpu(self, told: dict[str, Any]) -> Gpu:
        processes = told.get("processes")
        users = None
        if isinstance(processes, list):
            users = tuple(
                self._user(each["pid"], _int(each.get("memory")))
                for each in processes
                if isinstance(each, dict) and isinstance(each.get("pid"), int)
            )
        return Gpu(
            _int(told.get("index")) or 0,
            str(told.get("name") or ""),
            str(told.get("pci") or ""),
            str(told.get("uuid") or ""),
            _int(told.get("memory_total")),
            _int(told.get("memory_used")),
            users,
            str(told.get("error") or ""),
        )

    def _user(self, pid: int, memory: int | None) -> User:
        try:
            cgroup = self.host.text(f"/proc/{pid}/cgroup")
        except NoAnswer:
            cgroup = None
        engine, identity = (None, "") if cgroup is None else _owner(cgroup)
        return User(pid, memory, self._program(pid), engine, self._name(engine, identity), identity)

    def _program(self, pid: int) -> str:
        try:
            return (self.host.text(f"/proc/{pid}/comm") or "").strip()
        except NoAnswer:
            return ""

    def _name(self, engine: str | None, identity: str) -> str:
        if engine == "docker" and identity:
            try:
                return self.facts.containers.name_of(identity) or identity[:12]
            except NoAnswer:
                pass
        return identity[:12]


def _owner(cgroup: str) -> tuple[str, str]:
    """Return whose a process is by its cgroup, ("docker", id); ("", "") for one of the host.

    ``0::/system.slice/docker-ID.scope``, ``4:devices:/docker/ID``, ``0::/machine.slice/libpod-ID.scope/container``,
    ``0::/kubepods.slice/.../cri-containerd-ID.scope``.
    """
    for line in cgroup.split("\n"):
        path = line.partition(":")[2].partition(":")[2]
        for part in reversed(path.split("/")):
            identity = part.removesuffix(".scope").rpartition("-")[2]
            if len(identity) == _ID and not identity.strip("0123456789abcdef"):
                return next((engine for words, engine in _ENGINES if words in path), "other"), identity
    return "", ""


def _int(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
