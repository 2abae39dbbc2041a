"""MIG mode is on, but no GPU instance exists, so CUDA finds no device.

With MIG enabled a GPU can only be used through instances; without one, containers get "no CUDA-capable device is detected".

How it is told from its look-alikes: "no MIG instance" also means that MIG is off, which is healthy, so NVML (or nvidia-smi) has to say that it is on. Instances made after a
container or a CDI spec are missing there only (`cdi/cdi-spec-stale`).

Cure: create instances, write the CDI spec anew, recreate the containers; or switch MIG off. Changing MIG destroys running work.

Sources: NVIDIA MIG user guide.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.model import Cure, Evidence, Finding, NotApplicable, Rule, Where

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts


def check(facts: Facts) -> Iterator[Finding]:
    """Find GPUs in MIG mode without instances."""
    if not facts.host.exists("/proc/driver/nvidia/capabilities"):
        raise NotApplicable("The driver offers no MIG here.")
    nvml = facts.driver.nvml
    enabled = [gpu for gpu in (nvml or {}).get("gpus") or () if isinstance(gpu, dict) and gpu.get("mig") is True]
    if not enabled:
        return
    empty = [gpu for gpu in enabled if not gpu.get("mig_devices")]
    if not empty or facts.gpus.mig_instances:
        return
    index = empty[0].get("index")
    yield Finding(
        "MIG is on, but there is no GPU instance",
        f"GPU {index} is in MIG mode and has no instance: CUDA finds no device in any container.",
        (
            Evidence(Where("NVML"), f"GPU {index}: MIG enabled, no MIG device"),
            Evidence(Where("/proc/driver/nvidia/capabilities"), "no mig/gi* of any GPU"),
        ),
        Cure(
            "SHOWN",
            "Create GPU and compute instances and write the CDI spec anew; or switch MIG off.",
            ("sudo nvidia-smi mig -lgip", "sudo nvidia-smi mig -cgi 19 -C  # a profile of the list", f"sudo nvidia-smi -i {index} -mig 0  # or: off"),
            "Changing MIG destroys what runs on the GPU.",
        ),
        severity="error" if len(empty) == len((nvml or {}).get("gpus") or ()) else "warning",
    )


RULE = Rule(
    "mig/mig-no-instances",
    109,
    "error",
    "MIG is on, but there is no GPU instance",
    check,
    breaks=("nodes",),
    needs=("gpu", "driver"),
)
