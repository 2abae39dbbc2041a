"""The packages onnxruntime and onnxruntime-gpu are both installed and overwrite each other.

Both install the same Python module, and the one that was written last wins: get_available_providers() then lists
['AzureExecutionProvider', 'CPUExecutionProvider'] although onnxruntime-gpu is installed. Another package often requires the
plain one.

How it is told from its look-alikes: `pip list` shows both. Where it shows the CPU package alone, it is
`framework/cpu-build-in-image`.

The order of the RUN lines decides: with onnxruntime-gpu last it is a warning. Packages that require the other one are not
followed.

Cure: pip uninstall -y onnxruntime onnxruntime-gpu, then pip install onnxruntime-gpu; do so after everything that requires
onnxruntime.

Sources: ONNX Runtime installation guide (one package only).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.model import Cure, Finding, Rule
from gpudoctor.rules import images

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts


def check(facts: Facts) -> Iterator[Finding]:
    """Find both packages of ONNX Runtime installed."""
    images.need_gpu(facts)
    image = facts.image
    plain, gpu = image.installed("onnxruntime"), image.installed("onnxruntime-gpu")
    if plain is None or gpu is None:
        return
    together = plain.line == gpu.line and image.of_file
    wins = not together and image.packages.index(plain) < image.packages.index(gpu)
    yield Finding(
        "onnxruntime and onnxruntime-gpu are both installed",
        "Both packages write the same Python module; "
        + (
            "here onnxruntime-gpu comes last and wins, until anything installs the other one again."
            if wins
            else "which one is left is the last one's to decide, and without the GPU package's files no CUDA provider is available."
        ),
        (images.evidence(image.told(plain)), images.evidence(image.told(gpu))),
        Cure(
            "SHOWN",
            "Install onnxruntime-gpu alone, after everything that requires onnxruntime.",
            ("pip uninstall -y onnxruntime onnxruntime-gpu", "pip install onnxruntime-gpu"),
        ),
        severity="warning" if wins or together else None,
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
        "cuda execution provider is not enabled in this build",
        "this ort build has [azureexecutionprovider, cpuexecutionprovider] enabled",
        "~ onnxruntime-gpu",
    ),
)
