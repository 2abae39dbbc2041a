"""CUDA or cuDNN libraries that TensorFlow was built with are not in the image.

TensorFlow opens them by name, says what is missing ("Could not load dynamic library 'libcudnn.so.8'", newer ones only "Cannot
dlopen some GPU libraries") and goes on with the CPU: "Skipping registering GPU devices". Base images without cuDNN, another
CUDA version and a changed LD_LIBRARY_PATH are the usual reasons.

How it is told from its look-alikes: the names in the log are those of CUDA or cuDNN. A missing libcuda.so.1 is the driver's
(`container/container-started-without-gpu`).

Cure: a base image with cudnn in its tag and the CUDA of this TensorFlow, or pip install 'tensorflow[and-cuda]'.
TF_CPP_MAX_VLOG_LEVEL=3 makes it name the libraries.

Sources: TensorFlow (gpu_device.cc, dso_loader.cc); TensorFlow installation guide, tested build configurations.
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
