"""A bento's CUDA image sets NVIDIA_VISIBLE_DEVICES to nothing.

With the nvidia runtime that variable says which GPUs a container gets. NVIDIA's base images have it as all; images that BentoML
builds (since 1.0.11) clear it, so that `--runtime=nvidia` alone brings no GPU.

How it is told from its look-alikes: `docker image inspect` shows NVIDIA_VISIBLE_DEVICES= in Env. With `--gpus` the image works.

It is a warning: whether the image is started with --gpus does not show in it.

Cure: start it with `--gpus all`, or with -e NVIDIA_VISIBLE_DEVICES=all.

Sources: BentoML (templates of containers); BentoML issue 3298.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.model import Cure, Finding, Rule
from gpudoctor.rules import images

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts


def check(facts: Facts) -> Iterator[Finding]:
    """Find an image of BentoML's that sets NVIDIA_VISIBLE_DEVICES to nothing."""
    images.need_gpu(facts)
    env = facts.image.env
    told = env.get("NVIDIA_VISIBLE_DEVICES")
    if told is None or told.value.strip() or not any(name.startswith(("BENTO_", "BENTOML_")) for name in env):
        return
    yield Finding(
        "BentoML's CUDA image unsets NVIDIA_VISIBLE_DEVICES",
        "The image sets NVIDIA_VISIBLE_DEVICES to nothing, so --runtime=nvidia alone gives its containers no GPU; --gpus does.",
        (images.evidence(told),),
        Cure("SHOWN", "Start it with --gpus all, or set the variable.", ("docker run --gpus all ...",)),
        severity="warning",
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
