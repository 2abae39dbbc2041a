"""onnxruntime-gpu was built for another CUDA major version than the image has.

The wheels on the Python package index are built for CUDA 11 up to 1.18 and for CUDA 12 from 1.19. With another CUDA the
provider does not load: "Failed to load library libonnxruntime_providers_cuda.so with error: libcublasLt.so.11: cannot open
shared object file", then "Failed to create CUDAExecutionProvider", and the session runs on the CPU. `--extra-index-url` does
not prefer that index, so that the wrong wheel is installed unnoticed.

How it is told from its look-alikes: the missing library has a number of another CUDA in its name. A missing libcudnn is
`framework/ort-cudnn-mismatch`; a library that every CUDA names alike is absent as a whole (`framework/ort-missing-cuda-libs`).

Which release an unpinned line takes follows from the Python of the base, as of the date of the tables. Extras, libraries
installed from pip, and a PyTorch of the same CUDA serve it as well. Where a requirements file or a copied folder may bring
them, it is a hint.

Cure: install the wheel for the image's CUDA or the other way round; or the run-time libraries from pip (nvidia-cublas-cu12 ...)
with onnxruntime.preload_dlls().

Sources: ONNX Runtime documentation (CUDA execution provider, requirements); onnxruntime (provider_bridge_ort.cc); onnxruntime
issues 13932 and 19602.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor import tables
from gpudoctor.model import Cure, Finding, Rule
from gpudoctor.rules import images
from gpudoctor.rules.framework import _wheels

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts


def check(facts: Facts) -> Iterator[Finding]:
    """Find an onnxruntime-gpu of another CUDA major than the image's libraries."""
    images.need_gpu(facts)
    trouble = _wheels.onnxruntime(facts)
    if trouble is None or trouble.kind != "major":
        return
    wheel, wanted = trouble.wheel, _wheels.major(trouble.wheel.cuda)
    yield Finding(
        "onnxruntime-gpu was built for another CUDA than the image has",
        f"{images.named(wheel, 'onnxruntime-gpu')} opens the libraries of CUDA {wanted}, and the image has {trouble.has}: sessions run on the "
        f"CPU{trouble.clause}.",
        (images.evidence(wheel.told), images.evidence(trouble.told)),
        Cure(
            "SHOWN",
            _cure(trouble),
            (f"pip install 'onnxruntime-gpu[cuda,cudnn]=={wheel.release}'",) if _brings(wheel.release) else (),
        ),
        severity=trouble.severity,
    )


def _cure(trouble: _wheels.Trouble) -> str:
    wanted = _wheels.major(trouble.wheel.cuda)
    have = _wheels.major(trouble.told.value)
    pin = {11: "onnxruntime-gpu==1.18.1", 12: "'onnxruntime-gpu>=1.21,<1.27'"}.get(have)
    way = f"pin {pin}, which is for CUDA {have}, or " if pin is not None else ""
    return f"{way[:1].upper()}{way[1:]}take a base image of CUDA {wanted}." if way else f"Take a base image of CUDA {wanted}."


def _brings(release: str) -> bool:
    """Say whether this release has the extras that install CUDA's libraries with it."""
    return tables.version(release) >= tables.version("1.21")


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
        "cuda_path is set but cuda wasn't able to be loaded",
    ),
)
