"""The machine was suspended since the driver was loaded, and nothing preserves the GPU's memory over it.

nvidia_uvm loses its state over suspend or hibernation: afterwards nvidia-smi works and CUDA fails with 999, or frameworks fall back to the CPU without a word.

How it is told from its look-alikes: the kernel log has a resume and PreserveVideoMemoryAllocations is 0; whether CUDA is broken now only a CUDA call tells. With
`host/uvm-hmm-cuinit-3` it fails right from the boot.

Cure: stop the GPU containers, load nvidia_uvm anew; then switch on preservation and NVIDIA's suspend services.

Sources: NVIDIA driver README (power management, NVreg_PreserveVideoMemoryAllocations).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.model import Cure, Evidence, Finding, NotApplicable, Rule, Where

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts


_CONF = "/etc/modprobe.d/nvidia-power-management.conf"


def check(facts: Facts) -> Iterator[Finding]:
    """Find a resume in the kernel log of a host whose driver preserves nothing."""
    driver = facts.driver
    if driver.loaded is None or "nvidia_uvm" not in driver.modules:
        raise NotApplicable("nvidia_uvm is not loaded.")
    if driver.params.get("PreserveVideoMemoryAllocations") != "0":
        return
    line = driver.logged("PM: suspend exit") or driver.logged("PM: hibernation", "exit")
    if line is None:
        return
    yield Finding(
        "the machine was suspended, and CUDA may be broken since",
        "nvidia_uvm does not survive a suspend on this host, and there was one since the boot: CUDA may fail (999) while nvidia-smi works.",
        (
            Evidence(Where("dmesg"), line),
            Evidence(Where("/proc/driver/nvidia/params"), "PreserveVideoMemoryAllocations: 0"),
        ),
        Cure(
            "DISRUPTIVE",
            "Stop the GPU containers and load nvidia_uvm anew; then make the driver preserve its memory over a suspend.",
            (
                "sudo rmmod nvidia_uvm && sudo modprobe nvidia_uvm",
                f"echo 'options nvidia NVreg_PreserveVideoMemoryAllocations=1' | sudo tee {_CONF}",
                "sudo systemctl enable nvidia-suspend nvidia-resume nvidia-hibernate",
            ),
            "rmmod fails while a GPU program runs.",
        ),
    )


RULE = Rule(
    "host/uvm-broken-after-suspend",
    20,
    "warning",
    "the machine was suspended, and CUDA may be broken since",
    check,
    needs=("gpu", "driver", "uvm"),
)
