"""cuDNN wants libnvrtc.so, under that very name, and it is not there.

cuDNN 8 compiles some kernels when it runs and opens libnvrtc.so without a number: "Could not load library
libcudnn_cnn_infer.so.8. Error: libnvrtc.so: cannot open shared object file". Run-time images have libnvrtc.so.12 at most.

How it is told from its look-alikes: the file that is missing is libnvrtc. Other messages of cuDNN about versions are
`framework/cudnn-mismatch`.

Cure: install cuda-nvrtc of the same CUDA and link libnvrtc.so to it, or use a -devel image.

Sources: cuDNN release notes and installation guide (NVRTC dependency).
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
    "framework/cudnn-nvrtc-missing",
    132,
    "error",
    "cuDNN does not find libnvrtc.so",
    check,
    breaks=("container",),
    needs=("driver",),
    needs_input="image",
    signs=(
        "libnvrtc.so: cannot open shared object file",
        "could not load library libcudnn*",
        "libcudnn* + libnvrtc.so*cannot open shared object file",
    ),
)
