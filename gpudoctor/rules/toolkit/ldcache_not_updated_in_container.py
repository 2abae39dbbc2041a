"""The driver's libraries are mounted, but the container's loader cache does not list them.

After mounting, the toolkit runs ldconfig in the container. Where that fails or the image has its own way (Guix, Nix, very old
toolkits on Debian 10), nvidia-smi says that it "couldn't find libnvidia-ml.so library in your system".

How it is told from its look-alikes: libnvidia-ml.so.1 is in the container, and `ldconfig -p` there lacks it; running ldconfig
cures it. On a host the same words mean that the driver's libraries are missing (`host/host-driver-libs-incomplete`).

Cure: a newer toolkit; or run ldconfig in the image's entry point.

Sources: libnvidia-container (src/nvc_ldcache.c); nvidia-container-runtime issue 75; nvidia-docker issue 854.
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
    "toolkit/ldcache-not-updated-in-container",
    81,
    "error",
    "the container's loader does not know the mounted libraries",
    check,
    breaks=("container",),
    needs=("driver",),
    needs_input="text",
    signs=(
        "nvidia-smi couldn't find libnvidia-ml.so library in your system",
        "libnvidia-ml.so + launch ldconfig",
        "~ ldconfig",
        "~ container",
    ),
)
