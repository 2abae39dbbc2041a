"""CUDA_VISIBLE_DEVICES names a GPU that does not exist in the container.

In a container GPUs are numbered from 0, whatever their number on the host: with `--gpus device=1` the only GPU is number 0.
CUDA_VISIBLE_DEVICES=1, =all or =-1 then hides every GPU: "No CUDA GPUs are available", "no CUDA-capable device is detected",
"invalid device ordinal".

How it is told from its look-alikes: the driver's libraries are found, since CUDA counted its devices and got none. Without them
the words are "Found no NVIDIA driver" (`container/container-started-without-gpu`). MIG without instances looks the same (`host`
or `mig/mig-no-instances`); BentoML sets the variable by itself (`bentoml/bento-worker-cuda-visible-devices`).

Cure: unset the variable in the container (it may come from the image, the Compose file or the program) and choose the GPU with
--gpus or device_ids.

Sources: CUDA programming guide (environment variables); PyTorch (torch/cuda); devito issue 2710.
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
    "container/cuda-visible-devices-wrong",
    23,
    "error",
    "CUDA_VISIBLE_DEVICES names a GPU that is not there",
    check,
    breaks=("container",),
    needs=("driver",),
    needs_input="container",
    signs=(
        "no cuda gpus are available",
        "no cuda-capable device is detected",
        "cudaerrornodevice",
        "invalid device ordinal",
        "cudaerrorinvaliddevice",
        "cuda_visible_devices + docker run + --gpus",
        "cuda_error_no_device",
        "attempting to deserialize object on a cuda device but torch.cuda.is_available() is false",
        "~ cuda_visible_devices",
    ),
)
