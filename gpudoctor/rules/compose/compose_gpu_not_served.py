"""The Compose file asks for a GPU in a way that this host does not serve.

A reservation and `gpus:` need the toolkit's program on the daemon's PATH ("could not select device driver "nvidia" with capabilities:
[[gpu]]"); a CDI name needs an engine with CDI on and a spec that has it ("unresolvable CDI devices"); and all of them need an NVIDIA
GPU and its driver. On a Jetson the hook refuses to work, and only `runtime: nvidia` gives the GPU.

How it is told from its look-alikes: the file is right, and the host lacks something. A whole diagnosis (`gpudoctor doctor`) says what
and why, such as `toolkit/toolkit-not-installed` or `host/driver-not-loaded`. The nvidia runtime that a file names is
`compose/compose-runtime-not-registered`.

Cure: mend the host first; or take the request out, to run without a GPU.

Sources: moby (daemon/devices.go, daemon/nvidia_linux.go); Docker documentation (CDI devices).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.model import Cure, Evidence, Finding, NotApplicable, Rule, Where
from gpudoctor.rules.compose import _services

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts
    from gpudoctor.facts.composed import Service
    from gpudoctor.formats.composed import Value


_NO_SPEC = "no spec of kind"


def check(facts: Facts) -> Iterator[Finding]:
    """Find requests that meet a host without GPU, driver, Docker or what serves them."""
    _services.need_this_host(facts)
    if facts.platform.container:
        raise NotApplicable("This is a container itself: whether it reaches a GPU its host decides.")
    for service in _services.wanting(facts):
        asked = _asked(service)
        if asked is None:
            continue
        why = _lacks(facts, service)
        if why is None:
            continue
        place, says = asked
        without_spec = why[1].says.startswith(_NO_SPEC) and facts.toolkit.ctk is not None
        yield Finding(
            "this host does not serve the GPU that the Compose file asks for",
            f"{service.name} asks for a GPU, and {why[0]}: its container is refused, or finds no GPU.",
            (_services.at(place, says), why[1]),
            Cure(
                "SHOWN",
                "Write the spec, and do so again after each driver upgrade; or reserve the GPU without a CDI name.",
                (f"sudo nvidia-ctk cdi generate --output={facts.docker.cdi_dirs[0]}/nvidia.yaml",),
                "None.",
            )
            if without_spec
            else Cure(
                "SHOWN",
                "Mend the host: a whole diagnosis says how.",
                ("gpudoctor doctor", "gpudoctor fix"),
                "None: both only look, and print what they would do.",
            ),
        )


def _asked(service: Service) -> tuple[Value, str] | None:
    """Return what asks the engine for a GPU: a request, a CDI name, or the runtime."""
    for request in service.gpu_requests:
        return request.place, request.says
    for device in service.cdi:
        return device.place, device.source
    if service.runtime is not None and service.by_runtime:
        return service.runtime, f"runtime: {service.runtime.text}"
    return None


def _lacks(facts: Facts, service: Service) -> tuple[str, Evidence] | None:
    """Return what the host lacks, and where that shows; None where it serves what is asked."""
    docker, toolkit = facts.docker, facts.toolkit
    if not facts.gpus.present:
        return "this host has no NVIDIA GPU", Evidence(Where("/sys/bus/pci/devices"), "no NVIDIA GPU")
    if not docker.installed:
        return "Docker is not installed here", Evidence(Where("/usr/bin/dockerd"), "absent")
    if not (facts.platform.jetson or facts.platform.wsl) and not facts.driver.is_loaded:
        return "the NVIDIA driver is not loaded", Evidence(Where("/proc/driver/nvidia/version"), "absent")
    by_cdi = bool(service.cdi) or any(each.is_cdi for each in service.gpu_requests)
    if by_cdi and not docker.cdi_enabled:
        return f"Docker {docker.version} takes no CDI names here", Evidence(Where(docker.version_source), "CDI is not on")
    unmet = _without_spec(facts, service) if by_cdi else ""
    if unmet:
        folders = ", ".join(docker.cdi_dirs)
        return f"no CDI spec of this host has a device of kind {unmet}", Evidence(Where(folders), f"{_NO_SPEC} {unmet}")
    plain = any(not each.is_cdi for each in service.gpu_requests)
    runtime = service.runtime.text if service.runtime is not None and service.runtime.text else docker.default_runtime
    if plain and facts.platform.nvgpu and not runtime.startswith("nvidia"):
        words = "on a Jetson only the nvidia runtime gives one, since the hook that serves requests refuses to work there"
        return words, Evidence(Where("docker info"), f"default runtime: {docker.default_runtime}")
    if plain and toolkit.gpus_path == "none":
        words = "nothing on this host serves a reservation (the NVIDIA container toolkit is not on the daemon's PATH)"
        return words, Evidence(
            Where(":".join(docker.path)), "no nvidia-container-runtime-hook and no nvidia-cdi-hook that serves it"
        )
    return None


def _without_spec(facts: Facts, service: Service) -> str:
    """Return the kind of a CDI name that no spec defines any device of, "" where each is defined by some."""
    named = [each.source for each in service.cdi if not each.unset]
    named += [each.text for request in service.gpu_requests for each in request.ids or () if not each.unset and request.is_cdi]
    if any(each.refused for each in facts.cdi.files):
        # What the engine reads as root is not known here.
        return ""
    kinds = {each.partition("=")[0] for each in facts.cdi.devices}
    return next((kind for each in named if (kind := each.partition("=")[0]) == "nvidia.com/gpu" and kind not in kinds), "")


RULE = Rule(
    "compose/compose-gpu-not-served",
    29,
    "error",
    "this host does not serve the GPU that the Compose file asks for",
    check,
    breaks=("container",),
    needs=("gpu", "module", "driver", "daemon", "toolkit"),
    needs_input="compose",
)
