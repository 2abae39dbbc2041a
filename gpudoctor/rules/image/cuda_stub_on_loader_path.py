"""The stub of libcuda, which is there for linking only, is on the loader's path.

CUDA's development packages have lib64/stubs/libcuda.so so that programs can be linked without a driver. If that folder is in
LD_LIBRARY_PATH or ld.so.conf.d, it answers in the driver's place: cuInit returns -1 (TensorFlow: "failed call to cuInit:
UNKNOWN ERROR (-1)") or 34, "CUDA driver is a stub library".

How it is told from its look-alikes: the error number is -1 or 34. A container that was given no GPU at all shows the same where
the stub is the only libcuda (`container/container-started-without-gpu`).

Cure: take the stubs folder off the path that programs run with; keep it for the linker only (LIBRARY_PATH or -L). `docker
build` has no GPU: run nothing there that needs one.

Sources: CUDA driver API, CUDA_ERROR_STUB_LIBRARY; CUDA installation guide; tensorflow issue 46227.
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
    "image/cuda-stub-on-loader-path",
    88,
    "error",
    "the CUDA stub library is loaded instead of the driver",
    check,
    breaks=("container",),
    needs=("driver",),
    needs_input="image",
    signs=(
        "cuinit: unknown error (-1)",
        "cuinit: curesult(-1)",
        "cuda_error_stub_library",
        "cudaerrorstublibrary",
        "lib64/stubs",
        "cuda driver is a stub library",
        "stubs/libcuda.so",
    ),
)
