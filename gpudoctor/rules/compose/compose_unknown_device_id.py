"""The Compose file asks for a GPU that this host does not have.

device_ids, NVIDIA_VISIBLE_DEVICES or a CDI name is of no GPU here, or `count` is larger than their number: "device error: 1:
unknown device", or "unresolvable CDI devices". The file came from another host, or a GPU was replaced: a UUID belongs to one card. In a list of NAME=value quotes around the value are part
of it, and no GPU is called "all" with quotes.

How it is told from its look-alikes: the driver has taken the GPUs, and their indices and UUIDs are known. MIG devices are not judged.
A container that was already made so is `docker/unknown-device-id`; CDI specs that lack a device are `cdi/cdi-unresolvable`.

Cure: name an index or UUID of `nvidia-smi -L`, or `count: all`.

Sources: libnvidia-container (selection of devices); moby (daemon/nvidia_linux.go, daemon/cdi.go).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.facts.composed import VISIBLE
from gpudoctor.model import Cure, Evidence, Finding, NotApplicable, Rule, Where
from gpudoctor.rules.compose import _services

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts
    from gpudoctor.facts.composed import Request, Service
    from gpudoctor.formats.composed import Value
    from gpudoctor.host import Unseen


_QUOTED = " (with the quotes, which are part of the value here)"
_NAMES = frozenset({"", "all", "none", "void"})


def check(facts: Facts) -> Iterator[Finding]:
    """Find requests for indices, UUIDs, numbers and CDI names that no GPU of this host has."""
    _services.need_this_host(facts)
    services = _services.wanting(facts)
    if facts.platform.wsl or facts.platform.jetson:
        raise NotApplicable("WSL2 and a Jetson know no index or UUID of a GPU.")
    if not facts.gpus.taken:
        raise NotApplicable("The driver has taken no GPU, so none has an index or a UUID.")
    doubts: list[Unseen | None] = []
    for service in services:
        for request in service.gpu_requests:
            doubts.append(_services.unset(request.number, *(request.ids or ())))
            wrong = _wrong(facts, request)
            if wrong:
                yield _finding(facts, service, wrong, _services.of(request))
        visible = service.environment.get(VISIBLE)
        if visible is not None and service.by_runtime and not service.gpu_requests:
            doubts.append(_services.unset(visible))
            named = [] if visible.unset else [each.strip() for each in visible.text.split(",")]
            wrong = ", ".join(f"{each}{_QUOTED * _quoted(each)}" for each in named if _quoted(each) or _unknown(facts, each))
            if wrong:
                yield _finding(facts, service, wrong, _services.setting(service, VISIBLE))
        for device in service.cdi:
            if device.unset:
                doubts.append(_services.unset(device.place))
            elif not _known_cdi(facts, device.source):
                yield _finding(facts, service, device.source, _services.at(device.place, device.source))
    _services.settle(doubts)


def _finding(facts: Facts, service: Service, wrong: str, evidence: Evidence) -> Finding:
    here = ", ".join(f"{at} ({gpu.uuid or gpu.address})" for at, gpu in enumerate(facts.gpus.taken))
    return Finding(
        "the Compose file asks for a GPU that is not here",
        f"{service.name} asks for {wrong}, and this host has {'only ' + str(len(facts.gpus.taken)) if wrong.endswith(' GPUs') else 'no such GPU'}: "
        "the container does not start.",
        (evidence, Evidence(Where("/proc/driver/nvidia/gpus"), f"GPUs of this host: {here}")),
        Cure(
            "SHOWN",
            "Ask for an index or a UUID that is here, or for all.",
            ("nvidia-smi -L", "count: all  # or device_ids with one of these"),
            "None: the container does not start as it is.",
        ),
    )


def _wrong(facts: Facts, request: Request) -> str:
    """Return what a request names that is not here, "" where all is."""
    count, gpus = request.number, facts.gpus
    if request.ids is not None:
        return ", ".join(each.text for each in request.ids if _named_wrong(facts, request, each))
    if count is not None and count.text.isdigit() and not gpus.mig_instances and int(count.text[:9]) > len(gpus.taken):
        return f"{count.text} GPUs"
    return ""


def _named_wrong(facts: Facts, request: Request, name: Value) -> bool:
    if name.unset:
        return False
    if name.text.startswith("nvidia.com/"):
        return not _known_cdi(facts, name.text)
    return not request.is_cdi and _unknown(facts, name.text)


def _quoted(name: str) -> bool:
    """Say whether quotes are part of a name: in a list of NAME=value they are, and no GPU is called so."""
    return name[:1] in {'"', "'"}


def _known_cdi(facts: Facts, name: str) -> bool:
    """Say whether a CDI spec has a device, or none can be judged: the toolkit makes specs of its own while containers start."""
    devices = facts.cdi.devices
    kind = name.partition("=")[0]
    return name in devices or not any(each.startswith(f"{kind}=") for each in devices)


def _unknown(facts: Facts, name: str) -> bool:
    """Say whether a name is certainly none of these GPUs: an index past the last, another's UUID, or a word that is neither."""
    gpus = facts.gpus.taken
    if name.isascii() and name.isdigit():
        return int(name[:9]) >= len(gpus)
    if name.startswith("GPU-"):
        # A UUID may be shortened; a GPU whose UUID is not known may be the one.
        return all(gpu.uuid for gpu in gpus) and not any(gpu.uuid.lower().startswith(name.lower()) for gpu in gpus)
    # What is left may be MIG (MIG-..., 0:1) or a PCI address; a bare word is none of them.
    return name.lower() not in _NAMES and name.isalpha()


RULE = Rule(
    "compose/compose-unknown-device-id",
    74,
    "error",
    "the Compose file asks for a GPU that is not here",
    check,
    breaks=("container",),
    needs=("gpu", "driver"),
    needs_input="compose",
)
