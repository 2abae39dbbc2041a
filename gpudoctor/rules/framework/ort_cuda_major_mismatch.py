"""onnxruntime-gpu was built for another CUDA major version than the image has.

The wheels on the Python package index are built for CUDA 11 up to 1.18 and for CUDA 12 from 1.19. With another CUDA the
provider does not load: "Failed to load library libonnxruntime_providers_cuda.so with error: libcublasLt.so.11: cannot open
shared object file", then "Failed to create CUDAExecutionProvider", and the session runs on the CPU. `--extra-index-url` does
not prefer that index, so that the wrong wheel is installed unnoticed.

How it is told from its look-alikes: the missing library has a number of another CUDA in its name. A missing libcudnn is
`framework/ort-cudnn-mismatch`; a library that every CUDA names alike is absent as a whole (`framework/ort-missing-cuda-libs`).

Cure: install the wheel for the image's CUDA or the other way round; or the run-time libraries from pip (nvidia-cublas-cu12 ...)
with onnxruntime.preload_dlls().

Sources: ONNX Runtime documentation (CUDA execution provider, requirements); onnxruntime (provider_bridge_ort.cc); onnxruntime
issues 13932 and 19602.
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
    "framework/ort-cuda-major-mismatch",
    11,
    "error",
    "onnxruntime-gpu was built for another CUDA than the image has",
    check,
    breaks=("container",),
    needs=("driver",),
    needs_input="image",
    signs=(
        "libonnxruntime_providers_(cuda|tensorrt).so with error: lib(cublaslt|cublas|cudart|nvinfer|cusparse|cusolver).so.<n>",
        "failed to create cudaexecutionprovider",
        "when trying to load*onnxruntime_providers_cuda.dll",
        "require cudnn <n>.* and cuda <n>",
    ),
)
