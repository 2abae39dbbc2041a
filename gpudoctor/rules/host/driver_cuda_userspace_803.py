"""libcuda is of another driver version than the kernel module, while libnvidia-ml is of the right one.

nvidia-smi needs libnvidia-ml only, and works; every CUDA program fails with "Error 803: system has unsupported display driver / cuda
driver combination", on the host as in containers, which get the host's libcuda. A .run installation beside packages, a library left
over by hand or a link that ldconfig did not renew are the usual causes.

How it is told from its look-alikes: where all libraries differ from the module it is `host/driver-library-mismatch`, which a reboot
cures; this is not. Where the host agrees and only an image fails, a cuda-compat library in the image shadows the host's libcuda.
A libcuda in a folder named compat is the forward compatibility package: it is meant to be newer than the module, and is not judged
here. Accelerators of other vendors print the same text (`host/non-nvidia-cuda-compatible-gpu`).

Cure: put libcuda of the module's version in the place where the linker looks: reinstall the driver's library package, remove the stray
file, run ldconfig. Containers must be created anew. We only show the commands.

Sources: CUDA driver API (CUDA_ERROR_SYSTEM_DRIVER_MISMATCH = 803); NVIDIA CUDA compatibility guide.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.model import Cure, Evidence, Finding, NotApplicable, Rule, Where
from gpudoctor.rules import advice

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts


def check(facts: Facts) -> Iterator[Finding]:
    """Find a libcuda that differs from the loaded module where libnvidia-ml does not."""
    driver = facts.driver
    if facts.platform.wsl or facts.platform.jetson:
        raise NotApplicable(
            "WSL2 takes the driver from Windows, and a Jetson's libraries are not numbered like its kernel's module."
        )
    loaded = driver.version
    if loaded is None:
        raise NotApplicable("The NVIDIA module is not loaded.")
    cuda = driver.libraries.get("libcuda.so.1")
    management = driver.libraries.get("libnvidia-ml.so.1")
    if cuda is None or cuda.version is None:
        raise NotApplicable("There is no libcuda whose name tells its version.")
    if cuda.version == loaded:
        return
    if management is None or management.version != loaded:
        raise NotApplicable("libnvidia-ml differs from the module as well: that is host/driver-library-mismatch.")
    if any("/compat/" in f"{path}/" for path in (cuda.path, cuda.real or "")):
        raise NotApplicable("libcuda comes from a cuda-compat package, which is meant to differ from the module.")
    package = facts.packages.installed("libcuda1") or next(iter(facts.packages.matching("libnvidia-compute-")), None)
    if package is not None:
        commands: tuple[str, ...] = (f"sudo apt-get install --reinstall {package.name}", "sudo ldconfig")
    else:
        names = [each.split()[0] for each in driver.packages]
        commands = (*(advice.upgrade(facts, *names) if names else ()), "sudo ldconfig")
    yield Finding(
        "libcuda is of another driver version than the module",
        f"libcuda is {cuda.version}, the kernel module and libnvidia-ml are {loaded}: nvidia-smi works, and every CUDA program fails with "
        "Error 803 (unsupported display driver / cuda driver combination).",
        (
            Evidence(Where(driver.version_source), f"the loaded module is {loaded}"),
            Evidence(Where(cuda.path), f"leads to {cuda.real}"),
            Evidence(Where(management.path), f"leads to {management.real}"),
        ),
        Cure(
            "SHOWN",
            f"Install libcuda {loaded} again, and remove {cuda.real} if no package owns it; then create GPU containers anew.",
            commands,
            "A package manager that brings another driver version makes all libraries differ from the module until a reboot.",
        ),
    )


RULE = Rule(
    "host/driver-cuda-userspace-803",
    94,
    "error",
    "libcuda is of another driver version than the module",
    check,
    breaks=("driver",),
    needs=("platform", "gpu", "module"),
    signs=(
        "cuda failure 803",
        "unsupported display driver / cuda driver combination",
        "error 803",
        "cuda_error_system_driver_mismatch",
        "cudaerrorsystemdrivermismatch",
        "cuda initialization failure with error: 803",
        "~ (outside of docker|outside docker|on the host|plain host|bare metal|without docker)",
    ),
)
