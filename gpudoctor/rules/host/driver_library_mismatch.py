"""The driver's libraries were upgraded, and the old kernel module is still loaded.

NVIDIA's user libraries speak to the kernel module only of exactly their own version. An upgrade (by hand, or by
unattended-upgrades in the night) replaces the files at once, but the loaded module stays until a reboot. From then on nvidia-smi
says "Failed to initialize NVML: Driver/library version mismatch", nvidia-container-cli "nvml error: driver/library version
mismatch", the kernel "NVRM: API mismatch", CUDA 803 or 804. Containers that run already go on working with the old libraries.

How it is told from its look-alikes: the loaded module and the file behind libnvidia-ml.so.1 have different versions, and the module
on disk has the libraries' version, so that a reboot cures it. Where the module on disk is another one as well, it is
`host/driver-library-mismatch-persistent`. Where the host's versions agree and one image alone has the trouble, the image brings
driver libraries of its own. Where libcuda alone differs, it is `host/driver-cuda-userspace-803`.

Cure: reboot; or stop everything that uses the GPU, unload the modules and load them anew (rmmod refuses while
anything holds them). To have upgrades at a time of your own choosing, hold the driver's packages (apt-mark hold) or
list them in Unattended-Upgrade::Package-Blacklist; they get no security fixes meanwhile. In an LXC guest the module
is the host's: there the guest's libraries have to follow it. `gpudoctor fix` announces the reboot and unloads
nothing.

Sources: NVIDIA open-gpu-kernel-modules (osapi.c, "API mismatch"); nvidia-docker issue 182; nvidia-container-toolkit issue 394.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.facts.driver import DKMS
from gpudoctor.host import NoAnswer
from gpudoctor.model import REBOOT, Cure, Evidence, Finding, NotApplicable, Rule, Where
from gpudoctor.rules import advice

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts
    from gpudoctor.model import Steps, Wishes

_MODULES = ("nvidia_peermem", "nvidia_drm", "nvidia_modeset", "nvidia_uvm", "nvidia")


def check(facts: Facts) -> Iterator[Finding]:
    """Find a loaded module and user libraries of different versions, unless a reboot would not cure that."""
    platform, driver = facts.platform, facts.driver
    if platform.wsl or platform.jetson:
        raise NotApplicable(
            "WSL2 takes the driver from Windows, and a Jetson's libraries are not numbered like its kernel's module."
        )
    loaded = driver.version
    if loaded is None:
        raise NotApplicable("The NVIDIA module is not loaded.")
    found = driver.telling_library
    if found is None or found.version is None:
        raise NotApplicable("There is no user library of the driver whose name tells its version.")
    library = found.version
    if library == loaded:
        return
    guest = platform.container is not None
    coming = None if guest else _coming(facts)
    if coming is not None and coming != library:
        raise NotApplicable("A reboot would not cure the mismatch: host/driver-library-mismatch-persistent says so.")
    evidence = [Evidence(Where(driver.version_source), f"the loaded module is {loaded}")]
    evidence.append(Evidence(Where(found.path), f"leads to {found.real}"))
    if coming is not None:
        kernel = driver.newer_kernels[0] if driver.newer_kernels else platform.kernel
        where = Where(DKMS) if driver.newer_kernels else Where("modinfo")
        evidence.append(Evidence(where, f"the module on disk for kernel {kernel} is {coming}: a reboot loads it"))
    yield Finding(
        "driver and library versions do not match",
        f"The libraries are of driver {library}, but the kernel still runs module {loaded}; they refuse to work together, "
        "so every new GPU program and container fails (NVML: Driver/library version mismatch).",
        tuple(evidence),
        _guest_cure(facts, loaded) if guest else _cure(facts, library, sure=coming is not None),
    )


def _coming(facts: Facts) -> str | None:
    """Return the version that the next boot loads; None where it cannot be had: the mismatch is there all the same."""
    try:
        return facts.driver.next_version
    except NoAnswer:
        return None


def _cure(facts: Facts, library: str, *, sure: bool) -> Cure:
    held = " ".join(name for name in _MODULES if name in facts.driver.modules) or "nvidia_uvm nvidia"
    doubt = "" if sure else " What a reboot loads could not be seen: if it does not help, the packages are of different versions."
    return Cure(
        "DISRUPTIVE",
        f"Reboot, and module {library} is loaded. Without a reboot: stop all that uses the GPU (containers, a desktop, "
        f"nvidia-persistenced), then `sudo rmmod {held} && sudo modprobe -a nvidia nvidia_uvm`.{doubt}",
        ("sudo reboot",),
        f"{advice.REBOOT_RISK} rmmod fails while anything still uses the GPU.",
    )


def _guest_cure(facts: Facts, loaded: str) -> Cure:
    return Cure(
        "SHOWN",
        f"The module belongs to the machine outside of this {facts.platform.container} guest: give the guest the libraries of "
        f"exactly {loaded}, without a kernel module.",
        (f"sudo sh NVIDIA-Linux-{facts.platform.machine}-{loaded}.run --no-kernel-module",),
        "Driver packages in the guest, if there are any, have to be removed first.",
    )


def fix(facts: Facts, _: Wishes) -> Steps:
    """Announce the reboot; in a guest the libraries have to follow the module outside, which is not ours to do."""
    if facts.platform.container is None:
        yield REBOOT


RULE = Rule(
    "host/driver-library-mismatch",
    2,
    "error",
    "driver and library versions do not match",
    check,
    breaks=("driver",),
    needs=("platform", "gpu", "module"),
    fix=fix,
    signs=(
        "nvmlerror_librmversionmismatch",
        "driver/library version mismatch",
        "api mismatch: the client*has the version",
        "kernel version*does not match dso",
        "nvml_error_lib_rm_version_mismatch",
        "rm_version_mismatch",
        "~ unattended-upgrade",
    ),
)
