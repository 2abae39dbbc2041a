"""The GPU has not enough free memory: something else holds it, or the program wants more than there is.

"CUDA out of memory", or with vLLM "Free memory on device ... is less than desired GPU memory utilization". Other containers, a
process left over from an earlier run, or a desktop hold memory; vLLM wants 90 % of the card unless told otherwise.

How it is told from its look-alikes: nvidia-smi on the host shows who holds how much (a process of another container is seen
from the host only). A defective memory has its own error (`hardware/ecc-uncorrectable`).

Cure: stop the other user, choose another GPU, or ask for less (smaller batches, --gpu-memory-utilization, a smaller model).

Sources: CUDA runtime API, error 2; PyTorch notes on CUDA memory; vLLM (vllm/v1/worker).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.model import NotApplicable, Rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts
    from gpudoctor.model import Finding


def check(facts: Facts) -> Iterator[Finding]:  # noqa: ARG001 - a host has nothing to ask
    """Say what this rule is told from."""
    raise NotApplicable(
        "It shows in a container, which a diagnosis of the host does not look at; `gpudoctor explain` tells it from the error text."
    )


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
    ),
)
