"""The kernel's own nouveau driver (or an old frame-buffer driver) holds the GPU, so NVIDIA's driver cannot take it.

nouveau is part of the kernel and loads from the initramfs, before NVIDIA's module can. A card has one driver:
nvidia.ko then says "The NVIDIA probe routine was not called" and names nouveau, rivafb, nvidiafb or rivatv,
and NVIDIA's installer refuses to run. Packages of a distribution keep nouveau away by themselves; an
installation by the .run file and some cloud images do not.

How it is told from its look-alikes: the card's driver link in sysfs says nouveau; with
`host/nova-core-owns-gpu` it says NovaCore, with `host/gpu-bound-to-vfio` vfio-pci. Where no NVIDIA driver is
installed at all (`host/driver-not-installed`) nouveau is merely what the kernel has: a hint. So is one card
of several that drives the display by nouveau while NVIDIA's driver has the others.

Cure: keep nouveau from loading, write the initramfs anew, and reboot. Until NVIDIA's driver works, the console
has no graphics of its own. Where modprobe.d already says so, the initramfs is older than that file. `gpudoctor
fix` does so in a file of its own, where NVIDIA's module is there for this kernel; where NVIDIA's driver has
other GPUs, only with --force, for this one may be there for the screen.

Sources: NVIDIA driver README (nouveau); modprobe.d(5); mattshma/bigdata#133, microsoft/pai#2962,
kubernetes-sigs/image-builder#1468.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.model import REBOOT, Cure, Evidence, Finding, Rule, Severity, Where
from gpudoctor.rules import advice, cards, steps

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gpudoctor.facts import Facts
    from gpudoctor.facts.gpu import Function
    from gpudoctor.model import Steps, Wishes

_OWNERS = frozenset({"nouveau", "nvidiafb", "rivafb", "rivatv"})
_OWN_FILE = "/etc/modprobe.d/gpudoctor-nouveau.conf"
_FILE = "/etc/modprobe.d/blacklist-nouveau.conf"


def check(facts: Facts) -> Iterator[Finding]:
    """Find GPUs bound to nouveau or a frame-buffer driver."""
    gpus = cards.on_bus(facts)
    owned = [gpu for gpu in gpus if gpu.driver in _OWNERS]
    if not owned:
        return
    owner = owned[0].driver or "nouveau"
    blacklist = facts.driver.blacklisted(owner)
    if blacklist is not None and cards.written_since_boot(facts, blacklist.path):
        yield cards.waits(owner, owned, Where(blacklist.path, blacklist.line), _severity(facts, owned, gpus))
        return
    evidence = [Evidence(Where(f"{gpu.path}/driver"), f"-> {gpu.driver} ({gpu.name})") for gpu in owned]
    if blacklist is not None:
        evidence.append(
            Evidence(Where(blacklist.path, blacklist.line), f"blacklist {owner}, which the running system did not heed")
        )
    else:
        evidence.append(Evidence(Where("/etc/modprobe.d"), f"no line that says: blacklist {owner}"))
    yield Finding(
        f"{owner} holds the GPU",
        f"{cards.named(owned)}: bound to the kernel's {owner} driver, so NVIDIA's driver cannot take it.",
        (*evidence, *cards.logged(facts, "NVRM", "probe routine was not called")),
        Cure(
            "DISRUPTIVE",
            f"Keep {owner} from loading, write the initramfs anew, and reboot."
            if blacklist is None
            else f"{owner} is blacklisted already: write the initramfs anew, so that it holds at early boot too, and reboot.",
            (
                *(
                    (f"printf 'blacklist {owner}\\noptions {owner} modeset=0\\n' | sudo tee {_FILE}",)
                    if blacklist is None
                    else ()
                ),
                advice.rebuild_initramfs(facts),
                "sudo reboot",
            ),
            f"{advice.REBOOT_RISK} The console has no graphics of its own until NVIDIA's driver works.",
        ),
        severity=_severity(facts, owned, gpus),
    )


def _severity(facts: Facts, owned: Sequence[Function], gpus: Sequence[Function]) -> Severity:
    """Return a hint where NVIDIA's driver has other GPUs, or is not there to take this one."""
    return "hint" if any(gpu.driver == "nvidia" for gpu in gpus if gpu not in owned) or not facts.driver.installed else "error"


def fix(facts: Facts, wishes: Wishes) -> Steps:
    """Keep the owners from loading, in a file of our own, and write the initramfs anew; refused where a screen would go dark."""
    gpus = cards.on_bus(facts)
    owners = list(dict.fromkeys(gpu.driver for gpu in gpus if gpu.driver in _OWNERS))
    cards.refuse_to_take(facts, gpus, wishes)
    blacklist = facts.driver.blacklisted(owners[0] or "")
    if blacklist is not None and cards.written_since_boot(facts, blacklist.path):
        yield REBOOT
        return
    lines = [f"blacklist {owner}\n" for owner in owners if facts.driver.blacklisted(owner or "") is None]
    if "blacklist nouveau\n" in lines:
        lines.append("options nouveau modeset=0\n")
    if lines:
        yield steps.own_file(_OWN_FILE, "the GPU is for NVIDIA's driver", "".join(lines).encode())
    yield steps.rebuild_initramfs(facts)
    yield REBOOT


RULE = Rule(
    "host/nouveau-owns-gpu",
    60,
    "error",
    "nouveau holds the GPU",
    check,
    breaks=("module", "driver"),
    needs=("gpu",),
    follows=("host/driver-not-installed", "host/gpu-dropped-by-driver-branch", "host/capability-too-old"),
    fix=fix,
    signs=(
        "could not insert nvidia*: no such device",
        "error inserting nvidia*: no such device",
        "nvidia probe routine was not called for",
        "no nvidia graphics adapter probed",
        "nouveau, rivafb, nvidiafb or rivatv",
        "the nouveau kernel driver is currently in use",
        "already bound to nouveau",
        "unable to load the kernel module nvidia.ko",
        "~ nouveau",
    ),
)
