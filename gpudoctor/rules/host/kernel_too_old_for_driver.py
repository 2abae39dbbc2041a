"""The running kernel is outside the range that the installed driver branch is made for.

Each driver branch names the oldest kernel it supports (3.10 for 515 to 550, 4.15 from 555 on). On an older one its module does not
build or load. NVIDIA names no newest kernel; where even a distribution had to patch a branch to build on some kernel, the plain
driver does not build there or on a newer one. That is told as a hint, and only where the module is missing, since it explains why:
with a patched driver all is well.

How it is told from its look-alikes: by the branch and the kernel's version, and only while the module is not loaded: a loaded module
proves that the kernel will do. The compiler's own words are `host/dkms-build-failed`; a kernel before 3.10 is `host/kernel-too-old`.

Cure: a newer kernel, or a driver branch that still supports this one; for a kernel too new, a newer branch or the distribution's
patched driver. Mind the GPU's last branch.

Sources: NVIDIA driver README of each branch (minimum requirements); Debian's patches of NVIDIA branches.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor import tables
from gpudoctor.model import Cure, Evidence, Finding, NotApplicable, Rule, Where

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts

_RELEASE = "/proc/sys/kernel/osrelease"


def check(facts: Facts) -> Iterator[Finding]:
    """Find a kernel below the branch's minimum, or past what it is known to build on, while the module is not loaded."""
    platform, driver = facts.platform, facts.driver
    if platform.wsl or platform.jetson:
        raise NotApplicable("WSL2 takes the driver from Windows, and a Jetson has it in its own kernel.")
    if driver.is_loaded:
        return
    if not facts.gpus.functions:
        raise NotApplicable("There is no NVIDIA GPU on the PCI bus.")
    number = driver.branch or next((tables.version(tree.version)[0] for tree in driver.dkms), None)
    branch = tables.branch(number) if number is not None else None
    if branch is None:
        raise NotApplicable("No driver is installed whose branch is known.")
    kernel = platform.kernel_version[:2]
    if branch.min_kernel is not None and kernel and kernel < tables.version(branch.min_kernel)[:2]:
        yield Finding(
            "the kernel is too old for this driver",
            f"Driver branch {branch.branch} needs Linux {branch.min_kernel} or newer, and {platform.kernel} runs: its module cannot be loaded.",
            (
                Evidence(Where(_RELEASE), platform.kernel),
                Evidence(Where("/proc/modules"), "no nvidia"),
            ),
            Cure(
                "SHOWN",
                "Boot a newer kernel, or install an older driver branch that supports this one and the GPU.",
                (),
                "Changing the kernel of a machine without a console can leave it unreachable.",
            ),
        )
        return
    if branch.newest_known_kernel is None or driver.module_file is not None:
        return
    if kernel > tables.version(branch.newest_known_kernel)[:2]:
        yield Finding(
            "the kernel is newer than this driver is known to build on",
            f"Driver branch {branch.branch} is not known to build on anything newer than Linux {branch.newest_known_kernel}, even with a "
            f"distribution's patches, and {platform.kernel} runs.",
            (Evidence(Where(_RELEASE), platform.kernel),),
            Cure("SHOWN", "Boot an older kernel, or install a newer driver branch if the GPU has one."),
            severity="hint",
            breaks=(),
            needs=("module",),
        )


RULE = Rule(
    "host/kernel-too-old-for-driver",
    48,
    "error",
    "the kernel is too old for this driver",
    check,
    breaks=("platform",),
    needs=("platform",),
)
