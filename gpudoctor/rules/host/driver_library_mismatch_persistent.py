"""The driver's module on disk and its libraries are of different versions: a reboot does not help.

A half-finished upgrade, two package sources, or an installation by NVIDIA's .run file beside packages leave a kernel module of one
version and user libraries of another. nvidia-smi says "Failed to initialize NVML: Driver/library version mismatch", today and after
every reboot. Where the loaded module still has the libraries' version, all works now, and the next boot breaks it.

How it is told from its look-alikes: with `host/driver-library-mismatch` the module on disk has the libraries' version and only the old
one is still loaded. The module on disk is the one that modinfo finds for the running kernel (Debian's own packages name it
nvidia-current); where a newer kernel waits for the reboot, only DKMS can tell its module's version, else nothing is concluded. A
modinfo that finds nothing is no difference.

Cure: bring both to one version: finish what the package manager left half done, remove the second driver (nvidia-uninstall for a .run
installation, the packages of the other branch else), build the module, reboot. We only show the commands: which of the two versions is
wanted is not ours to say.

Sources: NVIDIA driver README (installation by one method only); Debian wiki on the NVIDIA driver.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.facts.driver import DKMS
from gpudoctor.facts.packages import DPKG_STATUS
from gpudoctor.host import NoAnswer
from gpudoctor.model import Cure, Evidence, Finding, NotApplicable, Rule, Where
from gpudoctor.rules import advice

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts

_UNINSTALL = "/usr/bin/nvidia-uninstall"
_MOST_PACKAGES = 6


def check(facts: Facts) -> Iterator[Finding]:
    """Find a module on disk whose version is not the libraries'."""
    platform, driver = facts.platform, facts.driver
    if platform.wsl or platform.jetson:
        raise NotApplicable(
            "WSL2 takes the driver from Windows, and a Jetson's libraries are not numbered like its kernel's module."
        )
    if not facts.gpus.count:
        raise NotApplicable("There is no NVIDIA GPU.")
    found = driver.telling_library
    if found is None or found.version is None:
        raise NotApplicable("There is no user library of the driver whose name tells its version.")
    library = found.version
    if platform.container is not None:
        raise NotApplicable("The module of a container or guest is that of the machine outside.")
    coming = driver.next_version
    if coming is None or coming == library:
        return
    kernel = driver.newer_kernels[0] if driver.newer_kernels else platform.kernel
    where = Where(DKMS) if driver.newer_kernels else Where("modinfo")
    evidence = [Evidence(where, f"the module on disk for kernel {kernel} is {coming}")]
    if driver.version is not None:
        evidence.append(Evidence(Where(driver.version_source), f"the loaded module is {driver.version}"))
    evidence.append(Evidence(Where(found.path), f"leads to {found.real}"))
    if driver.packages:
        evidence.append(Evidence(Where(facts.packages.source), ", ".join(driver.packages[:_MOST_PACKAGES])))
    evidence += _half_done(facts)
    works = driver.version == library
    yield Finding(
        "module on disk and libraries are of different driver versions",
        f"The driver's libraries are {library}, but the kernel module on disk is {coming}: "
        + (
            "what works now breaks at the next boot."
            if works
            else "GPU programs fail with a version mismatch, and a reboot loads the same module again."
        ),
        tuple(evidence),
        _cure(facts),
        severity="warning" if works else "error",
    )


def _half_done(facts: Facts) -> list[Evidence]:
    """Return what shows how it came about: packages left half configured, and the traces of a .run installation."""
    found = []
    try:
        for prefix in ("nvidia", "libnvidia", "libcuda1", "linux-modules-nvidia"):
            for package in facts.packages.matching(prefix):
                if facts.packages.source == DPKG_STATUS and not package.status.endswith(" installed"):
                    found.append(Evidence(Where(DPKG_STATUS), f"{package.name} {package.version}: {package.status}"))  # noqa: PERF401
        if facts.host.exists(_UNINSTALL):
            found.append(Evidence(Where(_UNINSTALL), "is there: a driver was installed by NVIDIA's .run file"))
    except NoAnswer:
        return found
    return found


def _cure(facts: Facts) -> Cure:
    commands = []
    if facts.host.exists(_UNINSTALL) and facts.driver.packages:
        commands.append(f"sudo {_UNINSTALL}  # takes the .run installation away, the packages stay")
    if facts.platform.family == "debian":
        commands += ["sudo dpkg --configure -a", "sudo apt-get --fix-broken install"]
    if facts.driver.packages:
        commands += advice.upgrade(facts, *(each.split()[0] for each in facts.driver.packages))
    if facts.driver.dkms:
        commands.append("sudo dkms autoinstall")
    commands.append("sudo reboot")
    return Cure(
        "SHOWN",
        "Bring module and libraries to one version: remove the second driver or finish the upgrade, then reboot.",
        tuple(commands),
        f"Driver packages change, and a module may be compiled. {advice.REBOOT_RISK}",
    )


RULE = Rule(
    "host/driver-library-mismatch-persistent",
    95,
    "error",
    "module on disk and libraries are of different driver versions",
    check,
    breaks=("driver",),
    needs=("platform", "gpu", "module"),
    signs=(
        "driver/library version mismatch",
        "api mismatch: the client*has the version",
        "~ (rebooting|after reboot|after a reboot|rebooted|reboot did not|reboot doesn't|reboot didn't|reboot does not)",
        "~ fix-broken",
    ),
)
