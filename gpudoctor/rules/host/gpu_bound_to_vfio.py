"""The GPU is reserved for a virtual machine.

vfio-pci holds it for pass-through (Proxmox, Unraid, KVM hosts), so this host's containers cannot have it.

How it is told from its look-alikes: the function's `driver` link says vfio-pci; without a 10de function it is `host/no-nvidia-gpu`. Where other GPUs are
left for the nvidia driver, the reservation is on purpose and only a hint.

Cure: run the container in that virtual machine, or give the GPU back: remove the ids from the kernel line and modprobe.d, reboot. The virtual machine loses it.

Sources: kernel documentation (VFIO); Proxmox PCI pass-through.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.formats import cmdline
from gpudoctor.model import Cure, Evidence, Finding, NotApplicable, Rule, Where

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts


def check(facts: Facts) -> Iterator[Finding]:
    """Find GPUs bound to vfio-pci."""
    if not facts.gpus.functions:
        raise NotApplicable("There is no NVIDIA GPU on the PCI bus.")
    held = [gpu for gpu in facts.gpus.functions if gpu.driver == "vfio-pci"]
    if not held:
        return
    evidence = [Evidence(Where(f"{gpu.path}/driver"), f"bound to vfio-pci ({gpu.name})") for gpu in held]
    ids = [value for value in cmdline.values(facts.boot.args, "vfio-pci.ids") if value and "10de:" in value]
    if ids:
        evidence.append(Evidence(Where("/proc/cmdline"), f"vfio-pci.ids={ids[-1]}"))
    option = facts.driver.option("vfio_pci", "ids")
    if option is not None:
        evidence.append(Evidence(Where(option.path, option.line), f"options vfio-pci {option.rest}"))
    every = len(held) == len(facts.gpus.functions)
    yield Finding(
        "the GPU is reserved for a virtual machine",
        f"{held[0].name} is bound to vfio-pci for pass-through, so containers on this host cannot use it.",
        tuple(evidence),
        Cure(
            "SHOWN",
            "Run the container in the virtual machine that has the GPU; or remove the reservation, then reboot.",
            ("grep -rn 'vfio-pci' /etc/modprobe.d /etc/default/grub /etc/kernel/cmdline",),
            "The virtual machine loses the GPU.",
        ),
        severity="error" if every else "hint",
        breaks=("driver",) if every else (),
    )


RULE = Rule(
    "host/gpu-bound-to-vfio",
    97,
    "error",
    "the GPU is reserved for a virtual machine",
    check,
    breaks=("driver",),
    needs=("gpu",),
)
