"""runc lets a container escape to the host (CVE-2025-31133, CVE-2025-52565, CVE-2025-52881).

Three faults in how runc mounts over paths below /proc and /dev let an image that was made for it write to files of
the kernel and so take over the host. They are fixed in 1.2.8, 1.3.3 and 1.4.0-rc.3; Docker's own packages bring runc
in containerd.io.

How it is told from its look-alikes: distributions put the fix into older versions (Debian's 1.1.5+ds1-1+deb12uN,
Ubuntu's, Red Hat's), which the number does not show. For a distribution's package this is therefore a hint with the
name of its tracker, for anybody else's a warning. Where runc was not asked, only what Docker's release carries is
known: a hint as well.

Cure: upgrade containerd.io (Docker's packages) or runc (the distribution's), then restart Docker and start the
containers anew. In an LXC guest a fixed runc needs a newer AppArmor profile of the host
(`lxc/lxc-runc-sysctl-apparmor`).

Sources: opencontainers/runc release notes of 1.3.3, opencontainers/runc#4968, containerd/containerd#12475; the
distributions' trackers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor import tables
from gpudoctor.model import Cure, Evidence, Finding, NotApplicable, Rule, Severity, Where
from gpudoctor.rules import advice

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts

_TRACKERS = {
    "ubuntu": "Ubuntu's security tracker (ubuntu.com/security/CVE-2025-31133)",
    "debian": "Debian's security tracker (security-tracker.debian.org/tracker/CVE-2025-31133)",
    "rhel": "Red Hat's CVE database (access.redhat.com/security/cve/CVE-2025-31133)",
    "fedora": "Fedora's updates (bodhi.fedoraproject.org)",
    "amzn": "the Amazon Linux security center (explore.alas.aws.amazon.com/CVE-2025-31133.html)",
    "suse": "SUSE's CVE database (suse.com/security/cve/CVE-2025-31133.html)",
    "arch": "Arch's security tracker (security.archlinux.org)",
}


def check(facts: Facts) -> Iterator[Finding]:
    """Find a runc whose version has the three faults."""
    docker = facts.docker
    if docker.kind in {"snap", "desktop"}:
        raise NotApplicable("This Docker brings a runc of its own (a snap or Docker Desktop).")
    if not docker.installed:
        raise NotApplicable("There is no Docker on this host.")
    runc = docker.runc
    if runc is None:
        raise NotApplicable("No runc was found on this host.")
    issues = [issue for issue in tables.runc_issues(tables.version(runc)) if issue.issue.startswith("CVE-2025-")]
    if not issues:
        return
    package = facts.packages.installed("runc")
    names = ", ".join(issue.issue for issue in issues)
    fixed = ", ".join(issues[0].fixed)
    source = docker.runc_source
    severity: Severity = "hint"
    if package is not None:
        evidence = (Evidence(Where(facts.packages.source), f"runc {package.version}"),)
        text = (
            f"runc {runc} is below the upstream fix ({fixed}), but distributions fix older versions in place: {_tracker(facts)} says "
            f"whether {package.version} has it."
        )
    elif source is not None:
        severity = "warning"
        evidence = (Evidence(Where(source), f"runc {runc}; fixed in {fixed}"),)
        text = f"A malicious image can escape to this host through runc {runc}."
    else:
        evidence = (Evidence(Where(docker.version_source), f"Docker {docker.version}; runc itself was not asked"),)
        text = f"Docker {docker.version} was released with runc {runc}, through which an image can escape; a newer one may be installed."
    yield Finding(
        f"{names} in runc {runc}",
        text,
        evidence,
        Cure(
            "SHOWN",
            f"Upgrade to a runc with the fix ({fixed}), then start the containers anew.",
            (*advice.upgrade(facts, "runc" if package is not None else "containerd.io"), advice.restart_docker(facts)),
            f"In an LXC guest a fixed runc needs a newer AppArmor profile of the host. {advice.RESTART_RISK}",
        ),
        severity=severity,
    )


def _tracker(facts: Facts) -> str:
    return _TRACKERS.get(facts.platform.os_id) or _TRACKERS.get(facts.platform.family, "the distribution's security tracker")


RULE = Rule(
    "security/runc-cve-2025",
    72,
    "warning",
    "runc lets a container escape to the host",
    check,
    signs=(
        "cve-2025-(31133|52565|52881)",
        "ghsa-(9493-h29p-rfm2|qw9x-cqr3-wc7r|cgrx-mc8f-2prm)",
    ),
)
