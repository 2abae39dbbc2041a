"""The proprietary kernel module is installed, and this GPU takes only the open one.

Blackwell (RTX 50, RTX PRO Blackwell, B200 and later) and Grace Hopper are driven by the open kernel module
alone. The proprietary one loads and binds to the card but never starts it: nvidia-smi says "No devices were
found", the kernel log "installed in this system requires use of the NVIDIA open kernel modules" and then
"RmInitAdapter failed", and the GPU's information file has no UUID.

How it is told from its look-alikes: by the GPU's PCI device id and the flavour of the module. RmInitAdapter
failures come from many causes: with the open module loaded look at `hardware/bar-above-4g`. A driver older
than branch 570 does not know Blackwell in either flavour (`host/gpu-not-supported-by-driver`). The opposite
case is `host/open-module-unsupported-gpu`.

Cure: install the open flavour of the same branch and reboot. GPUs before Turing in the same host need the
proprietary one: no flavour drives both.

Sources: NVIDIA driver README (open kernel modules); NVIDIA/open-gpu-kernel-modules#872.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor import tables
from gpudoctor.model import Cure, Evidence, Finding, Rule, Where
from gpudoctor.rules import advice, cards

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts

_FIRST_BLACKWELL = 570


def check(facts: Facts) -> Iterator[Finding]:
    """Find the proprietary module together with GPUs that need the open one."""
    gpus = cards.for_driver(facts)
    open_only = [gpu for gpu in gpus if gpu.chip is not None and gpu.chip.open_module == "only"]
    if not open_only:
        return
    branch = cards.driver_branch(facts)
    row = tables.branch(branch)
    new = [gpu for gpu in open_only if row is None or not tables.older(row.newest_architecture, gpu.architecture)]
    new = list(cards.known_or_untaken(facts, new))
    if not new or facts.driver.flavour != "proprietary":
        return
    path, says = facts.driver.flavour_source
    mute = [gpu for gpu in facts.gpus.taken if gpu.address in {each.address for each in new} and not gpu.uuid]
    old = [gpu for gpu in gpus if gpu.chip is not None and gpu.chip.open_module == "no"]
    if old:
        cure = Cure(
            "SHOWN",
            f"No flavour drives all GPUs of this host: {cards.named(old)} takes the proprietary module only. Move one "
            "of them to another machine.",
        )
    else:
        cure = Cure(
            "SHOWN",
            f"Install the open kernel module of branch {branch} in place of the proprietary one, and reboot.",
            (*advice.install_driver(facts, branch, oldest=_FIRST_BLACKWELL), "sudo reboot"),
            f"{advice.REBOOT_RISK} With Secure Boot on, the new module's key may have to be enrolled at the console.",
        )
    yield Finding(
        "this GPU needs the open kernel module",
        f"{cards.named(new)}: this GPU is driven by NVIDIA's open kernel module only, and the proprietary one is installed: "
        "the driver finds no device.",
        (
            *cards.evidence(new),
            Evidence(Where(path), says),
            *(Evidence(Where(gpu.path), "has no GPU UUID: the driver did not start this GPU") for gpu in mute),
            *cards.logged(facts, "requires use of the NVIDIA open kernel modules"),
        ),
        cure,
        severity=cards.severity(new, gpus),
    )


RULE = Rule(
    "host/proprietary-module-on-blackwell",
    64,
    "error",
    "this GPU needs the open kernel module",
    check,
    breaks=("driver",),
    needs=("gpu", "module"),
    signs=(
        "requires use of the nvidia open kernel modules",
        "no devices were found",
        "rminitadapter failed",
        "~ (rtx 50|5070|5080|5090|blackwell|b200)",
    ),
)
