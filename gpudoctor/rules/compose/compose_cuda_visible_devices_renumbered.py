"""CUDA_VISIBLE_DEVICES in the Compose file counts GPUs as the host does, and the container has fewer.

In a container GPUs are numbered from 0. With `count: 1`, or `device_ids: ["1"]`, its only GPU is number 0, and CUDA_VISIBLE_DEVICES=1
beside it hides every GPU: "No CUDA GPUs are available". CUDA reads the list up to the first number that it does not know. In a list
of NAME=value quotes around the value are part of it, and it then names no GPU at all.

How it is told from its look-alikes: the request says how many GPUs there will be. A service that gets all of them is numbered as the
host is, and on WSL2 all of them do. An empty variable or -1 may be meant, and is not found here. Of a container it is `container/cuda-visible-devices-wrong`.

Cure: take the variable out, and choose the GPU by device_ids.

Sources: CUDA programming guide (environment variables); NVIDIA container toolkit documentation (GPU enumeration).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.facts.composed import CUDA_VISIBLE, VISIBLE
from gpudoctor.model import Cure, Finding, NotApplicable, Rule
from gpudoctor.rules.compose import _services

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts
    from gpudoctor.facts.composed import Service
    from gpudoctor.formats.composed import Value
    from gpudoctor.host import Unseen


_QUOTES = "\"' "


def check(facts: Facts) -> Iterator[Finding]:
    """Find services whose CUDA_VISIBLE_DEVICES names GPUs past those that they get."""
    _services.need_this_host(facts)
    if facts.platform.wsl:
        raise NotApplicable("On WSL2 every container with a GPU sees all of them, numbered as the host does.")
    if not facts.gpus.present:
        raise NotApplicable("There is no NVIDIA GPU on this host for a container to use.")
    named = [each for each in facts.composed.services if CUDA_VISIBLE in each.environment]
    if not named:
        raise NotApplicable(f"No service of the Compose file sets {CUDA_VISIBLE}.")
    doubts: list[Unseen | None] = []
    for service in named:
        value = service.environment[CUDA_VISIBLE]
        doubts.append(_services.unset(value, *_deciding(service)))
        if value.text[:1] in {'"', "'"} and not value.unset:
            yield _quoted(facts, service)
            continue
        entries = [each.strip() for each in value.text.split(",")]
        # A UUID is a name of its own; what is no number may be MIG or meant to hide everything.
        if value.unset or not all(each.isascii() and each.isdigit() for each in entries):
            continue
        count, why = _count(facts, service)
        good = next((at for at, each in enumerate(entries) if count is not None and int(each[:9]) >= count), len(entries))
        if count is None or not count or good == len(entries):
            continue
        gpus = "the only GPU is number 0" if count == 1 else f"the {count} GPUs are numbers 0 to {count - 1}"
        yield Finding(
            "CUDA_VISIBLE_DEVICES hides every GPU" if not good else "CUDA_VISIBLE_DEVICES hides some GPUs",
            f"{service.name}: {CUDA_VISIBLE}={value.text} hides "
            + ("every GPU" if not good else f"all but the first {good} that it names")
            + f" from CUDA; in this container {gpus}, because {why}.",
            (
                _services.setting(service, CUDA_VISIBLE),
                *(_services.of(each) for each in service.gpu_requests),
                *([_services.setting(service, VISIBLE)] if not service.gpu_requests else ()),
            ),
            _cure(facts, service, entries),
            severity="warning" if good else None,
            breaks=() if good else None,
        )
    _services.settle(doubts)


def _cure(facts: Facts, service: Service, entries: list[str]) -> Cure:
    """Return the cure: the GPUs that were meant, chosen by the request, where this host has them."""
    here = [each for each in dict.fromkeys(entries) if int(each[:9]) < facts.gpus.count]
    if not here:
        return Cure("SHOWN", f"Take {CUDA_VISIBLE} out.", (_services.again(facts, service),), _services.ANEW)
    ids = ", ".join(f'"{each}"' for each in here)
    words = (f"device_ids: [{ids}]  # in place of count and {CUDA_VISIBLE}", _services.again(facts, service))
    return Cure("SHOWN", f"Take {CUDA_VISIBLE} out, and choose the GPU by device_ids in the request.", words, _services.ANEW)


def _quoted(facts: Facts, service: Service) -> Finding:
    """Return what is found where quotes are part of the value, as they are in a list of NAME=value."""
    value = service.environment[CUDA_VISIBLE]
    return Finding(
        "CUDA_VISIBLE_DEVICES hides every GPU",
        f"{service.name}: the quotes are part of the value in {CUDA_VISIBLE}={value.text}, which therefore names no GPU: CUDA sees none.",
        (_services.setting(service, CUDA_VISIBLE),),
        Cure(
            "SHOWN",
            "Take the quotes out, or put them around the whole of NAME=value.",
            (f"{CUDA_VISIBLE}={value.text.strip(_QUOTES)}", _services.again(facts, service)),
            _services.ANEW,
        ),
    )


def _deciding(service: Service) -> tuple[Value | None, ...]:
    """Return the values that say how many GPUs a service gets."""
    found = [each for request in service.gpu_requests for each in (request.number, *(request.ids or ()))]
    return tuple(found or [service.environment.get(VISIBLE)])


def _count(facts: Facts, service: Service) -> tuple[int | None, str]:
    """Return how many GPUs a service gets and why, None where that is not certain."""
    privileged = service.value.get("privileged")
    if facts.gpus.mig_instances or service.nodes or service.cdi or (privileged is not None and privileged.text != "false"):
        return None, ""
    requests = service.gpu_requests
    if len(requests) == 1:
        request = requests[0]
        if request.is_cdi or (request.number is not None and request.ids is not None):
            return None, ""
        if request.ids is not None:
            return len({each.text for each in request.ids}), "GPUs are numbered anew in it"
        if request.number is not None and request.number.text.isdigit():
            return int(request.number.text[:9]), "GPUs are numbered anew in it"
        return facts.gpus.count or None, "this host has no more"
    visible = service.environment.get(VISIBLE)
    if requests or visible is None or not service.by_runtime or visible.unset:
        return None, ""
    if visible.text.strip() == "all":
        return facts.gpus.count or None, "this host has no more"
    names = [each.strip() for each in visible.text.split(",")]
    if not all(each.isdigit() or each.startswith("GPU-") for each in names):
        return None, ""
    return len(set(names)), "GPUs are numbered anew in it"


RULE = Rule(
    "compose/compose-cuda-visible-devices-renumbered",
    45,
    "error",
    "CUDA_VISIBLE_DEVICES names a GPU that the container does not have",
    check,
    breaks=("container",),
    needs=("driver",),
    needs_input="compose",
)
