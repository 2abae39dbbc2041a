"""CUDA or cuDNN libraries that TensorFlow was built with are not in the image.

TensorFlow opens them by name, says what is missing ("Could not load dynamic library 'libcudnn.so.8'", newer ones only "Cannot
dlopen some GPU libraries") and goes on with the CPU: "Skipping registering GPU devices". Base images without cuDNN, another
CUDA version and a changed LD_LIBRARY_PATH are the usual reasons.

How it is told from its look-alikes: the names in the log are those of CUDA or cuDNN. A missing libcuda.so.1 is the driver's
(`container/container-started-without-gpu`).

In an image that has no CUDA at all, where TensorFlow may be meant for the CPU, it is a hint.

Cure: a base image with cudnn in its tag and the CUDA of this TensorFlow, or pip install 'tensorflow[and-cuda]'.
TF_CPP_MAX_VLOG_LEVEL=3 makes it name the libraries.

Sources: TensorFlow (gpu_device.cc, dso_loader.cc); TensorFlow installation guide, tested build configurations.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.model import Cure, Finding, Rule
from gpudoctor.rules import images
from gpudoctor.rules.framework import _wheels

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts


_LAST_ALONE = 11
"""Up to CUDA 11 (but for 2.14) TensorFlow has no extra that installs the libraries."""


def check(facts: Facts) -> Iterator[Finding]:
    """Find a TensorFlow without the CUDA or cuDNN libraries that it was built with."""
    images.need_gpu(facts)
    trouble = _wheels.tensorflow(facts)
    if trouble is None or trouble.kind == "cudnn-minor":
        return
    wheel = trouble.wheel
    wanted = f"CUDA {wheel.cuda} and cuDNN {wheel.cudnn}"
    plain = facts.image.flavour == "none"
    yield Finding(
        "CUDA or cuDNN libraries that TensorFlow needs are missing",
        f"{images.named(wheel, 'TensorFlow')} was built with {wanted}, and the image has {trouble.has}: it runs on the CPU{trouble.clause}.",
        (images.evidence(wheel.told), images.evidence(trouble.told)),
        Cure(
            "SHOWN",
            f"Install TensorFlow with its libraries, or begin with a cudnn image of CUDA {_wheels.major(wheel.cuda)}."
            if _wheels.major(wheel.cuda) > _LAST_ALONE or wheel.release == "2.14"
            else f"Begin with a cudnn image of CUDA {wheel.cuda}.",
            (f"pip install 'tensorflow[and-cuda]=={wheel.release}.*'",)
            if _wheels.major(wheel.cuda) > _LAST_ALONE or wheel.release == "2.14"
            else (),
        ),
        severity="hint" if plain else trouble.severity,
    )


RULE = Rule(
    "framework/tf-missing-cuda-libs",
    12,
    "error",
    "CUDA or cuDNN libraries that TensorFlow needs are missing",
    check,
    breaks=("container",),
    needs=("driver",),
    needs_input="image",
    signs=(
        "cannot dlopen some gpu libraries",
        "could not load dynamic library lib(cudnn|cublas|cudart|cusolver|cufft|curand|cusparse|cublaslt|cupti)",
        "skipping registering gpu devices",
        "libcudnn*could not be (found|loaded) + tensorflow",
    ),
)
