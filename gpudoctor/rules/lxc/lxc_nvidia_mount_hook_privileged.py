"""A privileged LXC guest has LXC's NVIDIA mount hook, which takes only unprivileged ones: the guest does not start.

/usr/share/lxc/hooks/nvidia puts the host's driver into a guest by nvidia-container-cli. It looks for a user namespace, prints
"This hook currently only works in unprivileged mode" and ends with 1 where there is none; LXC then gives the start up:
"Script exec /usr/share/lxc/hooks/nvidia ... produced output".

How it is told from its look-alikes: the guest's configuration names the hook and has neither an id map (`lxc.idmap`) nor, on
Proxmox, `unprivileged: 1`. A hook that finds no NVIDIA_VISIBLE_DEVICES among the guest's `lxc.environment` (or finds it empty
or void) leaves without doing anything, in privileged guests too. With nvidia-container-cli missing the hook says so (compare
`lxc/lxd-missing-container-toolkit-on-host`). LXD and Incus refuse nvidia.runtime for privileged instances by themselves.

Cure: make the guest unprivileged (its files need other owners: on Proxmox by backup and restore), or take the hook out and
give the guest the device nodes, with the user libraries of the host's driver version installed inside. Either needs a restart
of the guest.

Sources: LXC source, hooks/nvidia; lxc.container.conf(5); Proxmox VE documentation, pct.conf.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.facts.devices import NVIDIA_MAJOR
from gpudoctor.facts.lxc import PVE_GUESTS
from gpudoctor.model import Cure, Evidence, Finding, NotApplicable, Rule, Where

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts
    from gpudoctor.facts.lxc import Guest, Setting

_HOOK = "/usr/share/lxc/hooks/nvidia"
_VISIBLE = "NVIDIA_VISIBLE_DEVICES="


def check(facts: Facts) -> Iterator[Finding]:
    """Find guests with the hook, something for it to do, and no id map."""
    if facts.platform.lxc:
        raise NotApplicable("This is a guest, not the host of one.")
    if not facts.lxc.hosts_guests:
        raise NotApplicable("This host keeps no LXC guests.")
    for guest in facts.lxc.guests:
        hook = next((each for each in guest.get("lxc.hook.mount") if each.value.partition(" ")[0] == _HOOK), None)
        visible = _visible(guest)
        if hook is None or visible is None or not guest.privileged:
            continue
        proxmox = guest.path.startswith(PVE_GUESTS)
        absent = "no unprivileged: 1" if proxmox else "no lxc.idmap"
        yield Finding(
            "the NVIDIA mount hook in a privileged LXC guest",
            f"LXC's NVIDIA hook works in unprivileged guests only, and guest {guest.name} is privileged, so it does not start.",
            (
                Evidence(Where(guest.path, hook.line), f"{hook.key}{':' if proxmox else ' ='} {hook.value}"),
                Evidence(Where(guest.path, visible.line), visible.value),
                Evidence(Where(guest.path), f"{absent}: the guest is privileged"),
            ),
            _cure(facts, guest, proxmox=proxmox),
        )


def _visible(guest: Guest) -> Setting | None:
    """Return the setting that makes the hook act: without one, or with nothing or void, it leaves at once."""
    told = [each for each in guest.get("lxc.environment", "lxc.environment.hooks") if each.value.startswith(_VISIBLE)]
    return told[-1] if told and told[-1].value.removeprefix(_VISIBLE) not in {"", "void"} else None


def _cure(facts: Facts, guest: Guest, *, proxmox: bool) -> Cure:
    commands = [f"sudo sed -i '\\#{_HOOK}#d' {guest.path}"]
    nodes = ("nvidia0", "nvidiactl", "nvidia-uvm", "nvidia-uvm-tools")
    if proxmox:
        devices = " ".join(f"--dev{number} /dev/{node}" for number, node in enumerate(nodes))
        commands += [f"sudo pct set {guest.name} {devices}", f"sudo pct start {guest.name}"]
    else:
        uvm = facts.devices.uvm_major
        majors = [NVIDIA_MAJOR] if uvm is None else [NVIDIA_MAJOR, uvm]
        lines = [f"lxc.cgroup2.devices.allow = c {major}:* rwm" for major in majors]
        lines += [f"lxc.mount.entry = /dev/{node} dev/{node} none bind,optional,create=file" for node in nodes]
        commands += [f"echo '{line}' | sudo tee -a {guest.path}" for line in lines]
        commands.append(f"sudo lxc-start {guest.name}")
    return Cure(
        "SHOWN",
        "Make the guest unprivileged, or take the hook out and give it the device nodes (shown), with the libraries of the "
        "host's driver version installed inside.",
        tuple(commands),
        "The guest is restarted; an unprivileged guest needs other owners for its files.",
    )


RULE = Rule(
    "lxc/lxc-nvidia-mount-hook-privileged",
    139,
    "error",
    "the NVIDIA mount hook in a privileged LXC guest",
    check,
    signs=(
        "/usr/share/lxc/hooks/nvidia",
        "failed to run lxc.hook.mount + nvidia",
        "failed to run mount hooks + nvidia",
    ),
)
