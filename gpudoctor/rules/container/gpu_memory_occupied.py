"""The GPU has not enough free memory: something else holds it, or the program wants more than there is.

"CUDA out of memory", or with vLLM "Free memory on device ... is less than desired GPU memory utilization". Other containers, a
process left over from an earlier run, or a desktop hold memory; vLLM wants 90 % of the card unless told otherwise.

How it is told from its look-alikes: nvidia-smi on the host shows who holds how much (a process of another container is seen
from the host only), and `gpudoctor ps` names the containers. Of a container that is examined, it is a warning where less than a
tenth of its GPU is free and others than itself hold at least half. A defective memory has its own error
(`hardware/ecc-uncorrectable`).

Cure: stop the other user, choose another GPU, or ask for less (smaller batches, --gpu-memory-utilization, a smaller model).

Sources: CUDA runtime API, error 2; PyTorch notes on CUDA memory; vLLM (vllm/v1/worker).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.model import Cure, Evidence, Finding, Rule, Where
from gpudoctor.rules.container import _given

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts
    from gpudoctor.facts.containers import Container
    from gpudoctor.facts.usage import Gpu

_FREE = 10
_OTHERS = 2
_MIB = 20


def check(facts: Facts) -> Iterator[Finding]:
    """Find containers whose GPUs are full of what others than themselves hold."""
    for container in _given.with_gpu(facts):
        for gpu in facts.usage.gpus:
            if not _is_of(container, gpu) or gpu.total is None or gpu.used is None or gpu.users is None:
                continue
            own = [user.memory for user in gpu.users if user.container_id == container.id]
            others = gpu.used - sum(each or 0 for each in own)
            if None in own or (gpu.total - gpu.used) * _FREE >= gpu.total or others * _OTHERS < gpu.total:
                continue
            rest = [user for user in gpu.users if user.container_id != container.id]
            held = [
                Evidence(
                    Where("NVML"),
                    f"process {user.pid} ({user.program or 'unknown'}) of {user.container or 'the host'}: {_size(user.memory)}",
                )
                for user in sorted(rest, key=lambda user: -(user.memory or 0))[:5]
            ]
            yield Finding(
                "the GPU's memory is held by others",
                f"GPU {gpu.number} ({gpu.name}), which {container.name} was given, has {_size(gpu.total - gpu.used)} of {_size(gpu.total)} free; "
                f"others hold {_size(others)}.",
                (Evidence(Where("NVML"), f"GPU {gpu.number}: {_size(gpu.used)} of {_size(gpu.total)} used"), *held),
                Cure(
                    "SHOWN",
                    "Stop the other user, choose another GPU, or ask for less.",
                    ("gpudoctor ps",),
                    "Whatever is stopped loses its work.",
                ),
                severity="warning",
                breaks=(),
            )


def _is_of(container: Container, gpu: Gpu) -> bool:
    """Say whether a container was given this GPU, by all, index, UUID, CDI name or node; a node's number is not the index."""
    names = {which.removeprefix("nvidia.com/gpu=") for way in container.ways for which in way.which}
    return bool(names & {"all", str(gpu.number), gpu.uuid})


def _size(size: int | None) -> str:
    return "unknown" if size is None else f"{size >> _MIB} MiB"


RULE = Rule(
    "container/gpu-memory-occupied",
    15,
    "error",
    "the GPU's memory is used up",
    check,
    breaks=("container",),
    needs=("driver",),
    needs_input="container",
    signs=(
        "cuda failure 2: out of memory",
        "cuda out of memory",
        "cuda error: out of memory",
        "cuda_error_out_of_memory",
        "cudaerrormemoryallocation",
        "cudamalloc failed: out of memory",
        "free memory on device*less than desired gpu memory utilization",
        "no available memory for the cache blocks",
        "oom when allocating tensor*gpu",
        "failed to allocate memory for requested buffer of size + cuda",
        "cuda runtime error (2): out of memory",
        "cublas_status_alloc_failed",
        "allocator (gpu_<n>_bfc) ran out of memory",
        "torch.outofmemoryerror",
        "out_of_memory: cuda error at",
        "error in memory profiling",
        "is smaller than requested bytes of",
    ),
)
