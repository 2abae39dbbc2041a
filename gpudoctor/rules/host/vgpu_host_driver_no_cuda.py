"""The driver is the vGPU manager of a hypervisor host, which has no CUDA.

The host driver of NVIDIA vGPU shares a GPU among virtual machines. It brings nvidia.ko, nvidia-smi and
libnvidia-ml but no libcuda: nvidia-smi works on the host and in a container, while every CUDA program says
"CUDA driver version is insufficient for CUDA runtime version".

How it is told from its look-alikes: the module nvidia_vgpu_vfio is loaded and there is no libcuda. Without
that module a missing libcuda is an incomplete installation (`host/host-driver-libs-incomplete`); with libcuda
the words mean that the driver is older than the program.

Cure: run CUDA in the virtual machine, with the vGPU guest driver, or replace the host's driver by the
data-center one, which ends the sharing among virtual machines.

Sources: NVIDIA vGPU software user guide; bigstack-oss/cubecos#312.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.model import Cure, Evidence, Finding, NotApplicable, Rule, Where

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts

_MODULE = "nvidia_vgpu_vfio"


def check(facts: Facts) -> Iterator[Finding]:
    """Find the vGPU manager's module without libcuda."""
    if _MODULE not in facts.driver.modules:
        raise NotApplicable("The vGPU manager's module is not loaded.")
    library = facts.driver.libraries.get("libcuda.so.1")
    if library is not None and library.real is not None:
        return
    yield Finding(
        "the vGPU host driver has no CUDA",
        "This host runs the vGPU manager, which shares the GPU among virtual machines and brings no libcuda: no CUDA program "
        "works on the host or in its containers.",
        (
            Evidence(Where("/proc/modules"), f"{_MODULE} is loaded"),
            Evidence(Where(facts.driver.version_source), f"driver {facts.driver.version or 'of unknown version'}"),
            Evidence(Where("libcuda.so.1"), "not in the linker's cache and not in the usual folders"),
        ),
        Cure(
            "SHOWN",
            "Run CUDA in a virtual machine with the vGPU guest driver; or install the data-center driver on this host.",
            risk="The data-center driver takes the vGPUs from the virtual machines.",
        ),
    )


RULE = Rule(
    "host/vgpu-host-driver-no-cuda",
    122,
    "error",
    "the vGPU host driver has no CUDA",
    check,
    breaks=("libraries",),
    needs=("gpu", "driver"),
    signs=(
        "cuda driver version is insufficient for cuda runtime version",
        "cuda driver version is insufficient",
        "cuda_error_insufficient_driver",
        "cudaerrorinsufficientdriver",
        "nvidia_vgpu_vfio + cuda",
        "~ vgpu",
    ),
)
