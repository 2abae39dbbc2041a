"""The GPU is set to admit one process only, and it has one.

In compute mode EXCLUSIVE_PROCESS the second program gets "all CUDA-capable devices are busy or unavailable"; in PROHIBITED
every program does. Clusters and hosts that used MPS have it set.

How it is told from its look-alikes: NVML (and `nvidia-smi -q`) says compute mode Exclusive_Process or Prohibited. In mode Default,
memory is the usual reason (`container/gpu-memory-occupied`). With MPS the one process is its server, through which others share
the GPU: that is how MPS is meant. An exclusive GPU that is free now is a hint.

Cure: nvidia-smi -c 0 sets the mode to Default until the next reboot; ask who runs the cluster first. Or run on another GPU.

Sources: nvidia-smi(1), compute mode; CUDA runtime API, error 46; NVIDIA Multi-Process Service documentation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gpudoctor.host import NoAnswer
from gpudoctor.model import Cure, Evidence, Finding, NotApplicable, Rule, Where

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts

_MPS = "nvidia-cuda-mps"
_COMM = 15  # the kernel keeps no more of a process's name


def check(facts: Facts) -> Iterator[Finding]:
    """Find GPUs that admit no process, or one that is there already."""
    nvml = facts.driver.nvml
    if nvml is None or nvml.get("init") != 0:
        raise NotApplicable("NVML was not asked on this host, or gave no answer.")
    for gpu in nvml.get("gpus") or ():
        mode = gpu.get("compute_mode") if isinstance(gpu, dict) else None
        if mode in {"prohibited", "exclusive_process", "exclusive_thread"}:
            yield from _judged(facts, gpu, str(mode))


def _judged(facts: Facts, gpu: dict[str, Any], mode: str) -> Iterator[Finding]:
    pids = [each["pid"] for each in gpu.get("processes") or () if isinstance(each, dict) and isinstance(each.get("pid"), int)]
    names = {pid: _name(facts, pid) for pid in pids}
    if mode != "prohibited" and any(name.startswith(_MPS[:_COMM]) for name in names.values()):
        return
    name = f"{gpu.get('name') or 'GPU'} at {gpu.get('pci') or gpu.get('index')}"
    if mode == "prohibited":
        text = f"{name} admits no program at all: each gets 'all CUDA-capable devices are busy or unavailable'."
    elif pids:
        held = ", ".join(f"{pid} ({names[pid]})" if names[pid] else str(pid) for pid in pids)
        text = (
            f"{name} admits one process only, and process {held} has it: every other program is refused as 'busy or unavailable'."
        )
    else:
        text = f"{name} admits one process only: two containers cannot use it at the same time."
    free = mode != "prohibited" and not pids
    yield Finding(
        "the GPU admits one process" if free else "the GPU admits no further process",
        text,
        (Evidence(Where("NVML"), f"GPU {gpu.get('index')}: compute mode {mode}"),),
        Cure(
            "SHOWN",
            "Set the mode to Default (until the next reboot), or use another GPU.",
            (f"sudo nvidia-smi -i {gpu.get('pci') or gpu.get('index')} -c 0",),
            "Whoever set the mode relies on being alone on the GPU: ask first on a cluster.",
        ),
        severity="hint" if free else "error" if mode == "prohibited" else "warning",
    )


def _name(facts: Facts, pid: int) -> str:
    try:
        return (facts.host.text(f"/proc/{pid}/comm") or "").strip()
    except NoAnswer:
        return ""


RULE = Rule(
    "host/compute-mode-exclusive",
    74,
    "error",
    "the GPU admits one process, and has one",
    check,
    needs=("gpu", "driver"),
    signs=(
        "all cuda-capable devices are busy or unavailable",
        "cudaerrordevicesunavailable",
        "cudaerrordevicealreadyinuse",
        "exclusive_process + cuda",
        "~ (e. process|exclusive)",
    ),
)
