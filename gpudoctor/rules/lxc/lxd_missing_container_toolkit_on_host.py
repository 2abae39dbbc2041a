"""An LXD or Incus instance asks for the NVIDIA runtime, but nvidia-container-cli is not on the host.

`nvidia.runtime: "true"` makes LXD and Incus run a mount hook that calls nvidia-container-cli of the *host* to put the
driver's libraries into the instance. Without the program the instance does not start ("The NVIDIA container tools couldn't be
found"), and `incus info --resources` shows the GPU with an empty CUDA version.

How it is told from its look-alikes: the program is missing on the host; where it is there and a privileged guest does not
start, it is `lxc/lxc-nvidia-mount-hook-privileged`. An instance that is only given device nodes (a `gpu` device without
nvidia.runtime) needs no program on the host, but the libraries inside. LXD's snap brings its own copy of the program.

Cure: install the NVIDIA container toolkit on the host (Docker need not be there), then start the instance. Packages are
added; nothing else is changed.

Sources: Incus and LXD source (nvidia.runtime in the LXC driver) and instance options; incus issue 1322.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.model import Cure, Evidence, Finding, NotApplicable, Rule, Where
from gpudoctor.rules import advice

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts

_SNAP = "/var/snap/"
_SNAP_CLI = "/snap/lxd/current/bin/nvidia-container-cli"


def check(facts: Facts) -> Iterator[Finding]:
    """Find instances with nvidia.runtime on a host that has a GPU and no nvidia-container-cli."""
    if facts.platform.lxc:
        raise NotApplicable("This is a guest, not the host of one.")
    if not facts.lxc.hosts_guests:
        raise NotApplicable("This host keeps no LXD or Incus instances.")
    if not facts.gpus.present:
        raise NotApplicable("There is no NVIDIA GPU.")
    if facts.toolkit.cli is not None:
        return
    own_copy = facts.host.exists(_SNAP_CLI)
    asking = [each for each in facts.lxc.nvidia_instances if not (own_copy and each.path.startswith(_SNAP))]
    if not asking:
        return
    install = advice.add_toolkit(facts)
    program = "lxc" if asking[0].path.startswith(_SNAP) or "/lxd/" in asking[0].path else "incus"
    names = ", ".join(each.name for each in asking)
    yield Finding(
        "nvidia-container-cli is missing on the host of an instance with nvidia.runtime",
        f"The host has no nvidia-container-cli, which nvidia.runtime needs, so this cannot start: {names}.",
        (
            *(Evidence(Where(each.path, each.line), "nvidia.runtime is true") for each in asking),
            Evidence(Where("nvidia-container-cli"), "in none of " + ", ".join(facts.docker.path)),
        ),
        Cure(
            "SHOWN",
            "Install the NVIDIA container toolkit on this host, then start the instance.",
            (*install, f"{program} start {asking[0].name}"),
            "Packages are added; running instances are not touched.",
        ),
    )


RULE = Rule(
    "lxc/lxd-missing-container-toolkit-on-host",
    116,
    "error",
    "nvidia-container-cli is missing on the host of an instance with nvidia.runtime",
    check,
    needs=("gpu", "driver"),
    signs=(
        "nvidia information: + cuda version: nvrm version:",
        "nvidia.runtime + nvidia-container-cli",
        "(incus|lxd) + nvidia-container-cli*not found",
    ),
)
