"""The GPU request in the Compose file lacks something.

An entry below devices needs `capabilities: [gpu]`, and either count or device_ids, not both. Without capabilities Compose
refuses the file, one for CDI too; without a driver, or with ids that do not reach the driver, the container starts without a GPU.

Compose also refuses what has another form: `gpus: 1`, `capabilities: gpu` or `[[gpu]]`, numbers in device_ids, words or a mapping where
the list of requests belongs, and a dash before each key, which makes several requests of one. `nvidia-compute`, which stands in
examples of the specification, is no capability that Docker knows.

How it is told from its look-alikes: `docker inspect` shows what arrived as DeviceRequests. No count at all is
`compose/compose-count-missing-docker27.3`. A file is judged by what any Compose makes of it: Compose 2 and later refuse it with
the line, docker-compose 1 hands it to the engine, which refuses it. `count: 0` asks for no GPU on purpose, and is a hint.

Cure: write the entry completely: `driver: nvidia`, `count: all` (or device_ids as a list of texts), `capabilities: [gpu]`.

Sources: Compose specification (deploy.md, devices); Compose 5.6 (observed); moby (daemon/nvidia_linux.go).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.facts.containers import CAPABILITIES
from gpudoctor.model import Cure, Finding, Rule
from gpudoctor.rules.compose import _services

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts
    from gpudoctor.facts.composed import Request, Service
    from gpudoctor.formats.composed import Value
    from gpudoctor.host import Unseen
    from gpudoctor.model import Severity


_NO_CAPABILITIES = "the request has no capabilities, without which Compose refuses the file"
_KNOWN = frozenset({"gpu", "nvidia", *CAPABILITIES})


def check(facts: Facts) -> Iterator[Finding]:
    """Find requests that Compose or the engine refuses, and those that ask for nothing."""
    doubts: list[Unseen | None] = []
    for service in facts.composed.services:
        for place, says, why, severity in _faults(service, facts, doubts):
            yield Finding(
                "the GPU request of the Compose file is incomplete",
                f"{service.name}: {why}.",
                (_services.at(place, says),),
                Cure(
                    "SHOWN",
                    "If it is to have a GPU, write count: all, or the number of GPUs."
                    if severity == "hint"
                    else "Write the entry completely, with either count or device_ids (a list of quoted texts):",
                    # What lacks something is filled in by the fix; what says too much is for its author to decide.
                    (*(_services.fix(facts, service, place) if why == _NO_CAPABILITIES else ()), _services.ENTRY),
                    _services.ANEW,
                ),
                severity=severity,
                breaks=("container",) if severity in {None, "error"} else (),
            )
    _services.settle(doubts)


def _faults(service: Service, facts: Facts, doubts: list[Unseen | None]) -> Iterator[tuple[Value, str, str, Severity | None]]:
    gpus = service.value.get("gpus")
    if gpus is not None and gpus.kind == "text":
        doubt = _services.unset(gpus)
        doubts.append(doubt)
        if doubt is None and gpus.text != "all":
            why = "gpus is either the word all or a list of requests, and Compose refuses anything else"
            yield gpus, f"gpus: {gpus.text}", why, None
    for place, path, why in _services.misshapen(service):
        yield place, path, why, None
    split = _split(service)
    if split:
        why = "the dash before each key makes several requests of one, and Compose refuses the file"
        yield split[0].place, split[0].says, why, None
    for request in service.requests:
        if request in split:
            continue
        if not request.for_gpu and not (request.by == "reservation" and request.capabilities is None):
            continue
        values = (request.number, *(request.ids or ()), *(request.capabilities or ()))
        doubt = _services.unset(*values)
        doubts.append(doubt)
        if doubt is None:
            for why, severity in _lacks(request, facts):
                yield request.place, request.says, why, severity


def _split(service: Service) -> tuple[Request, ...]:
    """Return the entries that together are one request: each has keys that no other has, and none is complete by itself."""
    entries = tuple(each for each in service.requests if each.by == "reservation")
    keys = [name for each in entries for name in each.place.pairs]
    alone = any({"driver", "capabilities"} <= set(each.place.pairs) for each in entries)
    return entries if len(entries) > 1 and not alone and len(keys) == len(set(keys)) and "capabilities" in keys else ()


def _lacks(request: Request, facts: Facts) -> Iterator[tuple[str, Severity | None]]:
    count, ids, able = request.number, request.ids, request.capabilities
    if request.by == "reservation" and able is None:
        yield _NO_CAPABILITIES, None
    if able is not None and request.place.pairs["capabilities"].kind != "list":
        yield "capabilities is no list, and Compose refuses the file", None
    elif able is not None and any(each.kind != "text" for each in request.place.pairs["capabilities"].elements):
        yield "capabilities is a list in a list, and Compose takes only words in one", None
    elif request.by == "reservation" and able == () and request.driver is None:
        yield "the list of capabilities is empty, so that it is left to chance which driver serves the request", "warning"
    if count is not None and ids is not None:
        yield "the request has both count and device_ids, which exclude each other", None
    if count is not None and count.text.lower() != "all" and not count.text.removeprefix("-").isdigit():
        yield f"count is `{count.text}`, and Compose takes only a number or all", None
    if ids is not None and request.place.pairs["device_ids"].kind != "list":
        yield "device_ids is no list, and Compose refuses the file", None
    elif ids is not None and any(each.tag in {"int", "float"} for each in ids):
        yield "device_ids has a number without quotes, and Compose takes only texts", None
    if (count is not None and count.text == "0") or ids == ():
        yield "the request asks for no GPU", "hint"
    unknown = [each.text for each in able or () if each.text not in _KNOWN]
    if unknown and not request.is_cdi and facts.docker.installed and facts.toolkit.gpus_path == "hook":
        yield f"the driver knows no capability `{unknown[0]}`, so that Docker finds no driver for the request", None


RULE = Rule(
    "compose/compose-gpu-request-incomplete",
    87,
    "error",
    "the GPU request of the Compose file is incomplete",
    check,
    breaks=("container",),
    needs=("driver",),
    needs_input="compose",
    signs=(
        "devices.<n> capabilities is required",
        "devices.<n>*missing propert*capabilities",
        "device_ids + count*exclusive",
        "reservations.devices*capabilities must be a (list|array)",
        "reservations.devices*capabilities.<n> must be a string",
        "reservations.devices*device_ids*must be a (list|array|string)",
        "reservations.devices must be a (list|array)",
        "reservations.devices.<n> must be a mapping",
        "reservations.devices*(capabilities|device_ids) contains an invalid type",
        "devices* count invalid value*only value allowed is all or a number",
        "gpus value must be all",
        "services.*gpus must be a (list|array|string)",
        "device_ids + capabilities: [gpu] + (does not work|doesn't work|not work)",
    ),
)
