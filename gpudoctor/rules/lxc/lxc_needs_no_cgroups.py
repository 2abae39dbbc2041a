"""Docker in an unprivileged LXC guest: the hook may not write device rules, and no-cgroups is not set.

Before a container starts, the hook of `--gpus` opens the device cgroup for the GPU's nodes. Root of an unprivileged LXC, LXD,
Incus or Proxmox guest is an ordinary user of the host, which the kernel does not let load device rules (cgroup v2:
"bpf_prog_query (BPF_CGROUP_DEVICE) failed: operation not permitted"; v1: "write error: .../devices.allow: operation not
permitted"), so no container with `--gpus` starts. The rules are not needed there either: in such a guest runc writes none,
and what counts is which nodes the host gave to the guest.

How it is told from its look-alikes: /proc/self/uid_map shows that root is mapped. In a privileged guest the hook may write
its rules. Without LXC it is `toolkit/rootless-needs-no-cgroups`. The text about ip_unprivileged_port_start is
`lxc/lxc-runc-sysctl-apparmor`: there not even hello-world starts. The hook has no part where `--gpus` goes through CDI.

Cure: set no-cgroups = true in the guest's config.toml; nothing has to be restarted. The host must give the guest
/dev/nvidia0, /dev/nvidiactl, /dev/nvidia-uvm and /dev/nvidia-uvm-tools (Proxmox: `dev0:` entries), and the guest needs the
user libraries of exactly the host's driver version, without a kernel module. On a rootful Docker outside of such a guest the
same setting is a fault.

Sources: NVIDIA libnvidia-container (nvc_cgroup, issue 154); nvidia-container-toolkit issue 1246; Proxmox VE documentation,
pct.conf.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.facts.lxc import UID_MAP
from gpudoctor.model import Cure, Evidence, Finding, NotApplicable, Rule, Where
from gpudoctor.rules import advice, steps

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts
    from gpudoctor.model import Steps, Wishes

_TABLE = "nvidia-container-cli"


def check(facts: Facts) -> Iterator[Finding]:
    """Find a hook that acts in an unprivileged guest without no-cgroups."""
    platform, toolkit = facts.platform, facts.toolkit
    if not platform.lxc:
        raise NotApplicable("This is no LXC, LXD or Incus guest.")
    if facts.docker.kind != "rootful":
        raise NotApplicable("There is no rootful Docker in this guest.")
    if not facts.lxc.unprivileged:
        raise NotApplicable("This guest is privileged: its root may write device rules.")
    if not facts.gpus.present:
        raise NotApplicable("There is no NVIDIA GPU.")
    if not toolkit.hook_acts:
        raise NotApplicable(f"No container goes through the hook here ({toolkit.summary}).")
    if toolkit.no_cgroups:
        return
    line = toolkit.line(_TABLE, "no-cgroups")
    yield Finding(
        "Docker in an unprivileged LXC guest needs no-cgroups = true",
        "The toolkit's hook tries to write device rules, which the kernel refuses to the root of this guest, so no container "
        "that asks for a GPU starts (operation not permitted).",
        (
            Evidence(Where(toolkit.config_path, line), "no-cgroups = false" if line else "no-cgroups is not set (false)"),
            Evidence(Where(UID_MAP), "root of this guest is an ordinary user outside: the guest is unprivileged"),
            Evidence(Where("/run/systemd/container"), f"guest of {platform.container}; {toolkit.summary}"),
        ),
        Cure(
            "SAFE",
            "Set no-cgroups = true in this guest, then start the containers anew.",
            (advice.set_no_cgroups(facts, "true"),),
            "Right in this guest only: the same file on a rootful Docker outside of it would keep containers from their GPU.",
        ),
    )


def fix(facts: Facts, _: Wishes) -> Steps:
    """Set no-cgroups to true in this guest."""
    yield steps.toolkit_setting(facts, f"{_TABLE}.no-cgroups", value=True)


RULE = Rule(
    "lxc/lxc-needs-no-cgroups",
    28,
    "error",
    "Docker in an unprivileged LXC guest needs no-cgroups = true",
    check,
    breaks=("container",),
    needs=("gpu", "driver", "toolkit"),
    fix=fix,
    signs=(
        "device filters attached to the cgroup: bpf_prog_query(bpf_cgroup_device) failed",
        "failed to add device rules",
        "devices.allow: operation not permitted + nvidia",
        "cgroup/devices/docker/*devices.allow: permission denied",
        "~ (lxc|lxd|proxmox|pve|incus)",
        "~ cgroup/devices/",
    ),
)
