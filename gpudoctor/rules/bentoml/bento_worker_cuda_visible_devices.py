"""BentoML sets CUDA_VISIBLE_DEVICES for each worker, to a GPU that may not be there.

Workers are spread over as many GPUs as the service says it has. With fewer GPUs, or with one that was chosen by
CUDA_VISIBLE_DEVICES before, a worker gets a number that does not exist, and torch.cuda.is_available() is False in it, though it
is True in a plain Python. BentoML's log: "Environ for worker 0: set CUDA_VISIBLE_DEVICES to 0".

How it is told from its look-alikes: the variable is wrong in the worker only. Where it is wrong in the whole container, it is
`container/cuda-visible-devices-wrong`.

Cure: make resources.gpu and workers of the service match the GPUs that the container has; start with CUDA_VISIBLE_DEVICES=0 for
one GPU.

Sources: BentoML (strategy of workers, _bentoml_impl/server/allocator.py); BentoML issues 5443 and 3972.
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
    raise NotApplicable("It is told from its error text: `gpudoctor explain`.")


RULE = Rule(
    "bentoml/bento-worker-cuda-visible-devices",
    76,
    "error",
    "BentoML gives a worker a GPU number that does not exist",
    check,
    breaks=("container",),
    needs=("driver",),
    needs_input="text",
    signs=(
        "environ for worker <n>: set cuda_visible_devices",
        "bentoml + worker + cuda_visible_devices",
    ),
)
