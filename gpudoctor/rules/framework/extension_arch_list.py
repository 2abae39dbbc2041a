"""A CUDA extension in the image was compiled for other GPUs than this one.

Extensions are compiled for the architectures in TORCH_CUDA_ARCH_LIST, or of the GPU that was there when the image was built. On
another GPU they fail with "no kernel image is available for execution on the device", while torch itself works.

How it is told from its look-alikes: a plain torch operation on the GPU succeeds. Where that fails too, see
`framework/gpu-too-old-for-wheel` and `framework/gpu-too-new-for-wheel`.

Cure: build the image again with the GPU's compute capability in TORCH_CUDA_ARCH_LIST (and +PTX for newer ones).

Sources: PyTorch (torch/utils/cpp_extension.py); mmdetection issue 2108.
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
    "framework/extension-arch-list",
    79,
    "error",
    "a CUDA extension was compiled for other GPUs",
    check,
    breaks=("container",),
    needs=("driver",),
    needs_input="image",
    signs=(
        "no kernel image is available for execution on the device",
        "cuda_error_no_binary_for_gpu",
        "cudaerrornokernelimagefordevice",
        "cuda kernel failed*no kernel image",
        "~ (torch_cuda_arch_list|-gencode|cuda_architectures)",
        "~ (extension|compiled op|dockerfile|setup.py)",
    ),
)
