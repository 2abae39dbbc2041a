"""There is no container engine on this host: neither Docker nor podman.

Driver and toolkit may be perfect; nothing is there that could start a container. Where only the docker
*client* is installed, every command says "Cannot connect to the Docker daemon".

How it is told from its look-alikes: an engine that is there and stopped is `docker/docker-not-running`; a
client that is told to talk to another machine is `docker/docker-elsewhere`; with podman, on a Kubernetes node
(containerd, CRI-O) and on a host of LXC guests Docker is not needed and nothing is found.

Cure: install Docker Engine as this distribution does it (or podman, which takes GPUs by CDI). We only show
the commands.

Sources: Docker Engine installation guide.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.model import Cure, Evidence, Finding, NotApplicable, Rule, Where
from gpudoctor.rules.docker import _daemon

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts

_ORCHESTRATORS = ("/usr/bin/kubelet", "/usr/local/bin/kubelet", "/usr/local/bin/k3s", "/usr/bin/crio", "/snap/bin/microk8s")


def check(facts: Facts) -> Iterator[Finding]:
    """Find a host without any container engine."""
    docker = facts.docker
    if docker.installed:
        return
    if docker.remote:
        raise NotApplicable(f"The docker client talks to another machine ({docker.address}).")
    if facts.podman.version is not None:
        raise NotApplicable("podman is the container engine of this host.")
    other = next((path for path in _ORCHESTRATORS if facts.host.lstat(path) is not None), None)
    if other is not None:
        raise NotApplicable(f"The containers of this host are not Docker's ({other}).")
    if facts.lxc.hosts_guests:
        raise NotApplicable("This machine runs guests of LXC; the engine is in them.")
    if facts.wsl.version == 1:
        raise NotApplicable("On WSL 1 no container engine can run.")
    if facts.platform.container is not None and not facts.platform.lxc:
        raise NotApplicable(f"This is a container itself ({facts.platform.container}), not a host of containers.")
    client = facts.host.lstat("/usr/bin/docker") is not None
    yield Finding(
        "no container engine is installed",
        "Neither Docker Engine nor podman is installed"
        + (", only the docker client is" if client else "")
        + ": no container can run.",
        (
            Evidence(Where(facts.packages.source), "no package of Docker Engine or podman"),
            Evidence(Where("/usr/bin/dockerd"), "absent"),
            *_daemon.seen(facts, None),
        ),
        Cure("SHOWN", "Install Docker Engine.", _daemon.install(facts), "A service that runs as root is added."),
    )


RULE = Rule("docker/docker-not-installed", 23, "error", "no container engine is installed", check, breaks=("daemon",))
