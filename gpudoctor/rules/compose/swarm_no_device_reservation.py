"""`docker stack deploy` does not know device reservations.

Swarm's schema has generic resources only: "services.test.deploy.resources.reservations Additional property devices is not
allowed".

How it is told from its look-alikes: the command was `docker stack deploy`. With `docker compose` the same words mean that it is
too old (`compose/compose-too-old-for-devices`).

Cure: make nvidia the default runtime of the nodes and announce their GPUs as node-generic-resources, or start the service with
Compose.

Sources: docker/cli (cli/compose/schema); docker/cli issues 3051 and 3135.
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
    "compose/swarm-no-device-reservation",
    105,
    "error",
    "a swarm stack cannot reserve devices",
    check,
    breaks=("container",),
    needs=("driver",),
    needs_input="compose",
    signs=(
        "resources.reservations additional property devices is not allowed",
        "additional properties are not allowed (devices was unexpected)",
        "~ (docker stack deploy|docker service)",
    ),
)
