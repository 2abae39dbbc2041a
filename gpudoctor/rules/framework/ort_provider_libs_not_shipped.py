"""The image has libonnxruntime.so but not the provider libraries that belong beside it.

libonnxruntime_providers_shared.so and libonnxruntime_providers_cuda.so are opened from the folder of the main library. Builds
in Rust, C++ or Go that copy the main library only say "Failed to load library libonnxruntime_providers_shared.so".

How it is told from its look-alikes: the missing file is a provider library itself. Where it is there and a CUDA library is
missing, it is `framework/ort-missing-cuda-libs`.

It is told from the COPY lines of a Dockerfile, where the base has CUDA libraries and no copied folder or pattern can have them.

Cure: copy both provider libraries next to libonnxruntime.so.

Sources: onnxruntime (core/session/provider_bridge_ort.cc).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.facts.image import Told
from gpudoctor.model import Cure, Finding, NotApplicable, Rule
from gpudoctor.rules import images

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts


def check(facts: Facts) -> Iterator[Finding]:
    """Find a COPY of libonnxruntime.so alone into an image with CUDA."""
    images.need_gpu(facts)
    image = facts.image
    if not image.of_file:
        raise NotApplicable("What was copied into an image is not told by its history.")
    if image.flavour not in {"runtime", "devel"}:
        raise NotApplicable("The image has no CUDA libraries, so ONNX Runtime is not meant to use the GPU in it.")
    names = [(copy, source.rpartition("/")[2]) for copy in image.copies for source in copy.sources]
    main = next((copy for copy, name in names if name.startswith("libonnxruntime.so")), None)
    if main is None or any("onnxruntime_providers" in name for _, name in names):
        return
    if any(main.target.startswith(copy.target.rstrip("/")) and _whole(name) for copy, name in names):
        return
    yield Finding(
        "ONNX Runtime's provider libraries are not in the image",
        "The image gets libonnxruntime.so without libonnxruntime_providers_shared.so and libonnxruntime_providers_cuda.so, which are opened from "
        "the same folder: no session uses the GPU.",
        (images.evidence(Told("", image.path, main.line, f"COPY {' '.join((*main.sources, main.target))}")),),
        Cure("SHOWN", "Copy the provider libraries into the same folder.", (f"COPY libonnxruntime*.so* {main.target}",)),
    )


def _whole(name: str) -> bool:
    """Say whether a source is a folder, or a pattern that takes the provider libraries too."""
    return ".so" not in name or name.startswith(("*", "libonnxruntime*", "libonnx*", "lib*"))


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
        "onnxruntime_providers_(shared|cuda|tensorrt)*which is missing",
        "failed to load library libonnxruntime_providers_shared.so",
        "failed to load shared library*onnxruntime_providers",
    ),
)
