"""The program brings code that the driver has to compile, made by a newer CUDA than the driver knows.

Programs run on a driver of the same CUDA major version even if it is older, but PTX (code compiled when it is loaded) is
excepted: "the provided PTX was compiled with an unsupported toolchain".

How it is told from its look-alikes: the driver's CUDA has a lower minor version than the image's. With toolkit 1.17.4 compat
libraries were not mounted, which shows the same (`toolkit/cuda-compat-libs-no-longer-injected`). Missing code for a GPU is "no
kernel image" (`framework/gpu-too-old-for-wheel`).

Cure: install a driver with the image's CUDA or newer, or take an older image or wheel.

Sources: CUDA compatibility guide (minor version compatibility, limitations); CUDA driver API, error 222.
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
    "framework/ptx-unsupported-toolchain",
    18,
    "error",
    "the program's PTX is newer than the driver's compiler",
    check,
    breaks=("container",),
    needs=("driver",),
    needs_input="image",
    signs=(
        "ptx was compiled with an unsupported toolchain",
        "cuda_error_unsupported_ptx_version",
        "cudaerrorunsupportedptxversion",
    ),
)
