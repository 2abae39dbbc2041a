"""`--gpus device=0,1` is read as two settings, not as two devices.

The value of --gpus is a list of settings separated by commas, so that the 1 becomes a count: "cannot set both Count and
DeviceIDs on device request".

Quotes that a shell, a script or a form did not take off become part of the name ('"0'), and a list that was written as one entry
(device_ids: ["0,1"]) stays one: a container like that was made, and does not start, or only starts where the hook takes the list
apart by luck.

How it is told from its look-alikes: the command has a comma in --gpus and no inner quotes; then no container is made, and only the
text tells. Of a container that is examined, its request names a device with a quote, a blank or a comma in it. A device that has a
sound name and is not there is `docker/unknown-device-id`.

Cure: put double quotes inside single ones: --gpus '"device=0,1"'.

Sources: docker/cli (opts/gpus.go); nvidia-docker issues 1026 and 1257.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.model import Cure, Finding, Rule
from gpudoctor.rules.container import _given

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts

_QUOTES = "\"'\u201c\u201d\u2018\u2019"


def check(facts: Facts) -> Iterator[Finding]:
    """Find containers whose request names a device with a quote, a blank or a comma in its name."""
    for container in _given.with_gpu(facts):
        ids = [each for way in container.ways if way.how == "gpus" for each in way.which]
        quoted = [each for each in ids if any(sign in each for sign in _QUOTES) or each != each.strip()]
        joined = [each for each in ids if "," in each and each not in quoted]
        if not quoted and not joined:
            continue
        # The hook gets the names joined by commas, so that one with a comma is taken apart after all; CDI looks for it as it is.
        lucky = not quoted and facts.toolkit.gpus_path == "hook"
        clean = ",".join(each.strip(_QUOTES + " ") for each in ids)
        yield Finding(
            "a GPU request names several devices as one" if not quoted else "a GPU request has quotes in the name of a device",
            f"{container.name} asks for the GPU {' and '.join(quoted or joined)}, which is no GPU's number or UUID"
            + (": the hook takes it apart, and CDI would not." if lucky else "."),
            _given.ways(container),
            Cure(
                "SHOWN",
                "Start it anew with double quotes inside single ones, or in a Compose file with each device as an entry of its own.",
                (f"docker run --gpus '\"device={clean}\"' {container.image or 'IMAGE'}",),
                _given.ANEW,
            ),
            severity="hint" if lucky else "error",
            breaks=() if lucky else ("container",),
        )


RULE = Rule(
    "docker/gpus-flag-quoting",
    80,
    "error",
    "--gpus with several devices needs inner quotes",
    check,
    breaks=("container",),
    needs=("driver",),
    needs_input="container",
    signs=(
        "cannot set both count and deviceids on device request",
        "invalid argument*for --gpus flag",
        "count and deviceids",
        "gpu request key*can be specified only once",
        "value must be either all or an integer",
        "count must be an integer + --gpus",
    ),
)
