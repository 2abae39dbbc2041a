"""A service with a GPU is privileged.

`privileged: true` opens every device of the host to the container: CUDA sees all GPUs, whatever count and device_ids say, and who
breaks out of it has the host. It is often written because a GPU did not work without it; the request alone is enough.

How it is told from its look-alikes: the service asks for a GPU and is privileged. Of a container it is
`container/privileged-sees-all-gpus`. Being privileged alone brings no driver library.

Cure: take `privileged: true` out; if something else then fails, add what it needs by cap_add and devices.

Sources: Docker documentation of --privileged; nvidia-docker issue 764.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.model import Cure, Finding, Rule
from gpudoctor.rules.compose import _services

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts
    from gpudoctor.host import Unseen


def check(facts: Facts) -> Iterator[Finding]:
    """Find services that want a GPU and are privileged."""
    doubts: list[Unseen | None] = []
    for service in _services.wanting(facts):
        value = service.value.get("privileged")
        if value is None or value.kind != "text":
            continue
        doubts.append(_services.unset(value))
        if value.text.lower() not in {"true", "yes", "on"}:
            continue
        place, says = service.signs[0]
        yield Finding(
            "a service with a GPU is privileged",
            f"{service.name} is privileged: it sees every GPU and every other device of this host, whatever it asks for.",
            (_services.at(value, f"privileged: {value.text}"), _services.at(place, says)),
            Cure(
                "SHOWN",
                "Take `privileged: true` out: a GPU does not need it.",
                (_services.again(facts, service),),
                f"{_services.ANEW} It may fail where it needs more of the host than the GPU.",
            ),
        )
    _services.settle(doubts)


RULE = Rule(
    "compose/compose-privileged",
    112,
    "hint",
    "a service with a GPU is privileged",
    check,
    needs=("driver",),
    needs_input="compose",
)
