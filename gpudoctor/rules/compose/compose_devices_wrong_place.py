"""The Compose file asks for the GPU in a place where Compose does not look for it.

Devices belong below deploy.resources.reservations. Below limits, or one level too high, Compose says
"services.api.deploy.resources.limits Additional property devices is not allowed".

How it is told from its look-alikes: the message names the place. Where it names reservations, the Compose is too old or it is
swarm (`compose/compose-too-old-for-devices`, `compose/swarm-no-device-reservation`).

Cure: move the entry to deploy.resources.reservations.devices, or write `gpus: all`.

Sources: Compose specification (deploy.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.model import NotApplicable, Rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts
    from gpudoctor.model import Finding


def check(facts: Facts) -> Iterator[Finding]:  # noqa: ARG001 - a host has nothing to ask
    """Say what this rule is told from."""
    raise NotApplicable(
        "It shows in a Compose file, which a diagnosis of the host does not look at; `gpudoctor explain` tells it from the error text."
    )


RULE = Rule(
    "compose/compose-devices-wrong-place",
    110,
    "error",
    "the Compose file asks for the GPU in the wrong place",
    check,
    breaks=("container",),
    needs=("driver",),
    needs_input="compose",
    signs=(
        "resources.limits additional property devices is not allowed",
        "resources.limits value additional properties are not allowed (devices",
        "deploy.resources additional property devices is not allowed",
        "deploy additional property (devices|reservations) is not allowed",
        "additional property capabilities is not allowed",
        "additional properties are not allowed (devices was unexpected)",
    ),
)
