"""The image's NVIDIA_REQUIRE_CUDA is met in CUDA's number but not in brand or branch.

NVIDIA_REQUIRE_CUDA is a list of alternatives: cuda>=12.4, or brand=tesla with a driver of certain branches, and so on. A
rebuilt image can have fewer alternatives, so that a driver which passed before is refused with the same words: "unsatisfied
condition: cuda>=11.8".

How it is told from its look-alikes: the list has alternatives for this driver with another brand, or for older drivers with
this brand. Where it has none, the driver is simply too old (`image/driver-too-old-for-image`).

The list is evaluated as nvidia-container-cli does it. A GPU whose brand is not known cannot be told.

Cure: pin the digest of the image that worked, move to a driver branch on the list, or set NVIDIA_DISABLE_REQUIRE=true, which
skips this check and nothing else.

Sources: libnvidia-container (src/cli/dsl.c); nvidia-container-toolkit issue 152; nvidia-docker issue 1796.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.model import Cure, Finding, Rule
from gpudoctor.rules import images
from gpudoctor.rules.image import _require

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts


def check(facts: Facts) -> Iterator[Finding]:
    """Find a demand that this driver branch or this brand of GPU is left out of, though older ones or other brands are in it."""
    _require.need_cuda(facts)
    driver = images.driver(facts)
    for demand in _require.unmet(facts):
        if not demand.excluded:
            continue
        yield Finding(
            "the image's requirements exclude this driver branch or brand",
            f"{facts.image.label[:1].upper()}{facts.image.label[1:]} asks for {demand.first}, or for {demand.excluded}; driver {driver.version} "
            f"with the {demand.gpu} is none of these: {_require.consequence(facts)}.",
            (images.evidence(demand.told), driver.evidence),
            Cure(
                "SHOWN",
                "Pin the digest of an image that worked, move to a driver branch on the list or to one that has the CUDA, or set the variable.",
                ("docker run -e NVIDIA_DISABLE_REQUIRE=true ...",),
                "NVIDIA_DISABLE_REQUIRE skips this check and nothing else: a program that needs the CUDA fails later.",
            ),
            severity=None if _require.is_checked(facts) else "warning",
        )
        return


RULE = Rule(
    "image/require-cuda-brand-constraint",
    119,
    "error",
    "the image's requirements exclude this driver branch or brand",
    check,
    breaks=("container",),
    needs=("driver",),
    needs_input="image",
    signs=(
        "unsatisfied condition: cuda",
        "unsatisfied condition: (brand|driver)",
        "~ nvidia_disable_require",
    ),
)
