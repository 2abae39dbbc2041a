"""A bento's CUDA image sets NVIDIA_VISIBLE_DEVICES to nothing.

With the nvidia runtime that variable says which GPUs a container gets. NVIDIA's base images have it as all; images that BentoML
builds (since 1.0.11) clear it, so that `--runtime=nvidia` alone brings no GPU.

How it is told from its look-alikes: `docker image inspect` shows NVIDIA_VISIBLE_DEVICES= in Env. With `--gpus` the image works.

Cure: start it with `--gpus all`, or with -e NVIDIA_VISIBLE_DEVICES=all.

Sources: BentoML (templates of containers); BentoML issue 3298.
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
        "It shows in an image, which a diagnosis of the host does not look at; `gpudoctor explain` tells it from the error text."
    )


RULE = Rule(
    "bentoml/bento-nvidia-visible-devices-unset",
    84,
    "error",
    "BentoML's CUDA image unsets NVIDIA_VISIBLE_DEVICES",
    check,
    breaks=("container",),
    needs=("driver",),
    needs_input="image",
    signs=(
        "bento* + nvidia_visible_devices",
        "bento* + --runtime=nvidia",
    ),
)
