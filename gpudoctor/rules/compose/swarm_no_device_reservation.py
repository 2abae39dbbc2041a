"""`docker stack deploy` does not know device reservations.

Swarm's schema has generic resources only: "services.test.deploy.resources.reservations Additional property devices is not
allowed".

A file does not say by which command it will be started. It is found, as a warning, where this host is in a swarm and the
service that reserves devices has settings that only a swarm looks at (placement, update_config, mode).

How it is told from its look-alikes: the command was `docker stack deploy`. With `docker compose` the same words mean that it is
too old (`compose/compose-too-old-for-devices`).

Cure: make nvidia the default runtime of the nodes and announce their GPUs as node-generic-resources, or start the service with
Compose.

Sources: docker/cli (cli/compose/schema); docker/cli issues 3051 and 3135.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.model import Cure, Evidence, Finding, NotApplicable, Rule, Where
from gpudoctor.rules.compose import _services

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts
    from gpudoctor.formats.composed import Value


_OF_SWARM = ("placement", "update_config", "rollback_config", "endpoint_mode", "mode")


def check(facts: Facts) -> Iterator[Finding]:
    """Find reservations in services that are written for a swarm, on a host that is in one."""
    signs = [(each, sign) for each in _services.requesting(facts) if (sign := _sign(each.value.get("deploy"))) is not None]
    if not signs:
        raise NotApplicable("No service that reserves devices has settings that only a swarm looks at.")
    info = facts.docker.info
    swarm = (info or {}).get("Swarm")
    if not isinstance(swarm, dict) or swarm.get("LocalNodeState") != "active":
        raise NotApplicable("This host is in no swarm.")
    for service, sign in signs:
        request = next((each for each in service.gpu_requests if each.by == "reservation"), None)
        if request is None:
            continue
        yield Finding(
            "a swarm stack cannot reserve devices",
            f"{service.name} has deploy.{sign[0]}, which only a swarm looks at, and reserves devices, which `docker stack deploy` refuses.",
            (
                _services.of(request),
                _services.at(sign[1], f"deploy.{sign[0]}"),
                Evidence(Where("docker info"), "Swarm: active"),
            ),
            Cure(
                "SHOWN",
                "Start it with Compose; or, for a swarm, announce the GPUs as generic resources and make nvidia the default runtime.",
                (
                    _services.again(facts, service),
                    "# for docker stack deploy, in place of devices:",
                    "generic_resources:",
                    "  - discrete_resource_spec: {kind: NVIDIA-GPU, value: 1}",
                    f"sudoedit {facts.docker.config_path}  # node-generic-resources, default-runtime; then restart Docker",
                ),
                "A default runtime of nvidia serves every container that says NVIDIA_VISIBLE_DEVICES.",
            ),
            severity="warning",
            breaks=(),
        )


def _sign(deploy: Value | None) -> tuple[str, Value] | None:
    """Return a setting that only a swarm looks at."""
    for name in _OF_SWARM if deploy is not None else ():
        found = deploy.get(name) if deploy is not None else None
        if found is not None:
            return name, found
    return None


RULE = Rule(
    "compose/swarm-no-device-reservation",
    105,
    "error",
    "a swarm stack cannot reserve devices",
    check,
    breaks=("container",),
    needs=("driver",),
    needs_input="compose",
    signs=(
        "resources.reservations additional property devices is not allowed",
        "additional properties are not allowed (devices was unexpected)",
        "resources.reservations additional properties devices not allowed",
        "no suitable node (insufficient resources + gpu",
        "~ (docker stack deploy|docker service)",
    ),
)
