"""The container has Docker's default of 64 MB of shared memory, and the program needs more.

PyTorch's data loader and NCCL pass data through /dev/shm. When it is full, a worker dies ("Unexpected bus error encountered in
worker. This might be caused by insufficient shared memory (shm)", "DataLoader worker is killed by signal: Bus error") or NCCL
gives up ("Call to posix_fallocate failed: No space left on device").

How it is told from its look-alikes: `df /dev/shm` in the container says 64M. A host that has run out of memory kills processes
as well, but the kernel's log then says so. Of a container that is examined, only the size shows and not whether its program needs
more: it is a hint, of containers with a GPU, an IPC namespace of their own and nothing else mounted at /dev/shm.

Cure: start the container with --shm-size=8g (Compose: shm_size: 8g), or with --ipc=host, which shares the host's IPC with it.

Sources: PyTorch (torch/utils/data/_utils/signal_handling.py); NCCL (src/include/shm.h); Docker documentation of --shm-size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.facts.containers import DEFAULT_SHM
from gpudoctor.model import Cure, Finding, Rule
from gpudoctor.rules.container import _given

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts


def check(facts: Facts) -> Iterator[Finding]:
    """Find GPU containers with no more than Docker's default of shared memory."""
    for container in _given.with_gpu(facts):
        own = container.ipc in {"", "private", "shareable"}
        if not own or "/dev/shm" in container.mounts or not 0 < container.shm <= DEFAULT_SHM:  # noqa: S108 - a path in the container
            continue
        yield Finding(
            "the container has little shared memory",
            f"{container.name} has {container.shm >> 20} MiB of shared memory: PyTorch's data loaders with several workers and NCCL need more, and "
            "die of a bus error when it is full.",
            (_given.proof(container, f"ShmSize: {container.shm}, IpcMode: {container.ipc or 'private'}"),),
            Cure(
                "SHOWN",
                "If it uses either, start it anew with --shm-size=8g (Compose: shm_size: 8g), or with --ipc=host.",
                (f"docker exec {container.name} df -h /dev/shm",),
                f"{_given.ANEW} --ipc=host shares the host's IPC with it.",
            ),
            severity="hint",
            breaks=(),
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
        "unable to mmap*from file </torch_*",
        "unable to open shared memory object </torch_*",
        "because /dev/shm has only",
        "failed to increase the shared memory pool size",
        "shared memory*use --shm-size",
    ),
)
