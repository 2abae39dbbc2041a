"""CUDA says 803: a libcuda of the image is loaded instead of the one that the host gives.

The runtime mounts the host's libcuda. If the image has another one in front (a compat folder in ld.so.conf.d or
LD_LIBRARY_PATH, or driver packages), the two halves of the driver do not fit: "Error 803: system has unsupported display driver
/ cuda driver combination". It comes with drivers that are newer than the image's compat library.

How it is told from its look-alikes: the host's own programs work. Where they fail as well, it is
`host/driver-cuda-userspace-803` or `host/driver-library-mismatch`. With an older driver on a GeForce the number is 804
(`image/forward-compat-804`).

It is found where LD_LIBRARY_PATH or a RUN line (ldconfig, ld.so.conf.d) names a compat folder and the driver is of a newer
branch than the one that the CUDA of the image came with.

Cure: take the compat folder out of the image's loader path, or set LD_LIBRARY_PATH so that the injected folder comes first
(/usr/local/nvidia/lib64:/usr/local/nvidia/lib).

Sources: CUDA driver API, error 803; CUDA compatibility guide; nvidia-container-toolkit issue 234.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor import tables
from gpudoctor.model import Cure, Finding, NotApplicable, Rule
from gpudoctor.rules import images
from gpudoctor.rules.image import _compat

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts


def check(facts: Facts) -> Iterator[Finding]:
    """Find a compat folder in the loader's path on a driver that is newer than the image's CUDA."""
    shown = _compat.on_path(facts)
    if shown is None:
        return
    driver = images.driver(facts)
    cuda = facts.image.cuda
    row = tables.cuda(cuda.value) if cuda is not None else None
    if cuda is None or row is None:
        raise NotApplicable("The image says no CUDA that its compatibility library would be of.")
    if driver.numbers[0] <= row.branch:
        raise NotApplicable("The driver is not newer than the image's compatibility library.")
    yield Finding(
        "a libcuda of the image is loaded instead of the driver's",
        f"The image puts the compatibility library of CUDA {cuda.value} (driver {row.branch}) before the driver's, and driver {driver.version} "
        "is newer: CUDA fails with Error 803"
        + (" unless the runtime makes the linker's cache anew." if shown.value == "ldconfig" else "."),
        (images.evidence(shown), images.evidence(cuda), driver.evidence),
        Cure(
            "SHOWN",
            "Take the compat folder out of the loader's path, or put the driver's folder first when the container is run.",
            ("docker run -e LD_LIBRARY_PATH=/usr/local/nvidia/lib64:/usr/local/nvidia/lib:/usr/lib/x86_64-linux-gnu ...",),
        ),
        severity="warning" if shown.value == "ldconfig" else None,
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
        "cuda initialization failure with error: 803",
        "~ (cuda-compat|/compat)",
        "~ (docker|container|compose)",
    ),
)
