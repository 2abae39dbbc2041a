"""Docker Desktop's WSL integration is older than the Windows driver.

Its own virtual machine mounts the driver's files, and does not know those of a newer driver: CUDA fails with "Error 500: named
symbol not found" while nvidia-smi works.

Only the error text can tell: which release of Docker Desktop knows which Windows driver is published nowhere, so that no pair of
versions is held against anybody.

How it is told from its look-alikes: it is Docker Desktop on Windows, and programs outside of containers work.

Cure: update Docker Desktop.

Sources: CUDA driver API, error 500; Docker Desktop release notes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.model import NotApplicable, Rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts
    from gpudoctor.model import Finding


def check(facts: Facts) -> Iterator[Finding]:  # noqa: ARG001 - a host has nothing to ask
    """Say that only a text tells; why stands in the page."""
    raise NotApplicable("It is told from its error text: `gpudoctor explain`.")


RULE = Rule(
    "wsl/docker-desktop-outdated-wsl",
    92,
    "error",
    "Docker Desktop is older than the Windows driver",
    check,
    breaks=("container",),
    needs=("driver",),
    needs_input="text",
    signs=(
        "named symbol not found",
        "error 500: named symbol",
        "cuda_error_not_found",
        "cudaerrorsymbolnotfound",
        "cuda initialization failure with error: 500",
    ),
)
