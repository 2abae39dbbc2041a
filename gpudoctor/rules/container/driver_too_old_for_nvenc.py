"""The program was built with a newer Video Codec SDK than the driver implements.

ffmpeg then says "Driver does not support the required nvenc API version. Required: 12.1 Found: 12.0" and "The minimum required
Nvidia driver for nvenc is 530.41.03 or newer". Devices and libraries are all there.

How it is told from its look-alikes: both API versions stand in the text. Where a library cannot be loaded at all, it is
`container/driver-capabilities-missing-video`; ffmpeg adds the sentence about the minimum driver there too.

Cure: install the driver that the message names or a newer one, or take a build of ffmpeg with older headers.

Sources: ffmpeg (libavcodec/nvenc.c); nv-codec-headers.
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
    raise NotApplicable("It is told from its error text: `gpudoctor explain`.")


RULE = Rule(
    "container/driver-too-old-for-nvenc",
    130,
    "error",
    "the driver is too old for this ffmpeg's NVENC",
    check,
    breaks=("container",),
    needs=("driver",),
    needs_input="text",
    signs=(
        "driver does not support the required nvenc api version",
        "the minimum required nvidia driver for nvenc is",
    ),
)
