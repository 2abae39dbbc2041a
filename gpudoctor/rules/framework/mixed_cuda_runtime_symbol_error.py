"""The loader finds a CUDA library of another version than the framework's own.

"undefined symbol: __nvJitLinkAddData_12_1, version libnvJitLink.so.12" or "undefined symbol: cudaGraphInstantiateWithFlags,
version libcudart.so.11.0": one library of a set came from LD_LIBRARY_PATH, from conda or from another wheel and is older than
the rest.

How it is told from its look-alikes: the symbol is one of CUDA's. Where cuDNN reports two versions, it is
`framework/cudnn-mismatch`.

Cure: take framework and CUDA from one source; clear LD_LIBRARY_PATH; install the nvidia-* wheels that the framework's version
requires.

Sources: ld.so(8); PyTorch's requirements on nvidia-* wheels.
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
    ),
)
