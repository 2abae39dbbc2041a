"""A file laid over another one is to take the GPU away, and does not.

With several files (`docker compose -f compose.yml -f compose.cpu.yml`) maps are merged and lists are appended: `runtime: ""` takes
only the runtime away, and an empty `deploy:`, `devices: []` or `gpus: []` changes nothing at all. The reservation of the file below
stays, and on a host without a GPU the container is refused.

How it is told from its look-alikes: the upper file says an empty value where the lower one asks for the GPU, and the merged service
still asks for it. `!reset` and `!override` do take it away (Compose 2.24 knows both, docker-compose 1 neither).

Cure: write `deploy: !reset null` (or `gpus: !reset null`, `runtime: !reset null`) in the upper file.

Sources: Compose specification (merge, reset value); compose-go pull request 552; Compose 1.29 and 5.6 (observed).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.facts.composed import RESERVED
from gpudoctor.model import Cure, Finding, NotApplicable, Rule
from gpudoctor.rules.compose import _services

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts
    from gpudoctor.facts.composed import Service
    from gpudoctor.formats.composed import Value


def check(facts: Facts) -> Iterator[Finding]:
    """Find empty values of an upper file over a request that stays."""
    layers = facts.composed.merged.layers
    if len(layers) < 2:
        raise NotApplicable("Only one Compose file was given, so that none is laid over another.")
    for service in facts.composed.services:
        for layer in layers[1:]:
            own = layer.get("services", service.name)
            for name, value in _emptied(own) if own is not None else ():
                kept = _kept(service, name, value)
                if kept is None:
                    continue
                place, says = kept
                top = name.partition(".")[0]
                reset = f"{top}: !reset null" if top != "runtime" or not service.gpu_requests else "deploy: !reset null"
                yield Finding(
                    "an empty value does not take the GPU away",
                    f"{service.name}: the empty {name} in {value.file} leaves what {place.file} asks for: the container still gets the GPU, and is "
                    "refused on a host without one.",
                    (_services.at(value, f"{name}: {value.text or _shown(value)}".rstrip()), _services.at(place, says)),
                    Cure(
                        "SHOWN",
                        f"If it is to run without a GPU, write in {value.file} below {service.name}:",
                        (reset,),
                        "docker-compose 1 does not know !reset.",
                    ),
                )
                break


def _emptied(own: Value) -> Iterator[tuple[str, Value]]:
    """Yield what a file sets to nothing without !reset, by its dotted name."""
    runtime = own.pairs.get("runtime")
    if runtime is not None and not runtime.mark and runtime.tag != "!reset" and (runtime.empty or runtime.text == ""):
        yield "runtime", runtime
    if _is_nothing(own.pairs.get("gpus")):
        yield "gpus", own.pairs["gpus"]
    inner = own
    for at, name in enumerate(RESERVED):
        value = inner.pairs.get(name)
        if value is None or value.mark:
            return
        if _is_nothing(value):
            yield ".".join(RESERVED[: at + 1]), value
            return
        inner = value


def _is_nothing(value: Value | None) -> bool:
    return (
        value is not None
        and not value.mark
        and (value.empty or (value.kind != "text" and not value.pairs and not value.elements))
    )


def _kept(service: Service, name: str, value: Value) -> tuple[Value, str] | None:
    """Return what another file asks for and the empty value leaves."""
    by = "gpus" if name == "gpus" else "reservation"
    for request in service.gpu_requests:
        if request.place.file != value.file and (name == "runtime" or request.by == by):
            return request.place, request.says
    if (
        name == "runtime"
        and value.empty
        and service.runtime is not None
        and service.by_runtime
        and service.runtime.file != value.file
    ):
        return service.runtime, f"runtime: {service.runtime.text}"
    return None


def _shown(value: Value) -> str:
    return {"map": "{}", "list": "[]", "text": '""' if not value.empty else ""}[value.kind]


RULE = Rule(
    "compose/compose-empty-override-keeps-gpu",
    90,
    "warning",
    "an empty value in an upper Compose file does not take the GPU away",
    check,
    needs_input="compose",
)
