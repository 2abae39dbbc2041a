"""The packages onnxruntime and onnxruntime-gpu are both installed and overwrite each other.

Both install the same Python module, and the one that was written last wins: get_available_providers() then lists
['AzureExecutionProvider', 'CPUExecutionProvider'] although onnxruntime-gpu is installed. Another package often requires the
plain one.

How it is told from its look-alikes: `pip list` shows both. Where it shows the CPU package alone, it is
`framework/cpu-build-in-image`.

Cure: pip uninstall -y onnxruntime onnxruntime-gpu, then pip install onnxruntime-gpu; do so after everything that requires
onnxruntime.

Sources: ONNX Runtime installation guide (one package only).
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
    "framework/ort-cpu-package-shadows-gpu",
    53,
    "error",
    "onnxruntime and onnxruntime-gpu are both installed",
    check,
    breaks=("container",),
    needs=("driver",),
    needs_input="image",
    signs=(
        "[azureexecutionprovider, cpuexecutionprovider]",
        "specified provider cudaexecutionprovider is not in available provider names",
        "~ onnxruntime-gpu",
    ),
)
