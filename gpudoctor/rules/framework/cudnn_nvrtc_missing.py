"""cuDNN wants libnvrtc.so, under that very name, and it is not there.

cuDNN 8 compiles some kernels when it runs and opens libnvrtc.so without a number: "Could not load library
libcudnn_cnn_infer.so.8. Error: libnvrtc.so: cannot open shared object file". Run-time images have libnvrtc.so.12 at most.

How it is told from its look-alikes: the file that is missing is libnvrtc. Other messages of cuDNN about versions are
`framework/cudnn-mismatch`.

Of an image it is a hint, for CTranslate2 and what is made with it: whether a program comes to such a kernel depends on its model.

Cure: install cuda-nvrtc of the same CUDA and link libnvrtc.so to it, or use a -devel image.

Sources: cuDNN release notes and installation guide (NVRTC dependency).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.model import Cure, Finding, NotApplicable, Rule
from gpudoctor.rules import images
from gpudoctor.rules.framework import _wheels

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts


_USERS = ("ctranslate2", "faster-whisper", "whisperx")
"""Programs of which it is known; what they load comes from the image."""
_EIGHT = 8


def check(facts: Facts) -> Iterator[Finding]:
    """Find cuDNN 8 in a runtime image, beside a framework that uses it."""
    images.need_gpu(facts)
    image = facts.image
    user = image.installed(*_USERS)
    if user is None:
        raise NotApplicable("No program is seen in it that has cuDNN compile kernels.")
    cudnn = image.cudnn
    if cudnn is None or _wheels.major(cudnn.value) != _EIGHT or image.flavour != "runtime":
        raise NotApplicable("The image is none of the runtime flavour with cuDNN 8.")
    if image.cudnn_packages or any("libnvrtc.so" in word for each in image.commands for word in each.argv):
        return
    if any(each.name.startswith("cuda-nvrtc-dev") for each in image.packages):
        return
    yield Finding(
        "cuDNN does not find libnvrtc.so",
        f"cuDNN 8 opens libnvrtc.so for some kernels, and runtime images have it under its numbered name only; {user.name} may stop there.",
        (images.evidence(cudnn), images.evidence(image.told(user))),
        Cure(
            "SHOWN", "If that happens, link libnvrtc.so to the numbered file in /usr/local/cuda/lib64, or take the devel flavour."
        ),
        severity="hint",
    )


RULE = Rule(
    "framework/cudnn-nvrtc-missing",
    132,
    "error",
    "cuDNN does not find libnvrtc.so",
    check,
    breaks=("container",),
    needs=("driver",),
    needs_input="image",
    signs=(
        "libnvrtc.so: cannot open shared object file",
        "could not load library libcudnn*",
        "libcudnn* + libnvrtc.so*cannot open shared object file",
        "failed to open libnvrtc-builtins.so*",
        "libnvrtc.so is not found",
    ),
)
