"""The docker client of this host talks to a daemon on another machine.

DOCKER_HOST or the current context names a TCP or SSH address. Containers started here run *there*, with that
machine's driver, GPUs and toolkit: what is right or wrong on this host has no part in it, and a perfect GPU
here stays unused.

How it is told from its look-alikes: the socket of a rootless daemon or of Docker Desktop is on this machine
too (`docker/docker-desktop-linux`). A TCP address of this machine itself may be a local daemon or the near
end of a tunnel; that cannot be told from here, so it is only a hint.

Cure: examine that host (run gpudoctor there), or go back to the local daemon: `docker context use default`,
and unset DOCKER_HOST. Which of the two is wanted only you can say, so nothing here does it.

Sources: docker/cli source (DOCKER_HOST overrides DOCKER_CONTEXT, and that the current context).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.model import Cure, Evidence, Finding, NotApplicable, Rule, Where

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts

_HERE = ("://localhost", "://127.", "://[::1]", "://0.0.0.0")


def check(facts: Facts) -> Iterator[Finding]:
    """Find an address of the docker client that is no socket of this host."""
    docker = facts.docker
    if not docker.remote:
        if not docker.installed:
            raise NotApplicable("There is no Docker on this host, and none is addressed elsewhere.")
        return
    name, source = docker.context
    by_context = bool(source)
    here = any(mark in docker.address for mark in _HERE)
    if here:
        text = (
            f"The docker client talks to a TCP port of this machine ({docker.address}). "
            "If it is the near end of a tunnel, the host at its other end has to be examined."
        )
    else:
        text = (
            f"The docker client talks to {docker.address}: its containers run there, and that host has to be examined, "
            "not this one."
        )
    yield Finding(
        "docker talks to another machine",
        text,
        (
            Evidence(Where(source), f"the context is {name}, whose address is {docker.address}")
            if by_context
            else Evidence(Where("$DOCKER_HOST"), docker.address),
        ),
        Cure(
            "SHOWN",
            "Run gpudoctor on that host; or point the client back to this one.",
            ("docker context use default",)
            if by_context and not source.startswith("$")
            else ("unset DOCKER_HOST DOCKER_CONTEXT",),
            "Images, volumes and containers of the other daemon are not those of this one.",
        ),
        severity="hint" if here else None,
    )


RULE = Rule("docker/docker-elsewhere", 34, "warning", "docker talks to another machine", check)
