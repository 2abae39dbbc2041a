"""The framework no longer has code for this GPU.

"no kernel image is available for execution on the device", or "PyTorch no longer supports this GPU because it is too old".
Wheels for CUDA 12.8 and newer leave out Maxwell, Pascal and, later, Volta.

How it is told from its look-alikes: the GPU's compute capability is below torch.cuda.get_arch_list(). Where torch works and one
extension fails, it is `framework/extension-arch-list`; a new GPU is `framework/gpu-too-new-for-wheel`.

The targets of PyTorch's wheels are known by release and CUDA, of TensorFlow's from 2.17 on; the GPU is known by its PCI id.
Where only some GPUs of a host are left out, it is a warning.

Cure: take the wheels of the cu126 index, or the image's legacy tag.

Sources: PyTorch (torch/cuda/__init__.py) and its release notes; CUDA runtime API, error 209.
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
    """Find a framework whose code is all for newer GPUs than one here."""
    yield from _wheels.without_code(facts, new=False, title="the framework has no code for this old GPU", cure=_cure)


def _cure(name: str) -> Cure:
    if name != "PyTorch":
        return Cure("SHOWN", f"Take an older {name}.")
    return Cure(
        "SHOWN",
        "Take PyTorch 2.14 or older from the index of CUDA 12.6, which still has code for Maxwell, Pascal and Volta.",
        ("pip install 'torch<2.15' --index-url https://download.pytorch.org/whl/cu126",),
    )


RULE = Rule(
    "framework/gpu-too-old-for-wheel",
    59,
    "error",
    "the framework has no code for this old GPU",
    check,
    breaks=("container",),
    needs=("driver",),
    needs_input="image",
    signs=(
        "no kernel image is available for execution on the device",
        "cuda_error_no_binary_for_gpu",
        "cudaerrornokernelimagefordevice",
        "sm_(30|35|37|50|52|53|60|61|62|70|72) is not compatible with the current pytorch installation",
        "no longer supports this gpu because it is too old",
        "the minimum cuda capability supported by this library is",
        "ggml was not compiled with any cuda arch <=",
        "cuda gpu is too old",
        "cudnn_status_arch_mismatch",
        "the minimum required cuda capability is",
        "flashattention only supports ampere gpus or newer",
        "requires device with capability > (",
        "unsupported gpu architecture compute_(30|35|37|50|52|53|60|61|62|70|72)",
        "~ (gtx 9|gtx 10|maxwell|pascal|kepler|volta|v100|p100|p40|k80|gt 10|quadro m)",
    ),
)
