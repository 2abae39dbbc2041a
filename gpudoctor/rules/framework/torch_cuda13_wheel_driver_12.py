"""The PyTorch wheel is built for CUDA 13, and the driver has CUDA 12.

The default wheel moved to CUDA 13, which needs a driver of branch 580 or newer. "The NVIDIA driver on your system is too old
(found version 12080)" comes from a plain `pip install torch` on a driver that was new last year.

How it is told from its look-alikes: the version found is 12xxx. With 11xxx it is `framework/driver-too-old-runtime`.

An unpinned `pip install torch` takes the newest release for the Python of the image, as of the date of the tables.
onnxruntime-gpu from 1.27 on is built for CUDA 13 too. Where a data-center GPU has a compatibility library in the image, nothing
is said.

Cure: install the wheel for CUDA 12 (--index-url .../whl/cu128 or cu126), or driver 580 or newer.

Sources: PyTorch release notes; CUDA 13 release notes (driver versions).
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
    """Find a framework for CUDA 13 on a driver that has CUDA 12."""
    found = _wheels.too_old(facts, cuda13=True)
    if found is None:
        return
    name, wheel, driver = found
    cure = images.newer_driver(facts, wheel.cuda, f"install the build of {name} for CUDA 12")
    if name == "PyTorch":
        cure = cure._replace(commands=(*cure.commands, "pip install torch --index-url https://download.pytorch.org/whl/cu126"))
    yield Finding(
        "the torch wheel is built for CUDA 13, the driver has 12"
        if name == "PyTorch"
        else f"{name} is built for CUDA 13, the driver has 12",
        f"{images.named(wheel, name)} is built for CUDA {wheel.cuda}, which needs driver 580 or newer; this host's is {driver.version} with CUDA "
        f"{driver.cuda}{images.hedge(wheel)}.",
        (images.evidence(wheel.told), driver.evidence),
        cure,
        severity="warning" if wheel.unless else None,
    )


RULE = Rule(
    "framework/torch-cuda13-wheel-driver-12",
    65,
    "error",
    "the torch wheel is built for CUDA 13, the driver has 12",
    check,
    breaks=("container",),
    needs=("driver",),
    needs_input="image",
    signs=(
        "too old (found version 12*",
        "nvidia driver on your system is too old",
    ),
)
