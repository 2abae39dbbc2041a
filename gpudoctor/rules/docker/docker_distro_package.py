"""Docker is a distribution's own package of 2018 or before, which takes no part in what the toolkit expects.

RHEL 7, CentOS 7 and Fedora up to 30 carried a Docker 1.13 of their own (`docker`, `docker-latest`): its
daemon is called dockerd-current, reads /etc/sysconfig/docker, starts GPU containers, if at all, through a
hook of its own, and refuses the daemon.json of today's guides. It has neither `--gpus` nor a maintainer.

How it is told from its look-alikes: Docker's own packages (docker-ce, docker-engine) of the same age are
`docker/docker-too-old`.

Cure: remove it and install docker-ce or a current moby-engine; on a distribution that old, move to a newer
release first. The new engine does not take over its containers.

Sources: NVIDIA/nvidia-container-runtime issue 8; Docker Engine installation guide for CentOS (uninstall old
versions).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.model import Cure, Evidence, Finding, NotApplicable, Rule, Where
from gpudoctor.rules import advice
from gpudoctor.rules.docker import _daemon

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts

_OF_DISTRIBUTIONS = frozenset({"docker", "docker-latest", "docker.io"})


def check(facts: Facts) -> Iterator[Finding]:
    """Find a distribution's package of Docker 1.x."""
    docker = facts.docker
    if not docker.installed:
        raise NotApplicable("There is no Docker on this host.")
    package = docker.package
    numbers = docker.version_numbers
    if package is None or package.name not in _OF_DISTRIBUTIONS or not numbers or numbers[0] > 1:
        return
    yield Finding(
        "Docker is a distribution's package of long ago",
        f"Docker {docker.version} of this distribution has no --gpus and does not take today's daemon.json.",
        (Evidence(Where(facts.packages.source), f"{package.name} {package.version}"),),
        Cure(
            "SHOWN",
            "Remove it, and install a current Docker Engine.",
            (advice.remove(facts, package.name), *_daemon.install(facts)),
            "The new engine does not take over containers, images and volumes.",
        ),
    )


RULE = Rule(
    "docker/docker-distro-package", 114, "error", "Docker is a distribution's package of long ago", check, breaks=("daemon",)
)
