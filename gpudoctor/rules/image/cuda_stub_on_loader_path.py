"""The stub of libcuda, which is there for linking only, is on the loader's path.

CUDA's development packages have lib64/stubs/libcuda.so so that programs can be linked without a driver. If that folder is in
LD_LIBRARY_PATH or ld.so.conf.d, it answers in the driver's place: cuInit returns -1 (TensorFlow: "failed call to cuInit:
UNKNOWN ERROR (-1)") or 34, "CUDA driver is a stub library".

How it is told from its look-alikes: the error number is -1 or 34. A container that was given no GPU at all shows the same where
the stub is the only libcuda (`container/container-started-without-gpu`).

LIBRARY_PATH, which images of the devel flavour set, is for the linker and harmless. The stub is called libcuda.so, so it is an
error where the image links it as libcuda.so.1, and else a warning.

Cure: take the stubs folder off the path that programs run with; keep it for the linker only (LIBRARY_PATH or -L). `docker
build` has no GPU: run nothing there that needs one.

Sources: CUDA driver API, CUDA_ERROR_STUB_LIBRARY; CUDA installation guide; tensorflow issue 46227.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.model import Cure, Finding, Rule
from gpudoctor.rules import images

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts


def check(facts: Facts) -> Iterator[Finding]:
    """Find the folder of stubs among those that programs are loaded from."""
    told = facts.image.env.get("LD_LIBRARY_PATH")
    folder = (
        next((each for each in told.value.split(":") if each.rstrip("/").endswith("/stubs")), None) if told is not None else None
    )
    if told is None or folder is None:
        return
    linked = _linked(facts)
    yield Finding(
        "the CUDA stub library is loaded instead of the driver",
        f"LD_LIBRARY_PATH has {folder}, whose libcuda is for linking only: "
        + (
            "it is linked as libcuda.so.1 too, so every CUDA program gets it in place of the driver's (cuInit says 34 or -1)."
            if linked
            else "programs that open libcuda.so, without the 1, get it in place of the driver's."
        ),
        (images.evidence(told),),
        Cure(
            "SHOWN",
            "Take the folder out of LD_LIBRARY_PATH and build the image anew; name it in LIBRARY_PATH or by -L for linking.",
            (),
        ),
        severity=None if linked else "warning",
    )


def _linked(facts: Facts) -> bool:
    """Say whether a command gives the stub the name under which programs load the driver."""
    commands = facts.image.commands if facts.image.of_file else ()
    return any(
        each.sure
        and each.argv[0] in {"ln", "cp"}
        and any("stubs/libcuda.so" in word for word in each.argv)
        and "libcuda.so.1" in each.argv[-1]
        for each in commands
    )


RULE = Rule(
    "image/cuda-stub-on-loader-path",
    88,
    "error",
    "the CUDA stub library is loaded instead of the driver",
    check,
    breaks=("container",),
    needs=("driver",),
    needs_input="image",
    signs=(
        "cuinit: unknown error (-1)",
        "cuinit: curesult(-1)",
        "cuda_error_stub_library",
        "cudaerrorstublibrary",
        "lib64/stubs",
        "cuda driver is a stub library",
        "libnvidia-ml.so in gdk package is a stub library",
        "stubs/libcuda.so",
    ),
)
