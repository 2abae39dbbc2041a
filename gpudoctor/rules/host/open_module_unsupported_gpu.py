"""The open kernel module is installed, and this GPU is too old for it.

NVIDIA ships its kernel module in two flavours. The open one runs on the GPU's own system processor (GSP),
which GPUs have from Turing on: on Maxwell, Pascal and Volta it says "not supported by open nvidia.ko because
it does not include the required GPU System Processor" and leaves the card alone. Since branch 560 the open
flavour is what most packages install unless they are told otherwise.

How it is told from its look-alikes: by the GPU's PCI device id and the flavour of the module
(/proc/driver/nvidia/version says "Open Kernel Module"; where it is not loaded, the licence is "Dual MIT/GPL"
or the package is called -open). With `host/gpu-dropped-by-driver-branch` the branch itself is too new, and
another flavour of it would not help: then only that is said. The opposite case, a GPU that takes the open
flavour only, is `host/proprietary-module-on-blackwell`.

Cure: install the proprietary flavour of the same branch and reboot. Where a Blackwell or Grace Hopper GPU is
in the same host, which needs the open one, no flavour drives both.

Sources: NVIDIA driver installation guide (kernel modules); NVIDIA/open-gpu-kernel-modules README and #322,
#696; negativo17/nvidia-driver#158.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.model import Cure, Evidence, Finding, Rule, Where
from gpudoctor.rules import advice, cards

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts


def check(facts: Facts) -> Iterator[Finding]:
    """Find the open module together with GPUs that have no GSP."""
    gpus = cards.for_driver(facts)
    without_gsp = [gpu for gpu in gpus if gpu.chip is not None and gpu.chip.open_module == "no"]
    if not without_gsp:
        return
    branch = cards.driver_branch(facts)
    old = tuple(gpu for gpu in without_gsp if gpu.chip is not None and (gpu.chip.last_branch or branch) >= branch)
    old = cards.known_or_untaken(facts, old)
    if not old or facts.driver.flavour != "open":
        return
    path, says = facts.driver.flavour_source
    only = [gpu for gpu in gpus if gpu.chip is not None and gpu.chip.open_module == "only"]
    if only:
        cure = Cure(
            "SHOWN",
            f"No flavour drives all GPUs of this host: {cards.named(only)} takes the open module only. Move one of "
            "them to another machine.",
        )
    else:
        cure = Cure(
            "SHOWN",
            f"Install the proprietary kernel module of branch {branch} in place of the open one, and reboot.",
            (*advice.install_driver(facts, branch, open_module=False), "sudo reboot"),
            f"{advice.REBOOT_RISK} With Secure Boot on, the new module's key may have to be enrolled at the console.",
        )
    yield Finding(
        "the open kernel module does not support this GPU",
        f"{cards.named(old)}: this GPU has no GSP, so the open kernel module that is installed leaves it alone; it "
        "needs the proprietary one.",
        (*cards.evidence(old), Evidence(Where(path), says), *cards.logged(facts, "not supported by open")),
        cure,
        severity=cards.severity(old, gpus),
    )


RULE = Rule(
    "host/open-module-unsupported-gpu",
    40,
    "error",
    "the open kernel module does not support this GPU",
    check,
    breaks=("module", "driver"),
    needs=("gpu",),
    signs=(
        "could not insert nvidia*: no such device",
        "error inserting nvidia*: no such device",
        "is not supported by open nvidia.ko",
        "does not include the required gpu system processor",
        "open nvidia.ko is only ready for use on",
        "openrmenableunsupportedgpus",
    ),
)
