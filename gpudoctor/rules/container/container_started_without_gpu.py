"""The container was started without asking for a GPU.

Without `--gpus`, `gpus:`, a device reservation, the nvidia runtime or CDI devices nothing of the driver is in a container.
Programs then say that a file is missing: `exec: "nvidia-smi": executable file not found in $PATH`, "Cannot load libcuda.so.1",
"/dev/nvidia0 does not exist", "Could not find cuda drivers on your machine", "Found no NVIDIA driver on your system"; NGC
images: "The NVIDIA Driver was not detected".

How it is told from its look-alikes: `docker inspect` shows no DeviceRequests, no nvidia runtime and no CDI device, and there is
no /dev/nvidiactl inside. Where the GPU was asked for and a library is missing all the same, the host lacks it
(`host/host-driver-libs-incomplete`); a reservation without a count asks for none (`compose/compose-count-missing-docker27.3`);
under podman see `podman/podman-gpus-noop`.

Cure: start it anew with `--gpus all`, or `gpus: all` in the Compose file.

Sources: Docker documentation (access an NVIDIA GPU); TensorFlow (cuda_diagnostics); ffmpeg (dynlink_loader.h); nvidia-docker
issue 457.
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
    "container/container-started-without-gpu",
    7,
    "error",
    "the container was started without a GPU",
    check,
    breaks=("container",),
    needs=("driver",),
    needs_input="container",
    signs=(
        "/dev/nvidia0 does not exist",
        "cannot load libcuda.so.1",
        "could not dynamically load cuda",
        "exec: nvidia-smi: executable file not found in $path",
        "executable file nvidia-smi not found in $path",
        "nvidia-smi: command not found",
        "nvidia-smi: not found",
        "(error|warning|warn): nvidia-smi not found",
        "the nvidia driver was not detected. gpu functionality will not be available",
        "could not load dynamic library libcuda.so.1",
        "could not find cuda drivers on your machine",
        "found no nvidia driver on your system",
        "cuda.is_available()*false",
        "attempting to deserialize object on a cuda device but torch.cuda.is_available() is false",
        "libcuda.so.1: cannot open shared object file",
        "nvml shared library not found",
        "failed call to cuinit: unknown error (303)",
        "kernel driver does not appear to be running on this host",
        "no compatible gpus were discovered",
        "failed to set value cuda",
        "~ (docker run|docker compose|docker-compose|dockerfile|in docker|docker image|docker container|inside the container|in the container)",
    ),
)
