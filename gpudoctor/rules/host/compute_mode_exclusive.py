"""The GPU is set to admit one process only, and it has one.

In compute mode EXCLUSIVE_PROCESS the second program gets "all CUDA-capable devices are busy or unavailable"; in PROHIBITED
every program does. Clusters and hosts that used MPS have it set.

How it is told from its look-alikes: `nvidia-smi -q` says Compute Mode: Exclusive_Process. In mode Default, memory is the usual
reason (`container/gpu-memory-occupied`).

Cure: nvidia-smi -c 0 sets the mode to Default until the next reboot; ask who runs the cluster first. Or run on another GPU.

Sources: nvidia-smi(1), compute mode; CUDA runtime API, error 46.
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
    "host/compute-mode-exclusive",
    74,
    "error",
    "the GPU admits one process, and has one",
    check,
    needs=("gpu",),
    needs_input="text",
    signs=(
        "all cuda-capable devices are busy or unavailable",
        "cudaerrordevicesunavailable",
        "cudaerrordevicealreadyinuse",
        "exclusive_process + cuda",
        "~ (e. process|exclusive)",
    ),
)
