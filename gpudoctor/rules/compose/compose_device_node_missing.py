"""The Compose file lists an NVIDIA device node that this host does not have.

Docker looks at each node before it makes the container, and refuses with "error gathering device information while adding custom
device "/dev/nvidia1": no such file or directory". The list came from a host with other GPUs, or the node is only made when CUDA first
runs (/dev/nvidia-uvm).

How it is told from its look-alikes: the node is named in the file and is not in /dev. Where the driver is not loaded no node is there
at all, and that is the fault (`host/driver-not-loaded`); where nvidia-uvm alone is lacking, `host/uvm-device-missing`.

Cure: list the nodes of this host (`gpudoctor device-args --format compose` prints them), or reserve the GPU instead.

Sources: moby (daemon/oci_linux.go, deviceutils); NVIDIA driver README (device nodes).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.model import Cure, Evidence, Finding, NotApplicable, Rule, Where
from gpudoctor.rules.compose import _services

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts
    from gpudoctor.host import Unseen


def check(facts: Facts) -> Iterator[Finding]:
    """Find nodes that the file lists and the host lacks."""
    _services.need_this_host(facts)
    listing = [each for each in facts.composed.services if each.nodes]
    if not listing:
        raise NotApplicable("No service of the Compose file lists an NVIDIA device node.")
    here = ", ".join(facts.devices.nodes) or "none"
    doubts: list[Unseen | None] = []
    for service in listing:
        doubts += [_services.unset(each.place) for each in service.nodes if each.unset]
        missing = [each for each in service.nodes if not each.unset and not facts.host.exists(each.source)]
        if not missing:
            continue
        paths = ", ".join(each.source for each in missing)
        yield Finding(
            "the Compose file lists a device node that is not here",
            f"{service.name} lists {paths}, which this host does not have: Docker refuses to make the container.",
            (
                *(_services.at(each.place, each.source) for each in missing),
                Evidence(Where("/dev"), f"NVIDIA's nodes here: {here}"),
            ),
            Cure(
                "SHOWN",
                "List the nodes of this host in their place.",
                ("gpudoctor device-args --format compose",),
                "None: the container does not start as it is.",
            ),
        )
    _services.settle(doubts)


RULE = Rule(
    "compose/compose-device-node-missing",
    75,
    "error",
    "the Compose file lists a device node that is not here",
    check,
    breaks=("container",),
    needs=("driver", "nodes", "uvm"),
    needs_input="compose",
)
