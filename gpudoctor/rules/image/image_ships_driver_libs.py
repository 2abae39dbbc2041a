"""The image has NVIDIA driver libraries in it, where the host's have to go.

Driver libraries belong to the host's kernel module and are mounted when a container starts. An image that has its own (driver
packages installed in it, committed from a GPU container, or built with nvidia as the default runtime) either stops the mount
("mount error: file creation failed: .../libnvidia-ml.so.1: file exists"; always on WSL2 and Jetson) or shadows the host's
library, and NVML then finds another version than the kernel's.

How it is told from its look-alikes: other images work on the same host. Where all fail, host and module differ
(`host/driver-library-mismatch`).

What is seen is what the build installs, not the files in the layers. It is an error on WSL2 and on Jetson, and elsewhere a
warning: which of the two libraries is found depends on their versions.

Cure: build the image without driver packages (no nvidia-driver-*, no libnvidia-compute-*); in a derived image remove
libcuda.so* and libnvidia-*.so* from the library folder.

Sources: libnvidia-container (src/nvc_mount.c); nvidia-container-toolkit issues 274 and 289; nvidia-docker issue 1551.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.facts.image import Told
from gpudoctor.model import Cure, Finding, Rule
from gpudoctor.rules import images

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts


_PREFIXES = (
    "nvidia-driver",
    "libnvidia-compute",
    "libnvidia-decode",
    "libnvidia-encode",
    "libnvidia-gl",
    "nvidia-utils-",
    "nvidia-headless",
    "nvidia-dkms",
    "cuda-drivers",
    "xorg-x11-drv-nvidia",
    "nvidia-kernel-dkms",
)
_NAMES = frozenset({"libcuda1", "libnvidia-ml1", "nvidia-smi", "nvidia-utils", "nvidia-open"})


def check(facts: Facts) -> Iterator[Finding]:
    """Find driver packages, or NVIDIA's installer, among what the image is built with."""
    image = facts.image
    found = [image.told(each) for each in image.packages if each.manager == "system" and each.sure and _carries(each.name)]
    where = image.path if image.of_file else f"docker history {facts.given.image}"
    for each in image.commands:
        installer = next((word for word in each.argv if _installer(word)), None)
        if (
            installer is not None
            and each.sure
            and each.argv[0].rpartition("/")[2] in {"sh", "bash", installer.rpartition("/")[2]}
        ):
            found.append(Told(installer, where, each.line or None, " ".join(each.argv)))
    if not found:
        return
    always = facts.platform.wsl or facts.platform.jetson
    yield Finding(
        "the image brings driver libraries of its own",
        "Driver libraries come from the host when a container starts; "
        + (
            "here, where they are mounted over the image's, containers of it do not start (mount error: file exists)."
            if always
            else "the image's own are found in their place where they are newer, and then do not fit the host's kernel module."
        ),
        tuple(images.evidence(told) for told in found[:4]),
        Cure(
            "SHOWN",
            "Build the image without driver packages; of CUDA take cuda-toolkit-12-4 or the like, not cuda or cuda-drivers.",
        ),
        severity=None if always else "warning",
    )


def _carries(name: str) -> bool:
    return name in _NAMES or name.startswith(_PREFIXES)


def _installer(word: str) -> bool:
    name = word.rpartition("/")[2]
    return name.startswith("NVIDIA-Linux-") and name.endswith(".run")


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
