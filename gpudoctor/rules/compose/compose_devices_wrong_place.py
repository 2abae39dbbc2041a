"""The Compose file asks for the GPU in a place where Compose does not look for it.

Devices belong below deploy.resources.reservations. Below limits, one level too high, or without `deploy`, Compose says
"services.api.deploy.resources.limits Additional property devices is not allowed".

How it is told from its look-alikes: the message names the place. Where it names reservations, the Compose is too old or it is
swarm (`compose/compose-too-old-for-devices`, `compose/swarm-no-device-reservation`).

Cure: move the entry to deploy.resources.reservations.devices, or write `gpus: all`.

Sources: Compose specification (deploy.md); Compose 5.6 (observed).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.model import Cure, Finding, Rule
from gpudoctor.rules.compose import _services

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts
    from gpudoctor.facts.composed import Service
    from gpudoctor.formats.composed import Value


_REQUEST_KEYS = frozenset({"capabilities", "device_ids", "count", "driver"})


def check(facts: Facts) -> Iterator[Finding]:
    """Find requests for devices where Compose takes none."""
    for service in facts.composed.services:
        for path, value in _misplaced(service):
            name = ".".join(path)
            yield Finding(
                "the Compose file asks for the GPU in the wrong place",
                f"{service.name} asks for a GPU below {name}, where Compose takes no request for devices: it refuses the whole file.",
                (_services.at(value, f"services.{service.name}.{name}"),),
                Cure(
                    "SHOWN",
                    f"Move the entry from {name} to deploy.resources.reservations.devices, so that it reads:",
                    (f"{_services.RESERVATIONS}  # below deploy.resources",),
                    "None: nothing starts from this file as it is.",
                ),
            )


def _misplaced(service: Service) -> Iterator[tuple[tuple[str, ...], Value]]:
    for path in _services.MISPLACED:
        value = service.value.get(*path)
        if value is not None:
            yield path, value
    for each in service.value.all("devices"):
        # An entry of devices is a node of the host; a request for a GPU has other keys.
        if each.kind == "map" and each.get("source") is None and _REQUEST_KEYS & set(each.pairs):
            yield ("devices",), each
            return


RULE = Rule(
    "compose/compose-devices-wrong-place",
    110,
    "error",
    "the Compose file asks for the GPU in the wrong place",
    check,
    breaks=("container",),
    needs=("driver",),
    needs_input="compose",
    signs=(
        "resources.limits additional property devices is not allowed",
        "resources.limits value additional properties are not allowed (devices",
        "deploy.resources additional property devices is not allowed",
        "deploy additional property (devices|reservations) is not allowed",
        "additional property capabilities is not allowed",
        "resources.limits additional properties devices not allowed",
        "deploy.resources additional properties devices not allowed",
        "deploy additional properties (devices|reservations) not allowed",
        "service device services.* is missing a mount target",
        "services.*.resources false schema",
        "additional properties are not allowed (devices was unexpected)",
    ),
)
