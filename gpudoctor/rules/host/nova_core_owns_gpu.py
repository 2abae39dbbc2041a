"""The kernel's in-tree Rust driver nova_core holds the GPU, so NVIDIA's own cannot take it.

Kernels 7.0 and newer with CONFIG_NOVA_CORE claim Turing, Ampere and Ada cards at boot: "GPU 0000:01:00.0 is already bound to NovaCore". A blacklist of nouveau
does not help.

How it is told from its look-alikes: the function's `driver` link says NovaCore; nouveau is `host/nouveau-owns-gpu`, vfio-pci is `host/gpu-bound-to-vfio`.

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


_DRIVERS = ('NovaCore', 'nova_core', 'nova-core')


def check(facts: Facts) -> Iterator[Finding]:
    """Find GPUs whose driver link names nova_core."""
    if not facts.gpus.functions:
        raise NotApplicable("There is no NVIDIA GPU on the PCI bus.")
    held = [gpu for gpu in facts.gpus.functions if gpu.driver in _DRIVERS]
    if not held:
        return
    blacklist = facts.driver.blacklisted("nova_core")
    evidence = [Evidence(Where(f"{gpu.path}/driver"), f"bound to {gpu.driver} ({gpu.name})") for gpu in held]
    if blacklist is not None:
        evidence.append(Evidence(Where(blacklist.path, blacklist.line), "blacklists it, but it was loaded before that was in force"))
    every = len(held) == len(facts.gpus.functions)
    installed = facts.driver.installed
    write = f"printf 'blacklist nova\\nblacklist nova_core\\nblacklist nova_drm\\n' | sudo tee /etc/modprobe.d/blacklist-nova.conf"
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
    "host/nova-core-owns-gpu",
    118,
    "error",
    "nova_core holds the GPU",
    check,
    breaks=("driver",),
    needs=("gpu",),
)
