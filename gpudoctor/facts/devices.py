"""The device nodes: which are there, with which numbers, mode and owner; which ought to be; the /dev/char links."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.facts import Area, fact
from gpudoctor.formats import procfs
from gpudoctor.values import NamedTuple

if TYPE_CHECKING:
    from gpudoctor.host import Stat

NVIDIA_MAJOR = 195
"""The only fixed major; those of nvidia-uvm, nvidia-caps ... are dynamic and stand in /proc/devices."""
UDEV_FOLDERS = ("/etc/udev/rules.d", "/run/udev/rules.d", "/usr/lib/udev/rules.d", "/lib/udev/rules.d")


class DeviceNode(NamedTuple):
    """One device node that is there."""

    path: str
    stat: Stat

    @property
    def numbers(self) -> str:
        """``major:minor``."""
        return ":".join(map(str, self.stat.rdev)) if self.stat.rdev is not None else "?"


class Devices(Area):
    """Device nodes and majors."""

    @fact
    def nodes(self) -> dict[str, DeviceNode]:
        """Return the NVIDIA device nodes that are there, by path, sorted."""
        paths = [f"/dev/{name}" for name in self.host.names("/dev") if name.startswith("nvidia")]
        for folder in ("/dev/nvidia-caps", "/dev/nvidia-caps-imex-channels"):
            if folder in paths:
                paths += [f"{folder}/{name}" for name in self.host.names(folder)]
        found = {}
        for path in paths:
            stat = self.host.lstat(path)
            if stat is not None and stat.kind == "char":
                found[path] = DeviceNode(path, stat)
        return found

    @fact
    def gpu_nodes(self) -> tuple[DeviceNode, ...]:
        """Return the nodes of GPUs: /dev/nvidia0 ..."""
        return tuple(node for path, node in self.nodes.items() if path.removeprefix("/dev/nvidia").isdigit())

    @fact
    def cuda_nodes(self) -> tuple[DeviceNode, ...]:
        """Return those nodes that every CUDA program opens and that are there: the GPUs' own, nvidiactl and nvidia-uvm."""
        return (*self.gpu_nodes, *(self.nodes[path] for path in ("/dev/nvidiactl", "/dev/nvidia-uvm") if path in self.nodes))

    @fact
    def majors(self) -> dict[str, int]:
        """Return the character devices' majors by driver name, from /proc/devices."""
        return procfs.devices(self.host.text("/proc/devices") or "")

    @fact
    def uvm_major(self) -> int | None:
        """Return the major that the kernel gave nvidia-uvm, None where the module is not loaded."""
        return self.majors.get("nvidia-uvm")

    @fact
    def missing(self) -> tuple[str, ...]:
        """Return the nodes that CUDA needs on this host and that are not there (none before the driver is loaded)."""
        if self.facts.driver.loaded is None:
            return ()
        wanted = ["/dev/nvidiactl", "/dev/nvidia-uvm"]
        wanted += [f"/dev/nvidia{gpu.minor}" for gpu in self.facts.gpus.taken if gpu.minor is not None]
        return tuple(sorted(path for path in wanted if path not in self.nodes))

    @fact
    def missing_char_links(self) -> tuple[DeviceNode, ...]:
        """Return the nodes a container needs that have no /dev/char/MAJOR:MINOR link (runc 1.1.3 to 1.1.6 need it)."""
        needed = [
            node
            for path, node in self.nodes.items()
            if not path.startswith(("/dev/nvidia-fs", "/dev/nvidia-nvswitch", "/dev/nvidia-nvlink", "/dev/nvidia-caps"))
        ]
        return tuple(node for node in needed if self.host.lstat(f"/dev/char/{node.numbers}") is None)

    @fact
    def udev_rule(self) -> str | None:
        """Return the udev rules file that makes NVIDIA's nodes or loads nvidia-uvm when the driver loads, None where none does."""
        for folder in UDEV_FOLDERS:
            for name in self.host.names(folder):
                if "nvidia" not in name or not name.endswith(".rules"):
                    continue
                text = self.host.text(f"{folder}/{name}") or ""
                if any(
                    word in line for line in text.split("\n") if not line.startswith("#") for word in ("uvm", "nvidia-modprobe")
                ):
                    return f"{folder}/{name}"
        return None
