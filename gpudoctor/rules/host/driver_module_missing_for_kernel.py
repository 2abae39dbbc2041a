"""There is an NVIDIA driver on this host, but no kernel module for the kernel that runs.

A kernel module fits one kernel. When the kernel is upgraded, DKMS, akmods or a package of ready-made modules must bring the new one;
without the kernel's headers, without the meta package that follows the kernel, or after an installation by NVIDIA's .run file, nobody
does. Then modprobe says "FATAL: Module nvidia not found in directory /lib/modules/...", nvidia-smi "couldn't communicate with the
NVIDIA driver". A kernel that is installed and waits for the next boot without a module is told as a warning.

How it is told from its look-alikes: no module file for the running kernel, and none is loaded. With a failed build in DKMS's log it is
`host/dkms-build-failed`; with a module file that the kernel refuses `host/module-signature-rejected`. A module that was loaded from
elsewhere (Container-Optimized OS, a driver container) needs no file.

Cure: install the headers and let DKMS build, or install the package of modules for this kernel together with the meta
package that keeps it up. Where a newer kernel that has the module is installed already, a reboot is enough.
`gpudoctor fix` installs nothing and announces such a reboot.

Sources: dkms(8); Ubuntu's linux-modules-nvidia packages; nvidia-docker issue 291; GoogleCloudPlatform/compute-gpu-installation issue 10.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.host import NoAnswer, Unseen
from gpudoctor.model import REBOOT, Cure, Evidence, Finding, NotApplicable, Rule, Where
from gpudoctor.rules import advice

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts
    from gpudoctor.model import Steps, Wishes

_PREBUILT = "linux-modules-nvidia-"
_COMPILES = "The module is compiled on this host."


def check(facts: Facts) -> Iterator[Finding]:
    """Find a running kernel, or the one of the next boot, without a module file."""
    platform, driver = facts.platform, facts.driver
    if platform.wsl or platform.jetson:
        raise NotApplicable("WSL2 takes the driver from Windows, and a Jetson has it in its own kernel.")
    if not facts.gpus.functions:
        raise NotApplicable("There is no NVIDIA GPU on the PCI bus.")
    if all(function.driver == "vfio-pci" for function in facts.gpus.functions):
        raise NotApplicable("Every GPU is kept for virtual machines; this host needs no module.")
    if platform.container is not None:
        raise NotApplicable("The module of a container or guest is that of the machine outside.")
    if not platform.kernel:
        raise Unseen("/proc/sys/kernel/osrelease", "nothing says which kernel runs")
    if driver.is_loaded or driver.module_file is not None:
        yield from _next_boot(facts)
        return
    if not driver.installed:
        raise NotApplicable("No driver is installed at all.")
    if _build_failed(facts, platform.kernel):
        raise NotApplicable("The module was built and the build failed: host/dkms-build-failed says why.")
    others = driver.kernels_with_module
    yield Finding(
        "no NVIDIA module for the running kernel",
        f"Kernel {platform.kernel} runs, and there is no NVIDIA module for it "
        + (f"(there is one for {', '.join(others)})" if others else "(nor for any other kernel)")
        + ": the driver cannot be loaded, and no container gets a GPU.",
        tuple(_evidence(facts, platform.kernel)),
        _cure(facts),
    )


def _next_boot(facts: Facts) -> Iterator[Finding]:
    """Find a newer kernel, installed and without a module, that nothing will build one for at boot."""
    driver = facts.driver
    kernel = driver.newer_kernels[0] if driver.newer_kernels else None
    if kernel is None or driver.module_file is None or kernel in driver.kernels_with_module or _build_failed(facts, kernel):
        return
    # akmods, and DKMS where it has the headers, build what is missing while the machine boots.
    if facts.packages.installed("akmod-nvidia") or (driver.dkms and _headers(facts, kernel)):
        return
    yield Finding(
        "no NVIDIA module for the kernel of the next boot",
        f"The driver works with the running kernel {facts.platform.kernel}, but {kernel}, which a reboot starts, has no NVIDIA module.",
        tuple(_evidence(facts, kernel)),
        _install(facts, kernel),
        severity="warning",
        breaks=(),
    )


def _build_failed(facts: Facts, kernel: str) -> bool:
    try:
        return any(failure.kernel in {kernel, ""} for failure in facts.driver.build_failures)
    except NoAnswer:
        # An unreadable build log does not make the module any less missing.
        return False


def _headers(facts: Facts, kernel: str) -> bool:
    return facts.host.exists(f"/lib/modules/{kernel}/build")


def _evidence(facts: Facts, kernel: str) -> Iterator[Evidence]:
    driver = facts.driver
    yield Evidence(Where(f"/lib/modules/{kernel}"), "no nvidia module, in modules.dep or in the folders of DKMS and installers")
    for tree in driver.dkms:
        yield Evidence(Where(tree.path), f"DKMS has built it for {', '.join(tree.kernels) or 'no kernel'}")
    if driver.dkms and not _headers(facts, kernel):
        yield Evidence(Where(f"/lib/modules/{kernel}/build"), "the kernel's headers are not installed")
    for package in driver.packages[:1]:
        yield Evidence(Where(facts.packages.source), f"driver package {package}")


def _cure(facts: Facts) -> Cure:
    ready = _ready(facts)
    if ready is not None:
        return Cure("DISRUPTIVE", f"Reboot into kernel {ready}, which has the module.", ("sudo reboot",), advice.REBOOT_RISK)
    return _install(facts, facts.platform.kernel)


def _ready(facts: Facts) -> str | None:
    """Return a newer kernel that has the module and only waits for a reboot, where the running one has none."""
    driver = facts.driver
    if driver.is_loaded or driver.module_file is not None:
        return None
    return next((kernel for kernel in driver.newer_kernels if kernel in driver.kernels_with_module), None)


def fix(facts: Facts, _: Wishes) -> Steps:
    """Announce the reboot where that is enough; packages are the administrator's to install."""
    if _ready(facts) is not None:
        yield REBOOT


def _install(facts: Facts, kernel: str) -> Cure:
    """Return how this distribution brings the module of an installed driver to a kernel."""
    driver = facts.driver
    now = ("sudo modprobe nvidia",) if kernel == facts.platform.kernel else ()
    stem = _prebuilt_stem(facts)
    if stem is not None:
        flavour = kernel.rpartition("-")[2]
        return Cure(
            "SHOWN",
            "Install the ready-made module for this kernel, and the meta package that brings it for the kernels to come.",
            ("sudo apt-get update", advice.install(facts, f"{stem}-{kernel}", f"{stem}-{flavour}"), *now),
            "Its version must be that of the installed libraries: upgrade the driver's packages with it.",
        )
    if facts.packages.installed("akmod-nvidia"):
        return Cure(
            "SHOWN",
            "Install the kernel's headers and let akmods build the module.",
            (advice.install(facts, f"kernel-devel-{kernel}"), f"sudo akmods --force --kernels {kernel}", *now),
            _COMPILES,
        )
    if driver.dkms or any("dkms" in package for package in driver.packages):
        headers = () if _headers(facts, kernel) else (advice.headers(facts).replace(facts.platform.kernel, kernel),)
        return Cure(
            "SHOWN",
            "Install the kernel's headers and let DKMS build the module." if headers else "Let DKMS build the module.",
            (*headers, f"sudo dkms autoinstall -k {kernel}", *now),
            f"{_COMPILES} With Secure Boot on, its signing key must be enrolled.",
        )
    names = [package.split()[0] for package in driver.packages]
    if names:
        return Cure(
            "SHOWN",
            "Upgrade the driver's packages together with the kernel, or install the variant that DKMS builds for each kernel; then reboot.",
            (*advice.upgrade(facts, *names), "sudo reboot"),
            advice.REBOOT_RISK,
        )
    version = driver.library_version or "VERSION"
    return Cure(
        "SHOWN",
        "The driver came by no package: run NVIDIA's installer again for this kernel, best with DKMS.",
        (f"sudo sh NVIDIA-Linux-{facts.platform.machine}-{version}.run --dkms", *now),
        _COMPILES,
    )


def _prebuilt_stem(facts: Facts) -> str | None:
    """Return Ubuntu's name of the ready-made modules without its end: ``linux-modules-nvidia-580-server-open``."""
    for package in facts.packages.matching(_PREBUILT):
        words = package.name.removeprefix(_PREBUILT).split("-")
        kept = [word for at, word in enumerate(words[:3]) if at == 0 or word in {"server", "open"}]
        return f"{_PREBUILT}{'-'.join(kept)}"
    return None


RULE = Rule(
    "host/driver-module-missing-for-kernel",
    6,
    "error",
    "no NVIDIA module for the running kernel",
    check,
    breaks=("module", "driver"),
    needs=("platform", "gpu"),
    follows=("host/dkms-stale-entry",),
    fix=fix,
    signs=(
        "couldn't communicate with the nvidia driver",
        "modprobe: fatal: module nvidia* not found in directory",
        "could not load uvm kernel module",
        "module nvidia* not found in directory /lib/modules",
        "kernel headers for kernel*cannot be found + nvidia",
        "~ (kernel update|kernel upgrade|new kernel|linux-headers|nvidia-dkms)",
    ),
)
