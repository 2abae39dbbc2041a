"""NVIDIA_VISIBLE_DEVICES says no GPU beside something that asks for one.

With `runtime: nvidia` the variable alone decides: none, void or an empty value gives the container no GPU. Beside a reservation or
`gpus:` it decides nothing, since the daemon sets it anew from the request: the container gets the GPU all the same.

How it is told from its look-alikes: the file itself says both. With the default runtime of nvidia and nothing that asks for a GPU,
NVIDIA_VISIBLE_DEVICES=void is the right way to go without one. Beside a request it is a hint.

Cure: say all, or the GPUs that are meant; or take out what asks for one.

Sources: NVIDIA container toolkit documentation (NVIDIA_VISIBLE_DEVICES); moby (daemon/nvidia_linux.go).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.facts.composed import VISIBLE
from gpudoctor.model import Cure, Finding, NotApplicable, Rule
from gpudoctor.rules.compose import _services

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts
    from gpudoctor.host import Unseen


_NONE = frozenset({"", "none", "void"})


def check(facts: Facts) -> Iterator[Finding]:
    """Find services that ask for a GPU and say none in the same breath."""
    _services.need_this_host(facts)
    named = [each for each in facts.composed.services if VISIBLE in each.environment and (each.gpu_requests or each.by_runtime)]
    if not named:
        raise NotApplicable(f"No service of the Compose file that asks for a GPU sets {VISIBLE}.")
    doubts: list[Unseen | None] = []
    for service in named:
        value = service.environment[VISIBLE]
        doubts.append(_services.unset(value))
        if value.unset or value.text.strip() not in _NONE:
            continue
        proof = _services.setting(service, VISIBLE)
        if service.gpu_requests:
            request = service.gpu_requests[0]
            yield Finding(
                "NVIDIA_VISIBLE_DEVICES says no GPU beside a request",
                f"{service.name} says {VISIBLE}={value.text} and reserves a GPU: the request decides, and the container gets the GPU.",
                (proof, _services.of(request)),
                Cure("SHOWN", f"Take {VISIBLE} out; or the request, if no GPU is meant.", (), _services.ANEW),
                severity="hint",
            )
        elif service.runtime is not None:
            yield Finding(
                "NVIDIA_VISIBLE_DEVICES says no GPU beside the nvidia runtime",
                f"{service.name} runs with the runtime {service.runtime.text} and says {VISIBLE}={value.text}: the container gets no GPU.",
                (proof, _services.at(service.runtime, f"runtime: {service.runtime.text}")),
                Cure(
                    "SHOWN",
                    "Say all, or the GPUs that are meant, and make the container anew.",
                    (f"{VISIBLE}: all", _services.again(facts, service)),
                    _services.ANEW,
                ),
            )
    _services.settle(doubts)


RULE = Rule(
    "compose/compose-visible-devices-none",
    85,
    "warning",
    "NVIDIA_VISIBLE_DEVICES says no GPU beside something that asks for one",
    check,
    needs=("driver",),
    needs_input="compose",
)
