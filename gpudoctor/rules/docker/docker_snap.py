"""Docker is the Ubuntu snap, and does not give the GPU to containers.

A snap sees a file system of its own. It cannot run the toolkit that is installed on the host, and does not
read /etc/docker/daemon.json, so what the guides say has no effect: `--gpus` says "could not select device
driver", `--runtime=nvidia` "unknown or invalid runtime name".

Newer revisions (from 2932, September 2024) carry a toolkit themselves and, where they find the driver,
register an nvidia runtime in their own daemon.json: such a snap works, by `--runtime=nvidia`, and nothing is
found. It is found where that runtime is missing, where the revision is older, and where Docker is 29.2 or
newer and the host has the toolkit's packages beside it: `--gpus` then goes by CDI, and the specs that the
host's toolkit writes name programs which the snap cannot run.

How it is told from its look-alikes: dockerd's program is under /snap. With `toolkit/toolkit-not-installed`
the same words come from a dockerd in /usr/bin.

Cure: save what the snap has, remove it, and install Docker Engine; or refresh the snap and use
`--runtime=nvidia` alone. Its images and volumes are not taken over.

Sources: docker snap's README (NVIDIA support) and its issue 180; NVIDIA/nvidia-container-toolkit issue 522.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.facts.toolkit import PACKAGES
from gpudoctor.model import Cure, Evidence, Finding, NotApplicable, Rule, Where
from gpudoctor.rules.docker import _daemon

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts

_SERVES_GPU = 2932
_HOST_PROGRAMS = ("/usr/bin/nvidia-container-runtime-hook", "/usr/bin/nvidia-container-runtime", "/usr/bin/nvidia-ctk")


def check(facts: Facts) -> Iterator[Finding]:
    """Find a docker snap that does not serve the GPU by itself."""
    docker = facts.docker
    if docker.kind != "snap":
        raise NotApplicable("Docker is not a snap on this host.")
    if not facts.gpus.present:
        raise NotApplicable("There is no NVIDIA GPU to give to a container.")
    revision = docker.snap_revision
    beside = _beside(facts)
    evidence = []
    if revision is not None and revision < _SERVES_GPU:
        why = "its revision is too old to serve the GPU by itself: containers do not get it"
        evidence.append(
            Evidence(Where("/snap/docker/current"), f"revision {revision}; {_SERVES_GPU} is the first that serves the GPU")
        )
    elif not docker.has_nvidia_runtime:
        why = "it has not registered an nvidia runtime: containers do not get the GPU"
        evidence.append(Evidence(Where(docker.config_path), "no runtimes.nvidia" if docker.config.data else "absent"))
    elif docker.since("gpus-through-cdi") and beside is not None:
        why = (
            "the toolkit of the host stands beside the snap's own: --gpus goes by the host's CDI specs, whose programs "
            "a snap cannot run"
        )
        evidence.append(Evidence(Where(docker.version_source), f"Docker {docker.version}"))
    else:
        return
    if beside is not None:
        evidence.append(beside)
    ignored = " The toolkit on the host is of no use to it." if beside is not None else ""
    yield Finding(
        "Docker is a snap and does not serve the GPU",
        f"Docker is the Ubuntu snap, and {why}.{ignored}",
        (Evidence(Where(docker.daemon.exe if docker.daemon is not None else "/snap/bin/docker"), "dockerd is a snap"), *evidence),
        Cure(
            "SHOWN",
            "Save and remove the snap, then install Docker Engine (or refresh the snap, and use --runtime=nvidia without the "
            "host's toolkit).",
            ("sudo snap save docker", "sudo snap remove docker", *_daemon.install(facts)),
            "The snap's containers, images and volumes are not taken over.",
        ),
    )


def _beside(facts: Facts) -> Evidence | None:
    """Return what shows that the toolkit is installed on the host itself."""
    package = facts.packages.installed(*PACKAGES)
    if package is not None:
        return Evidence(Where(facts.packages.source), f"{package.name} {package.version}")
    path = next((path for path in _HOST_PROGRAMS if facts.host.lstat(path) is not None), None)
    return Evidence(Where(path), "is installed on the host") if path is not None else None


RULE = Rule(
    "docker/docker-snap",
    35,
    "error",
    "Docker is a snap and does not serve the GPU",
    check,
    breaks=("toolkit", "runtime"),
    needs=("gpu", "daemon"),
    signs=(
        "could not select device driver",
        "no runtime for nvidia is configured",
        "unknown or invalid runtime name: nvidia",
        "unknown runtime specified nvidia",
        "libnvidia-ml.so.1: cannot open shared object file",
        "~ (snap install docker|/snap/|snap docker|/var/snap)",
        "~ snap",
    ),
)
