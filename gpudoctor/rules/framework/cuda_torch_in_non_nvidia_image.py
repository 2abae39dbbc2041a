"""An image for Intel or AMD GPUs has the CUDA build of PyTorch in it.

Something installed torch from the default index over the vendor's build. It then asks for an NVIDIA driver that is not meant to
be there: "Found no NVIDIA driver on your system".

How it is told from its look-alikes: paths or packages name ipex, xpu, rocm or hip, and the host has no NVIDIA GPU. Where it has
one, the container was not given it (`container/container-started-without-gpu`).

Cure: install torch from the vendor's index. No step about NVIDIA helps.

Sources: PyTorch installation guide (ROCm and XPU indexes).
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
    "framework/cuda-torch-in-non-nvidia-image",
    129,
    "error",
    "a CUDA build of torch in an image for another vendor's GPU",
    check,
    breaks=("container",),
    needs=("driver",),
    needs_input="image",
    signs=(
        "found no nvidia driver on your system",
        "~ (ipex|xpu|rocm|hip|radeon|intel arc|amd gpu|intel gpu)",
    ),
)
