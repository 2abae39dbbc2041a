"""The firmware on the GPU's system processor (GSP) has stopped answering.

The kernel says "Xid ... 119, Timeout waiting for RPC from GSP!" (or 120). nvidia-smi hangs or takes minutes, and programs fail.

How it is told from its look-alikes: the log has Xid 119 or 120. A start that is merely slow is
`host/init-timeout-no-persistence`.

Cure: reset the GPU or switch the machine off and on; install a newer driver. With the proprietary module GSP can be switched
off (options nvidia NVreg_EnableGpuFirmware=0); with the open one and on Blackwell it cannot.

Sources: NVIDIA Xid catalog (119, 120); open-gpu-kernel-modules issue 446.
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
    "hardware/gsp-rpc-timeout",
    99,
    "error",
    "the GPU's system processor does not answer",
    check,
    breaks=("driver",),
    needs=("gpu",),
    needs_input="text",
    signs=(
        "timeout waiting for rpc from gsp",
        "xid (pci:*): (119|120)",
        "timeout after*waiting for rpc response from gpu<n> gsp",
        "gsp*(timeout|timed out)*rpc",
        "rminitadapter failed + gsp",
        "~ gsp",
    ),
)
