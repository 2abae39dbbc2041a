"""The Compose file reserves a GPU but says neither how many nor which.

Since Docker 27.3 a device request with neither count nor device_ids asks for none: the container starts with
NVIDIA_VISIBLE_DEVICES=void and without a GPU, and nothing is reported.

How it is told from its look-alikes: the reservation is there and has no count. Where there is none at all, it is
`container/container-started-without-gpu`. Compose from 2.30 on fills in all GPUs for a missing count, and an engine before 27.3
leaves the image's own variable to decide: with either nothing is wrong, though the file is not for every host.

Cure: add `count: all` (or device_ids) to the entry and create the container anew.

Sources: moby (daemon/nvidia_linux.go); docker/docs issue 21026; compose-go pull request 689.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor import tables
from gpudoctor.facts.composed import COUNT_FILLED
from gpudoctor.host import Unseen
from gpudoctor.model import Cure, Evidence, Finding, NotApplicable, Rule, Where
from gpudoctor.rules.compose import _services

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts


_SINCE = tables.version("27.3")


def check(facts: Facts) -> Iterator[Finding]:
    """Find requests without a count, where neither this Compose nor this engine fills it in."""
    _services.need_this_host(facts)
    docker = facts.docker
    open_ended = [
        (service, request)
        for service in _services.requesting(facts)
        for request in service.gpu_requests
        if request.by == "reservation" and request.number is None and request.ids is None
    ]
    if not open_ended:
        return
    if not docker.version_numbers:
        raise Unseen("docker info", "the engine's version is not known")
    if docker.version_numbers < _SINCE:
        raise NotApplicable(
            f"Docker {docker.version} is older than 27.3, and leaves the image's NVIDIA_VISIBLE_DEVICES to decide."
        )
    program = facts.composed.program
    if program is None:
        raise Unseen(
            "docker compose version", "no Compose was found here, and it depends on its version what a missing count means"
        )
    if program.numbers >= COUNT_FILLED:
        raise NotApplicable(f"Compose {program.version} asks for all GPUs where the count is missing.")
    for service, request in open_ended:
        yield Finding(
            "the Compose file reserves a GPU without a count",
            f"{service.name} reserves a GPU and says neither how many nor which: Compose {program.version} hands that on as none, and Docker "
            f"{docker.version} then starts the container with NVIDIA_VISIBLE_DEVICES=void and without a GPU.",
            (
                _services.of(request),
                Evidence(Where(program.source), f"Compose {program.version}"),
                Evidence(Where(docker.version_source), f"Docker {docker.version}"),
            ),
            Cure(
                "SHOWN",
                f"Add `count: all` (or device_ids) to the entry in line {request.place.line}, and make the container anew.",
                (*_services.fix(facts, service, request.place), _services.again(facts, service)),
                _services.ANEW,
            ),
        )


RULE = Rule(
    "compose/compose-count-missing-docker27.3",
    31,
    "error",
    "the Compose file reserves a GPU without a count",
    check,
    breaks=("container",),
    needs=("driver",),
    needs_input="compose",
    signs=(
        "nvidia_visible_devices=void",
        "nvidia_visible_devices + void + count",
    ),
)
