"""nvidia-container-cli gives its own helper ten seconds to start, and the machine was too busy.

"initialization error: nvcgo rpc error: timed out". The helper deals with cgroups and has nothing to do with the driver, so that
persistence mode does not help.

How it is told from its look-alikes: the text says nvcgo; of a container that is examined, it is the reason that Docker keeps why it
did not start. With "driver rpc error: timed out" it is `host/init-timeout-no-persistence`. How busy the machine was at that moment
shows nowhere afterwards.

Cure: start fewer containers at once, or try again; CDI does not run nvidia-container-cli at all.

Sources: libnvidia-container (src/nvcgo.c, src/rpc.c); Docker API (State.Error of a container).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.model import Cure, Finding, Rule
from gpudoctor.rules.container import _given

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts

_WORDS = "nvcgo rpc error: timed out"


def check(facts: Facts) -> Iterator[Finding]:
    """Find containers that did not start because the helper was too slow."""
    for container in _given.examined(facts):
        at = container.error.find(_WORDS)
        if at < 0 or container.running:
            continue
        yield Finding(
            "nvidia-container-cli's helper did not start in time",
            f"{container.name} did not start: nvidia-container-cli gives the helper that sets up its devices ten seconds, and the machine was "
            "too busy. The driver has no part in it.",
            (_given.proof(container, f"State.Error: ...{container.error[max(0, at - 60) : at + len(_WORDS)]}"),),
            Cure(
                "SHOWN",
                "Start it again, with fewer containers at once; a CDI device name in place of --gpus does without the helper.",
                (f"docker start {container.name}",),
            ),
        )


RULE = Rule(
    "toolkit/nvcgo-rpc-timeout-under-load",
    135,
    "error",
    "nvidia-container-cli's helper did not start in time",
    check,
    breaks=("container",),
    needs=("driver",),
    needs_input="container",
    signs=(
        "nvcgo rpc error: timed out",
        "nvcgo rpc error:",
        "nvcgo error: timed out",
        "could not start nvcgo",
    ),
)
