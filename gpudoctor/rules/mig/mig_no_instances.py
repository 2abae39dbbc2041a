"""MIG mode is on, but the GPU has not been divided: there is nothing a program could compute on.

In MIG mode a GPU is used through its instances only. They do not survive a reboot or a reset of the GPU
unless something creates them anew (mig-parted, the GPU operator): nvidia-smi lists the GPU, and CUDA says "no
CUDA-capable device is detected" on the host and in every container.

How it is told from its look-alikes: NVML says that MIG is on and names no MIG device. Missing MIG lines in
`nvidia-smi -L` or in /proc/driver/nvidia/capabilities prove nothing, because a GPU with MIG off has none
either; so where NVML cannot be asked, this cannot be told. Instances that were created after a CDI spec was
written are another matter: then they exist.

Cure: create instances, and the CDI spec anew where one is used; or switch MIG off. Both end what runs on that
GPU. Which profiles to create is your choice.

Sources: NVIDIA MIG user guide; NVIDIA/nvidia-docker#1473; NVIDIA/nvidia-container-toolkit#86.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.model import Cure, Evidence, Finding, NotApplicable, Rule, Where
from gpudoctor.rules import cards

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts
    from gpudoctor.facts.gpu import Function

_CAPABILITIES = "/proc/driver/nvidia/capabilities"


def check(facts: Facts) -> Iterator[Finding]:
    """Find GPUs in MIG mode without a MIG device."""
    gpus = cards.for_driver(facts)
    if not any(_may_have_mig(gpu) for gpu in gpus):
        raise NotApplicable("No GPU of this host has MIG.")
    if facts.driver.loaded is None:
        raise NotApplicable("The NVIDIA driver is not loaded.")
    nvml = facts.driver.nvml
    if nvml is None or nvml.get("init") != 0:
        raise NotApplicable("NVML has not been asked, and nothing else says whether MIG is on.")
    answered = [gpu for gpu in nvml.get("gpus") or () if isinstance(gpu, dict)]
    undivided = [gpu for gpu in answered if gpu.get("mig") is True and not gpu.get("mig_devices")]
    if not undivided:
        return
    indices = [str(gpu.get("index")) for gpu in undivided]
    commands = [
        "nvidia-smi mig -lgip  # the profiles to choose from",
        f"sudo nvidia-smi mig -i {','.join(indices)} -cgi PROFILE,PROFILE -C",
    ]
    if facts.cdi.gpu_specs and facts.cdi.used:
        commands.append(f"sudo nvidia-ctk cdi generate --output={facts.cdi.gpu_specs[0].path}")
    yield Finding(
        "MIG is on and the GPU is not divided",
        f"GPU {' and '.join(indices)}: MIG mode is on but no MIG device exists, so CUDA finds nothing to compute on.",
        (
            *(
                Evidence(Where("NVML"), f"GPU {gpu.get('index')} ({gpu.get('name')}, {gpu.get('pci')}): MIG on, no MIG device")
                for gpu in undivided
            ),
            Evidence(Where(_CAPABILITIES), f"GPU instances: {', '.join(facts.gpus.mig_instances) or 'none'}"),
        ),
        Cure(
            "SHOWN",
            f"Create MIG devices, or switch MIG off (sudo nvidia-smi -i {','.join(indices)} -mig 0).",
            tuple(commands),
            "What runs on this GPU ends. Instances are gone after the next reboot unless a service creates them anew.",
        ),
        severity=None if len(undivided) == len(answered) else "warning",
    )


def _may_have_mig(gpu: Function) -> bool:
    """Say whether a GPU's generation has models with MIG: A100 and A30, Hopper, Blackwell; not Ampere 8.6 and Ada."""
    capability = gpu.capability
    return capability is None or capability == (8, 0) or capability >= (9, 0)


RULE = Rule(
    "mig/mig-no-instances",
    109,
    "error",
    "MIG is on and the GPU is not divided",
    check,
    breaks=("container",),
    needs=("gpu", "driver"),
    signs=(
        "no cuda gpus are available",
        "no cuda-capable device is detected",
        "cudaerrornodevice",
        "no mig devices found",
        "~ mig",
    ),
)
