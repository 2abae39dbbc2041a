"""The engine takes a CDI name for a path, because it is too old for CDI or has it switched off.

Docker knows CDI from 25.0 on, only with `"features": {"cdi": true}` in daemon.json up to 28.1, and by itself from
28.2; podman from 4.1. Before, `--device nvidia.com/gpu=all` is "not an absolute path", with podman "stat
nvidia.com/gpu=0: no such file or directory". The Docker-compatible API of older podman does the same.

How it is told from its look-alikes: an engine that knows CDI and does not find the name says "unresolvable"
(`cdi/cdi-unresolvable`). An old engine alone is healthy: --gpus needs no CDI there. So this speaks only where
something shows that CDI is wanted: a spec made by hand in /etc/cdi, or features.cdi in the daemon.json of a Docker
that ignores it.

Cure: switch CDI on (Docker 25.0 to 28.1, a restart) or upgrade the engine; until then name the nodes: `--device
/dev/nvidia0 --device /dev/nvidiactl --device /dev/nvidia-uvm`. `gpudoctor fix` switches it on; upgrades are left
to you.

Sources: moby changelog and source (25.0, 28.2); podman release notes 4.1; containers/podman#16232.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor import tables
from gpudoctor.facts.cdi import PODMAN_SINCE
from gpudoctor.host import Unseen
from gpudoctor.model import Cure, Evidence, Finding, NotApplicable, Rule, Where
from gpudoctor.rules import advice, steps

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts
    from gpudoctor.model import Steps, Wishes

_SETS_FEATURE = (1, 14, 5)


def check(facts: Facts) -> Iterator[Finding]:
    """Find an engine without CDI on a host where something shows that CDI is wanted."""
    docker, podman = facts.docker, facts.podman
    if not docker.installed and podman.version is None:
        raise NotApplicable("There is no container engine on this host.")
    if docker.kind in {"snap", "desktop"}:
        raise NotApplicable("This Docker does not read the host's CDI specs (a snap or Docker Desktop).")
    if not facts.gpus.present:
        raise NotApplicable("There is no NVIDIA GPU on this host.")
    by_hand = next((each.path for each in facts.cdi.gpu_specs if each.path.startswith("/etc/cdi/")), None)
    asked = docker.installed and _feature(facts) is True
    if by_hand is None and not asked:
        raise NotApplicable("Nothing on this host shows that CDI is wanted.")
    wanted = [Evidence(Where(by_hand), "a CDI spec made for this host")] if by_hand is not None else []
    if docker.installed and not docker.cdi_enabled:
        if not docker.version_numbers:
            raise Unseen("docker info", "Docker's version is not known")
        # podman reads the spec where Docker does not: then the spec may be for podman alone.
        if asked or not any(reader.name == "podman" for reader in facts.cdi.readers):
            yield _docker(facts, wanted, asked=asked)
    numbers = tables.version(podman.version or "")
    if by_hand is not None and numbers and numbers < PODMAN_SINCE and not facts.cdi.readers:
        yield Finding(
            f"podman {podman.version} does not know CDI",
            f"podman {podman.version} takes a CDI name for a path (no such file or directory); podman knows CDI from 4.1 on.",
            (Evidence(Where(facts.packages.source), f"podman {podman.version}"), *wanted),
            Cure(
                "SHOWN",
                "Upgrade podman to 4.1 or newer; until then name the device nodes with --device.",
                advice.upgrade(facts, "podman"),
                "The distribution may have no newer podman.",
            ),
            severity="hint" if docker.installed else "warning",
        )


def _feature(facts: Facts) -> object:
    features = facts.docker.config.value.get("features")
    return features.get("cdi") if isinstance(features, dict) else None


def _docker(facts: Facts, wanted: list[Evidence], *, asked: bool) -> Finding:
    docker, toolkit = facts.docker, facts.toolkit
    if asked:
        wanted = [
            Evidence(
                Where(docker.config.path, docker.config.line("features.cdi")), "features.cdi = true, which this Docker ignores"
            ),
            *wanted,
        ]
    version = Evidence(Where(docker.version_source), f"Docker {docker.version}")
    if docker.since("cdi"):
        off = _feature(facts) is False
        state = "is switched off" if off else "is off until daemon.json switches it on"
        line = docker.config.line("features.cdi") if off else None
        by_ctk = (
            toolkit.ctk is not None
            and toolkit.version_numbers >= _SETS_FEATURE
            and docker.config.path == "/etc/docker/daemon.json"
        )
        switch = "sudo nvidia-ctk runtime configure --runtime=docker --cdi.enabled"
        return Finding(
            "Docker has CDI switched off",
            f"CDI {state} in Docker {docker.version}, so --device nvidia.com/gpu=all is taken for a path (not an absolute path).",
            (version, Evidence(Where(docker.config.path, line), f"features.cdi is {'false' if off else 'not set'}"), *wanted),
            Cure(
                "DISRUPTIVE",
                f'Set "features": {{"cdi": true}} in {docker.config.path} and restart Docker.',
                (switch if by_ctk else f"sudoedit {docker.config.path}", advice.restart_docker(facts)),
                advice.RESTART_RISK,
            ),
            severity="hint",
        )
    return Finding(
        f"Docker {docker.version} does not know CDI",
        f"Docker {docker.version} takes a CDI name for a path (not an absolute path); Docker knows CDI from 25.0 on.",
        (version, *wanted),
        Cure(
            "SHOWN",
            "Upgrade Docker to 25.0 or newer (from 28.2 on CDI is on by itself); until then use --gpus all, or name the nodes with --device.",
            advice.upgrade(facts, docker.package.name if docker.package is not None else "docker-ce"),
            advice.RESTART_RISK,
        ),
        severity="warning" if asked else "hint",
    )


def fix(facts: Facts, _: Wishes) -> Steps:
    """Switch CDI on in a Docker that has it, and restart it; an older engine has to be upgraded."""
    docker = facts.docker
    wanted = _feature(facts) is True or not any(reader.name == "podman" for reader in facts.cdi.readers)
    if not docker.installed or docker.cdi_enabled or not docker.since("cdi") or not wanted:
        return
    yield steps.daemon_setting(facts, ("features", "cdi"), value=True)
    yield steps.restart_docker(facts)


RULE = Rule(
    "cdi/engine-too-old-for-cdi",
    126,
    "warning",
    "the engine does not know CDI",
    check,
    needs=("gpu",),
    fix=fix,
    signs=(
        "stat nvidia.com/gpu=*: no such file or directory",
        "nvidia.com/gpu=*is not an absolute path",
        "adding custom device nvidia.com/gpu",
        "invalid argument nvidia.com/gpu=*for --device flag",
        "bad format for path: nvidia.com/gpu*",
    ),
)
