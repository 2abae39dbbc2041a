"""The Compose file names the nvidia runtime, and Docker on this host does not know it.

`runtime: nvidia` is handed to Docker as it is, which refuses to make the container: "unknown or invalid runtime name: nvidia". The
runtime has to be registered in daemon.json. A file that reserves the GPU (deploy.resources.reservations.devices, or `gpus:`) needs no
runtime.

How it is told from its look-alikes: the service names a runtime whose name begins with nvidia, and the daemon does not list it. Where
daemon.json has it and the running daemon does not, Docker was not restarted (`docker/docker-not-restarted`). What else here asks for
the runtime is `docker/runtime-not-registered`.

Cure: register the runtime with `nvidia-ctk runtime configure` and restart Docker; or take `runtime:` out and reserve the GPU.

Sources: NVIDIA container toolkit installation guide; Compose specification (runtime); moby (daemon/runtime_unix.go).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.model import Cure, Evidence, Finding, NotApplicable, Rule, Where
from gpudoctor.rules import advice
from gpudoctor.rules.compose import _services

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts


def check(facts: Facts) -> Iterator[Finding]:
    """Find services that name an nvidia runtime that Docker does not know."""
    _services.need_this_host(facts)
    docker = facts.docker
    if not docker.installed:
        raise NotApplicable("There is no Docker on this host.")
    named = [each for each in facts.composed.services if each.by_runtime]
    if not named:
        _services.settle(_services.unset(each.runtime) for each in facts.composed.services)
        raise NotApplicable("No service of the Compose file names the nvidia runtime.")
    known = docker.runtimes
    names = set(known) if known is not None else {*docker.config_runtimes, *docker.flag_runtimes}
    source = "docker info" if known is not None else docker.config_path
    for service in named:
        runtime = service.runtime
        if runtime is None or runtime.text in names:
            continue
        configure = f"sudo nvidia-ctk runtime configure --runtime=docker --config={docker.config_path}"
        steps: tuple[str, ...] = (
            (configure, advice.restart_docker(facts)) if runtime.text == "nvidia" and facts.toolkit.ctk is not None else ()
        )
        if facts.toolkit.gpus_path != "none":
            summary = (
                "Take `runtime:` out and reserve the GPU, which this host serves; or register the runtime and restart Docker."
            )
            steps = (_services.REQUEST, *(f"# or: {each}" for each in steps))
        else:
            summary = "Register the runtime and restart Docker."
            steps = steps or advice.install_toolkit(facts)
        yield Finding(
            "the runtime that the Compose file names is not registered",
            f"{service.name} is to run with the runtime {runtime.text}, which Docker here does not know: it refuses to make the container.",
            (
                _services.at(runtime, f"runtime: {runtime.text}"),
                Evidence(Where(source), f"runtimes: {', '.join(sorted(names)) or 'none but runc'}"),
            ),
            Cure("SHOWN", summary, steps, advice.RESTART_RISK),
        )


RULE = Rule(
    "compose/compose-runtime-not-registered",
    33,
    "error",
    "the Compose file names a runtime that Docker does not know",
    check,
    breaks=("container",),
    needs=("daemon", "toolkit", "runtime"),
    follows=("docker/runtime-not-registered", "docker/docker-not-restarted", "docker/daemon-json-wrong-file"),
    needs_input="compose",
)
