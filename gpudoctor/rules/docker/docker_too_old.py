"""Docker Engine is older than 19.03, the first with `--gpus`.

`docker run --gpus all` then says "unknown flag: --gpus" (the client) or the daemon ignores the request. Only
`--runtime=nvidia` gives a container the GPU, where that runtime is registered; compose files with a
reservation of devices do not work at all. No release before 25.0 gets fixes any more.

How it is told from its look-alikes: "could not select device driver" comes from an engine that knows `--gpus`
and lacks the toolkit (`toolkit/toolkit-not-installed`). A distribution's own Docker 1.13 is
`docker/docker-distro-package`.

Cure: upgrade Docker Engine; containers and images are kept. We only show the commands.

Sources: moby changelog (19.03.0: --gpus, DeviceRequests); table of Docker releases.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.host import Unseen
from gpudoctor.model import Cure, Evidence, Finding, NotApplicable, Rule, Where
from gpudoctor.rules.docker import _daemon

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts


def check(facts: Facts) -> Iterator[Finding]:
    """Find an engine without --gpus."""
    docker = facts.docker
    if docker.kind == "desktop":
        raise NotApplicable("Docker Desktop brings an engine of its own.")
    if not docker.installed:
        raise NotApplicable("There is no Docker on this host.")
    if not docker.version_numbers:
        docker.info  # noqa: B018 - raises where the daemon may not be asked
        raise Unseen("Docker's version", "no package of Docker, and no daemon that says it")
    if docker.since("gpus-flag"):
        return
    works = docker.has_nvidia_runtime
    yield Finding(
        "Docker is too old for --gpus",
        f"Docker {docker.version} has no --gpus, which came with 19.03"
        + (": only --runtime=nvidia gives a container the GPU." if works else ", and no nvidia runtime is registered either."),
        (Evidence(Where(docker.version_source), f"Docker {docker.version}"),),
        Cure(
            "SHOWN",
            "Upgrade Docker Engine.",
            _daemon.install(facts),
            "Containers stop during the upgrade and are kept.",
        ),
        severity="warning" if works else None,
        breaks=() if works else None,
    )


RULE = Rule(
    "docker/docker-too-old",
    32,
    "error",
    "Docker is too old for --gpus",
    check,
    breaks=("daemon",),
    follows=("docker/docker-distro-package",),
    signs=(
        "unknown flag: --gpus",
        "--gpus requires api version",
        "flag provided but not defined: -gpus",
    ),
)
