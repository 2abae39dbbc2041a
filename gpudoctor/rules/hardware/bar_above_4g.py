"""The firmware did not map the GPU's large BAR.

Cards with much memory need a 64-bit window above 4 GiB: with Above 4G Decoding (or Resizable BAR) off, or a virtual machine without enough MMIO space, BAR1 stays unmapped
and the driver says "This PCI I/O region assigned to your NVIDIA device is invalid" or RmInitAdapter failed (0x22:...).

How it is told from its look-alikes: BAR1 in the function's `resource` file has no address or no size; with the wrong module flavour
(`host/proprietary-module-on-blackwell`) it is mapped.

Cure: switch on Above 4G Decoding and Resizable BAR in the firmware; for a virtual machine enlarge its 64-bit MMIO window.

Sources: kernel sysfs ABI (resource); NVIDIA driver README.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.model import Cure, Evidence, Finding, NotApplicable, Rule, Where

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts


def check(facts: Facts) -> Iterator[Finding]:
    """Find a GPU whose second resource (BAR1) is not mapped."""
    if not facts.gpus.functions:
        raise NotApplicable("There is no NVIDIA GPU on the PCI bus.")
    for gpu in facts.gpus.functions:
        path = f"{gpu.path}/resource"
        text = facts.host.text(path)
        lines = (text or "").split("\n")
        fields = lines[1].split() if len(lines) > 1 else []
        if len(fields) < 3 or any(int(word, 16) for word in fields[:2] if word.startswith("0x")):
            continue
        line = facts.driver.logged("RmInitAdapter failed", "0x22:") or facts.driver.logged("PCI I/O region")
        evidence = [Evidence(Where(path, 2), f"BAR1 is not mapped ({' '.join(fields)})")]
        if line is not None:
            evidence.append(Evidence(Where("dmesg"), line))
        yield Finding(
            "the firmware did not map the GPU's memory window",
            f"BAR1 of {gpu.name} ({gpu.address}) has no address, so the driver cannot initialise it.",
            tuple(evidence),
            Cure(
                "SHOWN",
                "Switch on Above 4G Decoding and Resizable BAR in the firmware, or enlarge the virtual machine's 64-bit MMIO window.",
                (),
                "A firmware setting is changed; the machine has to be restarted.",
            ),
        )


RULE = Rule(
    "hardware/bar-above-4g",
    83,
    "error",
    "the firmware did not map the GPU's memory window",
    check,
    breaks=("driver",),
    needs=("gpu",),
)
