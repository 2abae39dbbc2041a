"""A container names its MIG device in the old form, which this driver no longer knows.

Drivers before 470 named a MIG device by its GPU and two numbers, MIG-GPU-<uuid>/<gi>/<ci>. Since 470 each has
a UUID of its own, MIG-<uuid>. A container that was made with the old name fails to start: "device error:
MIG-GPU-.../1/0: unknown device".

How it is told from its look-alikes: the name has the old form and the driver is 470 or newer; with an older
driver it is right. With `mig/mig-no-instances` no MIG device exists at all. A new-form name that is unknown
belongs to an instance that was deleted.

Cure: make the container anew with the name that `nvidia-smi -L` shows now, or by place, as GPU:MIG (0:0).

Sources: NVIDIA MIG user guide (device names); NVIDIA/nvidia-container-toolkit#203.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.model import Cure, Evidence, Finding, NotApplicable, Rule, Where
from gpudoctor.rules import cards

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts
    from gpudoctor.facts.docker import Container

_OWN_UUIDS = 470
_VARIABLE = "NVIDIA_VISIBLE_DEVICES"
_OLD = "MIG-GPU-"


def check(facts: Facts) -> Iterator[Finding]:
    """Find containers that name a MIG device in the old form, under a driver that has the new one."""
    if not facts.docker.installed:
        raise NotApplicable("There is no Docker on this host.")
    if not facts.gpus.present:
        raise NotApplicable("There is no NVIDIA GPU on this host.")
    found = [(each, names) for each in facts.docker.known_containers if (names := _old_names(each))]
    if not found:
        return
    if cards.driver_branch(facts) < _OWN_UUIDS:
        return
    path, version = facts.driver.branch_source
    yield Finding(
        "a container names a MIG device in the old form",
        f"{', '.join(each.name for each, _ in found)}: MIG devices are named MIG-<uuid> since driver {_OWN_UUIDS}; a container "
        "made with the old form does not start (unknown device).",
        (
            *(Evidence(Where(each.path), f"container {each.name} asks for {', '.join(names)}") for each, names in found),
            Evidence(Where(path), f"driver {version}"),
        ),
        Cure(
            "SHOWN",
            "Make the container anew with the MIG name that nvidia-smi -L shows now, or by place (GPU:MIG, such as 0:0).",
            ("nvidia-smi -L",),
            "The container is stopped and made anew; what it wrote outside its volumes is lost.",
        ),
    )


def _old_names(container: Container) -> tuple[str, ...]:
    """Return the MIG devices that a container asks for in the old form, by ``--gpus`` or by its environment."""
    asked = (*container.device_ids, *container.env.get(_VARIABLE, "").split(","))
    return tuple(dict.fromkeys(name.strip() for name in asked if name.strip().startswith(_OLD)))


RULE = Rule(
    "mig/mig-uuid-format",
    117,
    "error",
    "a container names a MIG device in the old form",
    check,
    breaks=("container",),
    needs=("gpu", "driver"),
    signs=(
        "device error: *: unknown device",
        "device error: mig-gpu-*: unknown device",
        "device error: mig-*: unknown device",
    ),
)
