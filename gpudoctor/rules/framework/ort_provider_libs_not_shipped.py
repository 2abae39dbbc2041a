"""The image has libonnxruntime.so but not the provider libraries that belong beside it.

libonnxruntime_providers_shared.so and libonnxruntime_providers_cuda.so are opened from the folder of the main library. Builds
in Rust, C++ or Go that copy the main library only say "Failed to load library libonnxruntime_providers_shared.so".

How it is told from its look-alikes: the missing file is a provider library itself. Where it is there and a CUDA library is
missing, it is `framework/ort-missing-cuda-libs`.

Cure: copy both provider libraries next to libonnxruntime.so.

Sources: onnxruntime (core/session/provider_bridge_ort.cc).
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
    "framework/ort-provider-libs-not-shipped",
    128,
    "error",
    "ONNX Runtime's provider libraries are not in the image",
    check,
    breaks=("container",),
    needs=("driver",),
    needs_input="image",
    signs=(
        "libonnxruntime_providers_shared.so: cannot open shared object file",
        "libonnxruntime_providers_cuda.so: cannot open shared object file",
    ),
)
