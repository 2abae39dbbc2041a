"""The kernel's new nova_core driver holds the GPU, so NVIDIA's driver cannot take it.

nova_core is the in-tree successor of nouveau, written in Rust; early kernels that build it as a module let it
claim Turing, Ampere and Ada cards at boot although it cannot do anything with them yet. nvidia.ko then says
"GPU 0000:01:00.0 is already bound to NovaCore". Guides and packages that blacklist nouveau do not mention
nova.

How it is told from its look-alikes: the card's driver link in sysfs says NovaCore; with
`host/nouveau-owns-gpu` it says nouveau, with `host/gpu-bound-to-vfio` vfio-pci. A loaded nova_core that holds
no card does no harm. Where no NVIDIA driver is installed, or NVIDIA's driver has other GPUs of this host,
this is a hint.

Cure: keep nova_core and nova_drm from loading, write the initramfs anew, and reboot. `gpudoctor fix` does so
in a file of its own, where NVIDIA's module is there for this kernel; where NVIDIA's driver has other GPUs,
only with --force.

Sources: kernel source (drivers/gpu/nova-core); beclab/Olares#3963.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.model import REBOOT, Cure, Evidence, Finding, Rule, Where
from gpudoctor.rules import advice, cards, steps

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts
    from gpudoctor.model import Steps, Wishes

_OWNERS = frozenset({"NovaCore", "nova-core", "nova_core"})
_OWN_FILE = "/etc/modprobe.d/gpudoctor-nova.conf"
_FILE = "/etc/modprobe.d/blacklist-nova.conf"


def check(facts: Facts) -> Iterator[Finding]:
    """Find GPUs bound to nova_core."""
    gpus = cards.on_bus(facts)
    owned = [gpu for gpu in gpus if gpu.driver in _OWNERS]
    if not owned:
        return
    blacklist = facts.driver.blacklisted("nova_core")
    if blacklist is not None and cards.written_since_boot(facts, blacklist.path):
        yield cards.waits("nova_core", owned, Where(blacklist.path, blacklist.line), None)
        return
    evidence = [Evidence(Where(f"{gpu.path}/driver"), f"-> {gpu.driver} ({gpu.name})") for gpu in owned]
    if blacklist is not None:
        evidence.append(
            Evidence(Where(blacklist.path, blacklist.line), "blacklist nova_core, which the running system did not heed")
        )
    write = () if blacklist is not None else (f"printf 'blacklist nova_core\\nblacklist nova_drm\\n' | sudo tee {_FILE}",)
    served = any(gpu.driver == "nvidia" for gpu in gpus)
    yield Finding(
        "nova_core holds the GPU",
        f"{cards.named(owned)}: bound to the kernel's own nova_core driver, so NVIDIA's driver cannot take it; "
        "blacklisting nouveau does not help.",
        (*evidence, *cards.logged(facts, "NVRM", "already bound to NovaCore")),
        Cure(
            "DISRUPTIVE",
            "Keep nova_core from loading, write the initramfs anew, and reboot.",
            (*write, advice.rebuild_initramfs(facts), "sudo reboot"),
            f"{advice.REBOOT_RISK} The console has no graphics of its own until NVIDIA's driver works.",
        ),
        severity="hint" if served or not facts.driver.installed else None,
    )


def fix(facts: Facts, wishes: Wishes) -> Steps:
    """Keep nova_core and nova_drm from loading, in a file of our own, and write the initramfs anew."""
    cards.refuse_to_take(facts, cards.on_bus(facts), wishes)
    blacklist = facts.driver.blacklisted("nova_core")
    if blacklist is not None and cards.written_since_boot(facts, blacklist.path):
        yield REBOOT
        return
    lines = [f"blacklist {module}\n" for module in ("nova_core", "nova_drm") if facts.driver.blacklisted(module) is None]
    if lines:
        yield steps.own_file(_OWN_FILE, "the GPU is for NVIDIA's driver", "".join(lines).encode())
    yield steps.rebuild_initramfs(facts)
    yield REBOOT


RULE = Rule(
    "host/nova-core-owns-gpu",
    118,
    "error",
    "nova_core holds the GPU",
    check,
    breaks=("module", "driver"),
    needs=("gpu",),
    follows=("host/driver-not-installed",),
    fix=fix,
    signs=(
        "could not insert nvidia*: no such device",
        "error inserting nvidia*: no such device",
        "already bound to novacore",
        "nvidia probe routine was not called for",
        "no nvidia graphics adapter probed",
        "unable to load the kernel module nvidia.ko",
        "nova_core + nvidia",
        "~ no nvidia devices probed",
    ),
)
