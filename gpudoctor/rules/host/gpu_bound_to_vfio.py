"""The GPU is set aside for a virtual machine, so neither this host nor its containers can use it.

Bound to vfio-pci (or Xen's pciback, or pci-stub), a card belongs to whichever virtual machine it is passed
to. On the host it looks as if it were not there: nvidia-smi says "No devices were found", and a container
without the driver's files says "nvidia-smi: executable file not found". It is meant so on Proxmox, Unraid and
other KVM hosts; it is a fault where containers on the host itself are to compute.

How it is told from its look-alikes: the card is on the bus (with `host/no-nvidia-gpu` it is not) and its
driver link says vfio-pci; with `host/nouveau-owns-gpu` it says nouveau. An error only where no GPU is left
for the host; one of several is set aside on purpose, and merely told.

Cure: run the containers in the virtual machine that has the GPU, or take the binding away (modprobe.d, kernel
command line), write the initramfs anew and reboot. That takes the GPU from the virtual machine.

Sources: kernel documentation of VFIO; Proxmox PCI passthrough; NVIDIA/nvidia-docker#1668.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.formats import cmdline
from gpudoctor.model import Cure, Evidence, Finding, Rule, Where
from gpudoctor.rules import advice, cards

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts


def check(facts: Facts) -> Iterator[Finding]:
    """Find GPUs bound to a pass-through driver."""
    gpus = cards.on_bus(facts)
    bound = [gpu for gpu in gpus if cards.passed_through(gpu)]
    if not bound:
        return
    left = [gpu for gpu in gpus if gpu not in bound]
    option = facts.driver.option("vfio_pci", "ids")
    argument = [value for value in cmdline.values(facts.boot.args, "vfio-pci.ids") if value]
    evidence = [Evidence(Where(f"{gpu.path}/driver"), f"-> {gpu.driver} ({gpu.name})") for gpu in bound]
    steps = []
    if option is not None:
        evidence.append(Evidence(Where(option.path, option.line), f"options vfio-pci {option.rest}"))
        steps.append(f"take the NVIDIA ids off line {option.line} of {option.path}")
    if argument:
        evidence.append(Evidence(Where("/proc/cmdline"), f"vfio-pci.ids={argument[-1]}"))
        steps.append("take vfio-pci.ids off the kernel command line")
    how = " and ".join(steps) or "remove what binds it (driverctl, a hook of the virtual machine, a boot script)"
    if left:
        text = f"{cards.named(bound)}: set aside for virtual machines; containers on this host can use {cards.named(left)}."
    else:
        text = f"{cards.named(bound)}: set aside for virtual machines, so no GPU is left for this host and its containers."
    yield Finding(
        "a GPU is set aside for virtual machines",
        text,
        tuple(evidence),
        Cure(
            "SHOWN",
            f"Nothing to do if that is meant. Otherwise: {how}, write the initramfs anew, and reboot; "
            "or run the containers in the virtual machine that has the GPU.",
            (advice.rebuild_initramfs(facts), "sudo reboot"),
            f"{advice.REBOOT_RISK} The virtual machine loses the GPU.",
        ),
        severity="hint" if left else None,
    )


RULE = Rule(
    "host/gpu-bound-to-vfio",
    97,
    "error",
    "a GPU is set aside for virtual machines",
    check,
    breaks=("gpu",),
    signs=(
        "could not insert nvidia*: no such device",
        "error inserting nvidia*: no such device",
        "exec: nvidia-smi: executable file not found in $path",
        "no devices were found",
        "nvidia probe routine was not called for",
        "no nvidia graphics adapter probed",
        "already bound to vfio-pci",
        "vfio-pci + nvidia-smi",
        "~ vfio",
    ),
)
