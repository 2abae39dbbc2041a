"""docker-compose is too old for the way in which the file asks for a GPU.

docker-compose knows `deploy.resources.reservations.devices` from 1.28.0 and `gpus:` from 2.30; `runtime:` is missing from files
of version 3 before 1.27. Older ones refuse the file: "Additional properties are not allowed ('devices' was unexpected)",
"Unsupported config option for services".

How it is told from its look-alikes: `docker-compose --version` is below these. `docker stack deploy` has a schema of its own
(`compose/swarm-no-device-reservation`); devices in the wrong place are refused by every version
(`compose/compose-devices-wrong-place`).

Cure: install the Compose plugin (docker-compose-plugin) and use `docker compose`; drop the line `version:`.

Sources: Compose release notes 1.28.0 and 2.30.0; docker/compose issue 8142.
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
    "compose/compose-too-old-for-devices",
    32,
    "error",
    "this docker-compose does not know device reservations",
    check,
    breaks=("container",),
    needs=("driver",),
    needs_input="compose",
    signs=(
        "reservations value additional properties are not allowed (devices was unexpected)",
        "additional properties are not allowed (devices was unexpected)",
        "unsupported config option for services.*: (runtime|device_requests|gpus|devices)",
        "additional properties are not allowed (runtime was unexpected)",
        "additional properties are not allowed (gpus was unexpected)",
        "additional property gpus is not allowed",
    ),
)
