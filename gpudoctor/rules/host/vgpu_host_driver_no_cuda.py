"""The driver here is the vGPU manager of a hypervisor, which carries no CUDA.

A host that splits its GPU for virtual machines runs the vGPU manager: nvidia-smi works, libcuda does not exist, and containers on the *host* cannot compute.

How it is told from its look-alikes: the module nvidia_vgpu_vfio is loaded and there is no libcuda; a guest with its own vGPU driver has libcuda.

Cure: run CUDA in a guest with the guest driver, or install the data-centre driver on the host (which ends vGPU).

Sources: NVIDIA vGPU software documentation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.model import Cure, Evidence, Finding, NotApplicable, Rule, Where

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts


def check(facts: Facts) -> Iterator[Finding]:
    """Find the vGPU manager without libcuda."""
    driver = facts.driver
    if "nvidia_vgpu_vfio" not in driver.modules and not facts.host.exists("/sys/module/nvidia_vgpu_vfio"):
        raise NotApplicable("This host does not run the vGPU manager.")
    if "libcuda.so.1" in driver.libraries:
        return
    yield Finding(
        "the vGPU manager carries no CUDA",
        "This host runs NVIDIA's vGPU manager, which has no CUDA library: containers on the host cannot compute, those in its guests can.",
        (
            Evidence(Where("/proc/modules"), "nvidia_vgpu_vfio is loaded"),
            Evidence(Where("/usr/lib/x86_64-linux-gnu/libcuda.so.1"), "absent, there and in the other library folders"),
        ),
        Cure(
            "SHOWN",
            "Run CUDA in a guest with the guest driver, or install the data-centre driver on this host.",
            (),
            "The data-centre driver takes the vGPUs from all guests.",
        ),
    )


RULE = Rule(
    "host/vgpu-host-driver-no-cuda",
    122,
    "error",
    "the vGPU manager carries no CUDA",
    check,
    breaks=("libraries",),
    needs=("gpu", "driver"),
)
