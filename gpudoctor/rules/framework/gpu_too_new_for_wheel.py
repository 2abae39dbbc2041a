"""The framework was built before this GPU existed and has no code for it.

PyTorch warns "NVIDIA GeForce RTX 5090 with CUDA capability sm_120 is not compatible with the current PyTorch installation" and
lists what it supports; then each kernel fails with "no kernel image is available for execution on the device". The host's CUDA
does not matter.

How it is told from its look-alikes: the GPU's sm number is above those listed. Below them it is
`framework/gpu-too-old-for-wheel`.

The targets of PyTorch's wheels are known by release and CUDA, of TensorFlow's from 2.17 on; the GPU is known by its PCI id.
Where only some GPUs of a host are left out, it is a warning.

Cure: for Blackwell (RTX 50, B200) take torch 2.7 or newer from the cu128 index, or an image built with it.

Sources: PyTorch (torch/cuda/__init__.py); CUDA runtime API, error 209.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.model import Cure, Rule
from gpudoctor.rules.framework import _wheels

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts
    from gpudoctor.model import Finding


def check(facts: Facts) -> Iterator[Finding]:
    """Find a framework whose code is all for older GPUs than one here."""
    yield from _wheels.without_code(facts, new=True, title="the framework has no code for this new GPU", cure=_cure)


def _cure(name: str) -> Cure:
    if name != "PyTorch":
        return Cure("SHOWN", f"Take a newer {name}.")
    return Cure(
        "SHOWN",
        "Take PyTorch 2.7 or newer from the index of CUDA 12.8, or newer, or an image built with it.",
        ("pip install 'torch>=2.7' --index-url https://download.pytorch.org/whl/cu128",),
    )


RULE = Rule(
    "framework/gpu-too-new-for-wheel",
    26,
    "error",
    "the framework has no code for this new GPU",
    check,
    breaks=("container",),
    needs=("driver",),
    needs_input="image",
    signs=(
        "sm_(75|80|86|87|89|90|100|101|103|110|120|121)* is not compatible with the current pytorch installation",
        "no kernel image is available for execution on the device",
        "cuda_error_no_binary_for_gpu",
        "cudaerrornokernelimagefordevice",
        "sm_(100|101|103|110|120|121)* is not defined for option gpu-name",
        "unsupported gpu architecture compute_(89|90|100|101|103|110|120|121)*",
        "was not built with cuda kernel binaries compatible with compute capability",
        "~ (rtx 50|5070|5080|5090|5060|blackwell|sm_120|sm_100|b200)",
    ),
)
