"""CUDA says 803: a libcuda of the image is loaded instead of the one that the host gives.

The runtime mounts the host's libcuda. If the image has another one in front (a compat folder in ld.so.conf.d or
LD_LIBRARY_PATH, or driver packages), the two halves of the driver do not fit: "Error 803: system has unsupported display driver
/ cuda driver combination". It comes with drivers that are newer than the image's compat library.

How it is told from its look-alikes: the host's own programs work. Where they fail as well, it is
`host/driver-cuda-userspace-803` or `host/driver-library-mismatch`. With an older driver on a GeForce the number is 804
(`image/forward-compat-804`).

Cure: take the compat folder out of the image's loader path, or set LD_LIBRARY_PATH so that the injected folder comes first
(/usr/local/nvidia/lib64:/usr/local/nvidia/lib).

Sources: CUDA driver API, error 803; CUDA compatibility guide; nvidia-container-toolkit issue 234.
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
    "image/compat-lib-shadows-driver-803",
    48,
    "error",
    "a libcuda of the image is loaded instead of the driver's",
    check,
    breaks=("container",),
    needs=("driver",),
    needs_input="image",
    signs=(
        "cuda failure 803",
        "unsupported display driver / cuda driver combination",
        "error 803",
        "cuda_error_system_driver_mismatch",
        "cudaerrorsystemdrivermismatch",
        "~ (cuda-compat|/compat)",
        "~ (docker|container|compose)",
    ),
)
