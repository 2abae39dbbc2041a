"""onnxruntime-gpu needs another major version of cuDNN than the image has.

From 1.18.1 on the CUDA 12 builds need cuDNN 9, earlier ones cuDNN 8. The log says "libonnxruntime_providers_cuda.so with error:
libcudnn.so.9: cannot open shared object file", and the session runs on the CPU.

How it is told from its look-alikes: it is libcudnn that is missing. A missing cublas is `framework/ort-cuda-major-mismatch`.

The cuDNN of the base is told by its tag or by NV_CUDNN_VERSION; a tag without cudnn has none.

Cure: take a base image with that cuDNN (tags with cudnn in them), install nvidia-cudnn-cu12 from pip, or use the version of
ONNX Runtime that fits.

Sources: ONNX Runtime documentation (CUDA execution provider, requirements); onnxruntime issue 21684.
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
    """Find an onnxruntime-gpu beside another cuDNN than it opens, or beside none."""
    images.need_gpu(facts)
    trouble = _wheels.onnxruntime(facts)
    if trouble is None or trouble.kind != "cudnn":
        return
    wheel = trouble.wheel
    yield Finding(
        "onnxruntime-gpu needs another cuDNN than the image has",
        f"{images.named(wheel, 'onnxruntime-gpu')} opens libcudnn.so.{wheel.cudnn}, and the image has {trouble.has}: sessions run on the "
        f"CPU{trouble.clause}.",
        (images.evidence(wheel.told), images.evidence(trouble.told)),
        Cure(
            "SHOWN",
            f"Take the cudnn flavour of the base image with cuDNN {wheel.cudnn}, or install it from pip.",
            (f"pip install 'nvidia-cudnn-cu{_wheels.major(wheel.cuda)}=={wheel.cudnn}.*'",),
        ),
        severity=trouble.severity,
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
        "cudnn_fe failure",
        "cuda_path is set but cuda wasn't able to be loaded",
        "cudnn failure <n>: cudnn_status_not_initialized",
    ),
)
