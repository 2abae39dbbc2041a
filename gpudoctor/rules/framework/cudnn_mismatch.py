"""Another cuDNN is found first than the one that the framework brings.

PyTorch brings its own cuDNN. One on LD_LIBRARY_PATH, from the base image, wins over it: "cuDNN version incompatibility: PyTorch
was compiled against (8, 5, 0) but found runtime version (8, 4, 1)". TensorFlow says "Loaded runtime CuDNN library: ... but
source was compiled with".

How it is told from its look-alikes: cuDNN itself reports two versions. Where its library cannot find libnvrtc, it is
`framework/cudnn-nvrtc-missing`.

Cure: take the folder out of LD_LIBRARY_PATH, or use a base image without cuDNN for pip's wheels.

Sources: PyTorch (torch/backends/cudnn/__init__.py); TensorFlow (cuda_dnn.cc); pytorch issue 80637.
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
    ),
)
