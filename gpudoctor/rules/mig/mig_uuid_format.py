"""A container asks for a MIG device by the old form of its name.

Drivers before 470 named MIG devices MIG-GPU-<uuid>/<gi>/<ci>; from 470 on they are MIG-<uuid>, and the old form is "unknown device".

How it is told from its look-alikes: the container's configuration names it; with `mig/mig-no-instances` there is no MIG device at all.

Cure: name the device MIG-<uuid> (nvidia-smi -L lists them) or GPU:MIG by index, and recreate the container.

Sources: NVIDIA MIG user guide (device naming).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.model import Cure, Evidence, Finding, NotApplicable, Rule, Where

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts


def check(facts: Facts) -> Iterator[Finding]:
    """Find containers that name a MIG device in the form of before 470."""
    branch = facts.driver.branch
    if branch is None or branch < 470:
        raise NotApplicable("This driver uses the old form itself, or there is none.")
    for container in facts.docker.known_containers:
        names = [*container.device_ids, *container.env.get("NVIDIA_VISIBLE_DEVICES", "").split(",")]
        old = [name for name in names if name.startswith("MIG-GPU-")]
        if not old:
            continue
        yield Finding(
            f"container {container.name} names a MIG device in the old form",
            f"Container {container.name} asks for {old[0]}, a form that drivers from 470 on do not know: it cannot start (unknown device).",
            (Evidence(Where(container.path), f"asks for {old[0]}"), Evidence(Where(facts.driver.version_source), f"driver branch {branch}")),
            Cure(
                "SHOWN",
                "Recreate the container with the device's name of today.",
                ("nvidia-smi -L",),
                "The container is recreated.",
            ),
        )


RULE = Rule(
    "mig/mig-uuid-format",
    117,
    "error",
    "a container names a MIG device in the old form",
    check,
    needs=("gpu", "driver"),
)
