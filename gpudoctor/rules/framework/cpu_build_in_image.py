"""The image has a build without CUDA.

ONNX Runtime says "Specified provider 'CUDAExecutionProvider' is not in available provider names". Many programs publish a CPU
image under the plain tag and a CUDA image under another.

How it is told from its look-alikes: onnxruntime.get_available_providers() lacks CUDA. If onnxruntime-gpu is installed beside
the CPU package, it is `framework/ort-cpu-package-shadows-gpu`; for PyTorch see `framework/torch-cpu-wheel`.

In an image with CUDA it is a warning: another program in it may be the one that uses the GPU.

Cure: take the image's CUDA tag, or install the package with CUDA (onnxruntime-gpu).

Sources: onnxruntime (python/onnxruntime_inference_collection.py); ONNX Runtime installation guide.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.model import Cure, Finding, NotApplicable, Rule
from gpudoctor.rules import images

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts


_CPU = {
    "onnxruntime": ("onnxruntime-gpu", "onnxruntime-gpu"),
    "tensorflow-cpu": ("tensorflow[and-cuda]", "tensorflow"),
    "faiss-cpu": ("faiss-gpu-cu12", "faiss-gpu-cu12"),
    "jax": ("jax[cuda12]", "jax-cuda12-plugin"),
    "paddlepaddle": ("paddlepaddle-gpu", "paddlepaddle-gpu"),
}
"""Packages without CUDA: what to install in their place, and the package whose presence makes up for it."""


def check(facts: Facts) -> Iterator[Finding]:
    """Find the CPU build of a framework in an image that has CUDA."""
    images.need_gpu(facts)
    image = facts.image
    if image.cuda is None and image.flavour in {None, "none"}:
        raise NotApplicable("The image has no CUDA, so it may be meant for CPUs.")
    for name, (other, beside) in _CPU.items():
        package = image.installed(name)
        if (
            package is None
            or package.extras
            or image.installed(beside) is not None
            or image.installed("jax-cuda13-plugin") is not None
        ):
            continue
        yield Finding(
            "the program in the image was built without CUDA",
            f"The image has CUDA, and {name}, which does not use it"
            + (f", unless {image.unread}, which is not examined, brings the other build." if image.unread else "."),
            (images.evidence(image.told(package)), images.evidence(image.base_told)),
            Cure("SHOWN", f"If it shall use the GPU, install {other} in its place.", (f"pip install '{other}'",)),
            severity="hint" if image.unread else "warning",
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
        "not compiled with gpu offload support",
        "cuda-enabled jaxlib is not installed",
        "no gpu/tpu found, falling back to cpu",
        "no platforms that are instances of (gpu|cuda) are present",
        "(gpu|cuda) tree learner was not enabled in this build",
        "has no attribute standardgpuresources",
        "the library is compiled without cuda support",
        "bitsandbytes was compiled without gpu support",
        "cuda execution provider is not enabled in this build",
    ),
)
