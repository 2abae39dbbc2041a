"""Another cuDNN is found first than the one that the framework brings.

PyTorch brings its own cuDNN. One on LD_LIBRARY_PATH, from the base image, wins over it: "cuDNN version incompatibility: PyTorch
was compiled against (8, 5, 0) but found runtime version (8, 4, 1)". TensorFlow says "Loaded runtime CuDNN library: ... but
source was compiled with".

How it is told from its look-alikes: cuDNN itself reports two versions. Where its library cannot find libnvrtc, it is
`framework/cudnn-nvrtc-missing`.

A cuDNN of the base does no harm to PyTorch as long as LD_LIBRARY_PATH does not name its folder; then it is a warning.
TensorFlow takes the one of the base, and refuses it where its minor version is lower.

Cure: take the folder out of LD_LIBRARY_PATH, or use a base image without cuDNN for pip's wheels.

Sources: PyTorch (torch/backends/cudnn/__init__.py); TensorFlow (cuda_dnn.cc); pytorch issue 80637.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor import tables
from gpudoctor.host import NoAnswer
from gpudoctor.model import Cure, Finding, NotApplicable, Rule
from gpudoctor.rules import images
from gpudoctor.rules.framework import _wheels

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts


def check(facts: Facts) -> Iterator[Finding]:
    """Find a TensorFlow beside an older cuDNN than it was built with, and a PyTorch before whose cuDNN another one is found."""
    images.need_gpu(facts)
    missed = None
    for check_one in (_of_tensorflow, _of_torch):
        try:
            yield from check_one(facts)
        except NotApplicable:
            continue
        except NoAnswer as miss:
            missed = miss
    if missed is not None:
        raise missed


def _of_tensorflow(facts: Facts) -> Iterator[Finding]:
    trouble = _wheels.tensorflow(facts)
    if trouble is None or trouble.kind != "cudnn-minor":
        return
    wheel = trouble.wheel
    yield Finding(
        "another cuDNN is loaded than the framework was built with",
        f"{images.named(wheel, 'TensorFlow')} was built with cuDNN {wheel.cudnn} and refuses an older one; the image has {trouble.has}{trouble.clause}.",
        (images.evidence(wheel.told), images.evidence(trouble.told)),
        Cure(
            "SHOWN",
            f"Take a base image with cuDNN {wheel.cudnn} or newer, or let TensorFlow bring its own.",
            ("pip install 'tensorflow[and-cuda]'",),
        ),
        severity=trouble.severity,
    )


def _of_torch(facts: Facts) -> Iterator[Finding]:
    wheel, told = _wheels.torch(facts), facts.image.env.get("LD_LIBRARY_PATH")
    if told is None or not wheel.cudnn or not any(_has_cudnn(folder) for folder in told.value.split(":")):
        return
    other = facts.image.cudnn
    if other is None or _wheels.major(other.value) != _wheels.major(wheel.cudnn):
        return  # under another name it is not taken for it
    if tables.version(other.value)[:3] == tables.version(wheel.cudnn)[:3]:
        return
    yield Finding(
        "another cuDNN is loaded than the framework was built with",
        f"{images.named(wheel, 'PyTorch')} brings cuDNN {wheel.cudnn}; LD_LIBRARY_PATH makes it find the base image's cuDNN {other.value} first{images.hedge(wheel)}.",
        (images.evidence(told), images.evidence(other), images.evidence(wheel.told)),
        Cure("SHOWN", "Take the folder out of LD_LIBRARY_PATH, or begin with an image without cuDNN."),
        severity="warning",
    )


def _has_cudnn(folder: str) -> bool:
    return "cudnn" in folder or folder.rstrip("/") in {"/usr/lib/x86_64-linux-gnu", "/lib/x86_64-linux-gnu", "/usr/lib64"}


RULE = Rule(
    "framework/cudnn-mismatch",
    33,
    "error",
    "another cuDNN is loaded than the framework was built with",
    check,
    breaks=("container",),
    needs=("driver",),
    needs_input="image",
    signs=(
        "cudnn version incompatibility",
        "cudnn_status_sublibrary_version_mismatch",
        "loaded runtime cudnn library*but source was compiled with",
        "unable to load any of {libcudnn",
        "cudnn_status_not_initialized",
        "cudnn_status_version_mismatch",
        "could not load library libcudnn*",
        "cannot load symbol cudnn*",
        "found cudnn version <n>, but jax was built against version <n>",
        "dnn library is not found",
        "dnn library initialization failed",
        "could not create cudnn handle",
    ),
)
