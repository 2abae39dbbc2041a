"""The machine has NVSwitches, but NVIDIA's fabric manager does not run.

On HGX and DGX boards (A100, H100, H200) the GPUs are joined by NVSwitches, and CUDA refuses to start before
nv-fabricmanager has set them up: "Error 802: system not yet initialized" (cudaErrorSystemNotReady). nvidia-smi works
all the while, so the machine looks healthy. The package is not part of the driver's own and must be of exactly the
driver's version.

How it is told from its look-alikes: the package is there in another version and the service ends at once
(`host/fabricmanager-version-mismatch`); without an NVSwitch, error 802 has nothing to do with the fabric manager. A
virtual machine that is lent GPUs but no switch does not need the service: its host runs it. The switches of a B200
board are not on the PCI bus as NVIDIA's, so this rule does not see that board.

Cure: install the fabric manager of the loaded driver's version, enable and start it. Containers that failed have to
be started anew; nothing else is disturbed. `gpudoctor fix` starts it where it is installed in that version.

Sources: NVIDIA Fabric Manager user guide; pytorch/pytorch#35710, gpustack/gpustack#1254.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.facts.gpu import PCI
from gpudoctor.host import Unseen
from gpudoctor.model import Cure, Evidence, Finding, NotApplicable, Refused, Rule, Where
from gpudoctor.rules import advice, steps
from gpudoctor.rules.host import fabricmanager_version_mismatch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts
    from gpudoctor.model import Steps, Wishes

UNIT = "nvidia-fabricmanager.service"


def check(facts: Facts) -> Iterator[Finding]:
    """Find NVSwitches on the bus and no running fabric manager."""
    switches = facts.gpus.nvswitches
    if not switches:
        raise NotApplicable("There is no NVSwitch on this machine's PCI bus.")
    if facts.driver.version is None:
        raise NotApplicable("The driver is not loaded; the fabric manager comes after it.")
    if facts.host.exists("/run/nvidia-fabricmanager/nv-fabricmanager.pid"):
        return
    state = facts.services.active(UNIT)
    if state in {"active", "activating"}:
        return
    unit = facts.services.unit_file(UNIT)
    if unit is not None and state == "unknown":
        raise Unseen(f"systemctl is-active {UNIT}", "its state was not asked")
    how = "is not installed" if unit is None else "has failed" if state == "failed" else "does not run"
    commands = [f"sudo systemctl enable --now {UNIT}"]
    if unit is None:
        package = f"nvidia-fabricmanager-{facts.driver.branch}" if facts.platform.family == "debian" else "nvidia-fabricmanager"
        commands = [*advice.install_version(facts, package, facts.driver.version), *commands]
    yield Finding(
        "NVSwitches without a fabric manager",
        f"This machine has {len(switches)} NVSwitch{'es' if len(switches) > 1 else ''}, and {UNIT} {how}: "
        "CUDA says error 802 (system not yet initialized) until it runs.",
        (
            Evidence(Where(f"{PCI}/{switches[0]}/class"), f"0x0680: NVSwitch at {', '.join(switches)}"),
            Evidence(Where(unit), f"systemctl is-active says {state}")
            if unit is not None
            else Evidence(Where(UNIT), "in no folder of systemd units"),
            Evidence(Where(facts.driver.version_source), f"driver {facts.driver.version}"),
        ),
        Cure(
            "SHOWN" if unit is None else "DISRUPTIVE",
            f"{'Install' if unit is None else 'Start'} the fabric manager of version {facts.driver.version}, then start the "
            "containers anew.",
            tuple(commands),
            "None for what runs: no CUDA program works before it.",
        ),
    )


def fix(facts: Facts, _: Wishes) -> Steps:
    """Enable and start the service, where it is installed in the driver's version."""
    if facts.services.unit_file(UNIT) is None:
        return
    other = fabricmanager_version_mismatch.mismatched(facts)
    if other is not None:
        raise Refused(f"{other.name} is {other.version} and the driver {facts.driver.version}: it would refuse to start.")
    yield steps.restart_unit(facts, UNIT, "CUDA works only once it has set up the NVSwitches.")


RULE = Rule(
    "host/fabricmanager-not-running",
    37,
    "error",
    "NVSwitches without a fabric manager",
    check,
    breaks=("fabric",),
    needs=("gpu", "module", "driver"),
    follows=("host/fabricmanager-version-mismatch",),
    fix=fix,
    signs=(
        "cuda failure 802",
        "system not yet initialized",
        "error 802",
        "cudaerrorsystemnotready",
        "cuda_error_system_not_ready",
        "(cuda|initialization)*802 + fabric*manager",
        "nvidia-fabricmanager* is not (installed|running|active)",
        "fabric*(state|status): in progress",
        "cuda initialization failure with error: 802",
        "~ fabric*manager",
    ),
)
