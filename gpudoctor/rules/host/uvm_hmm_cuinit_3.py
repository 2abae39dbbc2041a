"""Heterogeneous memory management in nvidia_uvm fails on this kernel: nvidia-smi works and cuInit returns 3.

With the open modules and a kernel that has HMM, nvidia_uvm of branches 570 to 580 can fail to initialise (seen on kernels 6.11 and newer and on EL9 and EL10): every CUDA
program, on the host too, gets CUDA_ERROR_NOT_INITIALIZED.

How it is told from its look-alikes: open modules with HMM on are healthy on most hosts, so this needs the kernel log's word (or the number 3 of cuInit, which the
smoke test asks for). 999 only in the container is another cause; 802 is the fabric manager.

Cure: switch HMM off in nvidia_uvm and load it anew. HMM's features (system memory as GPU memory without copies) are lost.

Sources: CUDA 13.2 release notes (HMM and KASLR); open-gpu-kernel-modules issues; nvidia_uvm's module parameters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.model import Cure, Evidence, Finding, NotApplicable, Rule, Where

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts


_CONF = "/etc/modprobe.d/nvidia-uvm-hmm.conf"


def check(facts: Facts) -> Iterator[Finding]:
    """Find the kernel log's word that HMM could not be initialised."""
    driver = facts.driver
    if driver.flavour != "open" or "nvidia_uvm" not in driver.modules:
        raise NotApplicable("The open modules with nvidia_uvm are not loaded.")
    disabled = (facts.host.text("/sys/module/nvidia_uvm/parameters/uvm_disable_hmm") or "").strip()
    if disabled in {"Y", "1"}:
        return
    line = driver.logged("nvidia-uvm", "HMM") or driver.logged("nvidia_uvm", "HMM") or driver.logged("uvm_hmm")
    if line is None or not any(word in line.lower() for word in ("fail", "error", "unable", "could not")):
        return
    yield Finding(
        "nvidia_uvm cannot initialise HMM on this kernel",
        "nvidia_uvm failed to set up heterogeneous memory management: nvidia-smi works, but every CUDA program gets error 3 (not initialized).",
        (
            Evidence(Where("dmesg"), line),
            Evidence(Where("/sys/module/nvidia_uvm/parameters/uvm_disable_hmm"), disabled or "absent"),
        ),
        Cure(
            "DISRUPTIVE",
            "Switch HMM off in nvidia_uvm and load the module anew.",
            (
                f"echo 'options nvidia_uvm uvm_disable_hmm=1' | sudo tee {_CONF}",
                "sudo rmmod nvidia_uvm && sudo modprobe nvidia_uvm",
            ),
            "rmmod fails while a GPU program runs; HMM's features are lost.",
        ),
    )


RULE = Rule(
    "host/uvm-hmm-cuinit-3",
    21,
    "error",
    "nvidia_uvm cannot initialise HMM on this kernel",
    check,
    breaks=("uvm",),
    needs=("gpu", "driver"),
)
