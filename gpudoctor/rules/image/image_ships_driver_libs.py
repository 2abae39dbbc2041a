"""The image has NVIDIA driver libraries in it, where the host's have to go.

Driver libraries belong to the host's kernel module and are mounted when a container starts. An image that has its own (driver
packages installed in it, committed from a GPU container, or built with nvidia as the default runtime) either stops the mount
("mount error: file creation failed: .../libnvidia-ml.so.1: file exists"; always on WSL2 and Jetson) or shadows the host's
library, and NVML then finds another version than the kernel's.

How it is told from its look-alikes: other images work on the same host. Where all fail, host and module differ
(`host/driver-library-mismatch`).

Cure: build the image without driver packages (no nvidia-driver-*, no libnvidia-compute-*); in a derived image remove
libcuda.so* and libnvidia-*.so* from the library folder.

Sources: libnvidia-container (src/nvc_mount.c); nvidia-container-toolkit issues 274 and 289; nvidia-docker issue 1551.
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
    "image/image-ships-driver-libs",
    51,
    "error",
    "the image brings driver libraries of its own",
    check,
    breaks=("container",),
    needs=("driver",),
    needs_input="image",
    signs=(
        "mount error: file creation failed: *: file exists",
        "/libnvidia-*: file exists",
        "/libcuda.so*: file exists",
        "driver/library version mismatch",
        "~ (inside the container|in the container only|works on the host)",
    ),
)
