"""The image asks for a newer CUDA than the host's driver supports.

CUDA images carry NVIDIA_REQUIRE_CUDA, and nvidia-container-cli holds it against the driver before the container starts:
"requirement error: unsatisfied condition: cuda>=12.8, please update your driver to a newer version, or use an earlier cuda
container". NGC images check for themselves and say "This container was built for NVIDIA Driver Release 450.51 or later". Each
driver branch has a highest CUDA: 470 has 11.4, 525 has 12.0, 535 has 12.2, 550 has 12.4, 570 has 12.8, 580 has 13.0. The CUDA
toolkit (nvcc) that is installed on the host plays no part.

How it is told from its look-alikes: the number that is asked for is above the driver's. Where it is not, a clause about brand
or branch was missed (`image/require-cuda-brand-constraint`). Where the container starts and CUDA fails with 804, it is
`image/forward-compat-804`.

Cure: install a driver of a newer branch and reboot, or take an older tag of the image. NVIDIA_DISABLE_REQUIRE=1 skips the
check, which helps only where the program inside needs less than the image says.

Sources: libnvidia-container (src/cli/configure.c, dsl.c); CUDA release notes, table of driver versions; nvidia-docker issues
536 and 1442.
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
    "image/driver-too-old-for-image",
    3,
    "error",
    "the image asks for a newer CUDA than the driver has",
    check,
    breaks=("container",),
    needs=("driver",),
    needs_input="image",
    signs=(
        "unsatisfied condition: cuda",
        "unsupported cuda version: driver*< image",
        "this container was built for nvidia driver release",
        "compatibility mode is unavailable",
        "~ please update your driver to a newer version, or use an earlier cuda container",
    ),
)
