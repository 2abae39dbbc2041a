"""NVIDIA's installer refuses because a driver is loaded already.

"An NVIDIA kernel module 'nvidia-drm' appears to already be loaded in your kernel": a driver of another source (the
distribution's packages) is installed and in use by a desktop, a CUDA program or nvidia-persistenced.

How it is told from its look-alikes: /proc/modules has nvidia with users. Where two drivers have been mixed already, it is
`host/driver-library-mismatch-persistent`.

Cure: prefer the distribution's packages and leave the installer. Otherwise remove the other driver's packages, stop what uses
the GPU, unload the modules, and install then.

Sources: nvidia-installer (kernel.c); NVIDIA driver README.
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
    raise NotApplicable("It is told from its error text: `gpudoctor explain`.")


RULE = Rule(
    "host/driver-already-loaded-during-install",
    137,
    "error",
    "another NVIDIA driver is loaded while one is installed",
    check,
    needs=("gpu",),
    needs_input="text",
    signs=(
        "appears to already be loaded in your kernel",
        "nvidia kernel module*already loaded*(installer|in use)",
    ),
)
