"""The docker client uses Docker Desktop for Linux, whose machine has no GPU.

Docker Desktop runs its daemon in a virtual machine of its own and makes it the client's current context
(desktop-linux). The GPU, the driver and the toolkit of this host do not exist in there: `--gpus` says "could
not select device driver", or the hook says "load library failed: libnvidia-ml.so.1", whatever is installed on
the host. Only on Windows (WSL2) does Docker Desktop pass a GPU through.

How it is told from its look-alikes: the context is desktop-linux, or docker info names Docker Desktop as the
operating system. With `toolkit/toolkit-not-installed` the same words come from a daemon of this host. Docker
Desktop that is installed while the context is `default` does no harm.

Cure: where Docker Engine is installed too, go back to it by `docker context use default`; else install it.
Images, volumes and containers of Docker Desktop stay where they are, and are not those of the engine.

Sources: Docker documentation (Docker Desktop for Linux: how it differs from Docker Engine; GPU support is for
Windows with WSL2).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.model import Cure, Evidence, Finding, NotApplicable, Refused, Rule, Where
from gpudoctor.rules import steps
from gpudoctor.rules.docker import _daemon

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts
    from gpudoctor.model import Steps, Wishes

_SETTINGS = "/config.json"


def check(facts: Facts) -> Iterator[Finding]:
    """Find a docker client that talks to Docker Desktop's machine."""
    docker = facts.docker
    if facts.platform.wsl:
        raise NotApplicable("On WSL2 Docker Desktop passes the GPU through.")
    if docker.desktop is None:
        if not docker.installed:
            raise NotApplicable("There is no Docker on this host.")
        return
    engine = docker.daemons or docker.package is not None or facts.host.lstat("/usr/bin/dockerd") is not None
    shown = docker.desktop
    back = "unset DOCKER_HOST DOCKER_CONTEXT" if shown.where.startswith("$") else "docker context use default"
    yield Finding(
        "Docker Desktop for Linux has no GPU",
        "The docker client talks to Docker Desktop, whose daemon runs in a virtual machine without the GPU of this host.",
        (
            Evidence(Where(shown.where), shown.says),
            Evidence(Where("Docker Engine"), "is installed on this host as well")
            if engine
            else Evidence(Where("/usr/bin/dockerd"), "absent: this host has no Docker Engine of its own"),
        ),
        Cure(
            "SAFE" if engine else "SHOWN",
            "Point the docker client to the Docker Engine of this host." if engine else "Install Docker Engine, and use it.",
            (back,) if engine else (*_daemon.install(facts), back),
            "The engine does not have Docker Desktop's images, volumes and containers.",
        ),
    )


def fix(facts: Facts, _: Wishes) -> Steps:
    """Point the docker client back to the engine of this host, in the settings of the user whose context it is."""
    docker = facts.docker
    name, path = docker.context
    if not path.endswith(_SETTINGS) or name != "desktop-linux":
        raise Refused(
            "What points the docker client to Docker Desktop is no setting in a file: unset DOCKER_HOST and DOCKER_CONTEXT."
        )
    if not docker.daemons:
        raise Refused(
            "No Docker Engine runs on this host that the docker client could go back to: install it, or start it, first."
        )
    command = f"docker --config {path.removesuffix(_SETTINGS)} context use"
    yield steps.then(
        f"{command} default", "Docker Desktop's images and containers stay where they are.", undo=f"{command} desktop-linux"
    )


RULE = Rule(
    "docker/docker-desktop-linux",
    34,
    "error",
    "Docker Desktop for Linux has no GPU",
    check,
    breaks=("daemon", "toolkit", "runtime"),
    needs=("gpu",),
    fix=fix,
    signs=(
        "could not select device driver",
        "libnvidia-ml.so.1: cannot open shared object file",
        "no runtime for nvidia is configured",
        "unknown or invalid runtime name: nvidia",
        "unknown runtime specified nvidia",
        "~ (desktop-linux|.docker/desktop)",
        "~ docker desktop",
    ),
)
