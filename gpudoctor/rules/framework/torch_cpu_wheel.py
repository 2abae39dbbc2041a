"""The PyTorch that is installed is the build without CUDA.

"Torch not compiled with CUDA enabled": the wheel came from the CPU index, or another package brought it, or the platform has no
CUDA wheel.

How it is told from its look-alikes: torch.version.cuda is None and torch.__version__ often ends in +cpu. Where it has a
version, the GPU is missing (`container/container-started-without-gpu`).

In an image without CUDA, which may be meant for CPUs, it is a warning.

Cure: uninstall torch and install it from the index of the CUDA that the driver supports (--index-url .../whl/cu126).

Sources: PyTorch (torch/cuda/__init__.py); PyTorch installation guide.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.model import Cure, Finding, Rule
from gpudoctor.rules import images
from gpudoctor.rules.framework import _wheels

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts


def check(facts: Facts) -> Iterator[Finding]:
    """Find a PyTorch from the index of CPU builds."""
    images.need_gpu(facts)
    wheel = _wheels.torch(facts)
    if wheel.variant != "cpu":
        return
    meant = facts.image.cuda is not None or facts.image.flavour not in {None, "none"}
    yield Finding(
        "PyTorch was installed without CUDA",
        "The build of PyTorch in this image is the one for CPUs: torch.cuda.is_available() is False on any host"
        + (", although the image has CUDA" if meant else "")
        + f"{images.hedge(wheel)}.",
        (images.evidence(wheel.told),),
        Cure(
            "SHOWN",
            "Install it from the index of a CUDA that the driver has.",
            ("pip install torch --index-url https://download.pytorch.org/whl/cu126",),
        ),
        severity=None if meant and not wheel.unless else "warning",
    )


RULE = Rule(
    "framework/torch-cpu-wheel",
    54,
    "error",
    "PyTorch was installed without CUDA",
    check,
    breaks=("container",),
    needs=("driver",),
    needs_input="image",
    signs=(
        "torch not compiled with cuda enabled",
        "torch*<n>.<n>.<n>+cpu",
        "cuda.is_available()*false",
        "attempting to deserialize object on a cuda device but torch.cuda.is_available() is false",
        "is cuda available: false",
        "cuda used to build pytorch: none",
        "module torch._c has no attribute _cuda*",
        "distributed package doesn't have nccl built in",
        "could not run torchvision::nms with arguments from the cuda backend",
        "fp16 is not supported on cpu",
    ),
)
