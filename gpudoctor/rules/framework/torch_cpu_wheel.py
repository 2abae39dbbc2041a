"""The PyTorch that is installed is the build without CUDA.

"Torch not compiled with CUDA enabled": the wheel came from the CPU index, or another package brought it, or the platform has no
CUDA wheel.

How it is told from its look-alikes: torch.version.cuda is None and torch.__version__ often ends in +cpu. Where it has a
version, the GPU is missing (`container/container-started-without-gpu`).

Cure: uninstall torch and install it from the index of the CUDA that the driver supports (--index-url .../whl/cu126).

Sources: PyTorch (torch/cuda/__init__.py); PyTorch installation guide.
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
        "It shows in an image, which a diagnosis of the host does not look at; `gpudoctor explain` tells it from the error text."
    )


RULE = Rule(
    "framework/torch-cpu-wheel",
    54,
    "error",
    "PyTorch was installed without CUDA",
    check,
    breaks=("container",),
    needs=("driver",),
    needs_input="image",
    signs=(
        "torch not compiled with cuda enabled",
        "torch*<n>.<n>.<n>+cpu",
        "cuda.is_available()*false",
        "attempting to deserialize object on a cuda device but torch.cuda.is_available() is false",
    ),
)
