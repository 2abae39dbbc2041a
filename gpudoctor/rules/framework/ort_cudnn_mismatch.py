"""onnxruntime-gpu needs another major version of cuDNN than the image has.

From 1.18.1 on the CUDA 12 builds need cuDNN 9, earlier ones cuDNN 8. The log says "libonnxruntime_providers_cuda.so with error:
libcudnn.so.9: cannot open shared object file", and the session runs on the CPU.

How it is told from its look-alikes: it is libcudnn that is missing. A missing cublas is `framework/ort-cuda-major-mismatch`.

Cure: take a base image with that cuDNN (tags with cudnn in them), install nvidia-cudnn-cu12 from pip, or use the version of
ONNX Runtime that fits.

Sources: ONNX Runtime documentation (CUDA execution provider, requirements); onnxruntime issue 21684.
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
    "framework/ort-cudnn-mismatch",
    61,
    "error",
    "onnxruntime-gpu needs another cuDNN than the image has",
    check,
    breaks=("container",),
    needs=("driver",),
    needs_input="image",
    signs=(
        "libonnxruntime_providers_(cuda|tensorrt).so with error: libcudnn*.so.<n>",
        "failed to create cudaexecutionprovider",
        "when trying to load*onnxruntime_providers_cuda.dll",
        "require cudnn <n>.* and cuda <n>",
    ),
)
