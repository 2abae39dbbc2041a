"""The tag of the CUDA image does not exist any more.

NVIDIA deletes tags of nvidia/cuda when their support ends, publishes no `latest`, and keeps only tags with a full version
(11.0.3, not 11.0). The test command of every older guide therefore ends in "manifest for nvidia/cuda:11.0-base not found:
manifest unknown". It says nothing about the GPU: the image was never pulled.

How it is told from its look-alikes: it is an error of pulling, before anything ran. `toolkit/toolkit-not-installed` is an error
of starting.

Cure: take a tag that exists, with its full version and a distribution (12.4.1-base-ubuntu22.04). To test the GPU no CUDA image
is needed: `docker run --rm --gpus all ubuntu nvidia-smi`, since nvidia-smi comes from the host.

Sources: NVIDIA's container support policy (doc/support-policy.md of its cuda image sources); nvidia-docker issues 1454, 1735
and 1768.
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
    "image/cuda-image-tag-removed",
    16,
    "error",
    "the tag of the CUDA image is no longer published",
    check,
    breaks=("container",),
    needs=("driver",),
    needs_input="image",
    signs=(
        "manifest for nvidia/cuda:*not found",
        "nvidia/cuda:*: not found",
        "nvidia/cuda*manifest unknown",
        "nvidia/cuda*not found: manifest",
    ),
)
