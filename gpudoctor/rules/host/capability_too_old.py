"""The GPU's compute capability is below 3.0: no container image of today computes on it.

GPUs of the Tesla and Fermi generations (2006 to 2012, capability 1.x and 2.x) end with driver branches 340
and 390, which no longer build on present kernels and are not packaged any more. CUDA dropped them with
versions 7 and 9, the container toolkit needs a newer driver, and no framework has code for them. Nothing on
this host can be set right so that they work.

How it is told from its look-alikes: by the PCI device id, never by name: a "GeForce GT 710" may be Fermi
(capability 2.1) or Kepler (3.5, see `host/gpu-dropped-by-driver-branch`), and a name of the 600 and 700
series says nothing. An id that our table knows only by its neighbours is called probable and is a hint; so is
an old card that merely drives the display beside a usable GPU.

Cure: use the CPU images without `--gpus`, or another GPU. Nothing is changed by us.

Sources: NVIDIA CUDA toolkit release notes (removed architectures); NVIDIA's list of legacy GPUs; pci.ids.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.model import Cure, Finding, Rule
from gpudoctor.rules import cards

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts

_USABLE = (3, 0)


def check(facts: Facts) -> Iterator[Finding]:
    """Find GPUs of capability 1.x and 2.x."""
    gpus = cards.on_bus(facts)
    old = tuple(gpu for gpu in gpus if gpu.capability is not None and gpu.capability < _USABLE)
    if not old:
        return
    capabilities = sorted({".".join(map(str, gpu.capability)) for gpu in old if gpu.capability is not None})
    left = len(old) < len(gpus)
    sure = not any(gpu.probable for gpu in old)
    yield Finding(
        "the GPU is too old for any container image",
        f"{cards.named(old)}: compute capability {'' if sure else 'probably '}{' and '.join(capabilities)}; container "
        "images and "
        f"frameworks need 3.0 or more, so containers cannot compute on {'this GPU' if len(old) == 1 else 'these GPUs'}.",
        cards.evidence(old),
        Cure(
            "SHOWN",
            "Leave it to the display and give containers the other GPU."
            if left
            else "Use the CPU image without --gpus here, or replace the GPU.",
        ),
        severity="hint" if left or not sure else None,
    )


RULE = Rule(
    "host/capability-too-old",
    26,
    "error",
    "the GPU is too old for any container image",
    check,
    breaks=("gpu",),
)
