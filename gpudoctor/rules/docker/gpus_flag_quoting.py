"""`--gpus device=0,1` is read as two settings, not as two devices.

The value of --gpus is a list of settings separated by commas, so that the 1 becomes a count: "cannot set both Count and
DeviceIDs on device request".

How it is told from its look-alikes: the command has a comma in --gpus and no inner quotes.

Cure: put double quotes inside single ones: --gpus '"device=0,1"'.

Sources: docker/cli (opts/gpus.go); nvidia-docker issues 1026 and 1257.
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
    raise NotApplicable("It is told from its error text: `gpudoctor explain`.")


RULE = Rule(
    "docker/gpus-flag-quoting",
    80,
    "error",
    "--gpus with several devices needs inner quotes",
    check,
    breaks=("container",),
    needs=("driver",),
    needs_input="text",
    signs=(
        "cannot set both count and deviceids on device request",
        "invalid argument*for --gpus flag",
    ),
)
