"""The Compose file reserves a GPU but says neither how many nor which.

Since Docker 27.3 a device request with neither count nor device_ids asks for none: the container starts with
NVIDIA_VISIBLE_DEVICES=void and without a GPU, and nothing is reported.

How it is told from its look-alikes: the reservation is there and has no count. Where there is none at all, it is
`container/container-started-without-gpu`.

Cure: add `count: all` (or device_ids) to the entry and create the container anew.

Sources: moby (daemon/nvidia_linux.go); docker/docs issue 21026.
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
    "compose/compose-count-missing-docker27.3",
    31,
    "error",
    "the Compose file reserves a GPU without a count",
    check,
    breaks=("container",),
    needs=("driver",),
    needs_input="compose",
    signs=(
        "nvidia_visible_devices=void",
        "nvidia_visible_devices + void + count",
    ),
)
