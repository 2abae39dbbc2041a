"""CUDA_VISIBLE_DEVICES names a GPU that does not exist in the container.

In a container GPUs are numbered from 0, whatever their number on the host: with `--gpus device=1` the only GPU is number 0.
CUDA_VISIBLE_DEVICES=1, =all or =-1 then hides every GPU: "No CUDA GPUs are available", "no CUDA-capable device is detected",
"invalid device ordinal". CUDA reads the list up to the first entry that it does not know, and ignores the rest.

How it is told from its look-alikes: the driver's libraries are found, since CUDA counted its devices and got none. Without them
the words are "Found no NVIDIA driver" (`container/container-started-without-gpu`). MIG without instances looks the same (`host`
or `mig/mig-no-instances`); BentoML sets the variable by itself (`bentoml/bento-worker-cuda-visible-devices`). Of a container that
is examined, the variable is held against the number of GPUs that it was given; an empty one or -1, which may be meant, is a
warning.

Cure: unset the variable in the container (it may come from the image, the Compose file or the program) and choose the GPU with
--gpus or device_ids.

Sources: CUDA programming guide (environment variables); PyTorch (torch/cuda); devito issue 2710.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.model import Cure, Finding, Rule
from gpudoctor.rules.container import _given

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts

_NAME = "CUDA_VISIBLE_DEVICES"
_BY_UUID = ("GPU-", "MIG-")


def check(facts: Facts) -> Iterator[Finding]:
    """Find containers whose CUDA_VISIBLE_DEVICES leaves none, or fewer, of the GPUs that they were given."""
    for container in _given.with_gpu(facts):
        value = container.env.get(_NAME)
        count = facts.containers.count(container)
        if value is None or count is None:
            continue
        entries = [each.strip() for each in value.split(",")]
        if any(each.startswith(_BY_UUID) for each in entries):
            continue
        good = next(
            (at for at, each in enumerate(entries) if not (each.isascii() and each.isdigit() and int(each[:9]) < count)),
            len(entries),
        )
        if good == len(entries):
            continue
        meant = value.strip() in {"", "-1", "NoDevFiles"}
        gpus = "the only GPU is number 0" if count == 1 else f"the {count} GPUs are numbers 0 to {count - 1}"
        yield Finding(
            "CUDA_VISIBLE_DEVICES hides every GPU" if not good else "CUDA_VISIBLE_DEVICES hides some GPUs",
            f"{container.name}: {_NAME}={value} hides "
            + ("every GPU" if not good else f"all but the first {good} that it names")
            + f" from CUDA; in this container {gpus}.",
            (_given.proof(container, f"{_NAME}={value}"), *_given.ways(container)),
            Cure(
                "SHOWN",
                f"Start it anew without {_NAME} (it may come from the image or the Compose file), and choose GPUs by --gpus or device_ids.",
                (f"docker inspect --format '{{{{json .Config.Env}}}}' {container.name}",),
                _given.ANEW,
            ),
            severity="warning" if good or meant else "error",
            breaks=() if good or meant else ("container",),
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
