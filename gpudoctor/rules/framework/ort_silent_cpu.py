"""ONNX Runtime could not start the CUDA provider and went on with the CPU.

A session is made even if its first provider fails: the reason stands in the log ("Failed to create CUDAExecutionProvider") and
the program is slow. get_available_providers() and get_device() say what the package was built with, not what works.

How it is told from its look-alikes: session.get_providers() lacks CUDAExecutionProvider. The line before in the log names the
cause, often `framework/ort-cuda-major-mismatch` or `framework/ort-cudnn-mismatch`.

Cure: mend what the log names, and have the program stop if the provider is missing from session.get_providers().

Sources: ONNX Runtime documentation (execution providers); onnxruntime issues 5337 and 23372.
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
    "framework/ort-silent-cpu",
    62,
    "warning",
    "ONNX Runtime runs on the CPU without an exception",
    check,
    breaks=("container",),
    needs=("driver",),
    needs_input="image",
    signs=(
        "[cpuexecutionprovider]",
        "failed to create cudaexecutionprovider",
        "cudaexecutionprovider + falling back to cpuexecutionprovider",
    ),
)
