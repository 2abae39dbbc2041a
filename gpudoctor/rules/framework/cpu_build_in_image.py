"""The image has a build without CUDA.

ONNX Runtime says "Specified provider 'CUDAExecutionProvider' is not in available provider names". Many programs publish a CPU
image under the plain tag and a CUDA image under another.

How it is told from its look-alikes: onnxruntime.get_available_providers() lacks CUDA. If onnxruntime-gpu is installed beside
the CPU package, it is `framework/ort-cpu-package-shadows-gpu`; for PyTorch see `framework/torch-cpu-wheel`.

Cure: take the image's CUDA tag, or install the package with CUDA (onnxruntime-gpu).

Sources: onnxruntime (python/onnxruntime_inference_collection.py); ONNX Runtime installation guide.
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
    "framework/cpu-build-in-image",
    77,
    "error",
    "the program in the image was built without CUDA",
    check,
    breaks=("container",),
    needs=("driver",),
    needs_input="image",
    signs=(
        "specified provider cudaexecutionprovider is not in available provider names",
        "this build*(was not compiled with|compiled without) cuda",
        "not compiled with (gpu|cuda) support",
    ),
)
