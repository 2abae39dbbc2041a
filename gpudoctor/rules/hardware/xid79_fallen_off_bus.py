"""The GPU no longer answers on the PCI bus.

The kernel says "NVRM: Xid (PCI:0000:44:00): 79, GPU has fallen off the bus", nvidia-smi "Unable to determine the device handle
for GPU" or "GPU is lost". Power, heat, a riser or a cable, the firmware or the card itself are the reasons.

How it is told from its look-alikes: it worked before, and the kernel's log has Xid 79. In a virtual machine that never worked
it may be the old driver's refusal (`host/vm-passthrough-hypervisor`).

Cure: switch the machine off and on (a warm reboot is often not enough); check power, temperature and seat; update the firmware;
limiting the clock (nvidia-smi -lgc) shows whether power is the cause.

Sources: NVIDIA Xid catalog (79); open-gpu-kernel-modules issue 507.
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
    "hardware/xid79-fallen-off-bus",
    55,
    "error",
    "the GPU has fallen off the bus",
    check,
    breaks=("driver",),
    needs=("gpu",),
    needs_input="text",
    signs=(
        "nvmlerror_gpuislost",
        "gpu has fallen off the bus",
        "fallen off the bus and is not responding",
        "xid (pci:*): 79",
        "gpu is lost. reboot the system to recover",
        "gpu is lost",
        "unable to determine the device handle for gpu",
    ),
)
