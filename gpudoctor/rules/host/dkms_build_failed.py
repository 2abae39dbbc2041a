"""DKMS tried to build the NVIDIA module for this kernel, and the compiler refused.

A driver branch supports the kernels that were there when it was made. A newer kernel, a custom one, or a compiler other than the
kernel's own make the build stop: dkms prints "Error! Bad return status for module build on kernel: ..." during the upgrade, where
hardly anybody reads it, and after the reboot there is no module. A build that failed for a kernel which is installed and not
running yet is told as a warning: today all works.

How it is told from its look-alikes: DKMS left build/make.log, its first line names the kernel, and a line of it is the compiler's
(or modpost's) error. Without headers there is no log at all: `host/driver-module-missing-for-kernel`. Where dkms itself stops at
"Could not locate dkms.conf file", it is `host/dkms-stale-entry`.

Cure: a newer release of the driver that builds on this kernel, where the GPU's last branch allows it; else boot the older or the
LTS kernel and hold it. On a machine that is far away, changing kernels needs a way back.

Sources: dkms(8); Debian's patches of NVIDIA branches for newer kernels; open-gpu-kernel-modules issues 526, 635.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor import tables
from gpudoctor.facts.driver import DKMS
from gpudoctor.model import Cure, Evidence, Finding, NotApplicable, Rule, Where
from gpudoctor.rules import advice

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts
    from gpudoctor.facts.driver import BuildFailure


def check(facts: Facts) -> Iterator[Finding]:
    """Find a failed build for the running kernel, or for the one of the next boot."""
    driver = facts.driver
    if facts.platform.wsl or facts.platform.jetson:
        raise NotApplicable("WSL2 takes the driver from Windows, and a Jetson has it in its own kernel.")
    if not facts.gpus.functions:
        raise NotApplicable("There is no NVIDIA GPU on the PCI bus.")
    if not driver.dkms:
        raise NotApplicable(f"{DKMS} has no NVIDIA driver.")
    running = facts.platform.kernel
    missing = driver.module_file is None and not driver.is_loaded
    waiting = driver.newer_kernels[0] if driver.newer_kernels else None
    if waiting in driver.kernels_with_module:
        waiting = None
    for failure in driver.build_failures:
        if missing and failure.kernel in {running, ""}:
            yield _finding(facts, failure, f"kernel {running}, which runs: no container gets a GPU", now=True)
            return
        if not missing and waiting is not None and failure.kernel == waiting:
            yield _finding(
                facts, failure, f"kernel {waiting}: the driver works now, and is gone after a reboot into it", now=False
            )
            return


def _finding(facts: Facts, failure: BuildFailure, where: str, *, now: bool) -> Finding:
    branch = tables.branch(next(iter(tables.version(failure.version)), 0))
    known = tables.version(branch.newest_known_kernel or "") if branch is not None else ()
    kernel = tables.version(failure.kernel or facts.platform.kernel)[:2]
    reason = " Without a distribution's patches this branch does not build on such a kernel." if known and kernel >= known else ""
    return Finding(
        "the NVIDIA module could not be built",
        f"DKMS could not compile the module of driver {failure.version} for {where}.{reason}",
        (Evidence(Where(failure.log, failure.line), failure.says),),
        _cure(facts, failure),
        severity="error" if now else "warning",
    )


def _cure(facts: Facts, failure: BuildFailure) -> Cure:
    driver = facts.driver
    older = [kernel for kernel in driver.kernels_with_module if kernel != failure.kernel]
    lasts = [gpu.chip.last_branch for gpu in facts.gpus.functions if gpu.chip is not None and gpu.chip.last_branch is not None]
    limit = f" (this machine's GPU is supported up to branch {min(lasts)})" if lasts else ""
    back = (
        f"boot kernel {older[-1]}, which has the module, and keep it" if older else "boot an older or the LTS kernel and keep it"
    )
    names = [package.split()[0] for package in driver.packages]
    return Cure(
        "SHOWN",
        f"Install a newer release of the driver{limit}, or {back}.",
        (
            *(advice.upgrade(facts, *names) if names else ()),
            f"sudo dkms autoinstall -k {failure.kernel or facts.platform.kernel}",
        ),
        "Changing the kernel of a machine without a console can leave it unreachable.",
    )


RULE = Rule(
    "host/dkms-build-failed",
    49,
    "error",
    "the NVIDIA module could not be built",
    check,
    breaks=("module", "driver"),
    needs=("platform", "gpu"),
    signs=(
        "/var/cache/akmods/nvidia*failed.log",
        "couldn't communicate with the nvidia driver",
        "bad return status for module build on kernel + nvidia",
        "/var/lib/dkms/nvidia*make.log",
        "error! build of nvidia*failed",
        "error: the kernel module failed to (build|compile) + nvidia",
        "an error occurred while performing the step: building kernel modules",
        "the nvidia kernel module was not created",
        "unable to build the nvidia kernel module",
        "unable to find the kernel source tree for the currently running kernel",
        "nvidia-dkms-* package post-installation script subprocess returned error exit status",
    ),
)
