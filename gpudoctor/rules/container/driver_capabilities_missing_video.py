"""The container has the GPU but not the driver's video libraries.

NVIDIA_DRIVER_CAPABILITIES says which parts of the driver are mounted, and without it that is compute and utility. ffmpeg,
Jellyfin, Plex and Frigate need video: "Cannot load libnvcuvid.so.1", "Cannot load libnvidia-encode.so.1". A capability in the
request itself (`--gpus '"capabilities=utility"'`, `capabilities: [gpu, utility]`) overrides the variable: the daemon then sets it
to those alone.

How it is told from its look-alikes: the file is on the host and not in the container. Where the host has it neither, it is
`host/host-driver-libs-incomplete`; where it is in the container and does not load, `container/nvcuvid-needs-libgl`; where the
API version is too low, `container/driver-too-old-for-nvenc`. Of a container that is examined only this shows: its own variable
asks for parts that its request takes away. Whether its program wants video otherwise, only the program can say.

Cure: start the container with NVIDIA_DRIVER_CAPABILITIES=compute,video,utility (or all), and name no capability but gpu in the
request, or all that it needs.

Sources: NVIDIA container toolkit documentation (driver capabilities); moby (daemon/nvidia_linux.go); nv-codec-headers
(dynlink_loader.h); jellyfin issues 1118 and 2182.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.model import Cure, Finding, NotApplicable, Rule
from gpudoctor.rules.container import _given

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts

_NAME = "NVIDIA_DRIVER_CAPABILITIES"
_ALL = ("compute", "utility", "video", "graphics")


def check(facts: Facts) -> Iterator[Finding]:
    """Find containers whose request takes away parts of the driver for which their own variable asks."""
    containers = _given.with_gpu(facts)
    if facts.toolkit.gpus_path != "hook":
        raise NotApplicable(
            "--gpus does not go through the hook here: a CDI spec has every part of the driver, whatever is asked."
        )
    for container in containers:
        asked, got = container.own_env.get(_NAME), container.env.get(_NAME)
        if asked is None or got is None or asked == got or not any(way.how == "gpus" for way in container.ways):
            continue
        wanted = [each.strip() for each in asked.split(",")]
        wanted = list(_ALL) if "all" in wanted else wanted
        lost = [each for each in wanted if each and each not in got.split(",")]
        if not lost:
            continue
        yield Finding(
            "the GPU request takes driver capabilities away",
            f"{container.name} asks for {_NAME}={asked}, but its GPU request names {got}, and the daemon sets the variable to that alone: the "
            f"driver's libraries for {', '.join(lost)} are not mounted.",
            (_given.proof(container, f"{_NAME}={asked}"), _given.proof(container, f"DeviceRequests: capabilities {got}")),
            Cure(
                "SHOWN",
                "Start it anew with no capability but gpu in its request, or with all that it needs.",
                (f"docker run --gpus all -e {_NAME}={asked} {container.image or 'IMAGE'}",),
                _given.ANEW,
            ),
            severity="error" if "compute" in lost else "warning",
            breaks=("container",) if "compute" in lost else (),
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
        "libnvcuvid.so.1: cannot open shared object file",
        "failed to load libnvcuvid.so",
        "nvenc library file is not found",
        "cannot load libnvidia-encode.so.1",
        "failed loading nvenc",
        "the minimum required nvidia driver for nvenc is",
        "~ nvidia_driver_capabilities",
        "~ --gpus all",
    ),
)
