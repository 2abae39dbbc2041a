"""The container has the GPU but not the driver's video libraries.

NVIDIA_DRIVER_CAPABILITIES says which parts of the driver are mounted, and without it that is compute and utility. ffmpeg,
Jellyfin, Plex and Frigate need video: "Cannot load libnvcuvid.so.1", "Cannot load libnvidia-encode.so.1".

How it is told from its look-alikes: the file is on the host and not in the container. Where the host has it neither, it is
`host/host-driver-libs-incomplete`; where it is in the container and does not load, `container/nvcuvid-needs-libgl`; where the
API version is too low, `container/driver-too-old-for-nvenc`.

Cure: start the container with NVIDIA_DRIVER_CAPABILITIES=compute,video,utility (or all).

Sources: NVIDIA container toolkit documentation (driver capabilities); nv-codec-headers (dynlink_loader.h); jellyfin issues 1118
and 2182.
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
    "container/driver-capabilities-missing-video",
    36,
    "error",
    "the container was not given the driver's video libraries",
    check,
    breaks=("container",),
    needs=("driver",),
    needs_input="container",
    signs=(
        "cannot load libnvcuvid.so.1",
        "failed loading nvcuvid",
        "nvenc library file is not found",
        "cannot load libnvidia-encode.so.1",
        "failed loading nvenc",
        "the minimum required nvidia driver for nvenc is",
        "~ nvidia_driver_capabilities",
        "~ --gpus all",
    ),
)
