"""A GeForce driver before 465 refuses to start in a virtual machine.

Up to branch 460, NVIDIA's driver did not start a GeForce card when the processor said that a hypervisor runs
it. nvidia-smi then says "Unable to determine the device handle for GPU ...: Unknown Error". From 465 on
pass-through of GeForce cards is supported.

How it is told from its look-alikes: the hypervisor flag in /proc/cpuinfo, a GeForce by its PCI device id, and
a driver before 465 that does not list the card. With an Xid 79 the GPU worked before and fell off the bus.
Quadro and Tesla cards were never refused. Where the hypervisor hides itself (`<kvm><hidden
state='on'/></kvm>`) the flag is not there, and all is well.

Cure: install driver 465 or newer, or let the hypervisor hide itself and restart the virtual machine.

Sources: NVIDIA release notes of 465 (GeForce GPU passthrough); libvirt domain format;
NVIDIA/kubevirt-gpu-device-plugin#2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.model import Cure, Evidence, Finding, NotApplicable, Rule, Where
from gpudoctor.rules import advice, cards

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts
    from gpudoctor.facts.gpu import Function

_PASSTHROUGH = 465


def check(facts: Facts) -> Iterator[Finding]:
    """Find a GeForce under a hypervisor with an old driver that does not list it."""
    gpus = cards.for_driver(facts)
    geforce = [gpu for gpu in gpus if gpu.chip is not None and gpu.name.startswith(("GeForce", "TITAN"))]
    if not geforce:
        raise NotApplicable("There is no GeForce in this machine.")
    branch = cards.driver_branch(facts)
    if branch >= _PASSTHROUGH:
        return
    if not facts.platform.hypervisor:
        raise NotApplicable("The processor does not say that a hypervisor runs this machine.")
    taken = [gpu for gpu in facts.gpus.taken if gpu.address in {each.address for each in geforce}]
    listed = facts.driver.smi or ""
    if taken and all(gpu.uuid and gpu.uuid in listed for gpu in taken):
        return
    path, version = facts.driver.branch_source
    yield Finding(
        "this driver does not start a GeForce in a virtual machine",
        f"{cards.named(geforce)}: driver {version} refuses to start a GeForce under a hypervisor; from {_PASSTHROUGH} "
        "on it starts.",
        (
            *cards.evidence(geforce),
            Evidence(Where("/proc/cpuinfo"), "flags: hypervisor"),
            Evidence(Where(path), f"driver {version}"),
            *cards.logged(facts, "NVRM", "RmInitAdapter failed"),
        ),
        Cure(
            "SHOWN",
            "Install a newer driver, or let the hypervisor hide itself (<kvm><hidden state='on'/></kvm> in libvirt) "
            "and restart "
            "the virtual machine.",
            (*_newer(facts, geforce), "sudo reboot"),
            advice.REBOOT_RISK,
        ),
        severity=cards.severity(geforce, gpus),
    )


def _newer(facts: Facts, geforce: list[Function]) -> tuple[str, ...]:
    """Return the commands that install the newest driver that still drives each of the cards."""
    lasts = [gpu.chip.last_branch for gpu in geforce if gpu.chip is not None and gpu.chip.last_branch is not None]
    return advice.install_driver(facts, min(lasts), open_module=False) if lasts else advice.install_driver(facts)


RULE = Rule(
    "host/vm-passthrough-hypervisor",
    123,
    "error",
    "this driver does not start a GeForce in a virtual machine",
    check,
    breaks=("driver",),
    needs=("gpu", "module"),
    signs=(
        "unable to determine the device handle for gpu*",
        "~ (kvm|passthrough|pass-through|hypervisor|qemu|libvirt|proxmox|esxi)",
    ),
)
