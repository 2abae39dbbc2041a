"""BentoML sets CUDA_VISIBLE_DEVICES for each worker, to a GPU that may not be there.

Workers are given numbers for as many GPUs as the service asks for. With fewer GPUs, or with one that was chosen by
CUDA_VISIBLE_DEVICES before, a worker gets a number that does not exist, and torch.cuda.is_available() is False in it, though it
is True in a plain Python. BentoML's log: "Environ for worker 0: set CUDA_VISIBLE_DEVICES to 0".

How it is told from its look-alikes: the variable is wrong in the worker only: of a running container that has BENTO_PATH or another
variable of BentoML's, the processes' own variables are read (as root) and compared with the container's. Where it is wrong in the
whole container, it is `container/cuda-visible-devices-wrong`.

Cure: make resources.gpu and workers of the service match the GPUs that the container has; start with CUDA_VISIBLE_DEVICES=0 for
one GPU, or with BENTOML_DISABLE_GPU_ALLOCATION=1.

Sources: BentoML (strategy of workers, _bentoml_impl/server/allocator.py); BentoML issues 5443 and 3972.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.model import Cure, Evidence, Finding, NotApplicable, Rule, Where
from gpudoctor.rules.container import _given

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts

_NAME = "CUDA_VISIBLE_DEVICES"


def check(facts: Facts) -> Iterator[Finding]:
    """Find processes of a bento that began with the number of a GPU which its container does not have."""
    bentos = [each for each in _given.with_gpu(facts) if any(name.startswith("BENTO") for name in each.env)]
    if not bentos:
        raise NotApplicable("No container that was named runs a bento on a GPU: none has BENTO_PATH in its environment.")
    for container in bentos:
        count = facts.containers.count(container)
        if count is None:
            continue
        wrong = [
            (pid, value)
            for pid, value in facts.containers.own_variable(container, _NAME)
            if any(each.isascii() and each.isdigit() and int(each[:9]) >= count for each in value.replace(" ", "").split(","))
        ]
        if not wrong:
            continue
        value = wrong[0][1]
        # CUDA takes the numbers in their order, up to the first that does not exist.
        first = value.split(",")[0].strip()
        some = first.isascii() and first.isdigit() and int(first[:9]) < count
        gpus = "the only GPU is number 0" if count == 1 else f"the {count} GPUs are numbers 0 to {count - 1}"
        yield Finding(
            "BentoML gives a worker a GPU number that does not exist",
            f"{container.name}: a worker was started with {_NAME}={value}, and in this container {gpus}: "
            + (
                "CUDA finds fewer GPUs in that worker than the service asks for." if some else "CUDA finds no GPU in that worker."
            ),
            (*(Evidence(Where(f"/proc/{pid}/environ"), f"{_NAME}={own}") for pid, own in wrong[:5]), *_given.ways(container)),
            Cure(
                "SHOWN",
                "Let the service's resources.gpu and workers match the GPUs that the container has, or start it with "
                "BENTOML_DISABLE_GPU_ALLOCATION=1.",
                (f"docker run --gpus all -e BENTOML_DISABLE_GPU_ALLOCATION=1 {container.image or 'IMAGE'}",),
                _given.ANEW,
            ),
            severity="warning" if some else None,
            breaks=() if some else None,
        )


RULE = Rule(
    "bentoml/bento-worker-cuda-visible-devices",
    76,
    "error",
    "BentoML gives a worker a GPU number that does not exist",
    check,
    breaks=("container",),
    needs=("driver",),
    needs_input="container",
    signs=(
        "environ for worker <n>: set cuda_visible_devices",
        "bentoml + worker + cuda_visible_devices",
        "bentoml + invalid device ordinal",
        "not enough gpus to be assigned",
        "gpus, but only <n> are remaining. serving may fail",
        "bentoml_disable_gpu_allocation",
        "~ bentoml",
    ),
)
