"""The image has no CUDA run-time libraries, which ONNX Runtime needs.

The provider's library is there but what it is linked to is not: "libonnxruntime_providers_cuda.so with error: libcurand.so.10:
cannot open shared object file". libcurand.so.10 has the same name in CUDA 11 and 12, so this is no mix of versions: there is
none at all.

How it is told from its look-alikes: no library that the provider needs is found. Where some are there in another major version,
it is `framework/ort-cuda-major-mismatch`.

Tags of nvidia/cuda with base in them have only libcudart; official images of Python and of distributions have no CUDA.

Cure: use a -runtime or -cudnn base image, or the run-time libraries from pip with onnxruntime.preload_dlls().

Sources: ONNX Runtime documentation (CUDA execution provider, requirements).
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
    """Find an onnxruntime-gpu in an image without CUDA's computing libraries."""
    images.need_gpu(facts)
    trouble = _wheels.onnxruntime(facts)
    if trouble is None or trouble.kind != "libraries":
        return
    wheel = trouble.wheel
    wanted = _wheels.major(wheel.cuda)
    yield Finding(
        "the image has no CUDA run-time libraries for ONNX Runtime",
        f"{images.named(wheel, 'onnxruntime-gpu')} opens cuBLAS, cuFFT and cuDNN of CUDA {wanted}, and {facts.image.base.name} has "
        f"{trouble.has}: sessions run on the CPU{trouble.clause}.",
        (images.evidence(wheel.told), images.evidence(trouble.told)),
        Cure(
            "SHOWN",
            f"Begin with a cudnn-runtime image of CUDA {wanted}, or install the libraries with it and call onnxruntime.preload_dlls().",
            ("pip install 'onnxruntime-gpu[cuda,cudnn]'",),
        ),
        severity=trouble.severity,
    )


RULE = Rule(
    "framework/ort-missing-cuda-libs",
    127,
    "error",
    "the image has no CUDA run-time libraries for ONNX Runtime",
    check,
    breaks=("container",),
    needs=("driver",),
    needs_input="image",
    signs=(
        "libonnxruntime_providers_(cuda|tensorrt).so with error: lib(curand|cufft|nvrtc|nvjitlink).so.<n>",
        "libonnxruntime_providers_(cuda|tensorrt).so with error: lib(cublaslt|cublas|cudart|nvinfer|cusparse|cusolver).so.<n>",
        "libonnxruntime_providers_(cuda|tensorrt).so with error: libcudnn*.so.<n>",
        "failed to create cudaexecutionprovider",
        "when trying to load*onnxruntime_providers_cuda.dll",
        "please install all dependencies as mentioned in the gpu requirements page",
    ),
)
