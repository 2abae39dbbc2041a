"""The image's NVIDIA_REQUIRE_CUDA is met in CUDA's number but not in brand or branch.

NVIDIA_REQUIRE_CUDA is a list of alternatives: cuda>=12.4, or brand=tesla with a driver of certain branches, and so on. A
rebuilt image can have fewer alternatives, so that a driver which passed before is refused with the same words: "unsatisfied
condition: cuda>=11.8".

How it is told from its look-alikes: the driver's CUDA is below the number, but an earlier build of the same tag ran. Where it
never ran, it is simply too old (`image/driver-too-old-for-image`).

Cure: pin the digest of the image that worked, move to a driver branch on the list, or set NVIDIA_DISABLE_REQUIRE=true, which
skips this check and nothing else.

Sources: libnvidia-container (src/cli/dsl.c); nvidia-container-toolkit issue 152; nvidia-docker issue 1796.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.model import NotApplicable, Rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts
    from gpudoctor.model import Finding


def check(facts: Facts) -> Iterator[Finding]:  # noqa: ARG001 - a host has nothing to ask
    """Say what this rule is told from."""
    raise NotApplicable(
        "It shows in an image, which a diagnosis of the host does not look at; `gpudoctor explain` tells it from the error text."
    )


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
