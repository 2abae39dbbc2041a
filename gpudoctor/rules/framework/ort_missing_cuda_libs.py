"""The image has no CUDA run-time libraries, which ONNX Runtime needs.

The provider's library is there but what it is linked to is not: "libonnxruntime_providers_cuda.so with error: libcurand.so.10:
cannot open shared object file". libcurand.so.10 has the same name in CUDA 11 and 12, so this is no mix of versions: there is
none at all.

How it is told from its look-alikes: no library that the provider needs is found. Where some are there in another major version,
it is `framework/ort-cuda-major-mismatch`.

Cure: use a -runtime or -cudnn base image, or the run-time libraries from pip with onnxruntime.preload_dlls().

Sources: ONNX Runtime documentation (CUDA execution provider, requirements).
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
        "failed to create cudaexecutionprovider",
        "when trying to load*onnxruntime_providers_cuda.dll",
    ),
)
