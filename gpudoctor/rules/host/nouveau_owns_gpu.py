"""The open nouveau driver holds the GPU, so NVIDIA's own cannot take it.

A kernel that starts with nouveau, and no blacklist: the kernel log says "The NVIDIA probe routine was not called for 3 device(s)" and names nouveau.

How it is told from its look-alikes: the function's `driver` link says nouveau (a frame-buffer driver counts too); NovaCore is `host/nova-core-owns-gpu`,
vfio-pci is `host/gpu-bound-to-vfio`.

Cure: blacklist it, write the initramfs anew, reboot. Until NVIDIA's driver works there may be no picture on the console.

Sources: NVIDIA driver installation guide (disabling nouveau); modprobe.d(5); kernel documentation of nova.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.model import Cure, Evidence, Finding, NotApplicable, Rule, Where
from gpudoctor.rules import advice

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts


_DRIVERS = ('nouveau', 'nvidiafb', 'rivafb', 'simple-framebuffer')


def check(facts: Facts) -> Iterator[Finding]:
    """Find GPUs whose driver link names nouveau."""
    if not facts.gpus.functions:
        raise NotApplicable("There is no NVIDIA GPU on the PCI bus.")
    held = [gpu for gpu in facts.gpus.functions if gpu.driver in _DRIVERS]
    if not held:
        return
    blacklist = facts.driver.blacklisted("nouveau")
    evidence = [Evidence(Where(f"{gpu.path}/driver"), f"bound to {gpu.driver} ({gpu.name})") for gpu in held]
    if blacklist is not None:
        evidence.append(Evidence(Where(blacklist.path, blacklist.line), "blacklists it, but it was loaded before that was in force"))
    every = len(held) == len(facts.gpus.functions)
    installed = facts.driver.installed
    write = f"printf 'blacklist nouveau\\noptions nouveau modeset=0\\n' | sudo tee /etc/modprobe.d/blacklist-nouveau.conf"
    yield Finding(
        f"{held[0].driver} holds the GPU",
        f"{held[0].name} is bound to {held[0].driver}, so NVIDIA's driver cannot take it.",
        tuple(evidence),
        Cure(
            "DISRUPTIVE",
            "Blacklist it, write the initramfs anew and reboot." if blacklist is None else "Write the initramfs anew and reboot.",
            (*(() if blacklist is not None else (write,)), advice.rebuild_initramfs(facts), "sudo reboot"),
            f"{advice.REBOOT_RISK} The console may stay dark until NVIDIA's driver works.",
        ),
        severity="error" if every else "warning",
        breaks=("driver",) if every and installed else (),
        needs=("gpu",) if installed else ("gpu", "driver"),
    )


RULE = Rule(
    "host/nouveau-owns-gpu",
    60,
    "error",
    "nouveau holds the GPU",
    check,
    breaks=("driver",),
    needs=("gpu",),
)
