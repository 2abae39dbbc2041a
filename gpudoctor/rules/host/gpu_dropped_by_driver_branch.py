"""The installed driver branch no longer supports this GPU's generation.

NVIDIA ends the support of a generation with a branch: Kepler with 470; Maxwell, Pascal and Volta with 580. A
newer driver installs and builds without complaint, then ignores the card: the kernel log says "supported
through the NVIDIA 470.xx Legacy drivers" and "will ignore this GPU", the module does not stay loaded where it
finds no other, and nvidia-smi "couldn't communicate with the NVIDIA driver". It mostly comes with an
unattended upgrade to the next branch.

How it is told from its look-alikes: the GPU's PCI device id against the driver's branch, never its name
(there is a Fermi "GT 710" and a Kepler one). With `host/open-module-unsupported-gpu` the branch would do and
only the flavour of the module is wrong; with `host/gpu-not-supported-by-driver` the GPU is newer than the
driver; with `host/driver-not-loaded` the log has no such line. Each GPU of the host is judged: one old card
beside supported ones is a warning, and only a hint where another driver already has it as a display or where
no container image could use it.

Cure: install the last branch that drives the GPU, with the proprietary module, and keep upgrades within it.
Such a branch gets no new features and in the end stops building on new kernels. Where no branch drives all
the GPUs of a host, one of them has to move.

Sources: NVIDIA's list of legacy GPUs and data center driver support matrix; NVIDIA/open-gpu-kernel-modules;
NixOS/nixos-hardware#1880, siderolabs/talos#8764.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor import tables
from gpudoctor.model import Cure, Evidence, Finding, Rule, Severity, Where
from gpudoctor.rules import advice, cards

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gpudoctor.facts import Facts
    from gpudoctor.facts.gpu import Function

_OLDEST_PACKAGED = 470
_USABLE = (3, 0)


def check(facts: Facts) -> Iterator[Finding]:
    """Find GPUs whose last branch is older than the driver."""
    gpus = cards.for_driver(facts)
    ending = [gpu for gpu in gpus if gpu.chip is not None and gpu.chip.last_branch is not None]
    if not ending:
        return
    branch = cards.driver_branch(facts)
    dropped = tuple(gpu for gpu in ending if gpu.chip is not None and (gpu.chip.last_branch or branch) < branch)
    dropped = cards.known_or_untaken(facts, dropped)
    if not dropped:
        return
    last = min(gpu.chip.last_branch or branch for gpu in dropped if gpu.chip is not None)
    path, version = facts.driver.branch_source
    yield Finding(
        "this driver branch no longer supports the GPU",
        f"{cards.named(dropped)}: the last driver branch for it is {last}, and the installed driver is {version}, "
        "which ignores it.",
        (
            *cards.evidence(dropped),
            Evidence(Where(path), f"driver {version}"),
            *cards.logged(facts, "NVRM", "Legacy drivers"),
        ),
        _cure(facts, last, [gpu for gpu in gpus if gpu not in dropped]),
        severity=_severity(dropped, gpus),
    )


def _severity(dropped: Sequence[Function], gpus: Sequence[Function]) -> Severity:
    if len(dropped) < len(gpus) and all(
        gpu.driver not in {None, "nvidia"} or (gpu.capability or _USABLE) < _USABLE for gpu in dropped
    ):
        return "hint"
    return cards.severity(dropped, gpus)


def _cure(facts: Facts, last: int, others: Sequence[Function]) -> Cure:
    """Return the way back to the last branch, unless another GPU of this host is too new for it."""
    row = tables.branch(last)
    newer = [gpu for gpu in others if row is not None and tables.older(row.newest_architecture, gpu.architecture)]
    if newer:
        return Cure(
            "SHOWN",
            f"No driver branch drives all GPUs of this host: {last} is too old for {cards.named(newer)}. "
            "Keep this driver and leave the old card to the display, or move it to another machine.",
        )
    if last < _OLDEST_PACKAGED:
        return Cure("SHOWN", f"Branch {last} is no longer packaged and serves no container image of today: replace the GPU.")
    return Cure(
        "SHOWN",
        f"Install driver branch {last} with the proprietary kernel module, keep it there, and reboot.",
        (*advice.install_driver(facts, last, open_module=False), "sudo reboot"),
        f"{advice.REBOOT_RISK} Branch {last} gets no new features, and in time no longer builds on new kernels.",
    )


RULE = Rule(
    "host/gpu-dropped-by-driver-branch",
    25,
    "error",
    "this driver branch no longer supports the GPU",
    check,
    breaks=("module", "driver"),
    needs=("gpu",),
    signs=(
        "could not insert nvidia*: no such device",
        "error inserting nvidia*: no such device",
        "supported through the nvidia*legacy driver",
        "nvidia driver will ignore",
        "no nvidia gpu found",
        "legacy*please visit http://www.nvidia.com/object/unix.html",
    ),
)
