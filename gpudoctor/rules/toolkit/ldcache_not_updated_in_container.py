"""The driver's libraries are mounted, but the container's loader cache does not list them.

The toolkit mounts the libraries by their full names (libcuda.so.550.54.14) and then runs ldconfig in the container, which makes the
link libcuda.so.1 beside each and lists it in /etc/ld.so.cache. Where that fails or the image has its own way (Guix, Nix, very old
toolkits on Debian 10), nvidia-smi says that it "couldn't find libnvidia-ml.so library in your system", and CUDA sees no driver.

How it is told from its look-alikes: in the running container libnvidia-ml.so.NUMBER is a mount, and neither a link
libnvidia-ml.so.1 beside it nor the cache knows it; running ldconfig there cures it. Where nothing is mounted, no GPU was asked for
(`container/container-started-without-gpu`). On a host the same words mean that the driver's libraries are missing
(`host/host-driver-libs-incomplete`).

Cure: a newer toolkit; or run ldconfig in the image's entry point.

Sources: libnvidia-container (src/nvc_ldcache.c); NVIDIA container toolkit (cmd/nvidia-cdi-hook/update-ldcache);
nvidia-container-runtime issue 75; nvidia-docker issue 854.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.model import Cure, Evidence, Finding, Rule, Where
from gpudoctor.rules.container import _given

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts


def check(facts: Facts) -> Iterator[Finding]:
    """Find running containers in which mounted libraries of the driver have neither a link nor a place in the cache."""
    for container in _given.with_gpu(facts):
        lost = facts.containers.unlinked_libraries(container)
        if not lost:
            continue
        names = ", ".join(each.rpartition("/")[2] for each in lost)
        yield Finding(
            "the container's loader does not know the mounted libraries",
            f"{container.name}: {names} of the driver is mounted, but ldconfig did not run in the container: programs do not find it by the "
            "name they open.",
            (
                *(Evidence(Where(f"/proc/{container.pid}/mountinfo"), f"{each} is mounted") for each in lost),
                Evidence(
                    Where(f"/proc/{container.pid}/root/etc/ld.so.cache"), f"does not list {names}, and no link is beside it"
                ),
            ),
            Cure(
                "SHOWN",
                "Run ldconfig in the container to see it work; then let the image's entry point run it, or upgrade the toolkit and start the "
                "container anew.",
                (f"docker exec -u 0 {container.name} ldconfig",),
                _given.ANEW,
            ),
            severity="error",
        )


RULE = Rule(
    "toolkit/ldcache-not-updated-in-container",
    81,
    "warning",
    "the container's loader does not know the mounted libraries",
    check,
    breaks=("container",),
    needs=("driver",),
    needs_input="container",
    signs=(
        "nvidia-smi couldn't find libnvidia-ml.so library in your system",
        "libnvidia-ml.so + launch ldconfig",
        "~ ldconfig",
        "~ container",
    ),
)
