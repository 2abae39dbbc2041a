"""CUDA says 804: the image's forward-compatibility library was used on a GPU that it does not support.

Images bring a newer libcuda (package cuda-compat, /usr/local/cuda/compat) so that data-center GPUs can run a newer CUDA on an
older driver. On a GeForce and most RTX cards that library refuses: "Error 804: forward compatibility was attempted on non
supported HW". It is taken when the driver's branch is older than the image's CUDA. NGC images say "compatibility mode is
UNAVAILABLE".

How it is told from its look-alikes: the driver is older than the image's CUDA. With a driver newer than the compat library it
is 803 (`image/compat-lib-shadows-driver-803`). A host whose own libraries and module differ can print 804 too: look at
`host/driver-library-mismatch` first.

Cure: install a driver that has the image's CUDA. Failing that, remove cuda-compat from the image or from LD_LIBRARY_PATH, or
take an image of an older CUDA.

Sources: CUDA compatibility guide (forward compatibility, supported GPUs); CUDA driver API, error 804; pytorch issue 63801;
nvidia-docker issue 1479.
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
    "image/forward-compat-804",
    17,
    "error",
    "the image's cuda-compat library does not support this GPU",
    check,
    breaks=("container",),
    needs=("driver",),
    needs_input="image",
    signs=(
        "cuda failure 804",
        "forward compatibility was attempted on non supported hw",
        "error 804",
        "returned 804",
        "cuda_error_compat_not_supported_on_device",
        "cudaerrorcompatnotsupportedondevice",
        "cuda-compat + kernel version*does not match dso",
        "this container was built for nvidia driver release",
        "compatibility mode is unavailable",
        "~ cuda-compat",
    ),
)
