"""AppArmor keeps containers inside an LXC guest from starting since runc 1.2.8 and 1.3.3.

To close CVE-2025-52881, runc opens files of /proc through a mount that stands nowhere in the file system. AppArmor takes
`/proc/sys/net/ipv4/ip_unprivileged_port_start` for a file below /sys, which the profile of the LXC guest forbids: "open
sysctl net.ipv4.ip_unprivileged_port_start file: reopen fd 8: permission denied". No container starts, with or without a GPU;
it is not a fault of the driver or the toolkit.

How it is told from its look-alikes: hello-world fails as well, where `lxc/lxc-needs-no-cgroups` only hits `--gpus`. The
kernel log has `apparmor="DENIED"` with that file name, in the log of the LXC host, which a guest mostly may not read. Without
such a line a new runc in a guest is a risk only (a hint): whether the host's profile is already mended cannot be seen from
inside.

Cure, on the LXC host: Proxmox lxc-pve 6.0.5-2 or newer, Incus 6.19 or newer, or for LXC alone the corrected
/etc/apparmor.d/abstractions/lxc/container-base; then restart the guest. An older runc or an unconfined profile also lets
containers start, but brings three container escapes back, or takes the guest's confinement away.

Sources: runc issues 4968 and 4972; containerd issue 12484; moby issue 51405.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor import tables
from gpudoctor.facts.lxc import APPARMOR
from gpudoctor.model import Cure, Evidence, Finding, NotApplicable, Rule, Where

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts

_CVE = "CVE-2025-52881"
_FILE = "ip_unprivileged_port_start"
_MENDED_PVE = (6, 0, 5, 2)
_TITLE = "AppArmor stops containers in an LXC guest"


def check(facts: Facts) -> Iterator[Finding]:
    """Find the denial in the kernel log; in a guest without it, a runc that may meet it."""
    if facts.platform.lxc:
        yield from _guest(facts)
    elif facts.lxc.hosts_guests:
        yield from _host(facts)
    else:
        raise NotApplicable("This is no LXC guest, and keeps none.")


def _guest(facts: Facts) -> Iterator[Finding]:
    if not facts.docker.installed:
        raise NotApplicable("There is no Docker in this guest.")
    denied = facts.driver.logged('apparmor="DENIED"', _FILE)
    if denied is not None:
        yield Finding(
            _TITLE,
            "AppArmor refuses runc a file of /proc that every container's start needs, so no container starts in this guest.",
            (Evidence(Where("kernel log"), denied),),
            _cure(facts),
        )
        return
    runc = facts.docker.runc
    numbers = tables.version(runc or "")[:3]
    if not numbers or any(issue.issue == _CVE for issue in tables.runc_issues(numbers)):
        return
    if not facts.lxc.apparmor:
        raise NotApplicable("The kernel enforces no AppArmor profiles.")
    yield Finding(
        "an LXC host with an old AppArmor profile would stop this runc",
        f"runc {runc} opens files of /proc in a way that older AppArmor profiles of LXC hosts refuse. Whether this host's "
        f"profile does cannot be seen from inside the guest; no container starts then (open sysctl net.ipv4.{_FILE}: permission "
        "denied).",
        (Evidence(Where("runc"), f"version {runc}"), Evidence(Where(APPARMOR), "Y")),
        _cure(facts),
        severity="hint",
        breaks=(),
    )


def _host(facts: Facts) -> Iterator[Finding]:
    # The kernel log decides here: where it may not be read, the rule cannot tell.
    line = next((line for line in reversed(facts.driver.log) if 'apparmor="DENIED"' in line and _FILE in line), None)
    if line is None:
        return
    package = facts.packages.installed("lxc-pve")
    evidence = [Evidence(Where("kernel log"), line)]
    if package is not None:
        evidence.append(Evidence(Where(facts.packages.source), f"lxc-pve {package.version}"))
    if package is not None and tables.version(package.version.replace("-", ".")) >= _MENDED_PVE:
        yield Finding(
            "AppArmor stopped containers in an LXC guest",
            "The log has AppArmor refusing runc a file in a guest. The lxc-pve installed now is mended: the line is older than "
            "that, or the guest has not been restarted since.",
            tuple(evidence),
            Cure("SHOWN", "Restart the guest if its containers do not start.", ("sudo pct reboot VMID",), "The guest restarts."),
            severity="hint",
            breaks=(),
        )
        return
    yield Finding(
        _TITLE,
        "AppArmor refuses runc a file of /proc that every container's start needs: in the guest named there no container starts.",
        tuple(evidence),
        _cure(facts),
    )


def _cure(facts: Facts) -> Cure:
    risk = "Guests are restarted. An older runc or an unconfined profile helps too, but reopens three container escapes."
    if facts.platform.proxmox:
        return Cure(
            "SHOWN",
            "On the Proxmox host: upgrade lxc-pve to 6.0.5-2 or newer, then restart the guest.",
            ("apt-get update && apt-get install --only-upgrade lxc-pve", "pct reboot VMID"),
            risk,
        )
    return Cure(
        "SHOWN",
        "On the LXC host: Incus 6.19 or newer, or for LXC alone a corrected /etc/apparmor.d/abstractions/lxc/container-base; "
        "then restart the guest.",
        (),
        risk,
    )


RULE = Rule(
    "lxc/lxc-runc-sysctl-apparmor",
    39,
    "error",
    _TITLE,
    check,
    breaks=("container",),
    signs=(
        "ip_unprivileged_port_start file: reopen fd <n>: permission denied",
        "open sysctl*reopen fd <n>: permission denied",
    ),
)
