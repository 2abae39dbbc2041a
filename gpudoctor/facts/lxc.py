"""LXC, LXD, Incus and Proxmox: what this guest is, and what this machine, as a host, gives to its guests.

A guest sees the host's kernel, its PCI bus and /proc/driver/nvidia, but only the device nodes that it was given.
"Unprivileged" means that the guest's root is an ordinary user of the host.
"""

from __future__ import annotations

from gpudoctor.facts import Area, fact
from gpudoctor.values import NamedTuple

UID_MAP = "/proc/self/uid_map"
APPARMOR = "/sys/module/apparmor/parameters/enabled"
LXC_GUESTS = "/var/lib/lxc"
PVE_GUESTS = "/etc/pve/lxc"
INSTANCES = ("/var/lib/incus/containers", "/var/lib/lxd/containers", "/var/snap/lxd/common/lxd/containers")
"""Where Incus and LXD (its package and its snap) keep their guests; only root may list them."""
_TRUE = {"true", "1", "yes", "on"}


class Setting(NamedTuple):
    """One line of a guest's configuration."""

    line: int
    key: str
    value: str


class Guest(NamedTuple):
    """One guest of LXC itself or of Proxmox, as its configuration file describes it."""

    name: str
    path: str
    settings: tuple[Setting, ...]

    def get(self, *keys: str) -> tuple[Setting, ...]:
        """Return the settings with one of these keys, in order."""
        return tuple(each for each in self.settings if each.key in keys)

    @property
    def privileged(self) -> bool:
        """Whether the guest's root is the host's root: neither an id map nor Proxmox's ``unprivileged: 1``."""
        if any(each.value == "1" for each in self.get("unprivileged")):
            return False
        return not self.get("lxc.idmap", "lxc.id_map")


class Instance(NamedTuple):
    """One LXD or Incus instance that asks for the NVIDIA runtime: its name, its backup.yaml, and the line that asks."""

    name: str
    path: str
    line: int


class Lxc(Area):
    """What this machine is as a guest, and as a host of guests."""

    @fact
    def unprivileged(self) -> bool:
        """Say whether root here is mapped to an ordinary user of the machine outside, from /proc/self/uid_map."""
        for line in (self.host.text(UID_MAP) or "").split("\n"):
            fields = line.split()
            if fields[:1] == ["0"]:
                return fields[1:2] != ["0"]
        return False

    @fact
    def apparmor(self) -> bool:
        """Say whether the kernel (of a guest: the host's kernel) enforces AppArmor profiles."""
        return (self.host.text(APPARMOR) or "").strip() == "Y"

    @fact
    def hosts_guests(self) -> bool:
        """Say whether this machine keeps guests of LXC, LXD, Incus or Proxmox."""
        return self.facts.platform.proxmox or any(self.host.lstat(path) is not None for path in (LXC_GUESTS, *INSTANCES))

    @fact
    def guests(self) -> tuple[Guest, ...]:
        """Return the guests of Proxmox and of LXC itself; raises Denied for whoever may not look."""
        found = {}
        for name in self.host.names(PVE_GUESTS):
            if name.endswith(".conf"):
                path = f"{PVE_GUESTS}/{name}"
                guest = name.removesuffix(".conf")
                found[guest] = Guest(guest, path, _settings(self.host.text(path) or "", ":"))
        for name in self.host.names(LXC_GUESTS):
            # Proxmox writes the configuration of its guests here anew at each start: its own file is the one that counts.
            path = f"{LXC_GUESTS}/{name}/config"
            text = self.host.text(path) if name not in found else None
            if text is not None:
                found[name] = Guest(name, path, _settings(text, "="))
        return tuple(found.values())

    @fact
    def nvidia_instances(self) -> tuple[Instance, ...]:
        """Return the LXD and Incus instances with ``nvidia.runtime`` on; raises Denied for whoever is not root."""
        found = []
        for root in INSTANCES:
            for name in self.host.names(root):
                path = f"{root}/{name}/backup.yaml"
                line = _nvidia_runtime(self.host.text(path) or "")
                if line is not None:
                    found.append(Instance(name, path, line))
        return tuple(found)


def _settings(text: str, sign: str) -> tuple[Setting, ...]:
    """Return the settings that hold now: in Proxmox's files, what follows a ``[name]`` is a snapshot or a pending change."""
    found = []
    for number, line in enumerate(text.split("\n"), 1):
        if line.startswith("["):
            break
        key, is_set, value = line.partition(sign)
        if is_set and not key.lstrip().startswith("#"):
            found.append(Setting(number, key.strip(), value.strip()))
    return tuple(found)


def _nvidia_runtime(text: str) -> int | None:
    """Return the line of a backup.yaml that switches ``nvidia.runtime`` on for the instance; its snapshots come after."""
    for number, line in enumerate(text.split("\n"), 1):
        if line.startswith("snapshots:"):
            break
        key, _, value = line.strip().partition(":")
        if key == "nvidia.runtime" and value.strip(" \"'").lower() in _TRUE:
            return number
    return None
