"""The container was started without asking for a GPU.

Without `--gpus`, `gpus:`, a device reservation, the nvidia runtime or CDI devices nothing of the driver is in a container.
Programs then say that a file is missing: `exec: "nvidia-smi": executable file not found in $PATH`, "Cannot load libcuda.so.1",
"/dev/nvidia0 does not exist", "Could not find cuda drivers on your machine", "Found no NVIDIA driver on your system"; NGC
images: "The NVIDIA Driver was not detected".

How it is told from its look-alikes: `docker inspect` shows no DeviceRequests that give one, no nvidia runtime with
NVIDIA_VISIBLE_DEVICES, no CDI device and no device node. It is an error of a container that was named and whose variables are
those of a CUDA image, a warning where all containers are examined (such an image may do without), and a hint where nothing shows
that it wants a GPU. Where the GPU was asked for and a library is missing all the same, the host lacks it
(`host/host-driver-libs-incomplete`); a reservation without a count asks for none (`compose/compose-count-missing-docker27.3`);
under podman see `podman/podman-gpus-noop`.

Cure: start it anew with `--gpus all`, or `gpus: all` in the Compose file.

Sources: Docker documentation (access an NVIDIA GPU); TensorFlow (cuda_diagnostics); ffmpeg (dynlink_loader.h); nvidia-docker
issue 457.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.model import Cure, Finding, Rule
from gpudoctor.rules.container import _given

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts
    from gpudoctor.facts.containers import Container
    from gpudoctor.model import Severity

_SIGNS = ("NVIDIA_VISIBLE_DEVICES", "NVIDIA_REQUIRE_CUDA", "NVIDIA_DRIVER_CAPABILITIES", "CUDA_VERSION")
_SHOWN = 80


def check(facts: Facts) -> Iterator[Finding]:
    """Find containers that were given no GPU in any way."""
    named = bool(facts.given.containers)
    for container in _given.examined(facts):
        signs = _signs(container)
        if container.has_gpu or not (named or signs) or _mounts_nodes(container):
            continue
        severity: Severity = "hint" if not signs else "error" if named else "warning"
        yield Finding(
            "the container was started without a GPU",
            f"{container.name} was started without a GPU: neither devices nor driver libraries are in it"
            + (", and its variables are those of an image for CUDA." if signs else "."),
            (
                _given.proof(container, f"no GPU in DeviceRequests and Devices, Runtime: {container.runtime or 'not named'}"),
                *(_given.proof(container, sign) for sign in signs[:2]),
            ),
            Cure(
                "SHOWN",
                "Start it anew with a GPU: --gpus all, or gpus: all in the Compose file."
                if signs
                else "If it is to have a GPU, start it anew with one.",
                (f"docker run --gpus all {container.image or 'IMAGE'}",),
                _given.ANEW,
            ),
            severity=severity,
            breaks=("container",) if severity == "error" else (),
        )


def _signs(container: Container) -> tuple[str, ...]:
    """Return the variables that show an image for CUDA; cleared ones, as BentoML's images have them, count as well."""
    env = container.own_env
    return tuple(f"{name}={env[name]}"[:_SHOWN] for name in _SIGNS if name in env)


def _mounts_nodes(container: Container) -> bool:
    """Say whether device nodes are mounted into it, which is a way of its own."""
    return any(path == "/dev" or path.startswith("/dev/nvidia") for path in container.mounts)


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
        "couldn't open cuda library libcuda.so.1",
        "failed to find libcuda.so on this system",
        "cuda driver version is insufficient for cuda runtime version",
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
        "no cuda runtime is found, using cuda_home",
        "cuda driver library cannot be found",
        "failed to infer device type",
        "no platform detected, vllm is running on unspecifiedplatform",
        "could not load nvml library",
        "did you configure the nvidia container toolkit",
        "no usable gpu found, --gpu-layers option will be ignored",
        "is cuda available: false",
        "cuda initialization failure with error: 100",
        "~ (docker run|docker compose|docker-compose|dockerfile|in docker|docker image|docker container|inside the container|in the container)",
    ),
)
