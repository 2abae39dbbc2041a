"""The driver's CUDA is older than the one that the program was built with.

"The NVIDIA driver on your system is too old (found version 11040)": the number is the driver's CUDA, 11.4. Or "CUDA driver
version is insufficient for CUDA runtime version", which is also said where there is no driver in the container at all.

How it is told from its look-alikes: the driver's CUDA has a lower major version than the wheel's. Version 12xxx with a wheel
for CUDA 13 is `framework/torch-cuda13-wheel-driver-12`; without libcuda in the container it is
`container/container-started-without-gpu`.

Cure: install a newer driver branch, or the build of the framework for the CUDA that the driver has (index cu118, cu121 ...).

Sources: PyTorch (torch/csrc/cuda, c10/cuda/CUDAFunctions.cpp); CUDA runtime API, error 35.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.model import Finding, Rule
from gpudoctor.rules import images
from gpudoctor.rules.framework import _wheels

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts


def check(facts: Facts) -> Iterator[Finding]:
    """Find a framework whose CUDA major needs a newer driver than this host has."""
    found = _wheels.too_old(facts, cuda13=False)
    if found is None:
        return
    name, wheel, driver = found
    yield Finding(
        "the driver is too old for the CUDA that the program was built with",
        f"{images.named(wheel, name)} is built for CUDA {wheel.cuda}, which needs driver {wheel.driver} or newer; this host's is {driver.version}{images.hedge(wheel)}.",
        (images.evidence(wheel.told), driver.evidence),
        images.newer_driver(facts, wheel.cuda, f"install a build of {name} for CUDA {_wheels.major(driver.cuda)}"),
        severity="warning" if wheel.unless else None,
    )


RULE = Rule(
    "framework/driver-too-old-runtime",
    13,
    "error",
    "the driver is too old for the CUDA that the program was built with",
    check,
    breaks=("container",),
    needs=("driver",),
    needs_input="image",
    signs=(
        "nvidia driver on your system is too old",
        "cuda driver version is insufficient for cuda runtime version",
        "cuda driver version is insufficient",
        "cuda_error_insufficient_driver",
        "cudaerrorinsufficientdriver",
        "nvidia driver too old",
        "driver version is older than",
        "cuda initialization failure with error: 35",
        "which is older than the ptx compiler version",
        "cuda failure 35",
    ),
)
