"""The fabric manager's version differs from the driver's.

nv-fabricmanager speaks to the driver by an interface that changes with every release, so it demands exactly the
driver's version: it ends with "fabric manager NVIDIA GPU driver interface version ... don't match with driver
version", and CUDA then says error 802. It is a package of its own, which an upgrade of the driver alone leaves
behind.

How it is told from its look-alikes: with `host/fabricmanager-not-running` the package is missing or the service is
only stopped. Where driver *libraries* were upgraded under a loaded module (`host/driver-library-mismatch`), the
fabric manager's package may well have the new version already, and a reboot cures both.

Cure: install the package of the driver's version, hold both back from separate upgrades, restart the service. It
restarts no container, but a CUDA program running across the switches may be stopped by the restart. `gpudoctor
fix` installs nothing; where the driver on disk has that version, it announces the reboot.

Sources: NVIDIA Fabric Manager user guide; dstackai/dstack#2348.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.model import REBOOT, Cure, Evidence, Finding, NotApplicable, Rule, Where
from gpudoctor.rules import advice

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts
    from gpudoctor.formats.package import Package
    from gpudoctor.model import Steps, Wishes

UNIT = "nvidia-fabricmanager.service"


def check(facts: Facts) -> Iterator[Finding]:
    """Find a fabric manager's package of another version than the loaded driver."""
    if not facts.gpus.nvswitches:
        raise NotApplicable("There is no NVSwitch on this machine's PCI bus.")
    driver = facts.driver.version
    if driver is None:
        raise NotApplicable("The driver is not loaded, so there is no version to agree with.")
    if not _packages(facts):
        raise NotApplicable("No package of the fabric manager is installed.")
    package = mismatched(facts)
    if package is None:
        return
    active = facts.services.active(UNIT) == "active"
    yield Finding(
        "the fabric manager is of another version than the driver",
        f"{package.name} is {_upstream(package)}, the loaded driver {driver}: "
        + ("the service still runs, but will not start again" if active else "the service refuses to start")
        + ", and without it CUDA says error 802.",
        (
            Evidence(Where(facts.packages.source), f"{package.name} {package.version}"),
            Evidence(Where(facts.driver.version_source), f"driver {driver}"),
        ),
        Cure("DISRUPTIVE", "Reboot: the driver on disk has the fabric manager's version.", ("sudo reboot",), "Everything stops.")
        if _pending(facts, package)
        else Cure(
            "SHOWN",
            f"Install {package.name} {driver} and hold it together with the driver.",
            (*advice.install_version(facts, package.name, driver), f"sudo systemctl restart {UNIT}"),
            "A CUDA program that runs across the switches may stop.",
        ),
        severity="warning" if active else "error",
    )


def _packages(facts: Facts) -> list[Package]:
    return [
        package
        for prefix in ("nvidia-fabricmanager", "nvidia-fabric-manager")
        for package in facts.packages.matching(prefix)
        if "dev" not in package.name
    ]


def mismatched(facts: Facts) -> Package | None:
    """Return the fabric manager's package where none has the loaded driver's version."""
    packages = _packages(facts)
    return None if any(_upstream(package) == facts.driver.version for package in packages) else next(iter(packages), None)


def _pending(facts: Facts, package: Package) -> bool:
    """Say whether the driver on disk has the package's version, so that a reboot is all that is missing."""
    return _upstream(package) == facts.driver.library_version


def fix(facts: Facts, _: Wishes) -> Steps:
    """Announce the reboot where the driver on disk has the right version; packages are the administrator's to install."""
    package = mismatched(facts)
    if package is not None and _pending(facts, package):
        yield REBOOT


def _upstream(package: Package) -> str:
    """Return the driver version that a package's version begins with: ``1:550.90.07-0ubuntu1`` -> ``550.90.07``."""
    return package.version.rpartition(":")[2].partition("-")[0]


RULE = Rule(
    "host/fabricmanager-version-mismatch",
    96,
    "error",
    "the fabric manager is of another version than the driver",
    check,
    breaks=("fabric",),
    needs=("gpu", "module", "driver"),
    follows=("host/driver-library-mismatch", "host/driver-library-mismatch-persistent"),
    fix=fix,
    signs=(
        "nvidia gpu driver interface version*don't match with driver version",
        "fabric*manager*version*(mismatch|don't match|does not match)",
        "please update with matching nvidia driver package",
    ),
)
