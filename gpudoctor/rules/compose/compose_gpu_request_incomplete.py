"""The GPU request in the Compose file lacks something.

An entry below devices needs `capabilities: [gpu]`, and either count or device_ids, not both. Without capabilities Compose
refuses the file; without a driver, or with ids that do not reach the driver, the container starts without a GPU.

How it is told from its look-alikes: `docker inspect` shows what arrived as DeviceRequests. No count at all is
`compose/compose-count-missing-docker27.3`.

Cure: write the entry completely: `driver: nvidia`, `count: all` (or device_ids as a list of texts), `capabilities: [gpu]`.

Sources: Compose specification (deploy.md, devices).
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
    "compose/compose-gpu-request-incomplete",
    87,
    "error",
    "the GPU request of the Compose file is incomplete",
    check,
    breaks=("container",),
    needs=("driver",),
    needs_input="compose",
    signs=(
        "devices.<n> capabilities is required",
        "devices.<n>*missing propert*capabilities",
        "device_ids + count*exclusive",
        "device_ids + capabilities: [gpu] + (does not work|doesn't work|not work)",
    ),
)
