"""nvidia-cdi-refresh failed at boot, so this boot has no CDI spec of its making.

The service (toolkit 1.18) writes /var/run/cdi/nvidia.yaml, which is lost at each shutdown. Before 1.18.2 and 1.19.1
it could start before the nvidia module was loaded, fail five times within ten seconds, and give up: "failed to
initialize NVML: Driver Not Loaded". The driver is there a moment later, and the spec is missing all the same until
the next upgrade of something.

How it is told from its look-alikes: the driver is loaded *now*; where it is not, `host/driver-not-loaded` and its
causes come first. Toolkit 1.18.0 with `mode = "cdi"` fails for another reason
(`cdi/config-mode-cdi-breaks-generate`). Which reason it was at boot, only the journal says (`journalctl -b -u
nvidia-cdi-refresh`); that the spec is missing, and that the service has failed, is certain.

Cure: restart the service; upgrade the toolkit, so that the next boot does not do the same again. Nothing that runs
is touched. `gpudoctor fix` starts the service; the upgrade is left to you.

Sources: NVIDIA/nvidia-container-toolkit#1611; changelog of 1.18.2 and 1.19.1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.facts.cdi import REFRESH
from gpudoctor.host import Unseen
from gpudoctor.model import Cure, Evidence, Finding, NotApplicable, Rule, Where
from gpudoctor.rules import advice
from gpudoctor.rules.cdi import _specs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts
    from gpudoctor.model import Steps, Wishes

_MENDED = ((1, 18, 2), (1, 19, 1))


def check(facts: Facts) -> Iterator[Finding]:
    """Find a failed nvidia-cdi-refresh, a loaded driver, and no spec."""
    cdi, driver = facts.cdi, facts.driver
    if cdi.refresh_unit is None:
        raise NotApplicable("nvidia-cdi-refresh is not installed (it comes with toolkit 1.18).")
    if driver.version is None:
        raise NotApplicable("The NVIDIA module is not loaded.")
    if facts.host.exists(cdi.refresh_output):
        return
    state = facts.services.active(REFRESH)
    if state == "unknown":
        raise Unseen(f"systemctl is-active {REFRESH}", "whether it failed was not asked")
    if state != "failed":
        raise NotApplicable("nvidia-cdi-refresh has not failed.")
    mended = _mended(facts.toolkit.version_numbers[:3])
    version = facts.toolkit.version or "of an unknown version"
    yield Finding(
        "nvidia-cdi-refresh failed, and this boot has no spec",
        "The service that writes the CDI spec has failed since boot, most often because it ran before the driver was loaded; "
        "the driver is there now, and the spec is not.",
        (
            Evidence(Where(cdi.refresh_unit), f"systemctl is-active says {state}"),
            Evidence(Where(cdi.refresh_output), "absent"),
            Evidence(Where(driver.version_source), f"driver {driver.version} is loaded now"),
            Evidence(
                Where(facts.toolkit.version_source),
                f"toolkit {version}" + ("" if mended else ", whose service may run before the driver"),
            ),
        ),
        Cure(
            "DISRUPTIVE",
            "Start the service again."
            + ("" if mended else " Then upgrade the toolkit (1.18.2 and 1.19.1 wait for the driver): ")
            + ("" if mended else " && ".join(advice.upgrade(facts, "nvidia-container-toolkit", "nvidia-container-toolkit-base"))),
            (f"sudo systemctl reset-failed {REFRESH}", f"sudo systemctl restart {REFRESH}"),
            "None.",
        ),
        severity="hint" if cdi.in_force else _specs.severity(facts, resolves=False),
        breaks=() if cdi.in_force else ("cdi",),
    )


def _mended(version: tuple[int, ...]) -> bool:
    """Say whether this toolkit's service waits for the driver; the fix is in two release lines."""
    return version >= _MENDED[1] or _MENDED[0] <= version < (1, 19)


def fix(facts: Facts, _: Wishes) -> Steps:
    """Start the service again; the upgrade of the toolkit is the administrator's."""
    yield from _specs.refresh(facts)


RULE = Rule(
    "cdi/cdi-refresh-before-driver",
    85,
    "error",
    "nvidia-cdi-refresh failed, and this boot has no spec",
    check,
    breaks=("cdi",),
    needs=("gpu", "module", "driver", "libraries"),
    follows=("cdi/config-mode-cdi-breaks-generate",),
    fix=fix,
    signs=(
        "failed to generate cdi spec*driver not loaded",
        "failed to generate cdi spec*failed to initialize nvml",
        "nvidia-cdi-refresh.service: (main process exited|failed with result)",
        "nvmlerror_drivernotloaded",
        "nvml error: driver not loaded",
        "failed to initialize nvml: driver not loaded",
    ),
)
