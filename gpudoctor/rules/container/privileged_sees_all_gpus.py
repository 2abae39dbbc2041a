"""A privileged container sees GPUs that it was not given.

`--privileged` opens every device node of the host, so that CUDA finds all GPUs, whatever --gpus or NVIDIA_VISIBLE_DEVICES say.

How it is told from its look-alikes: `docker inspect` has Privileged true. CUDA_VISIBLE_DEVICES still limits what CUDA uses, but
that is no protection.

Cure: drop --privileged and give the container the devices and capabilities that it needs.

Sources: Docker documentation of --privileged; nvidia-docker issue 764.
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
        "It shows in a container, which a diagnosis of the host does not look at; `gpudoctor explain` tells it from the error text."
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
