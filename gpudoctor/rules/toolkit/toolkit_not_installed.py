"""The NVIDIA container toolkit is not installed, so Docker cannot give a GPU to a container.

`docker run --gpus all` then says "could not select device driver "" with capabilities: [[gpu]]": dockerd offers `--gpus` only if it finds
nvidia-container-runtime-hook (or, from 29.2, nvidia-cdi-hook) on its PATH when it starts.

How it is told from its look-alikes (the words are the same): the toolkit is there but newer than the running daemon
(`docker/docker-not-restarted`); Docker is a snap or Docker Desktop and sees another system (`docker/docker-snap`,
`docker/docker-desktop-linux`); the machine has no NVIDIA GPU at all (`host/no-nvidia-gpu`).

Cure: add NVIDIA's repository, install nvidia-container-toolkit, restart Docker. The restart stops running containers unless live-restore
is on.

Sources: moby source (daemon/nvidia_linux.go), NVIDIA container toolkit installation guide.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.model import Cure, Evidence, Finding, NotApplicable, Rule, Where
from gpudoctor.rules import advice

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts


def check(facts: Facts) -> Iterator[Finding]:
    """Find a Docker host with a GPU and without any program of the toolkit."""
    docker, toolkit = facts.docker, facts.toolkit
    if docker.kind in {"snap", "desktop"}:
        raise NotApplicable("This Docker does not use the host's toolkit (a snap or Docker Desktop).")
    if not docker.installed:
        raise NotApplicable("There is no Docker on this host.")
    if not facts.gpus.present:
        raise NotApplicable("There is no NVIDIA GPU to give to a container.")
    if facts.platform.jetson:
        raise NotApplicable("A Jetson is served by the nvidia runtime and its own packages.")
    if toolkit.hook is not None or toolkit.cdi_hook is not None:
        return
    searched = ":".join(docker.path)
    # The base package alone (nvidia-container-toolkit-base) has nvidia-ctk and, before 1.16, no hook that Docker looks for.
    base = f" The toolkit's base is here ({toolkit.ctk}): GPUs can be given by CDI names alone." if toolkit.ctk else ""
    yield Finding(
        "the NVIDIA container toolkit is not installed",
        "Docker finds neither nvidia-container-runtime-hook nor nvidia-cdi-hook on its PATH, so `docker run --gpus` is refused "
        f"(could not select device driver).{base}",
        (
            Evidence(Where("dockerd's PATH"), f"no nvidia-container-runtime-hook, no nvidia-cdi-hook in {searched}"),
            Evidence(
                Where(facts.packages.source),
                f"nvidia-container-toolkit {toolkit.version}" if toolkit.version else "no nvidia-container-toolkit",
            ),
        ),
        Cure(
            "SHOWN",
            "Install nvidia-container-toolkit from NVIDIA's repository, then restart Docker.",
            advice.install_toolkit(facts),
            advice.RESTART_RISK,
        ),
    )


RULE = Rule(
    "toolkit/toolkit-not-installed",
    1,
    "error",
    "the NVIDIA container toolkit is not installed",
    check,
    breaks=("toolkit", "runtime"),
    needs=("gpu",),
    signs=(
        "could not select device driver",
        "nvidia-ctk: command not found",
        "nvidia-ctk: not found",
        "package nvidia-(docker2|container-toolkit|container-runtime) has no installation candidate",
        "unable to locate package nvidia-(docker2|container-runtime)",
        "~ unable to locate package nvidia-container-toolkit",
    ),
)
