"""NVIDIA's installer refuses because a driver is loaded already.

"An NVIDIA kernel module 'nvidia-drm' appears to already be loaded in your kernel": a driver of another source (the
distribution's packages) is installed and in use by a desktop, a CUDA program or nvidia-persistenced.

How it is told from its look-alikes: /var/log/nvidia-installer.log, which is of the installer's last run, ends with that error, and
the driver that it was to install is neither loaded nor on the disk. The driver that is there goes on working, and the log may be old:
a hint. Where two drivers have been mixed already, it is `host/driver-library-mismatch-persistent`.

Cure: prefer the distribution's packages and leave the installer. Otherwise remove the other driver's packages, stop what uses
the GPU, unload the modules, and install then.

Sources: nvidia-installer (kernel.c); NVIDIA driver README.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.model import Cure, Evidence, Finding, NotApplicable, Rule, Where

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts

_LOG = "/var/log/nvidia-installer.log"
_LOADED = "appears to already be loaded in your kernel"
_DONE = "is now complete"


def check(facts: Facts) -> Iterator[Finding]:
    """Find that the last run of NVIDIA's installer stopped because a driver was loaded."""
    log = facts.host.text(_LOG)
    if log is None:
        raise NotApplicable("NVIDIA's installer was not run on this host: it has left no log.")
    lines = log.split("\n")
    version = next((line.partition(":")[2].strip() for line in lines if line.startswith("installer version:")), "")
    date = next((line.partition(":")[2].strip() for line in lines if line.startswith("creation time:")), "")
    at = next(
        (number for number, line in enumerate(lines, 1) if line.lstrip("-> ").startswith("ERROR:") and _LOADED in line), None
    )
    driver = facts.driver
    if at is None or not version or _DONE in log or version in {driver.version, driver.disk_version, driver.library_version}:
        return
    there = f"driver {driver.version} is loaded" if driver.version else "no driver is loaded now"
    yield Finding(
        "NVIDIA's installer stopped because a driver was loaded",
        f"The installer of driver {version} last ran{f' on {date}' if date else ''} and gave up, because a driver was in use; {there}, and "
        "nothing of the other was installed.",
        (Evidence(Where(_LOG, at), lines[at - 1].strip()[:200]), Evidence(Where(_LOG), f"installer version: {version}")),
        Cure(
            "SHOWN",
            "Install the driver as a package of the distribution, which needs no unloading; or stop what uses the GPU, unload the modules and "
            "run the installer again.",
            ("sudo fuser -v /dev/nvidia*", "sudo modprobe -r nvidia_drm nvidia_modeset nvidia_uvm nvidia"),
            "A desktop that runs on the GPU has to be stopped, and every program on it.",
        ),
    )


RULE = Rule(
    "host/driver-already-loaded-during-install",
    137,
    "hint",
    "another NVIDIA driver is loaded while one is installed",
    check,
    needs=("gpu",),
    signs=(
        "appears to already be loaded in your kernel",
        "nvidia kernel module*already loaded*(installer|in use)",
        "exit any programs that may be using the gpu(s) before attempting to upgrade your driver",
        "corrupted an nvidia kernel module's usage count",
    ),
)
