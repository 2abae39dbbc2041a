"""Docker's default runtime is nvidia, on a machine that has no NVIDIA GPU any more.

Every container then goes through nvidia-container-runtime. Those whose image sets NVIDIA_VISIBLE_DEVICES (all
CUDA images, many media servers) do not start: "nvidia-container-cli: initialization error: load library
failed: libnvidia-ml.so.1". The card was taken out, or daemon.json was copied from a machine with one.

How it is told from its look-alikes: with the GPU on the bus and no driver it is `host/driver-not-installed`,
and the default runtime is right; a machine that never had a GPU and leaves the default runtime alone has only
`host/no-nvidia-gpu`. It does not follow from that one: its cure needs no GPU.

Cure: take "default-runtime" out of daemon.json and restart Docker. Containers that were created under it keep
the runtime that they have, and must be created anew.

Sources: NVIDIA container toolkit documentation; blakeblackshear/frigate discussion 6926.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.facts.gpu import PCI
from gpudoctor.model import Cure, Evidence, Finding, NotApplicable, Refused, Rule, Where
from gpudoctor.rules import advice, steps
from gpudoctor.rules.docker import _daemon

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts
    from gpudoctor.model import Steps, Wishes


def check(facts: Facts) -> Iterator[Finding]:
    """Find the default runtime nvidia on a machine without a GPU."""
    docker = facts.docker
    if not docker.installed or docker.kind == "desktop":
        raise NotApplicable("There is no Docker on this host, or it is Docker Desktop's.")
    if facts.gpus.present:
        raise NotApplicable("This machine has an NVIDIA GPU.")
    written = docker.config.value.get("default-runtime") == "nvidia"
    if not written and docker.default_runtime != "nvidia":
        return
    line = docker.config.line("default-runtime") if written else None
    yield Finding(
        "the default runtime is nvidia, and there is no GPU",
        "Docker starts every container by the nvidia runtime, but this machine has no NVIDIA GPU: containers whose image asks "
        "for one do not start.",
        (
            Evidence(Where(docker.config_path, line), "default-runtime is nvidia")
            if line is not None
            else Evidence(Where("docker info"), "Default Runtime: nvidia"),
            Evidence(Where(PCI), "no function with vendor 0x10de and class 0x0300 or 0x0302"),
        ),
        Cure(
            "DISRUPTIVE",
            f"Take default-runtime out of {docker.config_path}, restart Docker, and create the containers anew.",
            (_daemon.edit(docker.config_path), _daemon.restart(facts, docker.daemon)),
            advice.RESTART_RISK,
        ),
    )


def fix(facts: Facts, _: Wishes) -> Steps:
    """Take default-runtime out of the daemon.json that the daemon reads, and restart Docker."""
    from gpudoctor.formats.edit import daemon_json as editor

    if facts.docker.config.value.get("default-runtime") != "nvidia":
        raise Refused(
            "The default runtime stands on dockerd's command line, not in daemon.json: take it out of the unit's drop-in."
        )
    yield steps.daemon_json(facts, lambda data: editor.remove(data or b"", ("default-runtime",)))
    yield steps.restart_docker(facts)


RULE = Rule(
    "docker/default-runtime-nvidia-without-gpu",
    90,
    "error",
    "the default runtime is nvidia, and there is no GPU",
    check,
    breaks=("container",),
    fix=fix,
    signs=(
        "libnvidia-ml.so.1: cannot open shared object file",
        "(removed|used to have|no longer have|sold|took out|replaced)?gpu + nvidia-container-cli",
        "~ (default-runtime|removed the gpu|removed my gpu|no longer have|used to have)",
    ),
)
