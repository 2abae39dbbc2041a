"""ONNX Runtime could not start the CUDA provider and went on with the CPU.

A session is made even if its first provider fails: the reason stands in the log ("Failed to create CUDAExecutionProvider") and
the program is slow. get_available_providers() and get_device() say what the package was built with, not what works.

How it is told from its look-alikes: session.get_providers() lacks CUDAExecutionProvider. The line before in the log names the
cause, often `framework/ort-cuda-major-mismatch` or `framework/ort-cudnn-mismatch`.

Of an image it is found where the libraries that the provider opens are not there; it follows from that finding.

Cure: mend what the log names, and have the program stop if the provider is missing from session.get_providers().

Sources: ONNX Runtime documentation (execution providers); onnxruntime issues 5337 and 23372.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.model import Cure, Finding, Rule
from gpudoctor.rules import images
from gpudoctor.rules.framework import _wheels

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts


def check(facts: Facts) -> Iterator[Finding]:
    """Find an onnxruntime-gpu that cannot load its CUDA provider here, which it says in a log line only."""
    images.need_gpu(facts)
    trouble = _wheels.onnxruntime(facts)
    if trouble is None or trouble.kind == "cudnn-minor":
        return
    yield Finding(
        "ONNX Runtime runs on the CPU without an exception",
        f"The CUDA provider of {images.named(trouble.wheel, 'onnxruntime-gpu')} does not load in this image{trouble.clause}; the program goes on "
        "with the CPU, and only the log says so.",
        (images.evidence(trouble.wheel.told),),
        Cure("SHOWN", "Let the program stop where CUDAExecutionProvider is not in session.get_providers()."),
        severity=trouble.severity,
    )


RULE = Rule(
    "framework/ort-silent-cpu",
    62,
    "warning",
    "ONNX Runtime runs on the CPU without an exception",
    check,
    breaks=("container",),
    needs=("driver",),
    follows=("framework/ort-cuda-major-mismatch", "framework/ort-cudnn-mismatch", "framework/ort-missing-cuda-libs"),
    needs_input="image",
    signs=(
        "[cpuexecutionprovider]",
        "failed to create cudaexecutionprovider",
        "cudaexecutionprovider + falling back to cpuexecutionprovider",
        "falling back to [cpuexecutionprovider] and retrying",
        "some nodes were not assigned to the preferred execution providers",
    ),
)
