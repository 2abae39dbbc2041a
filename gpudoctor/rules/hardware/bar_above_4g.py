"""The firmware has not mapped the GPU's large memory window (BAR).

A data-center card asks for a window as large as its memory, a GeForce with Resizable BAR likewise. It lies
above 4 GB, and a firmware with "Above 4G Decoding" off, or a virtual machine with too small a 64-bit window,
has no room for it. The driver then says "This PCI I/O region assigned to your NVIDIA device is invalid: BAR1
is 0M @ 0x0" or "RmInitAdapter failed", and nvidia-smi finds no device.

How it is told from its look-alikes: the window has no address in the card's `resource` file in sysfs, or the
driver says so. RmInitAdapter failures alone prove nothing: with the wrong flavour of module
(`host/proprietary-module-on-blackwell`) they look the same. Grace machines have no such window, because their
GPU's memory is the machine's own.

Cure: in the firmware's setup switch on Above 4G Decoding and Resizable BAR (update the firmware if it has
neither); for a virtual machine enlarge its 64-bit MMIO window; where neither is at hand, the kernel argument
pci=realloc may find room. Each needs a reboot.

Sources: kernel sysfs ABI (PCI resource); NVIDIA driver README; NVIDIA/open-gpu-kernel-modules#862.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.host import NoAnswer
from gpudoctor.model import Cure, Evidence, Finding, NotApplicable, Rule, Where
from gpudoctor.rules import advice, cards

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts
    from gpudoctor.facts.gpu import Function

_BARS = 6
_COLUMNS = 3  # start, end, flags
_IO = 0x100
_WIDE = 0x100000  # IORESOURCE_MEM_64: the window takes the next line too
_UNSET = 0x20000000  # IORESOURCE_UNSET

_VIRTUAL = (
    "Give the virtual machine a 64-bit MMIO window larger than the GPU's memory (with OVMF: opt/ovmf/X-PciMmio64Mb), "
    "then restart it."
)
_FIRMWARE = (
    "In the firmware's setup switch on Above 4G Decoding and Resizable BAR, then boot; failing that, try the kernel "
    "argument pci=realloc."
)


def check(facts: Facts) -> Iterator[Finding]:
    """Find GPUs whose second window has no address."""
    gpus = cards.for_driver(facts)
    judged = [gpu for gpu in gpus if not _coherent(facts, gpu)]
    if not judged:
        raise NotApplicable("The memory of this GPU is the machine's own and needs no window.")
    started = {gpu.address for gpu in facts.gpus.taken if gpu.uuid and "?" not in gpu.uuid}
    said = _said(facts) if any(gpu.address not in started for gpu in judged) else {}
    found = []
    evidence = []
    for gpu in judged:
        line = None if gpu.address in started else _unmapped(facts, gpu)
        if line is not None:
            evidence.append(line)
        if gpu.address in said:
            evidence.append(Evidence(Where("kernel log"), said[gpu.address]))
        if line is not None or gpu.address in said:
            found.append(gpu)
    if not found:
        return
    virtual = facts.platform.hypervisor
    yield Finding(
        "the GPU's memory window is not mapped",
        f"{cards.named(found)}: the {'virtual machine' if virtual else 'firmware'} gave the GPU's memory window (BAR) no "
        "address, so the driver cannot start it.",
        (*evidence, *cards.logged(facts, "NVRM", "RmInitAdapter failed")),
        Cure(
            "SHOWN",
            _VIRTUAL if virtual else _FIRMWARE,
            risk="Everything in the virtual machine stops."
            if virtual
            else f"{advice.REBOOT_RISK} Note the old settings: with Above 4G Decoding on, some old boot disks do not start.",
        ),
        severity="error" if len(found) == len(gpus) else "warning",
    )


def _coherent(facts: Facts, gpu: Function) -> bool:
    """Say whether this is a Grace machine's GPU, whose memory the processor reaches without a window."""
    return gpu.chip is not None and gpu.chip.open_module == "only" and facts.platform.machine == "aarch64"


def _unmapped(facts: Facts, gpu: Function) -> Evidence | None:
    """Return what shows that the second memory window has no address; the first holds the registers and is always small."""
    path = f"{gpu.path}/resource"
    text = facts.host.text(path)
    if text is None:
        return None
    rows = [tuple(int(word, 16) for word in line.split()) for line in text.split("\n")[:_BARS] if len(line.split()) == _COLUMNS]
    if len(rows) < _BARS:
        return None
    second = 2 if rows[0][2] & _WIDE else 1
    for at in (0, second):
        start, _, flags = rows[at]
        if start == 0 or (flags & _UNSET and not flags & _IO):
            return Evidence(Where(path, at + 1), f"{text.split(chr(10))[at].strip()}: no address")
    return None


def _said(facts: Facts) -> dict[str, str]:
    """Return by PCI address the lines in which the driver says that a window is missing, none where the log cannot be read.

    ``NVRM: BAR1 is 0M @ 0x0 (PCI:0000:01:00.0)``
    """
    try:
        lines = facts.driver.log
    except NoAnswer:
        return {}
    found: dict[str, str] = {}
    for line in lines:
        if line.startswith("NVRM: BAR") and " is 0M @ 0x0 (PCI:" in line:
            found.setdefault(line.partition("(PCI:")[2].partition(")")[0], line)
    return found


RULE = Rule(
    "hardware/bar-above-4g",
    83,
    "error",
    "the GPU's memory window is not mapped",
    check,
    breaks=("driver",),
    needs=("gpu",),
    signs=(
        "rminitadapter failed! (0x22",
        "rminitadapter failed",
        "osinitnvmapping: cannot attach gpu",
        "this pci i/o region assigned to your nvidia device is invalid",
        "bar<n> is 0m @ 0x0",
        "no devices were found",
        "bar<n>: no space for [mem size + (nvidia|nvrm)",
        "bar<n> [mem size*can't assign; no space + (nvidia|nvrm)",
        "~ (resizable bar|above 4g)",
    ),
)
