"""A privileged container sees GPUs that it was not given.

`--privileged` opens every device node of the host, so that CUDA finds all GPUs, whatever --gpus or NVIDIA_VISIBLE_DEVICES say.

How it is told from its look-alikes: `docker inspect` has Privileged true and a request for fewer GPUs than the host has.
CUDA_VISIBLE_DEVICES still limits what CUDA uses, but that is no protection.

Cure: drop --privileged and give the container the devices and capabilities that it needs.

Sources: Docker documentation of --privileged; nvidia-docker issue 764.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.model import Cure, Finding, Rule
from gpudoctor.rules.container import _given

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts


def check(facts: Facts) -> Iterator[Finding]:
    """Find privileged containers that were given fewer GPUs than there are."""
    for container in _given.with_gpu(facts):
        if not container.privileged or not container.has_libraries:
            continue
        there = facts.containers.count(container)
        given = facts.containers.count(container._replace(privileged=False))
        if there is None or given is None or given >= there:
            continue
        yield Finding(
            "a privileged container sees every GPU",
            f"{container.name} was given {given} of {there} GPUs and sees all {there}, because it is privileged.",
            (_given.proof(container, "Privileged: true"), *_given.ways(container)),
            Cure(
                "SHOWN",
                "Start it anew without --privileged, with the devices and capabilities that it needs.",
                (),
                f"{_given.ANEW} It may fail where it needs more of the host.",
            ),
        )


RULE = Rule(
    "container/privileged-sees-all-gpus",
    104,
    "hint",
    "a privileged container sees every GPU",
    check,
    needs=("driver",),
    needs_input="container",
    signs=("--privileged + (all gpus|all the gpus|every gpu|other gpus)",),
)
