"""The Compose file lists device nodes, and nothing brings the driver's libraries.

`devices: [/dev/nvidia0, ...]` gives a container nodes and the permission to use them. libcuda.so.1, libnvidia-ml.so.1 and nvidia-smi
are mounted by the toolkit alone, which acts for a reservation, `gpus:`, the nvidia runtime or a CDI name. Without one of these, CUDA
in the container finds no driver.

How it is told from its look-alikes: the service has none of these, the default runtime is not nvidia, and none of its volumes brings
the libraries. It is a warning, since the image may have the libraries of just this driver in it. Nodes beside a request are no fault:
they keep the GPU after a `systemctl daemon-reload` (`docker/daemon-reload-loses-gpu`).

Cure: add a reservation beside the devices.

Sources: NVIDIA container toolkit documentation; Docker documentation (--device).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.facts.composed import VISIBLE
from gpudoctor.model import Cure, Finding, NotApplicable, Rule
from gpudoctor.rules.compose import _services

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts
    from gpudoctor.facts.composed import Service
    from gpudoctor.host import Unseen


_LIBRARIES = (
    "libcuda",
    "libnvidia",
    "/usr/lib",
    "/lib/x86_64",
    "/lib/aarch64",
    "nvidia-driver",
    "/usr/local/nvidia",
    "/run/opengl-driver",
)


def check(facts: Facts) -> Iterator[Finding]:
    """Find services that list nodes of GPUs and have nothing that brings the libraries."""
    _services.need_this_host(facts)
    if not facts.gpus.present:
        raise NotApplicable("There is no NVIDIA GPU on this host for a container to use.")
    listing = [each for each in facts.composed.services if any(_is_gpu(node.source) for node in each.nodes)]
    if not listing:
        raise NotApplicable("No service of the Compose file lists the device node of a GPU.")
    default = facts.docker.default_runtime
    doubts: list[Unseen | None] = []
    for service in listing:
        if service.gpu_requests or service.cdi or service.by_runtime or _brings_libraries(service):
            continue
        if default.startswith("nvidia") and service.runtime is None:
            continue
        doubt = _services.lacking(service)
        doubts.append(doubt)
        if doubt is not None:
            continue
        node = next((each for each in service.nodes if _is_gpu(each.source) and facts.host.exists(each.source)), None)
        if node is None:
            # The container is not even made: that is compose-device-node-missing.
            continue
        evidence = [_services.at(node.place, node.source), _services.default_runtime(facts)]
        if VISIBLE in service.environment:
            evidence.append(_services.setting(service, VISIBLE))
        yield Finding(
            "device nodes without the driver's libraries",
            f"{service.name} lists {node.source}, and nothing in it brings libcuda.so.1 and libnvidia-ml.so.1: CUDA in the container finds no "
            "driver, unless its image has the libraries of exactly this one.",
            tuple(evidence),
            Cure(
                "SHOWN",
                "Reserve the GPU as well; the list of devices may stay.",
                (*_services.fix(facts, service), f"# or in the file: {_services.REQUEST}"),
                _services.ANEW,
            ),
        )
    _services.settle(doubts)


def _is_gpu(path: str) -> bool:
    return path.removeprefix("/dev/nvidia").isdigit()


def _brings_libraries(service: Service) -> bool:
    """Say whether a volume of a service may bring the driver's libraries."""
    for each in service.value.all("volumes"):
        source = each.get("source") if each.kind == "map" else each
        if source is not None and any(word in source.text for word in _LIBRARIES):
            return True
    return False


RULE = Rule(
    "compose/compose-devices-without-libraries",
    52,
    "warning",
    "the Compose file gives device nodes and no driver libraries",
    check,
    needs=("driver",),
    needs_input="compose",
)
