"""The GPU is newer than the installed driver.

A driver knows the GPUs that existed when its branch was made: Blackwell needs 570, most of Ada 525. An older
one says "installed in this system is not supported by the NVIDIA 520.56.06 driver release" and leaves the
card alone; where it finds no other, the module does not stay loaded. It is the usual state of a new card in a
machine with an old long-term distribution.

How it is told from its look-alikes: by the GPU's PCI device id and the driver's branch, or by the kernel log.
With `host/gpu-dropped-by-driver-branch` it is the driver that is too new; with
`host/proprietary-module-on-blackwell` the branch would do and the flavour is wrong. A driver of a known
branch may have learnt an id in a later release of the branch, so a GPU that the driver took is never accused;
where only our lists speak and neither the log nor the generation, this is a warning.

Cure: install a newer driver, in the open flavour, and reboot. Programs built for older CUDA versions keep
working.

Sources: NVIDIA supported-gpus.json and the supported GPU lists of the driver READMEs;
NVIDIA/open-gpu-kernel-modules#393.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor import tables
from gpudoctor.model import Cure, Evidence, Finding, Rule, Where
from gpudoctor.rules import advice, cards

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts
    from gpudoctor.facts.gpu import Function

_WORDS = "is not supported by the"
_CURRENT = 580


def check(facts: Facts) -> Iterator[Finding]:
    """Find GPUs of a generation, or with an id, that the driver's branch does not have."""
    gpus, branch = cards.for_driver(facts), cards.driver_branch(facts)
    left = [gpu for gpu in cards.untaken(facts, gpus) if gpu.driver in {None, "nvidia"}]
    row = tables.branch(branch)
    younger = {gpu.address for gpu in gpus if row is not None and tables.older(row.newest_architecture, gpu.architecture)}
    listed_later = {
        gpu.address for gpu in left if not gpu.probable and gpu.chip is not None and (gpu.chip.first_branch or 0) > branch
    }
    said = cards.refused(facts, _WORDS) & {gpu.address for gpu in left} if left else frozenset()
    new = cards.known_or_untaken(facts, [gpu for gpu in gpus if gpu.address in younger | listed_later | said])
    if not new:
        return
    sure = any(gpu.address in younger | said for gpu in new)
    path, version = facts.driver.branch_source
    needed = max((_first(gpu) for gpu in new), default=0)
    wanted = max(needed, _CURRENT)
    yield Finding(
        "the driver is older than the GPU",
        f"{cards.named(new)}: driver {version} does not know this GPU"
        + (f"; as far as our lists go, it takes branch {needed} or newer." if needed else "."),
        (*cards.evidence(new), Evidence(Where(path), f"driver {version}"), *cards.logged(facts, _WORDS)),
        Cure(
            "SHOWN",
            f"Install a driver of branch {wanted} or newer with the open kernel module, then reboot.",
            (*advice.install_driver(facts, wanted, oldest=needed or wanted), "sudo reboot"),
            f"{advice.REBOOT_RISK} A new kernel module is added; with Secure Boot on, its key may have to be enrolled "
            "at the console.",
        ),
        severity=cards.severity(new, gpus) if sure else "warning",
    )


def _first(gpu: Function) -> int:
    """Return the oldest branch that lists the GPU, else the oldest that has its generation."""
    if gpu.chip is not None and gpu.chip.first_branch is not None:
        return gpu.chip.first_branch
    having = [row.branch for row in tables.branches() if not tables.older(row.newest_architecture, gpu.architecture)]
    return min(having) if having and gpu.architecture else 0


RULE = Rule(
    "host/gpu-not-supported-by-driver",
    98,
    "error",
    "the driver is older than the GPU",
    check,
    breaks=("module", "driver"),
    needs=("gpu",),
    signs=(
        "installed in this system is not supported by the nvidia*driver release",
        "no nvidia gpu found",
        "supported nvidia gpu products",
    ),
)
