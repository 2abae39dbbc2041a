"""A bento's CUDA image sets NVIDIA_VISIBLE_DEVICES to nothing.

With the nvidia runtime that variable says which GPUs a container gets. NVIDIA's base images have it as all; images that BentoML
builds (since 1.0.11) clear it, so that `--runtime=nvidia` alone brings no GPU.

How it is told from its look-alikes: `docker image inspect` shows NVIDIA_VISIBLE_DEVICES= in Env, beside BENTO_PATH. With `--gpus`
the image works, so it is a warning. A container of it that runs without a GPU is `container/container-started-without-gpu`.

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

_NAME = "NVIDIA_VISIBLE_DEVICES"


def check(facts: Facts) -> Iterator[Finding]:
    """Find a bento's image that clears the variable by which the nvidia runtime gives GPUs."""
    images.need_gpu(facts)
    env = facts.image.env
    told, bento = env.get(_NAME), env.get("BENTO_PATH")
    if told is None or told.value.strip() or bento is None:
        return
    image = "IMAGE" if facts.image.of_file else facts.given.image
    yield Finding(
        "BentoML's CUDA image unsets NVIDIA_VISIBLE_DEVICES",
        f"{facts.image.label[:1].upper()}{facts.image.label[1:]} clears {_NAME}: with --runtime=nvidia alone a container of it gets no GPU.",
        (images.evidence(told), images.evidence(bento)),
        Cure("SHOWN", f"Start it with --gpus all, or with -e {_NAME}=all.", (f"docker run --gpus all {image}",)),
        severity="warning",
        breaks=(),
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
