"""The loader finds a CUDA library of another version than the framework's own.

"undefined symbol: __nvJitLinkAddData_12_1, version libnvJitLink.so.12" or "undefined symbol: cudaGraphInstantiateWithFlags,
version libcudart.so.11.0": one library of a set came from LD_LIBRARY_PATH, from conda or from another wheel and is older than
the rest.

How it is told from its look-alikes: the symbol is one of CUDA's. Where cuDNN reports two versions, it is
`framework/cudnn-mismatch`.

It is a warning, and found where LD_LIBRARY_PATH names the folder of a CUDA that is older than PyTorch's and has the same major
version; libraries of another major have other names.

Cure: take framework and CUDA from one source; clear LD_LIBRARY_PATH; install the nvidia-* wheels that the framework's version
requires.

Sources: ld.so(8); PyTorch's requirements on nvidia-* wheels.
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
    """Find the base's older CUDA in front of the one that PyTorch brings."""
    images.need_gpu(facts)
    wheel = _wheels.torch(facts)
    image = facts.image
    told, cuda = image.env.get("LD_LIBRARY_PATH"), image.cuda
    if told is None or cuda is None or image.flavour not in {"runtime", "devel"} or wheel.told.path == "--image":
        return
    folder = next((each for each in told.value.split(":") if _is_cuda(each)), None)
    mine, theirs = tables.version(wheel.cuda)[:2], tables.version(cuda.value)[:2]
    if folder is None or wheel.variant == "cpu" or not mine or mine[:1] != theirs[:1] or theirs >= mine:
        return
    yield Finding(
        "CUDA libraries of different versions are mixed",
        f"{images.named(wheel, 'PyTorch')} brings the libraries of CUDA {wheel.cuda}; LD_LIBRARY_PATH has {folder} with those of CUDA {cuda.value}, "
        "which have the same names and are found first: an 'undefined symbol' stops the import where one is too old"
        f"{images.hedge(wheel)}.",
        (images.evidence(told), images.evidence(cuda), images.evidence(wheel.told)),
        Cure("SHOWN", f"Take {folder} out of LD_LIBRARY_PATH, or begin with an image of CUDA {wheel.cuda}."),
        severity="warning",
    )


def _is_cuda(folder: str) -> bool:
    return folder.startswith("/usr/local/cuda") and folder.rstrip("/").endswith(("/lib64", "/lib"))


RULE = Rule(
    "framework/mixed-cuda-runtime-symbol-error",
    133,
    "error",
    "CUDA libraries of different versions are mixed",
    check,
    breaks=("container",),
    needs=("driver",),
    needs_input="image",
    signs=(
        "undefined symbol: (cu|__nv|nv)*, version lib(cu|nv)*",
        "lib(cu|nv)*.so.<n>: undefined symbol",
        "undefined symbol: (nccl|__nvjitlink|cublas|cudnn|cusparse|cuda)*",
        "not defined in file lib(cublas|cudnn|cudart|cusparse|cusolver|cufft|nvrtc|nvjitlink|nccl)*with link time reference",
        "symbol lookup error*lib(cublas|cudnn|cudart|cusparse|cusolver|cufft|nvrtc|nvjitlink|nccl|torch)*",
        "version lib(cublas|cudnn|cudart|cusparse|nvjitlink)*not found (required by",
        "undefined symbol: __cuda*",
        "found (cuda|cublas|cufft|cusolver|cusparse|cupti) version <n>, but jax was built against version <n>",
    ),
)
