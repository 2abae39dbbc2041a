"""A service is set up for a GPU, and nothing in the Compose file gives it one.

NVIDIA_VISIBLE_DEVICES chooses GPUs for the nvidia runtime; CUDA_VISIBLE_DEVICES chooses among those that are there. Neither gives one:
that needs a reservation, `gpus:`, `runtime: nvidia` or a CDI name. Nor does an image of CUDA by itself.

How it is told from its look-alikes: nothing in the service asks for a GPU, and nvidia is not the default runtime of this host, with
which NVIDIA_VISIBLE_DEVICES is enough. Where only the image or CUDA_VISIBLE_DEVICES shows that it might want one, it is a hint: many
such images run without.

A service that says NVIDIA_VISIBLE_DEVICES=void, or hides every GPU from CUDA, is meant to run without.

Cure: add a reservation: `gpudoctor fix --compose FILE --service NAME` writes it.

Sources: NVIDIA container toolkit documentation (NVIDIA_VISIBLE_DEVICES); Compose documentation (GPU support).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.facts.composed import CUDA_VISIBLE, VISIBLE
from gpudoctor.model import Cure, Finding, NotApplicable, Rule
from gpudoctor.rules.compose import _services

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts
    from gpudoctor.facts.composed import Service
    from gpudoctor.host import Unseen


def check(facts: Facts) -> Iterator[Finding]:
    """Find services that want a GPU and ask for none."""
    _services.need_this_host(facts)
    if not facts.gpus.present:
        raise NotApplicable("There is no NVIDIA GPU on this host for a container to use.")
    default = facts.docker.default_runtime
    doubts: list[Unseen | None] = []
    for service in _services.wanting(facts):
        if service.value.get("deploy", "resources", "reservations", "generic_resources") is not None:
            # That is how a swarm gives GPUs.
            continue
        if service.requests or service.by_runtime or service.cdi or service.nodes or _misplaced(service):
            continue
        if _is_meant_without(service) or (default.startswith("nvidia") and service.runtime is None):
            continue
        doubt = _services.lacking(service) or _services.unset(service.runtime)
        doubts.append(doubt)
        if doubt is not None:
            continue
        place, says = service.signs[0]
        by_variable = says.startswith(VISIBLE)
        yield Finding(
            "nothing gives the service its GPU",
            f"{service.name} has {says}, and nothing in it asks for a GPU: the container starts without one.",
            (_services.at(place, says), _services.default_runtime(facts)),
            Cure(
                "SHOWN",
                "Reserve the GPU." if by_variable else f"If it is to have a GPU, add: {_services.REQUEST}",
                (*_services.fix(facts, service), f"# or in the file: {_services.REQUEST}"),
                _services.ANEW,
            ),
            severity="error" if by_variable else "hint",
            breaks=("container",) if by_variable else (),
        )
    _services.settle(doubts)


def _is_meant_without(service: Service) -> bool:
    """Say whether the service itself says that it is to have no GPU."""
    visible, cuda = service.environment.get(VISIBLE), service.environment.get(CUDA_VISIBLE)
    said = (visible is not None and visible.text.strip() in {"none", "void"}) or (
        cuda is not None and cuda.text.strip() in {"", "-1"}
    )
    return said and not any(each is not None and each.unset for each in (visible, cuda))


def _misplaced(service: Service) -> bool:
    """Say whether devices are asked for where Compose takes none, or in a form that it does not take: faults of their own."""
    return (
        any(service.value.get(*path) is not None for path in _services.MISPLACED)
        or any(each.kind == "map" and each.get("source") is None for each in service.value.all("devices"))
        or bool(service.value.all("gpus"))
        or any(True for _ in _services.misshapen(service))
    )


RULE = Rule(
    "compose/compose-gpu-not-requested",
    30,
    "error",
    "nothing in the Compose file gives the service its GPU",
    check,
    breaks=("container",),
    needs=("driver",),
    needs_input="compose",
)
