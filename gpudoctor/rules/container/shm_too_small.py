"""The container has Docker's default of 64 MB of shared memory, and the program needs more.

PyTorch's data loader and NCCL pass data through /dev/shm. When it is full, a worker dies ("Unexpected bus error encountered in
worker. This might be caused by insufficient shared memory (shm)", "DataLoader worker is killed by signal: Bus error") or NCCL
gives up ("Call to posix_fallocate failed: No space left on device").

How it is told from its look-alikes: `df /dev/shm` in the container says 64M. A host that has run out of memory kills processes
as well, but the kernel's log then says so.

Cure: start the container with --shm-size=8g (Compose: shm_size: 8g), or with --ipc=host, which shares the host's IPC with it.

Sources: PyTorch (torch/utils/data/_utils/signal_handling.py); NCCL (src/include/shm.h); Docker documentation of --shm-size.
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
    "container/shm-too-small",
    14,
    "error",
    "the container's shared memory is too small",
    check,
    breaks=("container",),
    needs=("driver",),
    needs_input="container",
    signs=(
        "insufficient shared memory (shm)",
        "unexpected bus error encountered in worker",
        "killed by signal: bus error",
        "call to posix_fallocate failed",
        "ncclshmopen",
        "shmem allocation limit is set to the default of 64mb",
        "error while creating shared memory segment",
        "unable to allocate shared memory(shm)",
        "shm 64m*/dev/shm + (nvidia|nccl|torch|vllm|cuda)",
        "unable to write to file </torch_",
        "no space left on device*/dev/shm + (nccl|torch|vllm)",
    ),
)
