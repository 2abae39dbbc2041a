"""CUDA says 804: the image's forward-compatibility library was used on a GPU that it does not support.

Images bring a newer libcuda (package cuda-compat, /usr/local/cuda/compat) so that data-center GPUs can run a newer CUDA on an
older driver. On a GeForce and most RTX cards that library refuses: "Error 804: forward compatibility was attempted on non
supported HW". It is taken when the driver's branch is older than the image's CUDA. NGC images say "compatibility mode is
UNAVAILABLE".

How it is told from its look-alikes: the driver is older than the image's CUDA. With a driver newer than the compat library it
is 803 (`image/compat-lib-shadows-driver-803`). A host whose own libraries and module differ can print 804 too: look at
`host/driver-library-mismatch` first.

It is an error where the image puts the compat folder into the loader's path, and a warning where it only has it (every
nvidia/cuda image does): whether the toolkit leads programs to it depends on its version.

Cure: install a driver that has the image's CUDA. Failing that, remove cuda-compat from the image or from LD_LIBRARY_PATH, or
take an image of an older CUDA.

Sources: CUDA compatibility guide (forward compatibility, supported GPUs); CUDA driver API, error 804; pytorch issue 63801;
nvidia-docker issue 1479.
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
    """Find a compatibility library that is newer than the driver, in front of a GPU that does not take one."""
    _require.need_cuda(facts)
    driver = images.driver(facts)
    cuda = facts.image.cuda
    row = tables.cuda(cuda.value) if cuda is not None else None
    if cuda is None or row is None or driver.numbers[0] >= row.branch:
        raise NotApplicable("The driver is not older than the image's CUDA.")
    if images.forward_compatible(facts) is not False:
        raise NotApplicable("A GPU here takes compatibility libraries, or is not known not to.")
    shown = _compat.on_path(facts)
    brought = shown or _compat.brought(facts)
    if brought is None:
        raise NotApplicable("No compatibility library is seen in the image.")
    if shown is None and facts.image.of_file:
        raise NotApplicable(
            "Whether its containers start at all is not told by a Dockerfile: see image/driver-too-old-for-image."
        )
    if shown is None and any(True for _ in _require.unmet(facts)):
        raise NotApplicable("Its containers do not start here: that is image/driver-too-old-for-image.")
    gpu = images.gpus(facts)[0]
    yield Finding(
        "the image's cuda-compat library does not support this GPU",
        f"The image brings the compatibility library of CUDA {cuda.value}, driver {driver.version} is older, and the {gpu.name} takes none: "
        + (
            "CUDA fails with Error 804."
            if shown is not None
            else "where the toolkit leads programs to it, CUDA fails with Error 804."
        ),
        tuple(dict.fromkeys((images.evidence(brought), images.evidence(cuda), driver.evidence))),
        images.newer_driver(facts, cuda.value, "remove cuda-compat from the image, or take an image of an older CUDA"),
        severity=None if shown is not None and shown.value != "ldconfig" else "warning",
    )


RULE = Rule(
    "image/forward-compat-804",
    17,
    "error",
    "the image's cuda-compat library does not support this GPU",
    check,
    breaks=("container",),
    needs=("driver",),
    needs_input="image",
    signs=(
        "cuda failure 804",
        "forward compatibility was attempted on non supported hw",
        "error 804",
        "returned 804",
        "cuda_error_compat_not_supported_on_device",
        "cudaerrorcompatnotsupportedondevice",
        "cuda-compat + kernel version*does not match dso",
        "this container was built for nvidia driver release",
        "compatibility mode is unavailable",
        "cuda initialization failure with error: 804",
        "~ cuda-compat",
    ),
)
