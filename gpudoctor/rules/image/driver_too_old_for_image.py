"""The image asks for a newer CUDA than the host's driver supports.

CUDA images carry NVIDIA_REQUIRE_CUDA, and nvidia-container-cli holds it against the driver before the container starts:
"requirement error: unsatisfied condition: cuda>=12.8, please update your driver to a newer version, or use an earlier cuda
container". NGC images check for themselves and say "This container was built for NVIDIA Driver Release 450.51 or later". Each
driver branch has a highest CUDA: 470 has 11.4, 525 has 12.0, 535 has 12.2, 550 has 12.4, 570 has 12.8, 580 has 13.0. The CUDA
toolkit (nvcc) that is installed on the host plays no part.

How it is told from its look-alikes: the number that is asked for is above the driver's. Where it is not, a clause about brand
or branch was missed (`image/require-cuda-brand-constraint`). Where the container starts and CUDA fails with 804, it is
`image/forward-compat-804`.

Of an image the variables are evaluated as nvidia-container-cli does it, for each GPU here. Of a Dockerfile, its own ENV lines
and the CUDA in the tag of its base are known: a driver below the oldest that runs this CUDA at all is an error, one that lacks
only its minor version a warning, both on GPUs that no compatibility library serves. On hosts that give GPUs by CDI nobody
checks, and the finding is a warning.

Cure: install a driver of a newer branch and reboot, or take an older tag of the image. NVIDIA_DISABLE_REQUIRE=1 skips the
check, which helps only where the program inside needs less than the image says.

Sources: libnvidia-container (src/cli/configure.c, dsl.c); CUDA release notes, table of driver versions; nvidia-docker issues
536 and 1442.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor import tables
from gpudoctor.model import Finding, Rule
from gpudoctor.rules import images
from gpudoctor.rules.image import _require

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts


def check(facts: Facts) -> Iterator[Finding]:
    """Find a demand for a newer CUDA than the driver has."""
    _require.need_cuda(facts)
    driver = images.driver(facts)
    for demand in _require.unmet(facts):
        if demand.excluded:
            continue
        yield Finding(
            "the image asks for a newer CUDA than the driver has",
            f"{facts.image.label[:1].upper()}{facts.image.label[1:]} asks for {demand.first}, and driver {driver.version} has CUDA "
            f"{driver.cuda}: {_require.consequence(facts)}.",
            (images.evidence(demand.told), driver.evidence),
            images.newer_driver(facts, demand.cuda or driver.cuda, "take a tag of the image for an older CUDA"),
            severity=None if _require.is_checked(facts) else "warning",
        )
        return
    if facts.image.of_file or not facts.image.is_here:
        yield from _of_tag(facts, driver)


def _of_tag(facts: Facts, driver: images.HostDriver) -> Iterator[Finding]:
    """Find a CUDA, by the tag of the base alone, that no driver as old as this one runs."""
    told = facts.image.built_for
    row = tables.cuda(told.value) if told is not None else None
    if told is None or row is None:
        return
    oldest = row.minor or row.full or str(row.branch)
    runs = driver.numbers >= tables.version(oldest)
    has_it = tables.version(driver.cuda)[:2] >= tables.version(told.value)[:2]
    if has_it or images.forward_compatible(facts) is not False or (runs and facts.image.cuda is None):
        return
    yield Finding(
        "the image asks for a newer CUDA than the driver has",
        f"{facts.image.base.name} is of CUDA {told.value}, and driver {driver.version} has CUDA {driver.cuda}: "
        + (
            "its containers are refused unless the image makes an exception for this driver and GPU, which its tag does not tell."
            if runs
            else f"it needs driver {oldest} or newer, and no compatibility library serves this GPU."
        ),
        (images.evidence(told), driver.evidence),
        images.newer_driver(facts, told.value, "take a base image of an older CUDA"),
        severity="warning" if runs else None,
    )


RULE = Rule(
    "image/driver-too-old-for-image",
    3,
    "error",
    "the image asks for a newer CUDA than the driver has",
    check,
    breaks=("container",),
    needs=("driver",),
    needs_input="image",
    signs=(
        "unsatisfied condition: cuda",
        "unsupported cuda version: driver*< image",
        "this container was built for nvidia driver release",
        "compatibility mode is unavailable",
        "~ please update your driver to a newer version, or use an earlier cuda container",
    ),
)
