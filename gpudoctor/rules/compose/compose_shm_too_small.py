"""A service runs a program that needs more shared memory than Docker's default of 64 MB.

PyTorch's data loaders with several workers, NCCL, vLLM and Triton pass data through /dev/shm, and die of a bus error when it is full.

How it is told from its look-alikes: it is only a hint, of services that want a GPU, that say by their command, image or variables that
such a program runs, and that set neither shm_size nor ipc and mount nothing at /dev/shm. With one worker and one GPU 64 MB may do. Of a
container it is `container/shm-too-small`.

Cure: add `shm_size: 8g`, or `ipc: host`.

Sources: PyTorch (torch/utils/data/_utils/signal_handling.py); NCCL (src/include/shm.h); vLLM documentation (deployment with Docker).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.facts.image import reference
from gpudoctor.model import Cure, Finding, NotApplicable, Rule
from gpudoctor.rules.compose import _services

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts
    from gpudoctor.facts.composed import Service
    from gpudoctor.formats.composed import Value
    from gpudoctor.host import Unseen


_WORDS = ("vllm", "tritonserver", "torchrun", "torch.distributed", "deepspeed", "num_workers", "num-workers", "sglang", "nccl")
_IMAGES = frozenset({"vllm/vllm-openai", "nvidia/tritonserver", "lmsysorg/sglang"})
_SHM = "/dev/shm"  # noqa: S108 - a path in the container


def check(facts: Facts) -> Iterator[Finding]:
    """Find services with such a program and the default of shared memory."""
    services = [(each, sign) for each in _services.wanting(facts) if (sign := _sign(each)) is not None]
    if not services:
        raise NotApplicable("Nothing in the Compose file shows a program that is known to need much shared memory.")
    doubts: list[Unseen | None] = []
    for service, (place, says) in services:
        ipc = service.value.get("ipc")
        own = ipc is None or ipc.text in {"", "private", "shareable"}
        if not own or service.value.get("shm_size") is not None or _mounts(service):
            continue
        doubt = _services.lacking(service)
        doubts.append(doubt)
        if doubt is not None:
            continue
        yield Finding(
            "the service has little shared memory",
            f"{service.name} runs a program that passes data through /dev/shm, and gets Docker's default of 64 MB: when that is full, it dies of "
            "a bus error.",
            (_services.at(place, says),),
            Cure(
                "SHOWN",
                f"Add `shm_size: 8g` (or `ipc: host`) to {service.name}, and make the container anew.",
                (_services.again(facts, service),),
                f"{_services.ANEW} The memory is used only as far as it is filled.",
            ),
        )
    _services.settle(doubts)


def _sign(service: Service) -> tuple[Value, str] | None:
    """Return what shows such a program: where, and what stands there."""
    image = service.value.get("image")
    if image is not None and image.kind == "text" and reference(image.text).repository in _IMAGES:
        return image, f"image: {image.text}"
    for name in ("command", "entrypoint"):
        for each in service.value.all(name):
            if each.kind == "text" and any(word in each.text.lower() for word in _WORDS):
                return each, f"{name}: {' '.join(each.text.split())[:80]}"
    for name, value in service.environment.items():
        if name.startswith("NCCL_"):
            return value, f"{name}={value.text}"
    return None


def _mounts(service: Service) -> bool:
    """Say whether something is mounted at /dev/shm."""
    for name in ("volumes", "tmpfs"):
        for each in service.value.all(name):
            target = each.get("target") if each.kind == "map" else each
            if target is not None and _SHM in target.text:
                return True
    return False


RULE = Rule(
    "compose/compose-shm-too-small",
    61,
    "hint",
    "a service may need more shared memory",
    check,
    needs=("driver",),
    needs_input="compose",
)
