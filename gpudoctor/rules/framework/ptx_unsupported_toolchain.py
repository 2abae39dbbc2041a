"""The program brings code that the driver has to compile, made by a newer CUDA than the driver knows.

Programs run on a driver of the same CUDA major version even if it is older, but PTX (code compiled when it is loaded) is
excepted: "the provided PTX was compiled with an unsupported toolchain".

How it is told from its look-alikes: the driver's CUDA has a lower minor version than the image's. With toolkit 1.17.4 compat
libraries were not mounted, which shows the same (`toolkit/cuda-compat-libs-no-longer-injected`). Missing code for a GPU is "no
kernel image" (`framework/gpu-too-old-for-wheel`).

Of an image it is a hint: what its programs bring is not seen.

Cure: install a driver with the image's CUDA or newer, or take an older image or wheel.

Sources: CUDA compatibility guide (minor version compatibility, limitations); CUDA driver API, error 222.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor import tables
from gpudoctor.model import Finding, NotApplicable, Rule
from gpudoctor.rules import images
from gpudoctor.rules.image import _compat, _require

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts


def check(facts: Facts) -> Iterator[Finding]:
    """Find an image of a newer minor version of CUDA than the driver's."""
    _require.need_cuda(facts)
    driver = images.driver(facts)
    told = facts.image.cuda
    row = tables.cuda(told.value) if told is not None else None
    if told is None or row is None or row.minor is None:
        raise NotApplicable("The image says no CUDA that its programs are built for.")
    have, wanted = tables.version(driver.cuda)[:2], tables.version(told.value)[:2]
    if have >= wanted or have[:1] != wanted[:1]:
        return
    if images.forward_compatible(facts) is not False and _compat.present(facts):
        raise NotApplicable("A compatibility library in the image serves this GPU.")
    if any(True for _ in _require.unmet(facts)):
        raise NotApplicable("Its containers do not start here: that is image/driver-too-old-for-image.")
    yield Finding(
        "the program's PTX is newer than the driver's compiler",
        f"The image is of CUDA {told.value}, and driver {driver.version} has CUDA {driver.cuda}: programs with code for this GPU run, those that "
        "bring PTX only fail (unsupported toolchain).",
        (images.evidence(told), driver.evidence),
        images.newer_driver(facts, told.value, f"take an image of CUDA {driver.cuda}"),
        severity="hint",
    )


RULE = Rule(
    "framework/ptx-unsupported-toolchain",
    18,
    "error",
    "the program's PTX is newer than the driver's compiler",
    check,
    breaks=("container",),
    needs=("driver",),
    follows=("image/driver-too-old-for-image",),
    needs_input="image",
    signs=(
        "ptx was compiled with an unsupported toolchain",
        "cuda_error_unsupported_ptx_version",
        "cudaerrorunsupportedptxversion",
        "a ptx jit compilation failed",
        "cuda_error_invalid_ptx",
        "unsupported .version <n>.<n>; current version is",
        "cuda initialization failure with error: 222",
    ),
)
