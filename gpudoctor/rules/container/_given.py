"""What the rules about containers have in common: which are examined, and how to say where something stands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.model import Evidence, NotApplicable, Where

if TYPE_CHECKING:
    from gpudoctor.facts import Facts
    from gpudoctor.facts.containers import Container

ANEW = "The container has to be started anew, with what runs in it."


def examined(facts: Facts) -> tuple[Container, ...]:
    """Return the containers to examine; raises NotApplicable where there is none, or no GPU that they could have."""
    if not facts.gpus.present:
        raise NotApplicable("There is no NVIDIA GPU on this host for a container to use.")
    if not facts.containers.all:
        raise NotApplicable(
            "None of the containers that were named is there." if facts.given.containers else "No container runs."
        )
    return facts.containers.all


def with_gpu(facts: Facts) -> tuple[Container, ...]:
    """Return those that were given a GPU; raises NotApplicable where there is none."""
    found = tuple(each for each in examined(facts) if each.has_gpu)
    if not found:
        raise NotApplicable("No container that was named was given a GPU.")
    return found


def proof(container: Container, says: str) -> Evidence:
    """Return what ``docker inspect`` says of a container."""
    return Evidence(Where(container.source), says)


def ways(container: Container) -> tuple[Evidence, ...]:
    """Return what gave the container its GPUs."""
    return tuple(proof(container, way.says) for way in container.ways)
