"""A left-over of an uninstalled driver in /var/lib/dkms makes DKMS stop.

When a driver is removed by hand or by a broken package script, its folder below /var/lib/dkms can stay behind with a link `source`
that leads nowhere. dkms then ends with "Error! Could not locate dkms.conf file", and the driver that is really installed gets no
module for the next kernel: the machine works until its kernel is upgraded.

How it is told from its look-alikes: the link is dangling. With `host/dkms-build-failed` dkms runs and the compiler fails; with
`host/driver-module-missing-for-kernel` alone the headers or the packages are missing.

Cure: remove the left-over version's folder (that version's alone), then let DKMS build. Nothing that is in use is lost: a version
without its source cannot be built, and modules that are installed lie below /lib/modules.

Sources: dkms(8) and its source (read_conf_or_die).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.facts.driver import DKMS
from gpudoctor.model import Cure, Evidence, Finding, NotApplicable, Rule, Where

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts


def check(facts: Facts) -> Iterator[Finding]:
    """Find a driver's DKMS folder whose source is gone."""
    driver = facts.driver
    if not facts.gpus.functions:
        raise NotApplicable("There is no NVIDIA GPU on the PCI bus.")
    if not driver.dkms:
        raise NotApplicable(f"{DKMS} has no NVIDIA driver.")
    stale = [tree for tree in driver.dkms if tree.source_missing]
    if not stale:
        return
    missing = not driver.is_loaded and driver.module_file is None
    yield Finding(
        "a left-over driver makes DKMS stop",
        f"DKMS still lists driver {', '.join(tree.version for tree in stale)}, whose source is gone, and stops there: "
        + ("no module was built for the running kernel." if missing else "the next kernel gets no NVIDIA module."),
        tuple(Evidence(Where(f"{tree.path}/source"), "a link that leads nowhere") for tree in stale),
        Cure(
            "SHOWN",
            "Remove the left-over, then let DKMS build what is missing.",
            (
                *(f"sudo rm -r {tree.path}" for tree in stale),
                "sudo dkms autoinstall",
                *(("sudo modprobe nvidia",) if missing else ()),
            ),
            "Only DKMS's record of that version goes; check the path before you press Enter.",
        ),
        severity="error" if missing else "warning",
    )


RULE = Rule(
    "host/dkms-stale-entry",
    138,
    "warning",
    "a left-over driver makes DKMS stop",
    check,
    breaks=("module", "driver"),
    needs=("platform", "gpu"),
    signs=(
        "could not locate dkms.conf file + nvidia",
        "dkms tree already contains: nvidia*",
        "/var/lib/dkms/nvidia*/source*does not exist",
    ),
)
