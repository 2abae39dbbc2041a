"""The GPU's memory has an error that ECC could not correct.

Programs get "uncorrectable ECC error encountered"; the kernel's log has Xid 48, 63, 64, 94 or 95. GPUs from Ampere on replace
the row at the next reset.

How it is told from its look-alikes: `nvidia-smi -q` counts uncorrectable errors, or a row remapping is pending. Memory that is
merely used up is `container/gpu-memory-occupied`.

Cure: stop what uses the GPU and reset it (nvidia-smi -r) or reboot, so that the row is replaced; if it comes back, the card has
to be replaced.

Sources: NVIDIA GPU memory error management; Xid catalog (48, 63, 64, 94, 95).
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
    "hardware/ecc-uncorrectable",
    78,
    "error",
    "the GPU's memory has an uncorrectable error",
    check,
    breaks=("driver",),
    needs=("gpu",),
    needs_input="text",
    signs=(
        "uncorrectable ecc error",
        "cuda_error_ecc_uncorrectable",
        "cudaerroreccuncorrectable",
        "xid (pci:*): (48|63|64|94|95)",
        "double bit ecc error",
        "dbe (double bit error)",
    ),
)
