"""NVML, the driver's library for questions, does not come back.

gpudoctor asks NVML in a process of its own and kills that after ten seconds. The container toolkit, frameworks and
monitoring ask the same library, so they hang or time out too: "initialization error: driver rpc error: timed out".

How it is told from its look-alikes: `host/nvidia-smi-hangs` is the same stall seen through nvidia-smi, and then this
finding follows from it. Alone, it means that the driver lists its GPUs but gets stuck on a closer question, such as
memory or ECC. The kernel's log tells whether the GPU's firmware (Xid 119) or the bus (Xid 79) is at fault.

Cure: look at the kernel's log, stop what uses the GPU, and reboot. A process in state D may need a power cycle.

Sources: NVIDIA Xid errors guide; NVIDIA/open-gpu-kernel-modules#446, #1230.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.host import Slow
from gpudoctor.model import Finding, NotApplicable, Rule
from gpudoctor.rules.host import nvidia_smi_hangs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts


def check(facts: Facts) -> Iterator[Finding]:
    """Find an NVML child that was asked and did not answer in time."""
    if not facts.driver.safe_to_ask:
        raise NotApplicable("NVML is only asked where the driver is loaded and every device node is there.")
    try:
        ran = facts.driver.nvml_run
    except Slow as slow:
        yield nvidia_smi_hangs.finding(facts, "NVML", slow)
        return
    if ran is None:
        raise NotApplicable("NVML was not asked on this host.")


RULE = Rule(
    "host/nvml-hangs",
    77,
    "error",
    "NVML hangs",
    check,
    breaks=("driver",),
    needs=("gpu", "module"),
    follows=("hardware/xid79-fallen-off-bus", "hardware/gsp-rpc-timeout", "host/nvidia-smi-hangs"),
)
