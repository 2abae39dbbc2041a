"""nvidia-container-cli gives its own helper ten seconds to start, and the machine was too busy.

"initialization error: nvcgo rpc error: timed out". The helper deals with cgroups and has nothing to do with the driver, so that
persistence mode does not help.

How it is told from its look-alikes: the text says nvcgo. With "driver rpc error: timed out" it is
`host/init-timeout-no-persistence`.

Cure: start fewer containers at once, or try again; CDI does not run nvidia-container-cli at all.

Sources: libnvidia-container (src/nvcgo.c, src/rpc.c).
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
    "toolkit/nvcgo-rpc-timeout-under-load",
    135,
    "error",
    "nvidia-container-cli's helper did not start in time",
    check,
    breaks=("container",),
    needs=("driver",),
    needs_input="text",
    signs=("nvcgo rpc error: timed out",),
)
