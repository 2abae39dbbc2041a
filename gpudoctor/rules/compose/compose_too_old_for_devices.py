"""docker-compose is too old for the way in which the file asks for a GPU.

docker-compose knows `deploy.resources.reservations.devices` from 1.28.0 and `gpus:` from 2.30; `runtime:` is missing from files
of version 3 before 1.27. Older ones refuse the file: "Additional properties are not allowed ('devices' was unexpected)",
"Unsupported config option for services".

CDI names below `devices:` need 2.30, and `gpus: all` 2.33.

How it is told from its look-alikes: `docker-compose --version` is below these. `docker stack deploy` has a schema of its own
(`compose/swarm-no-device-reservation`); devices in the wrong place are refused by every version
(`compose/compose-devices-wrong-place`).

Cure: install the Compose plugin (docker-compose-plugin) and use `docker compose`; drop the line `version:`.

Sources: Compose release notes 1.28.0 and 2.30.0; docker-compose 1.29 (observed); docker/compose issue 8142.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor import tables
from gpudoctor.model import Cure, Evidence, Finding, NotApplicable, Rule, Where
from gpudoctor.rules import advice
from gpudoctor.rules.compose import _services

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts
    from gpudoctor.facts.composed import Program, Service
    from gpudoctor.formats.composed import Value


def check(facts: Facts) -> Iterator[Finding]:
    """Find ways of asking for a GPU that the Compose of this host does not know."""
    services = _services.wanting(facts)
    program = facts.composed.program
    if program is None:
        raise NotApplicable("There is no Compose on this host.")
    for service in services:
        for place, says, needed in _needs(facts, service):
            if program.numbers >= tables.version(needed):
                continue
            yield Finding(
                "this Compose is too old for the file",
                f"{service.name} has `{says}`, which Compose knows from {needed} on; {program.command} {program.version} here refuses the "
                "whole file.",
                (_services.at(place, says), Evidence(Where(program.source), f"{program.command} {program.version}")),
                _cure(facts, program, says),
            )
            break


def _needs(facts: Facts, service: Service) -> Iterator[tuple[Value, str, str]]:
    """Yield what a service uses, and the first Compose that knows it."""
    for request in service.gpu_requests:
        if request.by == "gpus":
            yield request.place, "gpus: all" if request.short else "gpus", "2.33" if request.short else "2.30"
        else:
            yield request.place, "deploy.resources.reservations.devices", "1.28"
    for device in service.cdi:
        yield device.place, device.source, "2.30"
    if service.runtime is not None and service.by_runtime and _version(facts, service.runtime.file) >= (3,):
        yield service.runtime, f"runtime: {service.runtime.text}", "1.27"


def _version(facts: Facts, path: str) -> tuple[int, ...]:
    """Return what a file has as its ``version:``, empty where it has none."""
    version = facts.composed.versions.get(path)
    return tables.version(version.text) if version is not None else ()


def _cure(facts: Facts, program: Program, says: str) -> Cure:
    """Return what mends it: a newer Compose, or the form that the one here knows."""
    newer = advice.install(facts, "docker-compose-plugin") + "  # from Docker's own repository"
    if says.startswith("gpus") and program.numbers >= tables.docker_since("compose-devices"):
        return Cure(
            "SHOWN",
            f"Write it as a reservation, which Compose {program.version} knows, in place of `gpus:`; or install a newer Compose.",
            (_services.REQUEST, newer),
            "None: nothing starts from this file as it is.",
        )
    return Cure(
        "SHOWN",
        "Install the Compose plugin, and call it as `docker compose` (with a blank).",
        (newer,),
        "Compose 2 names containers with dashes in place of underscores.",
    )


RULE = Rule(
    "compose/compose-too-old-for-devices",
    32,
    "error",
    "this docker-compose does not know device reservations",
    check,
    breaks=("container",),
    needs=("driver",),
    needs_input="compose",
    signs=(
        "reservations value additional properties are not allowed (devices was unexpected)",
        "additional properties are not allowed (devices was unexpected)",
        "unsupported config option for services.*: (runtime|device_requests|gpus|devices)",
        "additional properties are not allowed (runtime was unexpected)",
        "additional properties are not allowed (gpus was unexpected)",
        "additional property gpus is not allowed",
    ),
)
