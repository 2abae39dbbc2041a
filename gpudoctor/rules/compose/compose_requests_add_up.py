"""A second request for a GPU is added to the one below, not put in its place.

With several files, or with `extends`, the lists of reservations and of `gpus:` are appended: an upper file with `device_ids: ["1"]`
over `count: all` gives a service two requests, and what its container gets is what neither of the files says. `gpus:` beside a
reservation of another file is a second one as well.

How it is told from its look-alikes: the requests of one service stand in different files. Two in one file may be meant. With
`!override` the upper one replaces those below.

Cure: write `devices: !override` (or `gpus: !override`) before the list of the upper file.

Sources: Compose specification (merge, replace value); compose-go pull request 552; Compose 5.6 (observed).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.model import Cure, Finding, Rule
from gpudoctor.rules.compose import _services

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts


def check(facts: Facts) -> Iterator[Finding]:
    """Find services whose requests for a GPU come from different files."""
    for service in _services.requesting(facts):
        requests = service.gpu_requests
        if len({each.place.file for each in requests}) < 2:
            continue
        upper = requests[-1] if requests[-1].by == requests[0].by else next(each for each in requests if each.by == "gpus")
        lower = next(each for each in requests if each.place.file != upper.place.file)
        if upper.by == lower.by:
            key = "gpus" if upper.by == "gpus" else "devices"
            advice = f"If the upper one alone is meant, write `{key}: !override` before its list in {upper.place.file}."
        else:
            advice = f"Take one of them out, or write `deploy: !reset null` below {service.name} in {upper.place.file}."
        yield Finding(
            "a second request for a GPU is added to the one below",
            f"{service.name} has {len(requests)} requests for a GPU, since Compose appends the list in {upper.place.file} to that of "
            f"{lower.place.file}: Docker is handed all of them.",
            (_services.of(lower), _services.of(upper)),
            Cure(
                "SHOWN", advice, (_services.again(facts, service),), f"{_services.ANEW} docker-compose 1 does not know !override."
            ),
        )


RULE = Rule(
    "compose/compose-requests-add-up",
    91,
    "warning",
    "a second request for a GPU is added to the one below",
    check,
    needs=("driver",),
    needs_input="compose",
)
