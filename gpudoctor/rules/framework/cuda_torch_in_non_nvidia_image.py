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

from gpudoctor.model import Cure, Finding, NotApplicable, Rule
from gpudoctor.rules import images
from gpudoctor.rules.framework import _wheels

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts


_VENDORS = ("rocm/", "intel/", "amd/", "amdih/")


def check(facts: Facts) -> Iterator[Finding]:
    """Find PyTorch's CUDA build installed over an image for Intel or AMD GPUs, on a host without an NVIDIA GPU."""
    image = facts.image
    if not image.base.repository.startswith(_VENDORS):
        raise NotApplicable("The image does not begin with one of Intel's or AMD's.")
    if facts.gpus.present:
        raise NotApplicable("This host has an NVIDIA GPU, which the CUDA build can use.")
    wheel = _wheels.torch(facts)
    if not wheel.variant.startswith("cu"):
        return
    yield Finding(
        "a CUDA build of torch in an image for another vendor's GPU",
        f"{image.base.name} is for another vendor's GPU, and {images.named(wheel, 'PyTorch')} from the default index replaces its build by the one "
        f"for CUDA {wheel.cuda}: it asks for an NVIDIA driver.",
        (images.evidence(wheel.told), images.evidence(image.base_told)),
        Cure(
            "SHOWN",
            "Do not install torch over the vendor's build, or take it from the vendor's index.",
            (
                f"pip install torch --index-url https://download.pytorch.org/whl/{'xpu' if image.base.repository.startswith('intel/') else 'rocm6.4'}",
            ),
        ),
        needs=(),
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
        "no hip gpus are available",
        "no xpu devices are available",
        "~ (ipex|xpu|rocm|hip|radeon|intel arc|amd gpu|intel gpu)",
    ),
)
