"""What the rules on vulnerabilities of the container toolkit share: which of them this host has, and the one cure.

Each rule stands for one bulletin. The most severe one that applies is the root cause on screen, and the others are
folded under it: one upgrade mends them all. Several of the faults are in the legacy hook only, so what counts is the
way in which a GPU gets into a container here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor import tables
from gpudoctor.host import Unseen
from gpudoctor.model import Cure, Evidence, Finding, NotApplicable, Where
from gpudoctor.rules import advice

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gpudoctor.facts import Facts
    from gpudoctor.model import Severity

_JETPACK_5 = 35  # its L4T release
_OCI_HOOKS = (
    "/usr/share/containers/oci/hooks.d/oci-nvidia-hook.json",
    "/etc/containers/oci/hooks.d/oci-nvidia-hook.json",
)


def affected(facts: Facts, *names: str) -> tuple[tables.Cve, ...]:
    """Return those of the named vulnerabilities that the installed toolkit has on the paths that this host uses.

    Raises NotApplicable where no toolkit of the host's own is used, Unseen where its version cannot be had.
    """
    if facts.docker.kind in {"snap", "desktop"}:
        raise NotApplicable("This Docker does not use the host's toolkit (a snap or Docker Desktop).")
    if not facts.toolkit.installed:
        raise NotApplicable("The NVIDIA container toolkit is not installed.")
    if not facts.toolkit.version_numbers:
        raise Unseen("nvidia-ctk --version", "the toolkit's version is not known")
    found = [cve for cve in tables.toolkit_cves(facts.toolkit.version_numbers) if cve.cve in names]
    if not found or not only_cdi(facts):
        return tuple(found)
    reached = tuple(cve for cve in found if _reaches_cdi(cve, facts.toolkit.version_numbers))
    if not reached:
        raise NotApplicable(f"GPUs get into containers by CDI here, which {found[0].cve} does not reach.")
    return reached


def only_cdi(facts: Facts) -> bool:
    """Say whether every GPU gets into a container by CDI on this host, never through the legacy hook."""
    if not facts.docker.installed:
        oci_hook = any(facts.host.lstat(path) is not None for path in _OCI_HOOKS)
        return facts.podman.version is not None and not oci_hook
    return not facts.toolkit.hook_acts


def _reaches_cdi(cve: tables.Cve, version: tuple[int, ...]) -> bool:
    """Say whether the table leaves open, or says, that a vulnerability reaches hosts that use CDI."""
    before = cve.cdi.removeprefix("before ")
    return cve.cdi != "no" and (before == cve.cdi or version < tables.version(before))


def finding(facts: Facts, cves: Sequence[tables.Cve], text: str, severity: Severity) -> Finding:
    """Return the finding for one bulletin's vulnerabilities; ``text`` is one sentence on what they let an attacker do."""
    version = ".".join(map(str, facts.toolkit.version_numbers))
    names = ", ".join(cve.cve for cve in cves)
    worst = max(cve.cvss for cve in cves)
    target = max((cve.fixed for cve in tables.toolkit_cves(facts.toolkit.version_numbers)), key=tables.version)
    ways = facts.toolkit.summary if facts.docker.installed else "podman by CDI" if only_cdi(facts) else "no Docker"
    newer = "From 1.18 on the nvidia runtime uses CDI by itself. " if facts.toolkit.version_numbers < (1, 18) else ""
    evidence = [
        Evidence(
            Where(facts.toolkit.version_source),
            f"toolkit {facts.toolkit.version}; {names} {'is' if len(cves) == 1 else 'are'} fixed in {cves[-1].fixed} (CVSS up to {worst})",
        ),
        Evidence(Where("how a GPU gets into a container here"), ways),
    ]
    cure = Cure(
        "SHOWN",
        f"Upgrade the toolkit to {target} or newer: that closes every hole known of it.",
        advice.upgrade_toolkit(facts),
        f"{newer}{advice.RESTART_RISK}",
    )
    if facts.platform.jetson and (facts.platform.l4t or _JETPACK_5) < _JETPACK_5:
        # JetPack 4 has a toolkit of its own line that gets no fixes, and NVIDIA's usual one does not work there.
        cure = Cure(
            "SHOWN",
            "JetPack 4 gets no fix: run only images that you trust on it, or move to a newer JetPack where the board can.",
        )
        severity = "hint"
    return Finding(f"{names} in toolkit {version}", text, tuple(evidence), cure, severity=severity)
