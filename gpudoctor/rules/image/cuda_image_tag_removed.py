"""The tag of the CUDA image does not exist any more.

NVIDIA deletes tags of nvidia/cuda when their support ends, publishes no `latest`, and keeps only tags with a full version
(11.0.3, not 11.0). The test command of every older guide therefore ends in "manifest for nvidia/cuda:11.0-base not found:
manifest unknown". It says nothing about the GPU: the image was never pulled.

How it is told from its look-alikes: it is an error of pulling, before anything ran. `toolkit/toolkit-not-installed` is an error
of starting.

An image that is on the host is not pulled, so nothing is said of it. Of a Dockerfile the stages that its final one needs are
looked at.

Cure: take a tag that exists, with its full version and a distribution (12.4.1-base-ubuntu22.04). To test the GPU no CUDA image
is needed: `docker run --rm --gpus all ubuntu nvidia-smi`, since nvidia-smi comes from the host.

Sources: NVIDIA's container support policy (doc/support-policy.md of its cuda image sources); nvidia-docker issues 1454, 1735
and 1768.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor import tables
from gpudoctor.model import Cure, Finding, NotApplicable, Rule
from gpudoctor.rules import images

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts


_FULL = 3
_SYSTEMS = ("ubuntu", "ubi", "rockylinux", "centos", "opensuse", "amzn", "cm", "azl")


def check(facts: Facts) -> Iterator[Finding]:
    """Find tags of nvidia/cuda that are not published any more."""
    image = facts.image
    if not image.of_file and image.is_here:
        raise NotApplicable("The image is on this host, so nothing has to be pulled.")
    for base, told in image.bases:
        if base.repository != "nvidia/cuda" or base.digest or "$" in base.name:
            continue
        why = _gone(base.tag)
        if why:
            yield Finding(
                "the tag of the CUDA image is no longer published",
                f"{base.name} cannot be pulled (manifest unknown): {why}.",
                (images.evidence(told),),
                Cure(
                    "SHOWN",
                    "Take a tag with the full version, a flavour and a distribution; to test the GPU, any image will do.",
                    ("docker run --rm --gpus all ubuntu nvidia-smi",),
                ),
            )


def _gone(tag: str) -> str:
    """Return why a tag does not exist, empty where nothing is known against it."""
    if tag in {"", "latest"}:
        return "NVIDIA publishes no latest"
    numbers = tables.version(tag)
    if numbers and len(numbers) < _FULL:
        return (
            f"tags have a full version since CUDA 11.1, so {'.'.join(map(str, numbers))} without its third number was taken down"
        )
    if numbers and not any(part.startswith(_SYSTEMS) for part in tag.split("-")):
        return "every tag names its distribution, such as ubuntu22.04"
    return ""


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
        "failed to resolve source metadata for docker.io/nvidia/cuda:*",
        "nvidia/cuda*no match for platform in manifest",
        "pull access denied for nvidia/cuda",
    ),
)
