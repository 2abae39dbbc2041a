"""A container image can escape to the host through a race in the legacy hook (CVE-2024-0132, CVE-2024-0133).

Between the check of a path in the container and its use, an image could exchange it, and so have a folder of the
host mounted into the container: full access to the host, the Docker socket included. CVE-2024-0133 let it make empty
files on the host. Both are fixed in 1.16.2, but that fix could be gone round (`security/cve-2025-23359`), so 1.16.2
is not enough.

How it is told from its look-alikes: the faults are in the legacy hook; a host that gives GPUs to containers by CDI
alone is not affected, and the rule does not apply there. Which way is used here, the finding says.

Cure: upgrade the toolkit to 1.17.8 or newer, better the newest, then start the containers anew.

Sources: NVIDIA security bulletin on CVE-2024-0132; release notes of nvidia-container-toolkit 1.16.2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpudoctor.model import Finding, Rule
from gpudoctor.rules.security import _toolkit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpudoctor.facts import Facts


def check(facts: Facts) -> Iterator[Finding]:
    """Find a toolkit before 1.16.2 whose legacy hook is used."""
    cves = _toolkit.affected(facts, "CVE-2024-0132", "CVE-2024-0133")
    if cves:
        text = "A malicious image can have the host's own file system mounted into its container, and so take over this host."
        yield _toolkit.finding(facts, cves, text, "warning")


RULE = Rule(
    "security/cve-2024-0132",
    67,
    "warning",
    "the toolkit lets an image escape to the host",
    check,
    follows=("security/cve-2025-23266",),
    signs=(
        "cve-2024-0132",
        "cve-2024-0133",
        "nvidia container toolkit 1.16.1 or earlier contains a time-of-check",
        "crafted container image may gain access to the host file system",
    ),
)
