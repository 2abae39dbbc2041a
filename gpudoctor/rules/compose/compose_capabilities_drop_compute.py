"""The request for the GPU names capabilities, and so leaves out parts of the driver that are needed.

`capabilities: [gpu]` brings what the image asks for, or compute and utility. As soon as one of the driver's own parts is named
(`capabilities: [gpu, video]`), the daemon sets NVIDIA_DRIVER_CAPABILITIES to those alone, over what the file and the image say:
without compute there is no libcuda.so.1 ("Found no NVIDIA driver on your system"), without utility no nvidia-smi and no NVML.

How it is told from its look-alikes: the hook serves requests on this host; through CDI all of the driver comes, whatever is named.
It is an error where compute is left out and something shows that CUDA is wanted, and a hint where only utility is. Of a running
container it is `container/driver-capabilities-missing-video`.

Cure: name gpu alone and set NVIDIA_DRIVER_CAPABILITIES in the environment, or name all the parts: [gpu, compute, utility, video].

Sources: moby (daemon/nvidia_linux.go); NVIDIA container toolkit documentation (driver capabilities).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.facts.composed import CAPABILITIES as VARIABLE
from gpudoctor.facts.composed import CUDA_VISIBLE, built_for_gpu
from gpudoctor.facts.containers import CAPABILITIES
from gpudoctor.model import Cure, Finding, NotApplicable, Rule
from gpudoctor.rules.compose import _services

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts
    from gpudoctor.facts.composed import Service
    from gpudoctor.host import Unseen


_USUAL = ("compute", "utility")


def check(facts: Facts) -> Iterator[Finding]:
    """Find requests that name parts of the driver and leave compute or utility out."""
    _services.need_this_host(facts)
    services = _services.requesting(facts)
    if facts.toolkit.gpus_path != "hook":
        raise NotApplicable(
            "Requests do not go through the hook here: a CDI spec has every part of the driver, whatever is named."
        )
    doubts: list[Unseen | None] = []
    for service in services:
        for request in service.gpu_requests:
            if request.is_cdi:
                continue
            doubts.append(_services.unset(*(request.capabilities or ())))
            named = [each.text for each in request.capabilities or () if each.text in CAPABILITIES]
            asked = service.environment.get(VARIABLE)
            wanted = _wanted(service)
            lost = [each for each in wanted if each not in named]
            if not named or not lost:
                continue
            severe = "compute" in lost and _uses_cuda(service)
            evidence = [_services.of(request)]
            if asked is not None:
                evidence.append(_services.setting(service, VARIABLE))
            parts = ", ".join(["gpu", *named, *lost])
            yield Finding(
                "the capabilities of the request leave parts of the driver out",
                f"{service.name} names {', '.join(named)} in its request, and Docker mounts that alone: without {' and '.join(lost)} the container "
                f"has {_missing(lost)}" + (f", although it says {VARIABLE}={asked.text}." if asked is not None else "."),
                tuple(evidence),
                Cure(
                    "SHOWN",
                    f"Name all the parts in the request, `capabilities: [{parts}]`, and make the container anew.",
                    (_services.again(facts, service),),
                    _services.ANEW,
                ),
                severity="error" if severe else "warning" if "compute" in lost or asked is not None else "hint",
                breaks=("container",) if severe else (),
            )
    _services.settle(doubts)


def _wanted(service: Service) -> list[str]:
    """Return the parts that a service needs: those its own variable names, else the usual two."""
    asked = service.environment.get(VARIABLE)
    if asked is None or asked.unset:
        return list(_USUAL)
    parts = [each.strip() for each in asked.text.split(",") if each.strip()]
    return [*_USUAL, "video", "graphics"] if "all" in parts else parts


def _uses_cuda(service: Service) -> bool:
    """Say whether something shows that CUDA is wanted, and not NVML alone."""
    asked = service.environment.get(VARIABLE)
    image = service.value.get("image")
    return (
        CUDA_VISIBLE in service.environment
        or (asked is not None and ("compute" in asked.text or "all" in asked.text))
        or (image is not None and image.kind == "text" and built_for_gpu(image.text))
    )


def _missing(lost: list[str]) -> str:
    words = {"compute": "no libcuda.so.1", "utility": "no nvidia-smi and no libnvidia-ml.so.1"}
    return " and ".join(words.get(each, f"no libraries for {each}") for each in lost)


RULE = Rule(
    "compose/compose-capabilities-drop-compute",
    60,
    "warning",
    "the capabilities of the request leave parts of the driver out",
    check,
    breaks=("container",),
    needs=("driver", "toolkit"),
    needs_input="compose",
)
