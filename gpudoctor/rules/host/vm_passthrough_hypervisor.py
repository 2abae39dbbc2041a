"""A GeForce in a virtual machine with a driver before 465, which refuses to start there.

Older GeForce drivers stop when they see a hypervisor: "Unable to determine the device handle for GPU: Unknown Error", code 43 on Windows.

How it is told from its look-alikes: a hypervisor flag in /proc/cpuinfo, a GeForce by its id, a branch below 465. A card that worked before and fell off the
bus shows an Xid 79. Data-centre and professional cards were never concerned.

Cure: driver 465 or newer; or hide the hypervisor from the guest. The virtual machine restarts.

Sources: NVIDIA release notes of branch 465 (GeForce pass-through beta).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.model import Cure, Evidence, Finding, NotApplicable, Rule, Where

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts


def check(facts: Facts) -> Iterator[Finding]:
    """Find a GeForce in a guest with a branch before 465."""
    branch = facts.driver.branch
    if branch is None or not facts.gpus.functions:
        raise NotApplicable("There is no GPU with a driver.")
    if branch >= 465:
        return
    cards = [gpu for gpu in facts.gpus.functions if "GeForce" in gpu.name]
    if not cards or not facts.platform.hypervisor:
        return
    yield Finding(
        "this GeForce driver refuses to run in a virtual machine",
        f"{cards[0].name} is passed through to this virtual machine, and GeForce drivers before 465 (here {branch}) refuse to start there.",
        (
            Evidence(Where("/proc/cpuinfo"), "flag hypervisor: this is a virtual machine"),
            Evidence(Where(f"{cards[0].path}/device"), f"0x{cards[0].device_id}: {cards[0].name}"),
            Evidence(Where(facts.driver.version_source), f"driver branch {branch}"),
        ),
        Cure(
            "SHOWN",
            "Install driver branch 470 or newer that has this GPU; or hide the hypervisor (libvirt: <kvm><hidden state='on'/></kvm>).",
            (),
            "The virtual machine has to be restarted.",
        ),
    )


RULE = Rule(
    "host/vm-passthrough-hypervisor",
    123,
    "error",
    "this GeForce driver refuses to run in a virtual machine",
    check,
    breaks=("driver",),
    needs=("gpu", "module"),
)
