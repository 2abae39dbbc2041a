"""Something asks Docker for the nvidia runtime, and the daemon does not know it.

`docker run --runtime=nvidia` then says "unknown or invalid runtime name: nvidia" ("Unknown runtime specified
nvidia" before 23.0), and with `"default-runtime": "nvidia"` dockerd does not even start ("specified default
runtime 'nvidia' does not exist"). The step `nvidia-ctk runtime configure` was skipped, or an update of the
system (NAS, Jetson) put its own daemon.json back.

A host whose containers get the GPU by `--gpus` or by a CDI name needs no such runtime and is healthy without
it. So this is found only where something here names it: daemon.json's default-runtime, a container that was
created with it, a mode in config.toml that only the runtime serves; and on a Jetson, where nothing else gives
a container the GPU.

How it is told from its look-alikes: with `docker/docker-not-restarted` daemon.json has the runtime and the
running daemon does not; with `docker/daemon-json-wrong-file` another file has it; a snap or Docker Desktop
has settings of its own (`docker/docker-snap`, `docker/docker-desktop-linux`); where the runtime's *program*
is missing it is `toolkit/runtime-binary-missing`.

Cure: register it in the daemon.json that this dockerd reads, then restart Docker (a reload is enough for
runtimes, and stops nothing; the fix does that from 25.0 on).

Sources: NVIDIA container toolkit installation guide; moby source (daemon/config, runtimes).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.facts.docker import ROOTFUL_JSON
from gpudoctor.model import Cure, Evidence, Finding, NotApplicable, Refused, Rule, Where
from gpudoctor.rules import advice, steps
from gpudoctor.rules.docker import _daemon

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts
    from gpudoctor.model import Steps, Wishes

_NAMED = 3  # containers named in the evidence


def check(facts: Facts) -> Iterator[Finding]:
    """Find what names the nvidia runtime where the daemon that serves this host has none."""
    docker, toolkit = facts.docker, facts.toolkit
    if not docker.installed:
        raise NotApplicable("There is no Docker on this host.")
    if docker.kind in {"snap", "desktop"}:
        raise NotApplicable("This Docker has settings of its own (a snap or Docker Desktop).")
    if docker.has_nvidia_runtime or "nvidia" in docker.config_runtimes or "nvidia" in docker.flag_runtimes:
        return
    if docker.config.malformed is not None:
        raise NotApplicable("What daemon.json registers cannot be told, since it is not valid.")
    if not facts.gpus.present:
        raise NotApplicable("There is no NVIDIA GPU that a runtime could give to a container.")
    evidence = [*_configured(facts)]
    containers = docker.known_containers if evidence else docker.containers
    asking = [container for container in containers if container.runtime == "nvidia"]
    evidence += [
        Evidence(Where(each.path), f"container {each.name} was created with the runtime nvidia") for each in asking[:_NAMED]
    ]
    if not evidence:
        return
    known = docker.runtimes
    evidence.append(
        Evidence(Where("docker info"), f"Runtimes: {', '.join(sorted(known))}")
        if known is not None
        else Evidence(Where(docker.config_path), "no runtimes.nvidia" if docker.config.data else "absent")
    )
    stops = docker.config.value.get("default-runtime") == "nvidia" and not docker.running
    install = advice.add_toolkit(facts) if toolkit.runtime is None and not facts.platform.jetson else ()
    yield Finding(
        "the nvidia runtime is not registered with Docker",
        "dockerd does not start: its default runtime is nvidia, and no such runtime is registered."
        if stops
        else "The nvidia runtime is asked for, but this Docker daemon has none of that name, so such containers do not start.",
        tuple(evidence),
        Cure(
            "SHOWN" if install else "DISRUPTIVE",
            f"Register the nvidia runtime in {docker.config_path}, then restart Docker.",
            (*install, _daemon.register(facts, docker.config_path), advice.restart_docker(facts)),
            f"{docker.config_path} is written anew. {advice.RESTART_RISK}",
        ),
        breaks=("daemon", "runtime") if stops else None,
    )


def _configured(facts: Facts) -> Iterator[Evidence]:
    """Yield what the configuration and the platform say that needs the runtime."""
    docker, toolkit = facts.docker, facts.toolkit
    if docker.default_runtime == "nvidia":
        yield Evidence(Where(docker.config_path, docker.config.line("default-runtime")), "default-runtime is nvidia")
    if facts.platform.jetson and not (docker.cdi_enabled and facts.cdi.gpu_specs):
        source = "/etc/nv_tegra_release" if facts.platform.l4t is not None else "/proc/device-tree/compatible"
        yield Evidence(Where(source), "this is a Jetson: only the nvidia runtime gives a container its GPU")
    # The hook of --gpus refuses to act in these modes, so they were set for the runtime.
    if toolkit.mode in {"cdi", "csv", "jit-cdi"} and toolkit.gpus_path == "hook" and docker.config_path == ROOTFUL_JSON:
        mode = toolkit.line("nvidia-container-runtime", "mode")
        yield Evidence(Where(toolkit.config_path, mode), f"mode is {toolkit.mode}, which only the nvidia runtime serves")


def fix(facts: Facts, _: Wishes) -> Steps:
    """Register the runtime in the daemon.json that this daemon reads, and have the daemon read it."""
    if facts.toolkit.runtime is None:
        raise Refused(
            "nvidia-container-runtime is not installed, and a runtime without its program helps nobody: install the toolkit first."
        )
    yield steps.daemon_setting(facts, ("runtimes", "nvidia", "path"), "nvidia-container-runtime")
    yield steps.load_runtimes(facts)


RULE = Rule(
    "docker/runtime-not-registered",
    4,
    "error",
    "the nvidia runtime is not registered with Docker",
    check,
    breaks=("runtime",),
    needs=("gpu", "toolkit"),
    follows=("docker/daemon-json-wrong-file",),
    fix=fix,
    signs=(
        "no runtime for nvidia is configured",
        "unknown or invalid runtime name: nvidia",
        "unknown runtime specified nvidia",
        "default oci runtime nvidia not found",
        "runtime nvidia not found",
        "could not find runtime nvidia",
    ),
)
