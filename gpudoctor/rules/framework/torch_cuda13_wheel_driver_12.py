"""The PyTorch wheel is built for CUDA 13, and the driver has CUDA 12.

The default wheel moved to CUDA 13, which needs a driver of branch 580 or newer. "The NVIDIA driver on your system is too old
(found version 12080)" comes from a plain `pip install torch` on a driver that was new last year.

How it is told from its look-alikes: the version found is 12xxx. With 11xxx it is `framework/driver-too-old-runtime`.

Cure: install the wheel for CUDA 12 (--index-url .../whl/cu128 or cu126), or driver 580 or newer.

Sources: PyTorch release notes; CUDA 13 release notes (driver versions).
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
