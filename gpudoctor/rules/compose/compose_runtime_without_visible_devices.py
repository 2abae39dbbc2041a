"""A service runs with the nvidia runtime and does not say which GPUs.

The runtime gives a container the GPUs that NVIDIA_VISIBLE_DEVICES names, and nothing where the variable is not set. Images of CUDA
bring it along; python, ubuntu or debian do not: the container starts without a GPU, and nothing is reported.

How it is told from its look-alikes: the service names one of the official images that bring no such variable, and neither its
environment nor its env_file sets it. Of other images it is not known, and none is found. A reservation needs no variable.

Cure: add `NVIDIA_VISIBLE_DEVICES: all` to the environment, or reserve the GPU.

Sources: NVIDIA container toolkit documentation (NVIDIA_VISIBLE_DEVICES); Docker Official Images.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.facts.composed import VISIBLE
from gpudoctor.facts.image import reference
from gpudoctor.model import Cure, Finding, NotApplicable, Rule
from gpudoctor.rules.compose import _services

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts
    from gpudoctor.host import Unseen


_BARE = frozenset({"python", "ubuntu", "debian", "fedora", "rockylinux", "almalinux", "node", "golang", "rust", "buildpack-deps"})
"""Official images that set no variable of NVIDIA's."""


def check(facts: Facts) -> Iterator[Finding]:
    """Find services with the nvidia runtime, an image without the variable, and no variable of their own."""
    _services.need_this_host(facts)
    named = [each for each in facts.composed.services if each.by_runtime and not each.gpu_requests]
    if not named:
        raise NotApplicable("No service of the Compose file gets its GPU by the nvidia runtime alone.")
    doubts: list[Unseen | None] = []
    for service in named:
        image = service.value.get("image")
        if VISIBLE in service.environment or service.cdi or image is None or image.kind != "text" or service.value.get("build"):
            continue
        if image.unset or reference(image.text).repository not in _BARE or service.runtime is None:
            continue
        unread = service.unknown_environment()
        if unread is not None:
            doubts.append(_services.unread(unread))
            continue
        doubts.append(_services.lacking(service))
        if doubts[-1] is not None:
            continue
        yield Finding(
            "the nvidia runtime is not told which GPUs",
            f"{service.name} runs with the runtime {service.runtime.text}, and neither it nor {image.text} sets {VISIBLE}: the container gets no "
            "GPU.",
            (_services.at(service.runtime, f"runtime: {service.runtime.text}"), _services.at(image, f"image: {image.text}")),
            Cure(
                "SHOWN",
                "Add the variable to its environment, and make the container anew.",
                (f"{VISIBLE}: all", _services.again(facts, service)),
                _services.ANEW,
            ),
        )
    _services.settle(doubts)


RULE = Rule(
    "compose/compose-runtime-without-visible-devices",
    58,
    "error",
    "the nvidia runtime is not told which GPUs",
    check,
    breaks=("container",),
    needs=("driver", "runtime"),
    needs_input="compose",
)
