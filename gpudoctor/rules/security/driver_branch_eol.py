"""The driver's branch is past its end of life, or the driver lacks its branch's last security fixes.

NVIDIA maintains a driver branch for one to three years. After that a driver works as before but gets no fixes, of
security holes either, and in time no longer builds on new kernels. Within a live branch, a driver below the version
that a bulletin names has known holes.

How it is told from its look-alikes: it has nothing to do with CUDA being too new for the driver, and a driver whose
branch *dropped the GPU* is `host/gpu-dropped-by-driver-branch`. Some GPUs (Kepler, Fermi) have no living branch at
all: then there is no driver to move to. A distribution may go on shipping an ended branch, as Debian 13 does with
550. The date counts that the host itself believes; without it we cannot tell.

Cure: move to a maintained branch that still drives this GPU (an LTS branch where there is one), then reboot. For
holes in a live branch: upgrade within it. The kernel module changes, so containers stop.

Sources: NVIDIA data-center driver release notes (lifecycle); endoflife.date; NVIDIA security bulletins on GPU
display drivers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor import tables
from gpudoctor.host import Unseen
from gpudoctor.model import Cure, Evidence, Finding, NotApplicable, Rule, Where
from gpudoctor.rules import advice

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts


def check(facts: Facts) -> Iterator[Finding]:
    """Find a driver of an ended branch (warning), or one below the security floor of its live branch (hint)."""
    if facts.platform.wsl or facts.platform.jetson:
        raise NotApplicable("WSL2 takes its driver from Windows, a Jetson from its own system.")
    version = facts.driver.version or facts.driver.library_version
    if version is None:
        raise NotApplicable("No NVIDIA driver is installed.")
    if facts.platform.lxc:
        raise NotApplicable("The driver is that of this guest's host.")
    numbers = tables.version(version)
    branch = tables.branch(numbers[0]) if numbers else None
    if branch is None or branch.eol is None:
        raise NotApplicable(f"The end of this driver's branch ({version}) is not in the data of {tables.AS_OF}.")
    today = facts.platform.today
    if today is None:
        raise Unseen("date +%s", f"whether branch {branch.branch} has ended ({branch.eol}) needs the host's date")
    library = next((each.path for each in facts.driver.libraries.values() if each.version is not None), "")
    where = Where(facts.driver.version_source if facts.driver.version is not None else library)
    if today > branch.eol:
        yield _ended(facts, version, branch, where, today)
        return
    floor = tables.security_floor(branch.branch)
    if floor is not None and tables.version(version) < tables.version(floor[0]):
        yield Finding(
            f"driver {version} lacks the security fixes of its branch",
            f"Driver {version} is older than {floor[0]}, with which branch {branch.branch} closed the holes of bulletin {floor[1]}.",
            (Evidence(where, f"driver {version}"),),
            Cure(
                "SHOWN",
                f"Upgrade the driver within its branch to {floor[0]} or newer, then reboot.",
                (*advice.install_driver(facts, branch.branch, open_module=_open(facts)), "sudo reboot"),
                advice.REBOOT_RISK,
            ),
            severity="hint",
        )


def _ended(facts: Facts, version: str, branch: tables.Branch, where: Where, today: str) -> Finding:
    target = _target(facts, today)
    if target is None:
        cure = Cure("SHOWN", "No maintained branch drives this GPU: keep it from untrusted images, or replace it.")
    else:
        own = (
            " Debian's own packages may be of another branch: NVIDIA's CUDA repository has it."
            if facts.platform.os_id == "debian"
            else ""
        )
        cure = Cure(
            "SHOWN",
            f"Move to branch {target.branch} ({target.type}, maintained until {target.eol}), then reboot.{own}",
            (*advice.install_driver(facts, target.branch, open_module=_open(facts)), "sudo reboot"),
            f"Containers built for an old driver go on working; CUDA programs see a newer driver. {advice.REBOOT_RISK}",
        )
    return Finding(
        f"driver branch {branch.branch} is past its end of life",
        f"Branch {branch.branch} ended on {branch.eol}: driver {version} gets no more fixes, of security holes either.",
        (Evidence(where, f"driver {version}"), Evidence(Where("the host's clock"), f"today is {today}")),
        cure,
    )


def _open(facts: Facts) -> bool:
    """Say whether the open kernel module is the one to install: the flavour that is there, as far as the GPUs allow."""
    if any(gpu.chip is not None and gpu.chip.open_module == "no" for gpu in facts.gpus.functions):
        return False
    return facts.driver.loaded is not None and facts.driver.loaded.open


def _target(facts: Facts, today: str) -> tables.Branch | None:
    """Return the maintained branch to move to: one that drives every GPU of this host, LTS before newer ones."""
    chips = [gpu.chip for gpu in facts.gpus.functions if gpu.chip is not None]
    fitting = [
        each
        for each in tables.branches()
        if each.eol is not None
        and each.eol > today
        and each.type in {"LTS", "production"}
        and all(chip.last_branch is None or each.branch <= chip.last_branch for chip in chips)
        and all(chip.first_branch is None or each.branch >= chip.first_branch for chip in chips)
    ]
    return next((each for each in fitting if each.type == "LTS"), fitting[0] if fitting else None)


RULE = Rule(
    "security/driver-branch-eol",
    71,
    "warning",
    "the driver's branch is past its end of life",
    check,
    needs=("gpu",),
)
