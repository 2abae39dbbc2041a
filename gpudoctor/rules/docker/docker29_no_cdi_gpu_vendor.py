"""Docker 29 finds neither a CDI spec of a GPU vendor nor NVIDIA's hook, so `--gpus` fails.

From 29.2 on dockerd serves `--gpus` through CDI. It looks for a spec of kind nvidia.com/... or amd.com/...;
where there is none and nvidia-container-runtime-hook, its way of old, is not installed either, it says
"failed to discover GPU vendor from CDI: no known GPU vendor found" (or "unresolvable CDI devices
nvidia.com/gpu=all"). Either the toolkit is missing altogether, or only its base package is there, whose
nvidia-cdi-hook needs a spec.

How it is told from its look-alikes: on a machine without an NVIDIA GPU the same words only mean that `--gpus`
has to go (`host/no-nvidia-gpu`); engines before 29.2 say "could not select device driver" instead
(`toolkit/toolkit-not-installed`, which also explains this finding where no part of the toolkit is there). Why
a host with the toolkit has no spec is `cdi/cdi-unresolvable`'s affair.

Cure: install the toolkit, and have it write a spec (from 1.18 on nvidia-cdi-refresh does so; else `nvidia-ctk
cdi generate`), which stops nothing. The fix has the spec written where the toolkit is there.

Sources: moby source (daemon/devices_linux.go, devices_nvidia_linux.go, devices_amd_linux.go), moby pull
requests 50228 and 52048.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.host import Denied
from gpudoctor.model import Cure, Evidence, Finding, NotApplicable, Refused, Rule, Then, Where
from gpudoctor.rules import advice
from gpudoctor.rules.cdi import _specs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts
    from gpudoctor.model import Steps, Wishes

_VENDORS = ("nvidia.com/", "amd.com/")


def check(facts: Facts) -> Iterator[Finding]:
    """Find Docker 29.2 or newer with a GPU, and nothing by which it could serve --gpus."""
    docker, toolkit = facts.docker, facts.toolkit
    if not docker.installed:
        raise NotApplicable("There is no Docker on this host.")
    if docker.kind in {"snap", "desktop"}:
        raise NotApplicable("This Docker does not use the host's toolkit (a snap or Docker Desktop).")
    if not docker.since("gpus-through-cdi"):
        raise NotApplicable("This Docker does not serve --gpus through CDI (that came with 29.2).")
    if not facts.gpus.present:
        raise NotApplicable("There is no NVIDIA GPU to give to a container.")
    if toolkit.hook is not None or not docker.cdi_enabled:
        return
    refused = next((each for each in facts.cdi.files if each.refused), None)
    if any(each.spec is not None and each.spec.kind.startswith(_VENDORS) for each in facts.cdi.files):
        return
    if refused is not None:
        raise Denied(refused.path, refused.refused)
    base_only = toolkit.cdi_hook is not None
    generate = "sudo nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml"
    yield Finding(
        "Docker finds no GPU vendor in its CDI specs",
        "Docker serves --gpus through CDI here, finds no spec of a GPU, and has no NVIDIA hook to fall back on, "
        "so --gpus is refused (failed to discover GPU vendor from CDI).",
        (
            Evidence(Where(docker.version_source), f"Docker {docker.version}"),
            Evidence(Where(", ".join(facts.cdi.folders or docker.cdi_dirs)), "no spec of kind nvidia.com/... or amd.com/..."),
            Evidence(Where("dockerd's PATH"), "no nvidia-container-runtime-hook" + ("" if base_only else ", no nvidia-cdi-hook")),
        ),
        Cure("SAFE", "Write a CDI spec.", (generate,), "None: the file is new.")
        if base_only
        else Cure(
            "SHOWN",
            "Install nvidia-container-toolkit, write a CDI spec, and restart Docker.",
            (*advice.add_toolkit(facts), generate, advice.restart_docker(facts)),
            advice.RESTART_RISK,
        ),
    )


def fix(facts: Facts, _: Wishes) -> Steps:
    """Have the CDI spec written by which this Docker serves --gpus: it reads specs at each request."""
    cdi, folders = facts.cdi, facts.docker.cdi_dirs
    if facts.toolkit.ctk is None or facts.toolkit.cdi_hook is None:
        raise Refused("nvidia-ctk, which writes the CDI spec, is not installed.")
    if cdi.refresh_unit is not None and cdi.refresh_output.rpartition("/")[0] in folders:
        yield from _specs.refresh(facts)
        return
    folder = "/etc/cdi" if "/etc/cdi" in folders else folders[0]
    if not facts.host.exists(folder):
        yield Then(("mkdir", "-p", folder), "SAFE", "The spec's folder is not there yet.")
    yield from _specs.generate(facts, f"{folder}/nvidia.yaml")


RULE = Rule(
    "docker/docker29-no-cdi-gpu-vendor",
    93,
    "error",
    "Docker finds no GPU vendor in its CDI specs",
    check,
    breaks=("container",),
    needs=("gpu", "driver", "daemon", "toolkit"),
    follows=("toolkit/toolkit-not-installed", "cdi/cdi-unresolvable"),
    fix=fix,
    signs=(
        "failed to discover gpu vendor from cdi",
        "no known gpu vendor found",
        "no known gpu vendor",
    ),
)
